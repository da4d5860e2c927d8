"""Each guard of giving money back where another would usually step in before it. Most need no gateway."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings

from billing.charging.refunds import ask as asking
from billing.charging.refunds.arm import ArmedRefund, Unacknowledged, _wait, arm_refund
from billing.charging.refunds.ask import RefundError, RefundResolution, request_refund, resolve_refund, withdraw
from billing.charging.refunds.settle import write_down
from billing.charging.refunds.worker import _Refunder, _send
from billing.domain.clocks import ClockRefusal
from billing.domain.decisions import Decision
from billing.domain.refunds import (
    LOOK_FRESH,
    REVERSE_WINDOW,
    RefundFinding,
    RefundKind,
    RefundSource,
    RefundState,
    RefundVerdict,
    RefundWait,
)
from billing.gateway.connection import Gateway, GatewayUnavailableError, gateway_for
from billing.models import GatewayAccount, PaymentAttempt, Refund, RefundEvidence
from billing.models.bulk import refunding
from billing.models.bulk.refunding import Waiting
from billing.models.clock import database_now
from billing.operating import recognise
from tests.charging.held_rows import has_to_wait
from tests.charging.refund_rows import captured, settled, shown
from tests.charging.refunding import ask
from tests.conftest import SHORT
from tests.factories import (
    NOW,
    make_attempt,
    make_card,
    make_invoice,
    make_refund,
    make_subscription,
    move_attempt,
    move_refund,
)
from tests.promises.test_refunds import PATHS

pytestmark = pytest.mark.django_db
V, S = RefundVerdict, RefundSource


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gateway, "has_token", lambda _: True)


def waiting(refund: Refund) -> Waiting:
    transaction_id = PaymentAttempt.objects.get(pk=refund.attempt_id).gateway_transaction_id or ""
    return Waiting(refund.pk, refund.account_id, refund.attempt_id, "requested", transaction_id, None, 0, 0)


def arm_now(refund: Refund, **changes: Any) -> Any:
    account = GatewayAccount.objects.get(pk=refund.account_id)
    times = {"looked_at": changes.get("now", NOW), "now": NOW}
    given = {"gateway": gateway_for(account), "tuning": SHORT, **times, **changes}
    return arm_refund(waiting(refund), **given)


# --- asking -------------------------------------------------------------------------------------------------


def test_one_at_a_time_is_asked_back() -> None:
    attempt = captured()
    ask(attempt, 500)
    with pytest.raises(RefundError, match="has an open refund"):
        ask(attempt, 500)


@pytest.mark.django_db(transaction=True)
def test_who_asks_is_alone_with_the_attempt() -> None:
    attempt, touch = captured(), "SELECT 1 FROM billing_paymentmethod FOR NO KEY UPDATE"
    with transaction.atomic():
        request_refund(attempt=attempt, amount_minor=None, decision=Decision("mei", "cancelled"), now=NOW)
        assert has_to_wait(touch)
    assert not has_to_wait(touch)


@pytest.mark.parametrize("states", [path for state, path in PATHS.items() if state != "requested"])
def test_only_what_was_not_sent_is_withdrawn(states: tuple[str, ...]) -> None:
    refund = move_refund(make_refund(), *states)
    with pytest.raises(RefundError, match="state: "):
        withdraw(refund=refund, decision=Decision("mei", "wrong customer"), tuning=SHORT, now=NOW)
    refund.refresh_from_db()
    assert refund.state == (states or ("requested",))[-1]


@pytest.mark.parametrize("resolution", list(RefundResolution))
@pytest.mark.parametrize("states", [path for state, path in PATHS.items() if state != "needs_review"])
def test_resolve_closes_only_refunds_that_need_review(states: tuple[str, ...], resolution: RefundResolution) -> None:
    refund = move_refund(make_refund(), *states)
    with pytest.raises(RefundError, match="must need review"):
        resolve_refund(refund=refund, resolution=resolution, decision=Decision("mei", "sure"), tuning=SHORT, now=NOW)
    refund.refresh_from_db()
    assert refund.state == (states or ("requested",))[-1]
    assert not RefundEvidence.objects.filter(source="operator").exists()


def test_resolve_closes_only_refunds_that_still_need_review(monkeypatch: pytest.MonkeyPatch) -> None:
    refund = move_refund(make_refund(), "sending", "unknown", "needs_review")
    given = {"refund": refund, "tuning": SHORT, "now": NOW}

    def somebody_is_faster(_: Refund) -> None:
        monkeypatch.setattr(asking, "_read", lambda _: None)
        resolve_refund(resolution=RefundResolution.NOT_REFUNDED, decision=Decision("siti", "sure"), **given)

    monkeypatch.setattr(asking, "_read", somebody_is_faster)
    with pytest.raises(RefundError, match="must need review"):
        resolve_refund(resolution=RefundResolution.REFUNDED, decision=Decision("mei", "sure"), **given)
    refund.refresh_from_db()
    assert (refund.state, RefundEvidence.objects.filter(source="operator").count()) == ("not_refunded", 1)


# --- arming -------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("step", ["arm", "settle", "write_down"])
def test_inside_another_transaction_no_refund_is_written(step: str) -> None:
    refund = make_refund(captured())
    recognise.watch(now=database_now())  # else what recognises the database asks for a transaction of its own first
    acts: dict[str, Callable[[], object]] = {
        "arm": lambda: arm_now(refund),
        "settle": lambda: settled(refund, V.CANNOT),
        "write_down": lambda: write_down({}, tuning=SHORT, now=NOW),
    }
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        acts[step]()
    refund.refresh_from_db()
    assert refund.state == "requested"


def test_a_refund_is_not_armed_twice() -> None:
    refund = make_refund(captured())
    first = arm_now(refund)
    assert isinstance(first, ArmedRefund)
    assert arm_now(refund) is None
    refund.refresh_from_db()
    assert (refund.state, refund.request_nonce) == ("sending", first.prepared.nonce)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", ["paymentmethod", "subscription", "invoice", "paymentattempt", "refund"])
def test_of_two_that_are_armed_at_once_one_waits_for_the_other(table: str) -> None:
    card = make_card()
    attempt = make_attempt(make_invoice(card, make_subscription(card, next_due_at=None)), card)
    refund = make_refund(move_attempt(attempt, "succeeded"))
    touch = f"SELECT 1 FROM billing_{table} FOR NO KEY UPDATE"  # noqa: S608
    with transaction.atomic():
        refunding.lock_around([refund.attempt_id])
        refunding.lock_refund(refund.pk)
        assert has_to_wait(touch)
    assert not has_to_wait(touch)


OF_THE_ACCOUNT: list[tuple[dict[str, Any], str]] = [
    ({"stopped_at": NOW, "stopped_reason": "drill"}, "account_stopped"),
    ({"environment": "live"}, "live_not_allowed"),
    ({"charge_limit_minor": 1989}, "above_limit"),
]


@pytest.mark.parametrize(("columns", "why"), OF_THE_ACCOUNT)
def test_recheck_on_arming_waits_for_what_the_account_forbids(columns: dict[str, Any], why: str) -> None:
    refund = make_refund(captured())
    GatewayAccount.objects.update(**columns)
    assert arm_now(refund) is None
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason, refund.armed_at) == ("requested", why, None)
    assert refund.next_check_at is not None
    assert refund.next_check_at > NOW


def test_recheck_on_arming_requires_account_and_host_to_agree() -> None:
    refund = make_refund(captured())
    GatewayAccount.objects.update(environment="live")
    with override_settings(KITARAN_ALLOW_LIVE=True):
        assert arm_now(refund) is None
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason) == ("requested", "environment_differs")


def test_recheck_on_arming_requires_the_accounts_own_host() -> None:
    refund = make_refund(captured())
    gateway = gateway_for(GatewayAccount.objects.get())
    GatewayAccount.objects.update(api_url="http://127.0.0.1:9/v3")
    assert arm_now(refund, gateway=gateway) is None
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason, refund.request_nonce) == ("requested", "environment_differs", None)


def test_recheck_on_arming_requires_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    refund = make_refund(captured())
    monkeypatch.setattr(Gateway, "has_token", lambda _: False)
    assert arm_now(refund) is None
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason) == ("requested", "gateway_unavailable")


OF_THE_PAYMENT: list[tuple[dict[str, Any], dict[str, Any], timedelta, str]] = [
    ({"amount_refunded_minor": 500}, {"amount_minor": 900}, timedelta(0), "partly_given_back"),
    ({"amount_refunded_minor": 500}, {"amount_minor": 500}, timedelta(0), "already_given_back"),
    ({"gateway_transaction_id": "not / an id"}, {}, timedelta(0), "request_impossible"),
    ({"gateway_order_id": None}, {"kind": "reverse"}, timedelta(0), "order_unknown"),
    ({}, {"kind": "reverse", "created_at": NOW + REVERSE_WINDOW}, REVERSE_WINDOW, "reverse_window_passed"),
]


@pytest.mark.parametrize(("columns", "asked", "later", "why"), OF_THE_PAYMENT)
def test_recheck_on_arming_ends_what_can_never_be_refunded(
    columns: dict[str, Any], asked: dict[str, Any], later: timedelta, why: str
) -> None:
    attempt = captured(**{name: value for name, value in columns.items() if name != "gateway_transaction_id"})
    if "gateway_transaction_id" in columns:
        attempt = move_attempt(make_attempt(), "succeeded", **columns)
    refund = make_refund(attempt, **{"refunded_before_minor": 0, **asked})
    assert arm_now(refund, now=NOW + later) is RefundState.NOT_SENT
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason, refund.armed_at) == ("not_sent", why, None)


def test_recheck_on_arming_requires_a_fresh_read() -> None:
    refund = make_refund(captured())
    assert arm_now(refund, looked_at=NOW - LOOK_FRESH - timedelta(seconds=1)) is None
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason) == ("requested", "look_too_old")


def test_recheck_on_arming_requires_a_right_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.charging.refunds.arm.clock_refusal", lambda *_, **__: ClockRefusal.OFF)
    refund = make_refund(captured())
    assert arm_now(refund) is None
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason) == ("requested", "clock")


@pytest.mark.parametrize("end", ["not_sent", "not_refunded"])
def test_recheck_on_arming_waits_for_traces_of_an_earlier_one(end: str) -> None:
    attempt = captured()
    earlier = move_refund(make_refund(attempt, amount_minor=500, kind="partial"), *PATHS[end])
    refund = make_refund(attempt, amount_minor=500, kind="partial")
    assert earlier.deadline_at is not None
    GatewayAccount.objects.update(list_lag_seconds=600)
    shown_by = earlier.deadline_at + timedelta(minutes=10)
    assert arm_now(refund, now=NOW + timedelta(seconds=9)) is None
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason) == ("requested", "earlier_may_have_acted")
    assert refund.next_check_at == shown_by, "there is nothing to be seen before"
    # A look that was made before does not count, however late it is written down.
    assert arm_now(refund, looked_at=shown_by - timedelta(seconds=1), now=shown_by) is None
    assert isinstance(arm_now(refund, now=shown_by), ArmedRefund)


@pytest.mark.parametrize("states", [("not_sent",), ("sending", "refused")])
def test_refund_never_sent_or_refused_blocks_no_other(states: tuple[str, ...]) -> None:
    attempt = captured()
    move_refund(make_refund(attempt), *states)
    assert isinstance(arm_now(make_refund(attempt)), ArmedRefund)


def test_recheck_on_arming_requires_money() -> None:
    attempt = captured()
    refund = make_refund(attempt)
    move_attempt(attempt, "reversed")
    assert arm_now(refund) is RefundState.NOT_SENT
    refund.refresh_from_db()
    assert refund.state_reason == "no_money"


@pytest.mark.django_db(transaction=True)
def test_refund_that_breaks_a_constraint_waits_with_that_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = make_refund(captured()), make_refund(move_attempt(make_attempt(), "succeeded"))
    armed = arm_now(first)
    same = replace(armed.prepared, url=armed.prepared.url)
    monkeypatch.setattr(Gateway, "freeze_refund", lambda *_, **__: same)
    assert arm_now(second) is None
    second.refresh_from_db()
    assert (second.state, second.state_reason) == ("requested", "constraint")


def test_only_what_is_asked_for_waits() -> None:
    refund = move_refund(make_refund(), "sending")
    _wait(refund.pk, RefundWait.CONSTRAINT, NOW)
    refund.refresh_from_db()
    assert (refund.next_check_at, refund.state_reason) == (None, "")


# --- the worker ---------------------------------------------------------------------------------------------


def worker() -> _Refunder:
    return _Refunder(SHORT, lambda: NOW, lambda: False)


def test_a_refund_is_claimed_by_one_when_its_time_has_come() -> None:
    refund, lease = make_refund(captured()), timedelta(seconds=9)
    assert refunding.claim(now=NOW - timedelta(seconds=1), lease=lease, limit=9) == []
    assert [one.refund_id for one in refunding.claim(now=NOW, lease=lease, limit=9)] == [refund.pk]
    assert refunding.claim(now=NOW + timedelta(seconds=8), lease=lease, limit=9) == []
    assert len(refunding.claim(now=NOW + lease, lease=lease, limit=9)) == 1


def test_a_refund_that_moved_meanwhile_is_not_put_back() -> None:
    refund = make_refund(captured())
    found = waiting(refund)
    move_refund(refund, "sending")
    worker()._not_seen(found, GatewayUnavailableError("no answer"))
    refund.refresh_from_db()
    assert (refund.next_check_at, refund.checks_failed, refund.state_reason) == (None, 0, "")


def test_each_check_is_recorded_and_the_last_one_ends_in_review() -> None:
    refund = move_refund(make_refund(captured()), "sending", "unknown")
    for number in range(1, len(SHORT.ladder) + 1):
        assert refund.state == "unknown"
        found = replace(waiting(refund), state="unknown", armed_at=NOW, checks_done=refund.checks_done)
        worker()._ask_about(found, shown("SUCCESS"))
        refund.refresh_from_db()
        assert RefundEvidence.objects.filter(refund_id=refund.pk, source="transaction_query").count() == number
    assert (refund.state, refund.state_reason) == ("needs_review", "unchanged_at_the_gateway")


@pytest.mark.parametrize("own", [True, False])
def test_unacknowledged_refund_is_not_sent_only_for_its_armer(own: bool) -> None:
    refund = move_refund(make_refund(captured()), "sending")
    one = worker()
    one._unacknowledged = [Unacknowledged(refund.pk, str(refund.request_nonce) if own else "another's")]
    one._settle_unacknowledged()
    refund.refresh_from_db()
    assert refund.state == ("not_sent" if own else "sending")


class Answering:
    """A gateway that gives one answer."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def send_refund(self, *_: object, **__: object) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (shown(), V.REFUNDED),
        (shown("SUCCESS"), V.UNCLEAR),
        (shown("PARTIAL_REFUNDED", balance=1490), V.UNCLEAR),
        (RefundFinding(V.REFUSED, S.ANSWER), V.REFUSED),
        (RuntimeError(), V.UNCLEAR),
    ],
)
def test_finding_of_an_answer_is_what_its_transaction_shows(answer: object, verdict: RefundVerdict) -> None:
    armed = ArmedRefund(1, RefundKind.FULL, 1990, 0, "2001", None, None)  # type: ignore[arg-type]
    _, finding = _send(Answering(answer), armed)  # type: ignore[arg-type]
    assert finding.verdict is verdict
