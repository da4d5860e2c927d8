"""Money given back through the real simulator, at a gateway that behaves and at a hostile one."""

from datetime import timedelta
from typing import Any

import pytest

from billing.charging.refunds.ask import RefundError
from billing.domain.decisions import Decision
from billing.gateway import connection as gateway_connection
from billing.models import Invoice, Refund, RefundEvidence, Transition
from billing.models.clock import database_now
from rm_gateway.simulator.outcomes import OUTCOMES, OUTCOMES_OF_REFUNDS, Answer, Money
from tests.charging.refunding import (
    LAST,
    REFUND,
    REVERSE,
    ask,
    ask_reverse,
    at_gateway,
    check_until_the_end,
    events_of,
    paid,
    posts,
)
from tests.conftest import Shop
from tests.factories import move_attempt

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("patience")]

# --- when all is well ---------------------------------------------------------------------------------------


def test_all_of_a_payment_goes_back(shop: Shop, profile: str) -> None:
    attempt, before = paid(shop), posts(shop)
    refund = ask(attempt)
    assert (refund.state, refund.kind, refund.amount_minor, posts(shop)) == ("requested", "full", 1990, before)

    assert shop.refund().states == {"succeeded": 1}

    refund.refresh_from_db()
    attempt.refresh_from_db()
    assert (refund.state, refund.settled_at is None, posts(shop)) == ("succeeded", False, before + 1)
    assert at_gateway(shop, attempt)["refunded"] == 1990
    assert (attempt.state, attempt.amount_refunded_minor) == ("succeeded", 1990)
    assert (attempt.invoice.state, Invoice.objects.get().amount_refunded_minor) == ("paid", 1990)
    assert events_of(refund) == ["refund.requested", "refund.sending", "refund.succeeded"]
    moves = Transition.objects.filter(subject_type="refund", subject_id=refund.pk).order_by("id")
    assert [(m.from_state, m.to_state, m.actor) for m in moves] == [
        ("", "requested", "mei"), ("requested", "sending", "engine"), ("sending", "succeeded", "engine"),
    ]  # fmt: skip
    assert moves[0].reason == "cancelled in time"
    assert [m.evidence_id for m in moves[1:]] == list(
        RefundEvidence.objects.filter(refund_id=refund.pk).order_by("id").values_list("id", flat=True)
    )


def test_request_is_frozen_without_the_token_or_the_reason(shop: Shop, profile: str) -> None:
    refund = ask(paid(shop), decision=Decision("mei", "Aminah is angry"))
    shop.refund()
    refund.refresh_from_db()
    body = bytes(refund.request_body).decode()
    assert refund.public_id in body
    assert "Aminah" not in body
    assert refund.request_url.startswith(shop.account.api_url)
    assert refund.request_signature
    everything = " ".join(str(value) for value in Refund.objects.values().get(pk=refund.pk).values())
    assert "Bearer" not in everything


def test_parts_are_refunded_in_turn_and_never_exceed_the_payment(shop: Shop, simulator: Any) -> None:
    attempt = paid(shop)
    for part, left in ((500, 1490), (490, 1000)):
        refund = ask(attempt, part)
        assert refund.kind == "partial"
        shop.refund()
        attempt.refresh_from_db()
        assert attempt.amount_minor - attempt.amount_refunded_minor == left
    with pytest.raises(RefundError, match="amount_minor: must be at most 1000"):
        ask(attempt, 1001)
    rest = ask(attempt)
    assert (rest.kind, rest.amount_minor) == ("partial", 1000)
    shop.refund()
    with pytest.raises(RefundError, match="already fully refunded"):
        ask(attempt)
    assert at_gateway(shop, attempt)["refunded"] == 1990
    assert Invoice.objects.get().amount_refunded_minor == 1990


def test_fresh_payment_is_reversed_and_its_invoice_is_held(shop: Shop, profile: str) -> None:
    attempt = paid(shop)
    refund = ask_reverse(attempt)
    assert shop.refund().states == {"succeeded": 1}
    attempt.refresh_from_db()
    refund.refresh_from_db()
    invoice = Invoice.objects.get()
    assert (refund.kind, refund.state, attempt.state) == ("reverse", "succeeded", "reversed")
    assert (invoice.state, invoice.hold, invoice.next_attempt_at) == ("open", "reversed", None)
    assert (invoice.amount_refunded_minor, attempt.amount_refunded_minor) == (0, 0)
    assert at_gateway(shop, attempt)["status"] == "REVERSED"
    assert shop.collect().armed == 0
    with pytest.raises(RefundError, match="must have money"):
        ask(attempt)


