"""The first payment that makes a subscription active: paid, declined, unknown, late; and expiry when it is not paid."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from billing.accounts.gateway_accounts import stop_account
from billing.audit.invariants import Violation, violations
from billing.charging.attempts.settle import AttemptFinding, settle
from billing.charging.cases.approvals import propose
from billing.charging.cases.retry_now import retry_now
from billing.charging.cases.ways_out import reject_closing, write_off
from billing.charging.collecting.expire import expire_unpaid
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.decisions import Decision
from billing.domain.doubts import Doubt
from billing.domain.resolution import ProposalKind
from billing.models import (
    AccountTrouble,
    Event,
    GatewayAccount,
    Installation,
    Invoice,
    PaymentAttempt,
    PaymentMethod,
    Subscription,
    Transition,
)
from billing.models.clock import database_now
from billing.operating import quarantine
from billing.subscriptions import first_payment
from billing.subscriptions.activate import activate_waiting
from billing.subscriptions.lifecycle import cancel
from billing.subscriptions.renew import open_due
from tests.conftest import SHORT, Shop
from tests.factories import NOW, make_attempt, make_card, make_plan, make_unpaid, move_attempt

pytestmark = pytest.mark.django_db
HOUR, A_DAY = timedelta(hours=1), timedelta(days=1)
OVER = NOW + timedelta(hours=23)
DECLINED = Finding(Verdict.DECLINED, Source.ANSWER, reason="51", transaction_id="t-declined")


def armed(invoice: Invoice, at: datetime = NOW, card: PaymentMethod | None = None) -> PaymentAttempt:
    card = card or invoice.customer.payment_methods.get(is_default=True)
    Invoice.objects.filter(pk=invoice.pk).update(refusal=None, refused_at=None)
    return make_attempt(
        invoice,
        card,
        armed_at=at,
        window_ends_at=at + timedelta(seconds=20),
        deadline_at=at + timedelta(seconds=125),
    )


def paid(attempt: PaymentAttempt, **changes: Any) -> Finding:
    return Finding(
        Verdict.PAID,
        changes.pop("source", Source.ANSWER),
        amount_minor=attempt.amount_minor,
        currency=attempt.currency,
        store_id=attempt.account.store_id,
        marker=attempt.marker,
        transaction_id=f"transaction-{attempt.pk}",
        order_id=f"order-{attempt.pk}",
        reason="success",
    )


def told(attempt: PaymentAttempt, finding: Finding, now: datetime = NOW) -> Subscription:
    """The attempt's subscription after `finding` was settled at `now`."""
    settle([AttemptFinding(attempt.marker, finding)], tuning=SHORT, now=now)
    attempt.refresh_from_db()
    attempt.invoice.refresh_from_db()
    return Subscription.objects.get(invoices=attempt.invoice)


def a_decline(now: datetime = NOW, **given: Any) -> Invoice:
    invoice = make_unpaid(**given)
    told(armed(invoice, now), DECLINED, now)
    invoice.refresh_from_db()
    return invoice


def broken(now: datetime) -> list[Violation]:
    """What is not as it must be; but the attempts of these tests were not armed by the engine."""
    return [one for one in violations(now=now, tuning=SHORT) if one.invariant not in ("S3", "S8")]


def state_of(invoice: Invoice) -> tuple[str, str]:
    invoice.refresh_from_db()
    return Subscription.objects.get(invoices=invoice).state, invoice.state


# --- paid -----------------------------------------------------------------------------------------------------


def test_the_payment_makes_it_active_and_the_schedule_follows() -> None:
    attempt = armed(make_unpaid())
    subscription = told(attempt, paid(attempt), NOW + timedelta(seconds=3))
    assert (subscription.state, subscription.activated_at) == ("active", NOW)
    assert (subscription.next_due_at, subscription.occurrence, subscription.period_index) == (NOW + A_DAY, 1, 1)
    moved = Transition.objects.get(subject_type="subscription", from_state="incomplete", to_state="active")
    assert (moved.reason, moved.evidence_id is not None) == ("first_payment_paid", True)
    assert broken(NOW + HOUR) == []


