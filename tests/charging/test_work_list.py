"""The work list, and the locks and marks around it, each asked for by itself."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from billing.domain.arming import PREFLIGHT_FRESH
from billing.domain.attempts import HOLDS_PLACE, UNRESOLVED, AttemptState
from billing.gateway.sending_clock import read_clock
from billing.models import GatewayAccount, Installation, Invoice, PaymentAttempt
from billing.models.bulk import arming
from billing.operating.clocks import ask_gateways
from tests.charging.held_rows import has_to_wait, somebody_holds
from tests.conftest import Shop
from tests.factories import (
    NOW,
    make_account,
    make_attempt,
    make_card,
    make_customer,
    make_invoice,
    make_subscription,
    move_attempt,
)
from tests.promises.attacks import run
from tests.promises.test_uniques import PATHS

pytestmark = pytest.mark.django_db
SOON = timedelta(seconds=1)


def listed(account: GatewayAccount, **changes: Any) -> list[tuple[int, int | None, int | None]]:
    known = {"now": NOW, "limit": 9, "preflight_always": False, "preflight_fresh": PREFLIGHT_FRESH, **changes}
    return sorted(arming.due_invoices(account.pk, **known))


def test_work_list_names_each_invoice_once_with_its_card() -> None:
    default = make_card()
    other = make_card(default.customer, is_default=False)
    by_default = make_invoice(default, payment_method=None)
    own = make_invoice(other)
    subscription = make_subscription(default, payment_method=other, next_due_at=None)
    of_subscription = make_invoice(default, subscription)
    assert listed(default.account) == [
        (by_default.pk, None, default.pk),
        (own.pk, None, other.pk),
        (of_subscription.pk, subscription.pk, other.pk),
    ]


def test_the_work_list_names_what_is_due_and_nobody_elses() -> None:
    due = make_invoice()
    make_invoice(due.payment_method, next_attempt_at=NOW + SOON)
    make_invoice()  # another account's
    assert listed(due.account) == [(due.pk, None, due.payment_method_id)]


@pytest.mark.parametrize(
    ("tries", "always", "read_at", "there"),
    [
        (0, False, None, True),
        (0, True, None, False),
        (0, True, NOW, True),
        (1, False, None, False),
        (1, False, NOW, True),
        (1, False, NOW - PREFLIGHT_FRESH, True),
        (1, False, NOW - PREFLIGHT_FRESH - SOON, False),
    ],
)
def test_the_work_list_leaves_out_what_has_to_be_read_first(
    tries: int, always: bool, read_at: datetime | None, there: bool
) -> None:
    invoice = make_invoice(attempt_count=tries, preflight_at=read_at)
    assert bool(listed(invoice.account, preflight_always=always)) is there


def test_only_running_accounts_with_due_work_are_worked_for() -> None:
    account = make_invoice().account
    make_account()
    assert arming.accounts_with_work(now=NOW) == [account.pk]
    assert arming.accounts_with_work(now=NOW - SOON) == []
    GatewayAccount.objects.update(stopped_at=NOW, stopped_reason="drill")
    assert arming.accounts_with_work(now=NOW) == []
    GatewayAccount.objects.update(stopped_at=None, stopped_reason="")
    Installation.objects.update(stopped_at=NOW)
    assert arming.accounts_with_work(now=NOW) == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", ["installation", "gatewayaccount"])
def test_stop_switch_waits_for_the_commit_of_arming(table: str) -> None:
    account, throw = make_account(), f"UPDATE billing_{table} SET stopped_at = now()"  # noqa: S608
    with transaction.atomic():
        arming.lock_account(account.pk)
        assert has_to_wait(throw)
    assert not has_to_wait(throw)


@pytest.mark.parametrize("state", sorted(AttemptState))
def test_card_and_invoice_are_taken_while_an_attempt_is_open(state: AttemptState) -> None:
    attempt = move_attempt(make_attempt(), *PATHS[state])
    Invoice.objects.update(next_attempt_at=NOW)
    card = arming.lock_cards([attempt.card_id])[attempt.card_id]
    invoice = arming.lock_invoices([attempt.invoice_id], now=NOW)[attempt.invoice_id]
    assert (card.has_unresolved_attempt, invoice.has_holder) == (state in UNRESOLVED, state in HOLDS_PLACE)


def test_a_released_card_is_free_and_its_invoice_is_not() -> None:
    attempt = move_attempt(make_attempt(), "unknown", "needs_review")
    Invoice.objects.update(next_attempt_at=NOW)
    PaymentAttempt.objects.update(released_at=NOW, released_by="siti", released_reason="the customer waits")
    assert not arming.lock_cards([attempt.card_id])[attempt.card_id].has_unresolved_attempt
    assert arming.lock_invoices([attempt.invoice_id], now=NOW)[attempt.invoice_id].has_holder


def test_a_refusal_puts_nothing_back_on_the_work_list() -> None:
    invoice = make_attempt().invoice
    arming.refuse([arming.Refused(invoice.pk, "constraint", NOW)], now=NOW)
    invoice.refresh_from_db()
    assert (invoice.next_attempt_at, invoice.refusal) == (None, None)


def test_unreachable_gateway_is_noted_once_and_leaves_it_due() -> None:
    due = make_invoice()
    later = make_invoice(due.payment_method, next_attempt_at=NOW + SOON)
    of_another = make_invoice()
    assert arming.note_unavailable(due.account_id, refusal="gateway_unavailable", now=NOW) == 1
    assert arming.note_unavailable(due.account_id, refusal="gateway_unavailable", now=NOW) == 0
    due.refresh_from_db()
    assert (due.refusal, due.refused_at, due.next_attempt_at) == ("gateway_unavailable", NOW, NOW)
    for other in (later, of_another):
        other.refresh_from_db()
        assert other.refusal is None


@pytest.mark.django_db(transaction=True)
def test_unreachable_gateway_is_noted_without_waiting_for_a_lock() -> None:
    invoice = make_invoice()
    with somebody_holds("invoice"):
        run("SET statement_timeout = '5s'")
        try:
            assert arming.note_unavailable(invoice.account_id, refusal="gateway_unavailable", now=NOW) == 0
        finally:
            run("SET statement_timeout = 0")
    assert arming.note_unavailable(invoice.account_id, refusal="gateway_unavailable", now=NOW) == 1


def test_a_clock_that_is_off_makes_nothing_due(shop: Shop, settings: Any) -> None:
    """Back by more than any invoice waits: by such a clock the next try of all of them lies too far ahead."""
    settings.KITARAN_CLOCK_TOLERANCE_SECONDS = 30
    now = read_clock()
    ask_gateways(now=now)
    later = now + timedelta(days=3)
    invoice = make_invoice(make_card(make_customer(shop.account)), next_attempt_at=later)
    wrong = now - timedelta(days=40)
    shop.sweep(wrong)
    invoice.refresh_from_db()
    assert invoice.next_attempt_at == later