def test_a_refunded_invoice_is_never_charged_again(shop: Shop, profile: str) -> None:
    attempt = paid(shop)
    ask(attempt)
    shop.refund()
    # Even if something opened it again and put it on the work list:
    Invoice.objects.update(state="open", closed_at=None, next_attempt_at=database_now(), look_from_at=None)
    move_attempt(attempt, "reversed")
    for _ in range(2):
        assert shop.collect().armed == 0
    assert Invoice.objects.get().refusal in ("already_refunded", "card_held")


# --- when it is not -----------------------------------------------------------------------------------------


def test_unsupported_part_is_refused_with_the_gateways_code(shop: Shop, profile: str) -> None:
    attempt = paid(shop)
    shop.simulator.set(refund_partial=False)
    refund = ask(attempt, 500)
    assert shop.refund().states == {"refused": 1}
    refund.refresh_from_db()
    attempt.refresh_from_db()
    assert (refund.state_reason, attempt.amount_refunded_minor) == ("UNSUPPORTED_REFUND", 0)
    assert events_of(refund) == ["refund.requested", "refund.sending", "refund.failed"]
    # What was refused may be asked for in another way.
    whole = ask(attempt)
    shop.refund()
    whole.refresh_from_db()
    assert whole.state == "succeeded"


def test_a_reversal_after_the_gateways_window_is_refused(shop: Shop, profile: str) -> None:
    attempt = paid(shop)
    shop.simulator.set(reverse_window=0)
    refund = ask_reverse(attempt)
    assert shop.refund().states == {"refused": 1}
    refund.refresh_from_db()
    attempt.refresh_from_db()
    assert (refund.state_reason, attempt.state) == ("EXCEED_TIME_FOR_REVERSE_TRANSACTION", "succeeded")


def test_reversal_is_neither_requested_nor_armed_when_too_late(shop: Shop, profile: str) -> None:
    attempt, before, late = paid(shop), posts(shop, REVERSE), database_now() + timedelta(minutes=16)
    with pytest.raises(RefundError, match="15 minutes"):
        ask_reverse(attempt, now=late)
    refund = ask_reverse(attempt)
    assert shop.refund(late).states == {"not_sent": 1}
    refund.refresh_from_db()
    assert (refund.state_reason, refund.armed_at, posts(shop, REVERSE)) == ("reverse_window_passed", None, before)


SLOW = {Answer.HANGS, Answer.TRICKLES_BODY, Answer.TRICKLES_HEADERS, Answer.HUGE, Answer.DEEP}
NOT_EXECUTED = {"validation_error", "throttled", "signature_error", "endpoint_not_found"}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("reverse", [False, True], ids=["refund", "reverse"])
@pytest.mark.parametrize("outcome", [name for name in OUTCOMES_OF_REFUNDS if OUTCOMES[name].answer not in SLOW])
def test_refund_is_sent_once_and_the_books_agree_for_any_answer(
    shop: Shop, profile: str, outcome: str, reverse: bool
) -> None:
    attempt = paid(shop)
    route = REVERSE if reverse else REFUND
    before = posts(shop, route)
    shop.simulator.set(refund_outcome=outcome)
    refund = ask_reverse(attempt) if reverse else ask(attempt)
    shop.refund()
    refund.refresh_from_db()
    assert refund.state == ("not_sent" if outcome in NOT_EXECUTED else "unknown")
    shop.simulator.set(refund_outcome="auto")
    shop.refund(database_now() + LAST)

    refund.refresh_from_db()
    moved = OUTCOMES[outcome].money is not Money.UNTOUCHED
    if outcome not in NOT_EXECUTED:
        if not moved:
            assert refund.state == "unknown"
            check_until_the_end(shop)
            refund.refresh_from_db()
        assert refund.state == ("succeeded" if moved else "needs_review")
    assert posts(shop, route) == before + 1
    attempt.refresh_from_db()
    charge = at_gateway(shop, attempt)
    assert attempt.amount_refunded_minor == charge["refunded"] == (1990 if moved and not reverse else 0)
    assert (attempt.state == "reversed") == (charge["status"] == "REVERSED") == (moved and reverse)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("outcome", ["hangs_after", "hangs_before", "trickles_headers", "huge", "deep"])
def test_endless_answer_leaves_an_unknown_refund_that_is_checked(
    shop: Shop, outcome: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt, before = paid(shop), posts(shop)
    shop.simulator.set(refund_outcome=outcome)
    refund = ask(attempt)
    with monkeypatch.context() as impatient:
        settings.KITARAN_GATEWAY_TOTAL_SECONDS = 2
        impatient.setattr(gateway_connection, "_gateways", {})
        shop.refund()
    refund.refresh_from_db()
    assert refund.state == "unknown"
    check_until_the_end(shop)
    refund.refresh_from_db()
    assert refund.state == ("needs_review" if outcome == "hangs_before" else "succeeded")
    assert posts(shop) == before + 1