def test_the_anchor_day_does_not_drift_by_a_late_payment() -> None:
    card = make_card()
    plan = make_plan(card.account, activates_on="payment", interval="MONTHLY", target=2, every=2)
    attempt = armed(make_unpaid(card, plan), NOW + 20 * HOUR)
    subscription = told(attempt, paid(attempt), NOW + 20 * HOUR)
    assert subscription.next_due_at == datetime.fromisoformat("2026-05-02T01:00:00+00:00")


def test_periods_before_the_charge_that_paid_are_not_owed() -> None:
    invoice = a_decline()
    attempt = armed(invoice, NOW + 50 * HOUR)
    subscription = told(attempt, paid(attempt), NOW + 50 * HOUR)
    assert subscription.next_due_at == NOW + 3 * A_DAY
    assert open_due(now=NOW + 50 * HOUR).invoices == 0
    assert broken(NOW + 51 * HOUR) == []


def test_periods_due_since_the_charge_that_paid_are_opened() -> None:
    attempt = armed(make_unpaid())
    told(attempt, Finding(Verdict.UNCLEAR, Source.ANSWER, reason="timeout"))
    late = NOW + 2 * A_DAY + 2 * HOUR
    subscription = told(attempt, paid(attempt, source=Source.ORDER_LIST), late)
    assert (subscription.state, subscription.next_due_at) == ("active", NOW + A_DAY)
    assert open_due(now=late).invoices == 2
    dates = list(Invoice.objects.order_by("period_index").values_list("due_at", flat=True))
    assert dates == [NOW, NOW + A_DAY, NOW + 2 * A_DAY]
    assert broken(late) == []


def test_an_outcome_within_seconds_skips_no_due_date() -> None:
    begun = NOW - timedelta(seconds=2)
    invoice = make_unpaid(now=begun)
    attempt = armed(invoice, begun)
    assert told(attempt, paid(attempt), NOW + timedelta(seconds=2)).next_due_at == NOW


def test_a_clock_that_stepped_back_opens_no_date_twice() -> None:
    attempt = armed(make_unpaid(), NOW - 2 * A_DAY)
    assert told(attempt, paid(attempt), NOW - 2 * A_DAY).next_due_at == NOW + A_DAY


def test_a_first_payment_that_is_the_only_one_completes_it() -> None:
    card = make_card()
    attempt = armed(make_unpaid(card, make_plan(card.account, activates_on="payment", repetitions=1)))
    subscription = told(attempt, paid(attempt))
    assert (subscription.state, subscription.next_due_at, subscription.ended_at) == ("completed", None, NOW)
    rows = Transition.objects.filter(subject_type="subscription").order_by("id").values_list("to_state", flat=True)
    assert list(rows)[-2:] == ["active", "completed"]
    assert broken(NOW + HOUR) == []


def test_the_first_payment_counts_as_a_repetition() -> None:
    card = make_card()
    attempt = armed(make_unpaid(card, make_plan(card.account, activates_on="payment", repetitions=2)))
    told(attempt, paid(attempt))
    open_due(now=NOW + A_DAY)
    subscription = Subscription.objects.get()
    assert (subscription.periods_charged, subscription.next_due_at) == (2, None)


def test_one_whose_schedule_cannot_be_read_keeps_its_evidence() -> None:
    attempt = armed(make_unpaid())
    Subscription.objects.update(time_zone="Moon/Crater")
    subscription = told(attempt, paid(attempt))
    assert (subscription.state, attempt.invoice.state, attempt.state) == ("incomplete", "open", "unknown")
    assert expire_unpaid(now=OVER + A_DAY) == 0


# --- declined -------------------------------------------------------------------------------------------------


def test_a_decline_leaves_it_waiting_for_another_card() -> None:
    attempt = armed(make_unpaid(), NOW + HOUR)
    subscription = told(attempt, DECLINED, NOW + HOUR)
    invoice = attempt.invoice
    assert (subscription.state, subscription.next_due_at) == ("incomplete", None)
    assert (invoice.state, invoice.next_attempt_at, invoice.refusal) == ("open", None, "first_charge_declined")
    assert (invoice.tries, invoice.refused_at) == (1, NOW + HOUR)
    assert subscription.first_payment_ends_at == OVER + HOUR, "the customer has all of the time to save another card"
    assert Event.objects.filter(kind="invoice.payment_failed").count() == 1
    assert broken(NOW + 2 * HOUR) == []


