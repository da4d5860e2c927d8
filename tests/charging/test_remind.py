"""A reminder a day for each case that still waits, by the clocks of the account."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from billing.charging.cases import approvals
from billing.charging.cases.remind import remind
from billing.charging.cases.resolve import release_card
from billing.domain.resolution import ProposalKind
from billing.models import Event, Evidence, GatewayAccount, Invoice, PaymentAttempt, PaymentMethod, Proposal
from tests.factories import NOW, make_account, make_attempt, make_card, make_customer, make_invoice, move_attempt

pytestmark = pytest.mark.django_db
# In Kuala Lumpur: noon, one minute to midnight, and midnight.
NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)
BEFORE_MIDNIGHT = datetime(2026, 3, 2, 15, 59, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 2, 16, 0, tzinfo=UTC)


def a_case(since: datetime = NOON, account: GatewayAccount | None = None) -> PaymentAttempt:
    card = make_card(make_customer(account or make_account()))
    attempt = move_attempt(make_attempt(make_invoice(card), card), "unknown", "needs_review")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # evidence is append-only
        cursor.execute("UPDATE billing_evidence SET recorded_at = %s WHERE id = %s", [since, attempt.last_evidence_id])
        cursor.execute("SET LOCAL session_replication_role = origin")
    return attempt


def reminders() -> list[tuple[int, str]]:
    return list(
        Event.objects.filter(kind="attempt.still_needs_review").order_by("pk").values_list("subject_id", "occasion")
    )


def test_case_is_reminded_of_on_the_next_day_and_then_daily() -> None:
    attempt = a_case()
    assert remind(now=BEFORE_MIDNIGHT) == 0, "the first day has its own event"
    assert remind(now=MIDNIGHT) == 1
    assert remind(now=MIDNIGHT + timedelta(hours=23)) == 0
    assert remind(now=MIDNIGHT + timedelta(days=1)) == 1
    assert reminders() == [(attempt.pk, "2026-03-03"), (attempt.pk, "2026-03-04")]


def test_the_day_is_the_accounts_own() -> None:
    london = a_case(account=make_account(time_zone="Europe/London"))
    malaysia = a_case()
    assert remind(now=MIDNIGHT) == 1
    assert reminders() == [(malaysia.pk, "2026-03-03")]
    assert remind(now=datetime(2026, 3, 3, 0, 0, tzinfo=UTC)) == 1
    assert reminders()[-1] == (london.pk, "2026-03-03")


def test_reminder_shows_what_the_case_blocks_and_since_when() -> None:
    attempt = a_case()
    held = make_invoice(attempt.payment_method, next_attempt_at=NOW, due_at=NOW)
    remind(now=MIDNIGHT)
    payload = Event.objects.get().payload
    assert payload["since"] == NOON.isoformat()
    assert (payload["attempt"], payload["amount_minor"], payload["holds_up_count"]) == (attempt.public_id, 1990, 1)
    assert payload["holds_up"][0]["invoice"] == held.public_id

    release_card(attempt=attempt, reason="the customer waits", actor="siti", now=MIDNIGHT)
    remind(now=MIDNIGHT + timedelta(days=1))
    later = Event.objects.latest("pk").payload
    assert (later["holds_up_count"], later["holds_up"]) == (0, []), "a released card holds up nobody else"


def test_decided_case_is_not_reminded_of() -> None:
    move_attempt(a_case(), "not_charged")
    assert remind(now=MIDNIGHT) == 0


def propose(subject: PaymentAttempt | Invoice | PaymentMethod, now: datetime = NOON) -> Proposal:
    person = approvals.Person("siti", 1)
    if isinstance(subject, PaymentAttempt):
        return approvals.propose(subject, ProposalKind.NOT_CHARGED, reason="r", person=person, now=now)
    kind = ProposalKind.VOID if isinstance(subject, Invoice) else ProposalKind.CLEAR_HOLD
    return approvals.propose(subject, kind, reason="r", person=person, now=now)


def held_card() -> PaymentMethod:
    return make_card(held_at=NOW, held_reason="unexplained_order")


SUBJECTS = pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: move_attempt(make_attempt(), "needs_review"), "attempt"),
        (make_invoice, "invoice"),
        (held_card, "payment_method"),
    ],
    ids=["attempt", "invoice", "card"],
)


@SUBJECTS
def test_proposal_is_announced_at_once_and_reminded_of_daily(make: Callable[[], Any], name: str) -> None:
    subject = make()
    proposal = propose(subject)
    created = Event.objects.get(kind="proposal.created")
    assert (created.account_id, created.subject_id) == (subject.account_id, proposal.pk)
    assert created.payload == {
        "changes": {"state": {"from": None, "to": "open"}},
        "reason": proposal.reason,
        "proposal": proposal.public_id,
        "kind": proposal.kind,
        name: subject.public_id,
        "proposed_by": "siti",
        "since": NOON.isoformat(),
    }

    def days() -> list[str]:
        told = Event.objects.filter(kind="proposal.still_waiting", subject_id=proposal.pk).order_by("pk")
        return list(told.values_list("occasion", flat=True))

    remind(now=BEFORE_MIDNIGHT)
    assert days() == [], "the first day has its own event"
    for now in (MIDNIGHT, MIDNIGHT + timedelta(hours=23), MIDNIGHT + timedelta(days=1)):
        remind(now=now)
    assert days() == ["2026-03-03", "2026-03-04"]
    Proposal.objects.update(outcome="rejected", decided_at=MIDNIGHT, decided_by="mei")
    remind(now=MIDNIGHT + timedelta(days=2))
    assert len(days()) == 2


def test_proposal_that_nobody_can_decide_is_not_reminded_of() -> None:
    invoice = make_invoice()
    propose(invoice)
    Invoice.objects.update(state="paid", closed_at=NOON, next_attempt_at=None)
    assert remind(now=MIDNIGHT) == 0


def test_many_proposals_are_reminded_of_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.charging.cases.remind.BATCH", 2)
    card = make_card()
    for _ in range(5):
        propose(make_invoice(card))
    assert remind(now=MIDNIGHT) == 5
    assert remind(now=MIDNIGHT) == 0


def test_many_cases_are_reminded_of_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.charging.cases.remind.BATCH", 2)
    account = make_account()
    for _ in range(5):
        a_case(account=account)
    assert remind(now=MIDNIGHT) == 5
    assert remind(now=MIDNIGHT) == 0


def test_a_tick_reminds_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.management.commands.tick.read_clock", lambda: MIDNIGHT)
    attempt = a_case()
    GatewayAccount.objects.update(stopped_at=NOW, stopped_reason="a test", stopped_by="siti")
    call_command("tick")
    assert reminders() == [(attempt.pk, "2026-03-03")]


@pytest.mark.django_db(transaction=True)
def test_two_simultaneous_runs_remind_once() -> None:
    attempt = move_attempt(make_attempt(), "unknown", "needs_review")
    assert Evidence.objects.get(pk=attempt.last_evidence_id).recorded_at == NOW
    barrier, errors = threading.Barrier(4), []

    def run() -> None:
        try:
            barrier.wait(10)
            remind(now=MIDNIGHT)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert reminders() == [(attempt.pk, "2026-03-03")]
