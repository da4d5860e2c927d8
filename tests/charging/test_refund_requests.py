"""Who may request a refund, what makes a request wait, and what a person decides."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from billing.charging.reading.refresh import check_with_gateway
from billing.charging.refunds.ask import RefundError, RefundResolution, resolve_refund, withdraw
from billing.domain.attempts import AttemptState
from billing.domain.decisions import Decision
from billing.domain.refunds import REVERSE_WINDOW
from billing.gateway.connection import Gateway, GatewayUnavailableError, PreparedRequest
from billing.models import GatewayAccount, Installation, PaymentAttempt, Refund, RefundEvidence
from billing.models.clock import database_now
from tests.charging.refunding import (
    LAST,
    ask,
    ask_reverse,
    at_gateway,
    check_until_the_end,
    events_of,
    in_the_portal,
    paid,
    posts,
)
from tests.conftest import SHORT, Shop
from tests.factories import make_attempt, move_attempt, move_refund
from tests.promises.test_uniques import PATHS

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("patience")]


@pytest.mark.parametrize("state", sorted(set(AttemptState) - {AttemptState.SUCCEEDED, AttemptState.SURPLUS}))
def test_only_money_goes_back(state: AttemptState) -> None:
    attempt = move_attempt(make_attempt(), *PATHS[state])
    for asking in (ask, ask_reverse):
        with pytest.raises(RefundError, match=f"attempt: must have money to refund; it is {state}"):
            asking(attempt)
    assert not Refund.objects.exists()


@pytest.mark.parametrize("amount", [0, -1, 1991])
def test_neither_nothing_nor_more_than_was_taken_goes_back(amount: int) -> None:
    attempt = move_attempt(make_attempt(), "succeeded")
    with pytest.raises(RefundError, match="amount_minor: "):
        ask(attempt, amount)


def test_a_reason_is_needed() -> None:
    attempt = move_attempt(make_attempt(), "succeeded")
    with pytest.raises(RefundError, match="reason: must not be empty"):
        ask(attempt, decision=Decision("mei", "  "))
    assert not Refund.objects.exists()


def test_reversal_needs_the_gateways_order_and_the_whole_payment() -> None:
    attempt = move_attempt(make_attempt(), "succeeded")
    with pytest.raises(RefundError, match="must have a known order at the gateway"):
        ask_reverse(attempt, now=attempt.armed_at)
    PaymentAttempt.objects.filter(pk=attempt.pk).update(gateway_order_id="1001", amount_refunded_minor=1)
    with pytest.raises(RefundError, match="must not be partly refunded"):
        ask_reverse(attempt, now=attempt.armed_at)
    PaymentAttempt.objects.filter(pk=attempt.pk).update(amount_refunded_minor=0)
    with pytest.raises(RefundError, match="15 minutes"):
        ask_reverse(attempt, now=attempt.armed_at + REVERSE_WINDOW)
    assert ask_reverse(attempt, now=attempt.armed_at + REVERSE_WINDOW - timedelta(seconds=1)).kind == "reverse"


def test_two_requests_at_once_get_one_refund_and_one_refusal(shop: Shop) -> None:
    attempt = paid(shop)
    came: list[str] = []

    def asks() -> None:
        try:
            came.append(ask(attempt).state)
        except RefundError as error:
            came.append(str(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=asks) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    came.remove("requested")
    assert came == ["attempt: has an open refund; its outcome must be known first"] * 3
    before = posts(shop)
    shop.refund()
    assert posts(shop) == before + 1


def test_many_workers_send_a_refund_once(shop: Shop, profile: str) -> None:
    attempts = [paid(shop) for _ in range(5)]
    for attempt in attempts:
        ask(attempt)
    before = posts(shop)

    def work() -> None:
        try:
            shop.refund()
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(Refund.objects.values_list("state", flat=True)) == {"succeeded"}
    assert posts(shop) == before + 5
    assert [at_gateway(shop, attempt)["refunded"] for attempt in attempts] == [1990] * 5


def stop_account() -> None:
    GatewayAccount.objects.update(stopped_at=database_now(), stopped_reason="prices")


def stop_installation() -> None:
    Installation.objects.update(stopped_at=database_now())


def lower_limit() -> None:
    GatewayAccount.objects.update(charge_limit_minor=1989)


def make_live() -> None:
    GatewayAccount.objects.update(environment="live")


def start_again() -> None:
    Installation.objects.update(stopped_at=None)
    GatewayAccount.objects.update(
        stopped_at=None, stopped_reason="", charge_limit_minor=10_000, environment="simulator"
    )


@pytest.mark.parametrize(
    ("breaker", "reason"),
    [
        (stop_account, "account_stopped"),
        (stop_installation, "account_stopped"),
        (lower_limit, "above_limit"),
        (make_live, "live_not_allowed"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_request_waits_unsent_while_a_breaker_is_on(shop: Shop, breaker: Callable[[], None], reason: str) -> None:
    refund, before = ask(paid(shop)), posts(shop)
    breaker()
    assert shop.refund().armed == 0
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason, refund.armed_at, posts(shop)) == ("requested", reason, None, before)
    start_again()
    assert shop.refund().armed == 0, "it is looked at once a minute"
    Refund.objects.update(next_check_at=database_now())
    shop.refund()
    refund.refresh_from_db()
    assert (refund.state, posts(shop)) == ("succeeded", before + 1)


def test_a_request_waits_while_the_gateway_is_away(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    refund = ask(paid(shop))

    def away(*_: object) -> None:
        raise GatewayUnavailableError("connection refused")

    with monkeypatch.context() as broken:
        broken.setattr(Gateway, "read_transaction", away)
        shop.refund()
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason, refund.checks_failed) == ("requested", "gateway_unavailable", 1)
    Refund.objects.update(next_check_at=database_now())
    shop.refund()
    refund.refresh_from_db()
    assert refund.state == "succeeded"


def test_unknown_refund_that_cannot_be_checked_ends_in_review(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.simulator.set(refund_outcome="lost_after")
    refund = ask(paid(shop))
    shop.refund()

    def away(*_: object) -> None:
        raise GatewayUnavailableError("connection refused")

    monkeypatch.setattr(Gateway, "read_transaction", away)
    shop.refund(database_now() + LAST)
    refund.refresh_from_db()
    assert (refund.state, refund.checks_done, refund.checks_failed) == ("unknown", 0, 1)
    shop.refund(database_now() + timedelta(days=4))
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason) == ("needs_review", "reads_keep_failing")


def test_a_request_is_withdrawn_until_it_is_sent(shop: Shop) -> None:
    attempt, before = paid(shop), posts(shop)
    refund = ask(attempt)
    withdraw(refund=refund, decision=Decision("mei", "wrong customer"), tuning=SHORT, now=database_now())
    shop.refund()
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason, posts(shop)) == ("not_sent", "withdrawn", before)
    detail = RefundEvidence.objects.get(refund_id=refund.pk, source="operator").content["detail"]
    assert (detail["actor"], detail["reason"]) == ("mei", "wrong customer")
    assert events_of(refund) == ["refund.requested", "refund.failed"]
    second = ask(attempt)
    shop.refund()
    with pytest.raises(RefundError, match="state: "):
        withdraw(refund=second, decision=Decision("mei", "too late"), tuning=SHORT, now=database_now())


@pytest.mark.parametrize("reverse", [False, True], ids=["refund", "reverse"])
@pytest.mark.parametrize("resolution", list(RefundResolution))
def test_decision_closes_what_evidence_could_not(shop: Shop, resolution: RefundResolution, reverse: bool) -> None:
    shop.simulator.set(refund_outcome="dropped_before")
    attempt = paid(shop)
    refund = ask_reverse(attempt) if reverse else ask(attempt)

    def decide(reason: str = "asked the gateway") -> str:
        return resolve_refund(
            refund=refund, resolution=resolution, decision=Decision("mei", reason), tuning=SHORT, now=database_now()
        ).value

    with pytest.raises(RefundError, match="must need review"):
        decide()
    shop.refund()
    check_until_the_end(shop)
    with pytest.raises(RefundError, match="reason: "):
        decide(" ")
    if resolution is RefundResolution.REFUNDED:
        with pytest.raises(RefundError, match="resolution: the gateway shows 0 sen of the payment refunded"):
            decide()
        shop.simulator.set(refund_outcome="auto")
        in_the_portal(shop, attempt, reverse=reverse)  # the gateway was slow
    expected = "succeeded" if resolution is RefundResolution.REFUNDED else "not_refunded"
    assert decide() == expected
    with pytest.raises(RefundError, match="must need review"):
        decide()
    refund.refresh_from_db()
    attempt.refresh_from_db()
    back = expected == "succeeded"
    assert attempt.amount_refunded_minor == (1990 if back and not reverse else 0)
    assert attempt.state == ("reversed" if back and reverse else "succeeded")
    moves = ["refund.requested", "refund.sending", "refund.unknown", "refund.needs_review"]
    assert events_of(refund) == [*moves, "refund.succeeded" if back else "refund.failed"]
    evidence = RefundEvidence.objects.filter(refund_id=refund.pk).latest("id")
    assert (evidence.source, evidence.reason, refund.state_reason) == ("operator", "decided_by_person", evidence.reason)
    assert (evidence.content["detail"]["actor"], evidence.content["detail"]["reason"]) == ("mei", "asked the gateway")


def test_wrong_decision_is_corrected_by_later_gateway_evidence(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Called not refunded, and seen as refunded afterwards: the money is in the books all the same."""
    shop.simulator.set(refund_outcome="lost_after")
    attempt = paid(shop)
    refund = ask(attempt)
    shop.refund()

    def away(*_: object) -> None:
        raise GatewayUnavailableError("connection refused")

    with monkeypatch.context() as broken:
        broken.setattr(Gateway, "read_transaction", away)
        shop.refund(database_now() + timedelta(days=4))
        given: dict[str, Any] = {"decision": Decision("mei", "a guess"), "tuning": SHORT, "now": database_now()}
        resolve_refund(refund=refund, resolution=RefundResolution.NOT_REFUNDED, **given)
    check_with_gateway(invoice=attempt.invoice, tuning=SHORT, now=database_now())
    attempt.refresh_from_db()
    assert (attempt.amount_refunded_minor, at_gateway(shop, attempt)["refunded"]) == (1990, 1990)
    states = Refund.objects.order_by("id").values_list("origin", "state")
    assert list(states) == [("engine", "not_refunded"), ("gateway", "succeeded")]