def test_another_card_is_charged_once_and_starts_it() -> None:
    invoice = a_decline()
    other = make_card(invoice.customer, is_default=False)
    activate_waiting(customer=invoice.customer, now=NOW + HOUR, saved=other)
    attempt = armed(invoice, NOW + HOUR, other)
    subscription = told(attempt, paid(attempt), NOW + HOUR)
    assert (subscription.state, subscription.next_due_at) == ("active", NOW + A_DAY)


def test_late_money_of_a_declined_charge_starts_it_now() -> None:
    invoice = a_decline()
    attempt = invoice.attempts.get()
    subscription = told(attempt, paid(attempt, source=Source.ORDER_LIST), NOW + 30 * HOUR)
    assert (subscription.state, attempt.state_reason) == ("active", "late_money")
    assert (subscription.activated_at, subscription.next_due_at) == (NOW + 30 * HOUR, NOW + 2 * A_DAY)


@pytest.mark.parametrize("charged", ["paid", "declined"])
def test_what_was_cancelled_meanwhile_is_not_started(charged: str) -> None:
    invoice = make_unpaid()
    attempt = armed(invoice)
    cancel(subscription=Subscription.objects.get(), reason="x", actor="siti", now=NOW)
    told(attempt, paid(attempt) if charged == "paid" else DECLINED)
    assert state_of(invoice) == ("canceled", "paid" if charged == "paid" else "open")


# --- expiry ---------------------------------------------------------------------------------------------------


def test_it_expires_when_its_time_is_over() -> None:
    invoice = a_decline()
    assert expire_unpaid(now=OVER - timedelta(seconds=1)) == 0
    assert expire_unpaid(now=OVER) == 1
    assert expire_unpaid(now=OVER) == 0
    invoice.refresh_from_db()
    assert (invoice.state, invoice.state_reason, invoice.closed_at) == ("void", "first_payment_overdue", OVER)
    subscription = Subscription.objects.get()
    assert (subscription.state, subscription.ended_at, subscription.next_due_at) == ("expired", OVER, None)
    rows = Transition.objects.filter(reason="first_payment_overdue").order_by("id")
    assert list(rows.values_list("subject_type", "from_state", "to_state", "actor")) == [
        ("invoice", "open", "void", "engine"),
        ("subscription", "incomplete", "expired", "engine"),
    ]
    assert broken(OVER + HOUR) == []


@pytest.mark.parametrize("refusal", ["no_card", "card_not_active"])
def test_it_expires_without_a_card_that_can_be_charged(refusal: str) -> None:
    invoice = make_unpaid()
    Invoice.objects.update(refusal=refusal, refused_at=NOW, next_attempt_at=OVER)
    assert expire_unpaid(now=OVER) == 1
    assert state_of(invoice) == ("expired", "void")


def test_a_first_invoice_that_was_written_off_expires_too() -> None:
    invoice = a_decline()
    write_off(invoice=invoice, decision=Decision("siti", "x"), now=NOW)
    assert expire_unpaid(now=OVER) == 1
    assert state_of(invoice) == ("expired", "void")


def refused_and_written_off() -> Invoice:
    """The gateway's refusal may be false: the lists show by NOW + 2 hours whether it is."""
    invoice = make_unpaid()
    told(armed(invoice), Finding(Verdict.NOT_SENT, Source.ANSWER, reason="refused"))
    write_off(invoice=invoice, decision=Decision("siti", "x"), now=NOW)
    invoice.refresh_from_db()
    assert invoice.look_from_at is not None
    assert invoice.look_from_at < OVER
    return invoice


