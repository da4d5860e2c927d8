"""Each guard of settling refunds, and of what is seen at the gateway, where another would usually step in."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from billing.charging.refunds.settle import record_seen, write_down
from billing.charging.refunds.worker import sweep_refunds
from billing.domain.refunds import (
    RefundSource,
    RefundVerdict,
)
from billing.gateway.connection import ReadTransaction
from billing.gateway.findings import finding_from_refund_error
from billing.models import PaymentAttempt, Refund, RefundEvidence, Transition
from rm_gateway.errors import Declined, GatewayError, NotSent, Rejected, Unknown
from tests.charging.refund_rows import captured, settled, shown
from tests.charging.refunding import events_of
from tests.conftest import SHORT
from tests.factories import (
    NOW,
    make_attempt,
    make_refund,
    move_attempt,
    move_refund,
)

pytestmark = pytest.mark.django_db
V, S = RefundVerdict, RefundSource


# --- settling -----------------------------------------------------------------------------------------------

ENDS = [
    (("sending",), V.REFUNDED, "succeeded", "refund.succeeded", 1990),
    (("sending",), V.REFUSED, "refused", "refund.failed", 0),
    (("sending",), V.NOT_SENT, "not_sent", "refund.failed", 0),
    (("sending", "unknown"), V.NOTHING_AT_LAST, "needs_review", "refund.needs_review", 0),
]


@pytest.mark.parametrize(("states", "verdict", "state", "event", "back"), ENDS)
def test_a_refund_moves_once_and_everything_around_it_with_it(
    states: tuple[str, ...], verdict: RefundVerdict, state: str, event: str, back: int
) -> None:
    refund = move_refund(make_refund(captured()), *states)
    for _ in range(2):
        settled(refund, verdict)
    refund.attempt.refresh_from_db()
    assert (refund.state, refund.next_check_at, refund.attempt.amount_refunded_minor) == (state, None, back)
    assert events_of(refund) == [event]
    moved = Transition.objects.get(subject_type="refund", subject_id=refund.pk)
    assert (moved.from_state, moved.to_state, moved.evidence_id) == (states[-1], state, refund.last_evidence_id)


def test_repeated_finding_changes_nothing() -> None:
    refund = move_refund(make_refund(captured()), "sending", "unknown")
    for _ in range(3):
        settled(refund, V.UNCHANGED, S.TRANSACTION_QUERY)
    assert refund.checks_done == 1
    assert RefundEvidence.objects.filter(refund_id=refund.pk, verdict="unchanged").count() == 1


def test_money_that_went_back_after_all_is_an_alarm() -> None:
    refund = move_refund(make_refund(captured()), "sending", "refused")
    settled(refund, V.REFUNDED, S.TRANSACTION_QUERY)
    assert (refund.state, events_of(refund)) == ("refused", ["refund.alarm"])


@pytest.mark.parametrize(
    ("states", "source", "counts"),
    [
        (("sending", "unknown"), S.TRANSACTION_QUERY, 1),
        (("sending", "unknown"), S.ANSWER, 0),
        (("sending",), S.TRANSACTION_QUERY, 0),
        (("sending", "succeeded"), S.TRANSACTION_QUERY, 0),
    ],
)
def test_while_undecided_queries_count_as_rungs_when_unknown(
    states: tuple[str, ...], source: RefundSource, counts: int, caplog: pytest.LogCaptureFixture
) -> None:
    refund = move_refund(make_refund(captured()), *states)
    settled(refund, V.UNCHANGED, source)
    assert (refund.state, refund.checks_done) == (states[-1], counts)
    assert (refund.next_check_at is not None) is bool(counts)


def test_while_undecided_checks_go_on_beyond_the_ladder() -> None:
    refund = move_refund(make_refund(captured()), "sending", "unknown", checks_done=len(SHORT.ladder))
    settled(refund, V.UNCHANGED, S.TRANSACTION_QUERY)
    assert refund.next_check_at == NOW + SHORT.ladder[-1]


def test_refund_is_swept_after_its_deadline_only_while_sending() -> None:
    refund = move_refund(make_refund(captured()), "sending")
    move_refund(make_refund(move_attempt(make_attempt(), "succeeded")), "sending", "refused")
    assert refund.deadline_at is not None
    assert sweep_refunds(tuning=SHORT, now=refund.deadline_at - timedelta(seconds=1)) == 0
    assert sweep_refunds(tuning=SHORT, now=refund.deadline_at) == 1
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason, refund.next_check_at) == ("unknown", "sender_lost", refund.deadline_at)
    assert RefundEvidence.objects.filter(source="sweeper").count() == 1


@pytest.mark.parametrize(("state", "of_the_invoice"), [("succeeded", 1990), ("surplus", 0)])
def test_refund_of_an_overpayment_is_not_counted_on_the_invoice(state: str, of_the_invoice: int) -> None:
    attempt = move_attempt(make_attempt(), state)
    refund = move_refund(make_refund(attempt), "sending")
    settled(refund, V.REFUNDED)
    attempt.invoice.refresh_from_db()
    assert attempt.invoice.amount_refunded_minor == of_the_invoice


# --- what the gateway shows ---------------------------------------------------------------------------------


def see(attempt: PaymentAttempt, read: ReadTransaction) -> list[Refund]:
    with transaction.atomic():
        return record_seen({attempt.pk: read}, tuning=SHORT, now=NOW)


def test_gateway_refund_is_recorded_counted_and_reported_once() -> None:
    attempt = captured()
    (refund,) = see(attempt, shown("PARTIAL_REFUNDED", balance=1490))
    assert (refund.amount_minor, refund.state, refund.origin) == (500, "succeeded", "gateway")
    assert see(attempt, shown("PARTIAL_REFUNDED", balance=1490)) == []
    attempt.refresh_from_db()
    assert (attempt.amount_refunded_minor, events_of(refund)) == (500, ["refund.succeeded"])
    assert Transition.objects.get(subject_type="refund").to_state == "succeeded"


def test_gateway_refund_must_be_of_this_payment_and_so_called() -> None:
    assert see(captured(), shown(transaction_id="2002")) == []
    assert see(captured(), shown("SUCCESS", balance=1490)) == []
    attempt = move_attempt(make_attempt(), "unknown", "not_charged", gateway_transaction_id="2001")
    assert see(attempt, shown()) == []


@pytest.mark.parametrize("states", [("sending",), ("sending", "unknown"), ("sending", "unknown", "needs_review")])
def test_gateway_refund_is_left_to_a_refund_that_may_have_acted(states: tuple[str, ...]) -> None:
    attempt = captured()
    move_refund(make_refund(attempt), *states)
    assert see(attempt, shown()) == []


@pytest.mark.parametrize(
    ("asked", "end", "left"),
    [
        ({"kind": "partial", "amount_minor": 500}, "already_given_back", 0),
        ({"kind": "partial", "amount_minor": 499}, "already_given_back", 0),
        ({"kind": "partial", "amount_minor": 501}, "partly_given_back", 1),
        ({"kind": "full"}, "partly_given_back", 1490),
        ({"kind": "reverse"}, "partly_given_back", 1490),
    ],
)
def test_gateway_refund_ends_a_request_that_it_is_a_part_of(asked: dict[str, Any], end: str, left: int) -> None:
    attempt = captured()
    refund = make_refund(attempt, **asked)
    assert len(see(attempt, shown("PARTIAL_REFUNDED", balance=1490))) == 1
    refund.refresh_from_db()
    assert (refund.state, refund.state_reason) == ("not_sent", end)
    ended = RefundEvidence.objects.get(refund_id=refund.pk)
    assert ended.content["detail"] == {"refunded_minor": 500, "still_owed_minor": left}


def test_gateway_refund_recorded_before_leaves_a_request_alone() -> None:
    attempt = captured()
    see(attempt, shown("PARTIAL_REFUNDED", balance=1490))
    attempt.refresh_from_db()
    refund = make_refund(attempt, kind="partial", amount_minor=500)
    assert see(attempt, shown("PARTIAL_REFUNDED", balance=1490)) == []
    refund.refresh_from_db()
    assert refund.state == "requested"


@pytest.mark.django_db(transaction=True)
def test_gateway_reversal_takes_the_payment_back() -> None:
    attempt = captured()
    write_down({attempt.pk: shown("REVERSED")}, tuning=SHORT, now=NOW)
    attempt.refresh_from_db()
    assert attempt.state == "reversed"


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (Declined("no", code="PAYMENT_NOT_REFUNDABLE"), V.REFUSED),
        (NotSent("no", kind="connect"), V.NOT_SENT),
        (Rejected("no", kind="signature"), V.NOT_SENT),
        (Unknown("timeout"), V.UNCLEAR),
    ],
)
def test_refund_error_is_certain_only_when_its_code_is_listed(error: GatewayError, verdict: RefundVerdict) -> None:
    assert finding_from_refund_error(error).verdict is verdict