def test_nobody_denies_a_refund_that_the_gateway_shows(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.simulator.set(refund_outcome="lost_after")
    attempt = paid(shop)
    refund = ask(attempt)
    shop.refund()
    given: dict[str, Any] = {"decision": Decision("mei", "a guess"), "tuning": SHORT, "now": database_now()}
    move_refund(refund, "needs_review")
    before = RefundEvidence.objects.count()
    with pytest.raises(RefundError, match="resolution: the gateway shows that it was refunded") as refused:
        resolve_refund(refund=refund, resolution=RefundResolution.NOT_REFUNDED, **given)
    assert refused.value.rule == "refunded_at_the_gateway"

    def away(*_: object) -> None:
        assert not connection.in_atomic_block, "nobody is asked inside a transaction"
        raise GatewayUnavailableError("connection refused")

    monkeypatch.setattr(Gateway, "read_transaction", away)
    with pytest.raises(GatewayUnavailableError):
        resolve_refund(refund=refund, resolution=RefundResolution.REFUNDED, **given)
    refund.refresh_from_db()
    assert (refund.state, RefundEvidence.objects.count()) == ("needs_review", before)
    monkeypatch.undo()
    assert resolve_refund(refund=refund, resolution=RefundResolution.REFUNDED, **given) == "succeeded"
    shown = RefundEvidence.objects.latest("id").content["detail"]["transaction"]
    assert shown["status"] == "FULL_REFUNDED"


def test_request_delayed_past_its_window_is_not_sent(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after SIGSTOP and SIGCONT between the commit and the request."""
    from billing.gateway import connection as gateway_connection

    refund, before = ask(paid(shop)), posts(shop)
    send = Gateway.send_refund

    def late(self: Gateway, prepared: PreparedRequest, **kwargs: object) -> object:
        seconds, read_at = gateway_connection.clock._base
        monkeypatch.setattr(gateway_connection.clock, "_base", (seconds + 25, read_at))
        return send(self, prepared, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Gateway, "send_refund", late)
    shop.refund()
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason, posts(shop)) == ("not_sent", "expired", before)
