"""What is left of a refund when its worker is killed or a COMMIT is not acknowledged. The oracle is the simulator's own
ledger: at most one POST a refund, and in the end the books say what it says."""

import signal
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db.backends.base.base import BaseDatabaseWrapper

from billing.charging.refunds import arm as refund_arming
from billing.charging.refunds.settle import RefundSettlement
from billing.models import PaymentAttempt, Refund, RefundEvidence
from billing.models.clock import database_now
from tests.charging.refunding import REFUND, REVERSE, ask, ask_reverse, at_gateway, check_until_the_end, paid, posts
from tests.conftest import Shop
from tests.faults.deaths import REFUND_POINTS
from tests.faults.recovery import audit, run_doomed_worker, without_reports
from tests.faults.test_kills import BrokenCommit

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.faults]


def assert_the_books_agree(shop: Shop, attempt: PaymentAttempt, refund: Refund) -> str:
    """The refund's state in the end; what went back at the gateway is what the books say, unless a person has it."""
    attempt.refresh_from_db()
    refund.refresh_from_db()
    charge = at_gateway(shop, attempt)
    if refund.state == "succeeded":
        moved = charge["status"] == "REVERSED" if refund.kind == "reverse" else charge["refunded"] == 1990
        assert moved
    else:
        assert refund.state in ("needs_review", "not_sent")
        assert (charge["refunded"], charge["status"]) == (0, "SUCCESS")
    assert attempt.amount_refunded_minor == charge["refunded"]
    assert (attempt.state == "reversed") == (charge["status"] == "REVERSED")
    assert RefundEvidence.objects.filter(refund_id=refund.pk).exists()
    assert audit(shop) == []
    return str(refund.state)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("reverse", [False, True], ids=["refund", "reverse"])
@pytest.mark.parametrize("point", REFUND_POINTS)
def test_killed_worker_refunds_once_at_most_and_loses_nothing(
    shop: Shop, profile: str, point: str, reverse: bool
) -> None:
    attempt, route = paid(shop), REVERSE if reverse else REFUND
    refund, before = ask_reverse(attempt) if reverse else ask(attempt), posts(shop, route)
    shop.simulator.set(latency=[0.8, 0.8] if point == "refund_after_send" else [0, 0])

    assert run_doomed_worker(point) == -signal.SIGKILL
    shop.simulator.set(latency=[0, 0])
    refund.refresh_from_db()
    assert refund.state == ("requested" if point == "refund_before_arm_commits" else "sending")
    assert shop.refund().armed == 0, "leased, or in flight: nobody arms it again"

    later = database_now() + timedelta(seconds=12)  # past the deadline
    shop.sweep(later)
    Refund.objects.filter(state="requested").update(next_check_at=database_now())
    shop.refund()
    check_until_the_end(shop)

    state = assert_the_books_agree(shop, attempt, refund)
    assert state == ("needs_review" if point == "refund_after_arm" else "succeeded")
    assert posts(shop, route) - before == (0 if point == "refund_after_arm" else 1)


def break_the_commit_after(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, lost: str) -> None:
    """The commit of the transaction in which `owner.name` is called for the first time raises."""
    real = getattr(owner, name)

    def call_and_break(*args: object, **kwargs: object) -> object:
        broken = BrokenCommit(lost=lost, which=1)
        monkeypatch.setattr(BaseDatabaseWrapper, "_commit", lambda wrapper: broken(wrapper))
        monkeypatch.setattr(owner, name, real)
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, call_and_break)


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_nothing_is_sent_when_arms_commit_raises(
    shop: Shop, profile: str, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    attempt = paid(shop)
    refund, before = ask(attempt), posts(shop)
    break_the_commit_after(monkeypatch, refund_arming, "_freeze", lost)

    shop.refund()

    state = assert_the_books_agree(shop, attempt, refund)
    if lost == "answer":
        assert (state, refund.state_reason, posts(shop)) == ("not_sent", "commit_unacknowledged", before)
        assert RefundEvidence.objects.filter(source="commit_unacknowledged").count() == 1
    else:
        assert (state, posts(shop)) == ("succeeded", before + 1)


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_answer_is_settled_again_once_when_settles_commit_raises(
    shop: Shop, profile: str, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    attempt = paid(shop)
    refund, before = ask(attempt), posts(shop)
    carry_out = RefundSettlement._carry_out

    def carry_out_and_break(self: RefundSettlement, to: str, finding: object) -> None:
        carry_out(self, to, finding)  # type: ignore[arg-type]
        if to == "succeeded":
            broken = BrokenCommit(lost=lost, which=1)
            monkeypatch.setattr(BaseDatabaseWrapper, "_commit", lambda wrapper: broken(wrapper))
            monkeypatch.setattr(RefundSettlement, "_carry_out", carry_out)

    monkeypatch.setattr(RefundSettlement, "_carry_out", carry_out_and_break)
    shop.refund()

    assert assert_the_books_agree(shop, attempt, refund) == "succeeded"
    assert posts(shop) == before + 1


def test_without_redis_money_goes_back_from_postgresql_alone(shop: Shop, profile: str) -> None:
    attempt = paid(shop)
    refund = ask(attempt)
    without_reports()
    call_command("tick")
    assert assert_the_books_agree(shop, attempt, refund) == "succeeded"