@pytest.mark.parametrize("found", [True, False], ids=["found", "found a moment ago"])
def test_what_was_written_off_after_a_refusal_is_read_first(found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is due any more, so no charge reads the cards, and the refused one may have taken the money."""
    invoice = refused_and_written_off()
    if not found:
        monkeypatch.setattr("billing.charging.collecting.expire._overdue", lambda _: Invoice.objects.order_by("pk"))
    assert expire_unpaid(now=OVER) == 0
    Invoice.objects.update(preflight_at=invoice.look_from_at)
    assert expire_unpaid(now=OVER) == 1
    assert broken(OVER + HOUR) == []


def test_what_a_person_wants_after_a_write_off_is_tried_before_it_expires() -> None:
    invoice = a_decline()
    write_off(invoice=invoice, decision=Decision("siti", "x"), now=NOW)
    retry_now(invoice=invoice, decision=Decision("siti", "now"), now=OVER)
    assert expire_unpaid(now=OVER) == 0
    assert state_of(invoice) == ("incomplete", "open")


def unresolved(*states: str) -> Callable[[Invoice], None]:
    def attempt(invoice: Invoice) -> None:
        move_attempt(armed(invoice), *states)

    return attempt


def hold_the_card(invoice: Invoice) -> None:
    invoice.customer.payment_methods.update(held_at=NOW, held_reason="unexplained_order")


def hold_another_card(invoice: Invoice) -> None:
    """As after a restore: an order on it may be of a charge that the database forgot."""
    make_card(invoice.customer, is_default=False, held_at=NOW, held_reason="unexplained_order")


def hold_the_invoice(invoice: Invoice) -> None:
    Invoice.objects.update(hold="always_refused")


def wait_for_lists(invoice: Invoice) -> None:
    Invoice.objects.update(look_from_at=OVER + timedelta(seconds=1))


def give_it_time(_: Invoice) -> None:
    Subscription.objects.update(first_payment_ends_at=OVER + timedelta(seconds=1))


def propose_a_payment(invoice: Invoice) -> None:
    Invoice.objects.update(state="uncollectible", closed_at=NOW, refusal=None)
    propose(invoice, ProposalKind.PAID_ELSEWHERE, Decision("siti", "x", 1), now=NOW, details={})


def plan_a_try(invoice: Invoice) -> None:
    Invoice.objects.update(next_attempt_at=OVER, refusal=None, refused_at=None)


def refuse_for_a_pause(invoice: Invoice) -> None:
    Invoice.objects.update(next_attempt_at=OVER, refusal="account_paused", refused_at=NOW)


def stop_the_account(invoice: Invoice) -> None:
    stop_account(account=invoice.account, reason="x", actor="siti", now=NOW)


def stop_all(_: Invoice) -> None:
    Installation.objects.update(stopped_at=NOW, stopped_by="siti", stopped_reason="x")


def doubt_the_database(_: Invoice) -> None:
    quarantine.enter(None, Doubt.DATABASE_DIFFERS, "x", now=NOW)


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(unresolved(), id="sending"),
        pytest.param(unresolved("unknown"), id="unknown"),
        pytest.param(unresolved("in_process"), id="in_process"),
        pytest.param(unresolved("unknown", "needs_review"), id="needs_review"),
        hold_the_card,
        hold_another_card,
        hold_the_invoice,
        wait_for_lists,
        propose_a_payment,
        plan_a_try,
        refuse_for_a_pause,
        stop_the_account,
        stop_all,
        doubt_the_database,
    ],
)
def test_it_does_not_expire_while_money_may_come(what: Callable[[Invoice], None]) -> None:
    invoice = a_decline()
    what(invoice)
    assert expire_unpaid(now=OVER) == 0
    assert Subscription.objects.get().state == "incomplete"
    invoice.refresh_from_db()
    assert invoice.state != "void"
    assert not AccountTrouble.objects.exists()


@pytest.mark.parametrize(
    "what",
    [
        give_it_time,
        unresolved("unknown"),
        hold_the_card,
        hold_another_card,
        hold_the_invoice,
        wait_for_lists,
        propose_a_payment,
        plan_a_try,
    ],
)
def test_what_came_between_is_seen_under_the_locks(
    what: Callable[[Invoice], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of what is overdue may be a moment old."""
    invoice = a_decline()
    what(invoice)
    monkeypatch.setattr("billing.charging.collecting.expire._overdue", lambda _: Invoice.objects.order_by("pk"))
    assert expire_unpaid(now=OVER) == 0
    assert Subscription.objects.get().state == "incomplete"
    assert not AccountTrouble.objects.exists(), "it was decided, and not prevented"


def test_a_charge_that_was_never_made_is_made_first() -> None:
    invoice = make_unpaid()
    assert expire_unpaid(now=OVER + 9 * A_DAY) == 0
    told(armed(invoice, OVER + 9 * A_DAY), DECLINED, OVER + 9 * A_DAY)
    assert expire_unpaid(now=OVER + 9 * A_DAY + HOUR) == 0, "the customer has all of the time from then on"
    assert expire_unpaid(now=OVER + 10 * A_DAY) == 1


def test_it_expires_once_a_stop_is_over() -> None:
    invoice = a_decline()
    stop_the_account(invoice)
    assert expire_unpaid(now=OVER + A_DAY) == 0
    GatewayAccount.objects.update(stopped_at=None)
    assert expire_unpaid(now=OVER + A_DAY) == 1


def test_nothing_expires_by_a_clock_that_may_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    invoice = a_decline()
    wrong = [invoice.account.api_url]
    monkeypatch.setattr("billing.charging.collecting.expire.addresses_not_to_open", lambda _: wrong)
    assert expire_unpaid(now=OVER) == 0
    wrong.clear()
    assert expire_unpaid(now=OVER) == 1


def test_nothing_expires_in_a_database_that_is_not_recognised() -> None:
    a_decline()
    Installation.objects.update(epoch="another", system_identifier="another")
    assert expire_unpaid(now=OVER) == 0
    assert Subscription.objects.get().state == "incomplete"
    assert GatewayAccount.objects.get().quarantined_at is not None


def test_one_that_cannot_expire_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = a_decline(), a_decline()

    expire = first_payment.expire

    def failing(subscription: Subscription, *, now: datetime) -> bool:
        if subscription.pk == bad.subscription_id:
            raise ZeroDivisionError
        return expire(subscription, now=now)

    monkeypatch.setattr(first_payment, "expire", failing)
    assert expire_unpaid(now=OVER) == 1
    assert (state_of(bad)[0], state_of(good)[0]) == ("incomplete", "expired")
    assert AccountTrouble.objects.get().account_id == bad.account_id


def test_money_after_the_expiry_is_an_overpayment() -> None:
    invoice = a_decline()
    attempt = invoice.attempts.get()
    expire_unpaid(now=OVER)
    told(attempt, paid(attempt, source=Source.ORDER_LIST), OVER + A_DAY)
    assert (attempt.state, *state_of(invoice)) == ("surplus", "expired", "void")
    event = Event.objects.get(kind="attempt.surplus")
    assert (event.payload["proposal"], event.payload["subscription_state"]) == ("refund", "expired")


def test_a_proposal_that_is_rejected_leaves_it_waiting_for_a_card() -> None:
    from django.contrib.auth.models import Permission, User

    invoice = a_decline()
    staff = [User.objects.create_user(name, is_staff=True) for name in ("siti", "mei")]
    for one in staff:
        one.user_permissions.add(Permission.objects.get(codename="change_paymentattempt"))
    GatewayAccount.objects.update(second_person_above_minor=0)
    closing = write_off(invoice=Invoice.objects.get(), decision=Decision("siti", "x", staff[0].pk), now=NOW)
    assert closing.proposal is not None
    assert expire_unpaid(now=OVER) == 0
    reject_closing(proposal=closing.proposal, decision=Decision("mei", "no", staff[1].pk), now=NOW)
    invoice.refresh_from_db()
    assert (invoice.hold, invoice.next_attempt_at, invoice.refusal) == (None, None, "first_charge_declined")
    assert expire_unpaid(now=OVER) == 1


# --- at the gateway -------------------------------------------------------------------------------------------


def test_a_first_charge_is_made_once_and_starts_it(shop: Shop) -> None:
    card = shop.card()
    invoice = make_unpaid(card, make_plan(shop.account, activates_on="payment"), now=database_now())
    assert shop.collect().armed == 1
    assert state_of(invoice) == ("active", "paid")
    assert len(shop.taken(invoice)) == 1
    assert shop.open() == shop.collect().armed == 0


def test_a_declined_card_and_then_a_good_one_are_charged_once(shop: Shop) -> None:
    bad = shop.card("4000000000000002")
    invoice = make_unpaid(bad, make_plan(shop.account, activates_on="payment"), now=database_now())
    shop.collect()
    assert state_of(invoice) == ("incomplete", "open")
    assert shop.collect().armed == 0

    good = shop.card(customer=bad.customer)
    shop.collect()

    assert state_of(invoice) == ("active", "paid")
    assert [one["status"] for one in shop.taken(invoice)] == ["SUCCESS"]
    assert Subscription.objects.get().payment_method == good
    assert list(invoice.attempts.order_by("number").values_list("state", flat=True)) == ["declined", "succeeded"]
