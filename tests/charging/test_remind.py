"""A reminder a day for each case that still waits, by the clocks of the account."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.db import connection

from billing.charging.remind import remind
from billing.charging.resolve import release_card
from billing.models import Event, Evidence, GatewayAccount, PaymentAttempt
from tests.factories import NOW, make_account, make_attempt, make_card, make_customer, make_invoice, move_attempt

pytestmark = pytest.mark.django_db
# In Kuala Lumpur: noon, one minute to midnight, and midnight.
NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)
BEFORE_MIDNIGHT = datetime(2026, 3, 2, 15, 59, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 2, 16, 0, tzinfo=UTC)


def a_case(since: datetime = NOON, account: GatewayAccount | None = None) -> PaymentAttempt:
    card = make_card(make_customer(account or make_account()))
    attempt = move_attempt(make_attempt(make_invoice(card), card), "unknown", "needs_human")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # evidence is append-only
        cursor.execute("UPDATE billing_evidence SET recorded_at = %s WHERE id = %s", [since, attempt.last_evidence_id])
        cursor.execute("SET LOCAL session_replication_role = origin")
    return attempt


def reminders() -> list[tuple[int, str]]:
    return list(Event.objects.filter(kind="attempt.still_needs_human").values_list("subject_id", "occasion"))


def test_a_case_is_told_again_on_the_next_day_and_then_once_a_day() -> None:
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


def test_a_reminder_says_what_the_case_holds_up_and_since_when() -> None:
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


def test_what_was_decided_is_not_told_again() -> None:
    move_attempt(a_case(), "not_charged")
    assert remind(now=MIDNIGHT) == 0


def test_many_cases_are_told_in_several_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.charging.remind.BATCH", 2)
    account = make_account()
    for _ in range(5):
        a_case(account=account)
    assert remind(now=MIDNIGHT) == 5
    assert remind(now=MIDNIGHT) == 0


def test_a_tick_reminds_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.management.commands.tick.database_now", lambda: MIDNIGHT)
    attempt = a_case()
    GatewayAccount.objects.update(stopped_at=NOW, stopped_reason="a test", stopped_by="siti")
    call_command("tick")
    assert reminders() == [(attempt.pk, "2026-03-03")]


@pytest.mark.django_db(transaction=True)
def test_two_that_remind_at_once_tell_once() -> None:
    attempt = move_attempt(make_attempt(), "unknown", "needs_human")
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
