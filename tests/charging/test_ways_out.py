"""What a person may close an invoice with, and what clearing a hold says before it charges."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from billing.audit.invariants import violations
from billing.charging.attempts.settle import AttemptFinding, settle
from billing.charging.cases.case import read_card_now, read_case
from billing.charging.cases.clear_hold import clear_hold, confirm_clearing, preview_hold, reject_clearing
from billing.charging.cases.holds import ResolutionError, collect_held
from billing.charging.cases.resolve import Resolution, resolve
from billing.charging.cases.retry_now import retry_now
from billing.charging.cases.ways_out import (
    confirm_closing,
    pay_elsewhere,
    record_found_payment,
    reject_closing,
    void,
    write_off,
)
from billing.charging.reading.fetch import fetch
from billing.charging.reading.known import load
from billing.charging.reading.record import record
from billing.domain.attempts import Finding, Source, Verdict, charge_description, charge_title
from billing.domain.closing import PaidBy
from billing.domain.decisions import Decision
from billing.gateway.connection import Charge, gateway_for
from billing.ids import new_marker
from billing.models import (
    Event,
    GatewayAccount,
    GatewayOrder,
    Invoice,
    OutsidePayment,
    PaymentAttempt,
    PaymentMethod,
    Proposal,
    Refund,
    Subscription,
    Transition,
)
from billing.models.clock import database_now
from billing.subscriptions.lifecycle import cancel
from tests.charging.test_resolve import a_case, foreign_charge, give_back, taken
from tests.conftest import SHORT, Shop
from tests.factories import NOW, make_attempt, make_card, make_invoice, make_subscription, move_attempt

pytestmark = pytest.mark.django_db
SITI = Decision("siti", "seen on the bank statement")
WHY = {"decision": SITI}
PAID: dict[str, Any] = {"method": PaidBy.BANK_TRANSFER, "reference": "FT-2291", "paid_date": date(2026, 3, 1), **WHY}
CLOSINGS: dict[str, tuple[Any, dict[str, Any], tuple[str, str]]] = {
    "paid_elsewhere": (pay_elsewhere, PAID, ("paid", "paid_elsewhere")),
    "void": (void, WHY, ("void", "voided")),
    "write_off": (write_off, WHY, ("uncollectible", "written_off")),
}
ALL = pytest.mark.parametrize("way", list(CLOSINGS))


def close(way: str, invoice: Invoice, **changes: Any) -> Any:
    act, given, _ = CLOSINGS[way]
    who = {name: changes.pop(name) for name in ("actor", "reason", "user_id") if name in changes}
    return act(invoice=invoice, **{"now": NOW, **given, "decision": replace(SITI, **who), **changes})


def person(name: str) -> User:
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="change_paymentattempt"))
    return user


# --- closing ------------------------------------------------------------------------------------------------


@ALL
def test_closing_records_the_reason_and_ends_collection(way: str) -> None:
    invoice = make_invoice()
    state, why = CLOSINGS[way][2]
    closed = close(way, invoice)
    invoice.refresh_from_db()
    assert (closed.state, closed.proposal) == (state, None)
    assert (invoice.state, invoice.state_reason, invoice.closed_at) == (state, why, NOW)
    assert (invoice.next_attempt_at, invoice.hold) == (None, None)
    line = Transition.objects.get(subject_type="invoice")
    assert (line.from_state, line.to_state, line.actor, line.reason) == ("open", state, "siti", SITI.reason)
    told = Event.objects.get()
    assert told.kind == {"paid": "invoice.paid", "void": "invoice.voided"}.get(state, "invoice.uncollectible")
    assert told.payload["invoice"] == invoice.public_id
    assert violations(now=NOW, tuning=SHORT) == []


def test_payment_elsewhere_records_who_how_and_when() -> None:
    invoice = make_invoice()
    close("paid_elsewhere", invoice)
    payment = OutsidePayment.objects.get()
    assert (payment.invoice_id, payment.method, payment.reference) == (invoice.pk, "bank_transfer", "FT-2291")
    assert (payment.amount_minor, payment.currency, payment.paid_date) == (1990, "MYR", date(2026, 3, 1))
    assert (payment.recorded_by, payment.confirmed_by, payment.reason) == ("siti", "", SITI.reason)
    assert Event.objects.get().payload["paid_elsewhere"] == "bank_transfer"


@pytest.mark.parametrize("way", ["paid_elsewhere", "void"])
def test_what_was_given_up_is_closed_too(way: str) -> None:
    invoice = make_invoice(state="uncollectible", closed_at=NOW, next_attempt_at=None, tries=4)
    close(way, invoice)
    invoice.refresh_from_db()
    assert (invoice.state, invoice.state_reason) == CLOSINGS[way][2]


@ALL
@pytest.mark.parametrize("hold", ["catch_up", "reversed", "subscription_canceled"])
def test_held_invoice_is_closed_too(way: str, hold: str) -> None:
    invoice = make_invoice(hold=hold, next_attempt_at=None)
    close(way, invoice)
    invoice.refresh_from_db()
    assert (invoice.state, invoice.hold) == (CLOSINGS[way][2][0], None)


@ALL
@pytest.mark.parametrize(
    ("states", "why"),
    [
        ((), "is sending"),
        (("unknown",), "is unknown"),
        (("in_process",), "is in process"),
        (("needs_review",), "needs review"),
    ],
)
def test_nothing_is_closed_while_an_attempt_may_have_taken_money(way: str, states: tuple[str, ...], why: str) -> None:
    attempt = move_attempt(make_attempt(), *states)
    with pytest.raises(ResolutionError, match=f"invoice: attempt {attempt.public_id} {why}"):
        close(way, attempt.invoice)
    assert (Invoice.objects.get().state, OutsidePayment.objects.exists()) == ("open", False)


@ALL
@pytest.mark.parametrize("states", [("declined",), ("not_sent",), ("unknown", "not_charged"), ("surplus",)])
def test_attempts_that_ended_without_paying_it_hold_nothing_up(way: str, states: tuple[str, ...]) -> None:
    attempt = move_attempt(make_attempt(), *states)
    assert close(way, attempt.invoice).proposal is None


@ALL
@pytest.mark.parametrize("state", ["paid", "void"])
def test_what_is_not_owed_is_not_closed(way: str, state: str) -> None:
    invoice = make_invoice(state=state, closed_at=NOW, next_attempt_at=None)
    with pytest.raises(ResolutionError, match=f"invoice: must be open or uncollectible; it is {state}"):
        close(way, invoice)


def test_invoice_is_written_off_once_and_may_be_collected_again() -> None:
    invoice = make_invoice()
    close("write_off", invoice)
    with pytest.raises(ResolutionError, match="is uncollectible"):
        close("write_off", invoice)
    retry_now(invoice=invoice, decision=Decision("mei", "the customer pays after all"), now=NOW)
    invoice.refresh_from_db()
    assert (invoice.state, invoice.next_attempt_at, invoice.closed_at) == ("open", NOW, None)


@ALL
def test_a_reason_is_needed_to_close_an_invoice(way: str) -> None:
    with pytest.raises(ResolutionError, match="reason"):
        close(way, make_invoice(), reason="  ")


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"reference": " "}, "reference", "required"),
    ({"paid_date": date(2026, 3, 3)}, "paid_date", "future"),
    ({"method": PaidBy.GATEWAY}, "method", "not_here"),
]


@pytest.mark.parametrize(("wrong", "field", "rule"), WRONG)
def test_a_payment_that_cannot_be_is_refused_with_its_field(wrong: dict[str, Any], field: str, rule: str) -> None:
    with pytest.raises(ResolutionError) as refused:
        close("paid_elsewhere", make_invoice(), **wrong)
    assert (refused.value.field, refused.value.rule) == (field, rule)


def test_today_is_a_day_by_the_accounts_clocks() -> None:
    invoice = make_invoice()
    evening = NOW.replace(hour=17)  # past midnight in Kuala Lumpur
    close("paid_elsewhere", invoice, paid_date=date(2026, 3, 3), now=evening)
    assert OutsidePayment.objects.get().paid_date == date(2026, 3, 3)


# --- the subscription ---------------------------------------------------------------------------------------


def past_due(**columns: Any) -> tuple[Invoice, Subscription]:
    subscription = make_subscription(**{"state": "past_due", "period_index": 1, "periods_charged": 1, **columns})
    return make_invoice(None, subscription, tries=1, first_tried_at=NOW), subscription


@pytest.mark.parametrize(
    ("way", "after"), [("paid_elsewhere", "active"), ("void", "active"), ("write_off", "past_due")]
)
def test_a_subscription_leaves_past_due_as_after_a_payment(way: str, after: str) -> None:
    invoice, subscription = past_due()
    close(way, invoice)
    subscription.refresh_from_db()
    assert subscription.state == after
    moves = Transition.objects.filter(subject_type="subscription")
    assert [(one.from_state, one.to_state, one.actor) for one in moves] == (
        [("past_due", "active", "siti")] if after == "active" else []
    )


@ALL
def test_subscription_stays_past_due_with_another_decline(way: str) -> None:
    invoice, subscription = past_due(period_index=2, periods_charged=2)
    make_invoice(None, subscription, period_index=1, tries=1, first_tried_at=NOW)
    close(way, invoice)
    subscription.refresh_from_db()
    assert subscription.state == "past_due"


@ALL
@pytest.mark.parametrize("other", [True, False])
def test_a_subscription_is_completed_with_its_last_invoice(way: str, other: bool) -> None:
    invoice, subscription = past_due(repetitions=1, next_due_at=None)
    if other:
        make_invoice(None, subscription, period_index=1)
    close(way, invoice)
    subscription.refresh_from_db()
    completed = ("completed", NOW)
    assert ((subscription.state, subscription.ended_at) == completed) is not other


@ALL
def test_a_canceled_subscription_stays_canceled(way: str) -> None:
    invoice, subscription = past_due(state="canceled", next_due_at=None, ended_at=NOW)
    close(way, invoice)
    subscription.refresh_from_db()
    assert subscription.state == "canceled"


# --- money that comes all the same --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "became"), [("paid_elsewhere", "surplus"), ("void", "surplus"), ("write_off", "succeeded")]
)
def test_late_money_is_an_overpayment_where_nothing_is_owed(shop: Shop, way: str, became: str) -> None:
    card = shop.card()
    shop.simulator.set_customer(card.gateway_customer_id, outcome=["lost_after"], orders_visible_after="never")
    invoice = make_invoice(card, next_attempt_at=database_now())
    shop.collect()
    attempt = move_attempt(invoice.attempts.get(), "not_charged", next_check_at=None)
    close(way, invoice, now=database_now())
    shop.simulator.set_customer(card.gateway_customer_id, orders_visible_after=0)
    read_card_now(attempt, tuning=shop.tuning, now=database_now())
    attempt.refresh_from_db()
    invoice.refresh_from_db()
    assert attempt.state == became
    assert invoice.state == ("paid" if became == "succeeded" else CLOSINGS[way][2][0])


def test_reversed_overpayment_leaves_an_outside_payment_standing() -> None:
    attempt = move_attempt(make_attempt(), "not_sent")
    close("paid_elsewhere", attempt.invoice)
    from billing.charging.attempts.settle import AttemptFinding, settle
    from billing.domain.attempts import Finding, Source, Verdict

    money = {"amount_minor": 1990, "currency": "MYR", "transaction_id": "2001", "order_id": "1001"}
    settle([AttemptFinding(attempt.marker, Finding(Verdict.PAID, Source.ORDER_LIST, **money))], tuning=SHORT, now=NOW)  # type: ignore[arg-type]
    attempt.refresh_from_db()
    assert attempt.state == "surplus"
    back = Finding(Verdict.REVERSED, Source.ORDER_LIST, transaction_id="2001")
    settle([AttemptFinding(attempt.marker, back)], tuning=SHORT, now=NOW)
    attempt.refresh_from_db()
    invoice = Invoice.objects.get()
    assert (attempt.state, invoice.state, invoice.hold) == ("reversed", "paid", None)


# --- two persons --------------------------------------------------------------------------------------------


def two_persons() -> tuple[User, User]:
    GatewayAccount.objects.update(second_person_above_minor=1000)
    return person("siti"), person("mei")


@ALL
def test_above_the_limit_two_people_close_an_invoice(way: str) -> None:
    invoice = make_invoice()
    siti, mei = two_persons()
    proposed = close(way, invoice, user_id=siti.pk)
    invoice.refresh_from_db()
    assert (proposed.state, invoice.state, invoice.hold, invoice.next_attempt_at) == ("open", "open", "proposal", None)
    assert proposed.proposal is not None
    with pytest.raises(ResolutionError, match="proposal by siti to close it"):
        close("void", invoice, actor="mei", user_id=mei.pk)
    with pytest.raises(ResolutionError, match="proposal"):
        collect_held(invoice=invoice, decision=Decision("mei", "charge"), now=NOW)
    with pytest.raises(ResolutionError, match="another person"):
        confirm_closing(proposal=proposed.proposal, decision=Decision("siti", "", siti.pk), now=NOW)
    done = confirm_closing(proposal=proposed.proposal, decision=Decision("mei", "right", mei.pk), now=NOW)
    invoice.refresh_from_db()
    assert (done.state, invoice.state, invoice.state_reason) == (CLOSINGS[way][2][0], *CLOSINGS[way][2])
    line = Transition.objects.get(subject_type="invoice")
    assert (line.reason, line.actor) == (SITI.reason, "mei")
    payment = OutsidePayment.objects.first()
    if way == "paid_elsewhere":
        assert payment is not None
        assert (payment.recorded_by, payment.confirmed_by, payment.reference) == ("siti", "mei", "FT-2291")
    assert violations(now=NOW, tuning=SHORT) == []


@ALL
@pytest.mark.parametrize("who", ["key", "clerk", "siti"])
def test_only_the_sole_decider_decides_alone(way: str, who: str) -> None:
    """A key, and staff who may not decide, wait for that one."""
    invoice = make_invoice()
    GatewayAccount.objects.update(second_person_above_minor=1000)
    siti, clerk = person("siti"), User.objects.create_user("clerk", is_staff=True)
    user_id = {"key": None, "clerk": clerk.pk, "siti": siti.pk}[who]
    assert (close(way, invoice, actor=who, user_id=user_id).proposal is None) is (who == "siti")


@pytest.mark.parametrize(
    ("hold", "at"), [(None, NOW), ("catch_up", None), (None, NOW + timedelta(days=3))], ids=["due", "held", "retried"]
)
def test_what_is_rejected_is_collected_as_before(hold: str | None, at: datetime | None) -> None:
    """At its own next try, which a decline may have put days ahead."""
    invoice = make_invoice(hold=hold, next_attempt_at=at)
    siti, mei = two_persons()
    proposal = close("void", invoice, user_id=siti.pk).proposal
    with pytest.raises(ResolutionError, match="reason"):
        reject_closing(proposal=proposal, decision=Decision("mei", " ", mei.pk), now=NOW)
    reject_closing(proposal=proposal, decision=Decision("mei", "it is owed", mei.pk), now=NOW)
    invoice.refresh_from_db()
    assert (invoice.state, invoice.hold, invoice.next_attempt_at) == ("open", hold, at)
    assert Proposal.objects.get().outcome == "rejected"


def test_uncollectible_invoice_waits_for_its_proposed_payment() -> None:
    """It has no hold of its own, for it is not open."""
    invoice = make_invoice(state="uncollectible", closed_at=NOW, next_attempt_at=None, tries=4)
    siti, mei = two_persons()
    proposal = close("paid_elsewhere", invoice, user_id=siti.pk).proposal
    with pytest.raises(ResolutionError, match=r"proposal by siti \(paid_elsewhere\)"):
        retry_now(invoice=invoice, decision=Decision("key", "collect"), now=NOW)
    assert Invoice.objects.get().state == "uncollectible"
    reject_closing(proposal=proposal, decision=Decision("mei", "nothing came", mei.pk), now=NOW)
    retry_now(invoice=invoice, decision=Decision("key", "collect"), now=NOW)
    assert Invoice.objects.get().next_attempt_at == NOW


def test_canceled_invoice_waits_for_its_proposed_payment() -> None:
    """Cancelling puts its own hold in the place of the proposal's."""
    subscription = make_subscription(period_index=1, periods_charged=1)
    invoice = make_invoice(None, subscription)
    siti, mei = two_persons()
    proposal = close("paid_elsewhere", invoice, user_id=siti.pk).proposal
    cancel(subscription=subscription, reason="moved away", actor="mei", now=NOW)
    with pytest.raises(ResolutionError, match="proposal"):
        collect_held(invoice=invoice, decision=Decision("mei", "collect"), now=NOW)
    confirm_closing(proposal=proposal, decision=Decision("mei", "right", mei.pk), now=NOW)
    invoice.refresh_from_db()
    assert (invoice.state, invoice.state_reason) == ("paid", "paid_elsewhere")


def test_proposal_is_overtaken_when_invoice_is_paid_meanwhile() -> None:
    invoice = make_invoice()
    siti, mei = two_persons()
    proposal = close("void", invoice, user_id=siti.pk).proposal
    Invoice.objects.update(state="paid", closed_at=NOW, hold=None)
    with pytest.raises(ResolutionError, match="is already paid"):
        confirm_closing(proposal=proposal, decision=Decision("mei", "", mei.pk), now=NOW)
    assert Proposal.objects.get().outcome == "overtaken"


# --- payments found at the gateway --------------------------------------------------------------------------


def forgotten_charge(shop: Shop, invoice: Invoice, *, named: bool = True) -> str:
    """The charge of an attempt that our books have lost, with its words; the transaction."""
    gateway, marker = gateway_for(shop.account), new_marker()
    gateway.ensure_token()
    charge = Charge(
        invoice.payment_method.gateway_customer_id,  # type: ignore[union-attr]
        invoice.amount_minor,
        invoice.currency,
        charge_title(invoice.description, marker),
        charge_description(invoice.description, invoice.public_id if named else "", marker),
    )
    frozen = gateway.freeze(charge, timestamp=int(database_now().timestamp()), charge_path="customer_order")
    found = gateway.send(frozen, marker=marker)
    assert found.transaction_id
    return found.transaction_id


def lost(shop: Shop, *, named: bool = True, **columns: Any) -> tuple[Invoice, str]:
    """An invoice whose charge our books forgot: the gateway has it, and the card is held. Its transaction."""
    card = shop.card()
    invoice = make_invoice(card, next_attempt_at=database_now(), due_at=database_now(), **columns)
    transaction_id = forgotten_charge(shop, invoice, named=named)
    read = fetch(gateway_for(shop.account), load([card.pk])[card.pk])
    record(read, read.findings, tuning=shop.tuning, now=database_now())
    card.refresh_from_db()
    assert card.held_reason == "unexplained_order"
    return invoice, transaction_id


def test_found_payment_pays_its_invoice_and_frees_the_card(shop: Shop) -> None:
    invoice, transaction_id = lost(shop)
    done = record_found_payment(invoice=invoice, transaction_id=f" {transaction_id} ", now=database_now(), **WHY)
    invoice.refresh_from_db()
    card = PaymentMethod.objects.get()
    assert (done.state, invoice.state, invoice.state_reason, card.held_at) == ("paid", "paid", "paid_elsewhere", None)
    payment = OutsidePayment.objects.get()
    assert (payment.method, payment.gateway_transaction_id) == ("gateway", transaction_id)
    assert GatewayOrder.objects.get().in_baseline
    assert Transition.objects.get(subject_type="card", to_state="free").reason.endswith(invoice.public_id)
    assert shop.collect().armed == 0
    assert violations(now=database_now(), tuning=SHORT) == []


@pytest.mark.parametrize("wrong", ["", "nothing/like it", "180701025439234567"])
def test_transaction_unknown_to_the_gateway_pays_nothing(shop: Shop, wrong: str) -> None:
    invoice, _ = lost(shop)
    with pytest.raises(ResolutionError, match="transaction_id: "):
        record_found_payment(invoice=invoice, transaction_id=wrong, now=database_now(), **WHY)
    assert not OutsidePayment.objects.exists()


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        ({"amount_minor": 1989}, "amount_differs"),
        ({"due_at": NOW + timedelta(days=4000)}, "too_early"),
    ],
)
def test_a_transaction_that_does_not_fit_pays_nothing(shop: Shop, columns: dict[str, Any], rule: str) -> None:
    first, transaction_id = lost(shop, named=False)
    other = make_invoice(first.payment_method, **columns)
    with pytest.raises(ResolutionError) as refused:
        record_found_payment(invoice=other, transaction_id=transaction_id, now=database_now(), **WHY)
    assert refused.value.rule == rule


def test_a_transaction_that_names_another_invoice_pays_only_that(shop: Shop) -> None:
    first, transaction_id = lost(shop)
    other = make_invoice(first.payment_method)
    with pytest.raises(ResolutionError, match=f"names another invoice: {first.public_id}"):
        record_found_payment(invoice=other, transaction_id=transaction_id, now=database_now(), **WHY)


def test_a_transaction_pays_one_invoice_once(shop: Shop) -> None:
    first, transaction_id = lost(shop)
    record_found_payment(invoice=first, transaction_id=transaction_id, now=database_now(), **WHY)
    other = make_invoice(first.payment_method)
    with pytest.raises(ResolutionError) as refused:
        record_found_payment(invoice=other, transaction_id=transaction_id, now=database_now(), **WHY)
    assert refused.value.rule == "claimed"


def test_an_attempts_own_transaction_is_no_found_payment(shop: Shop) -> None:
    card = shop.card()
    paid = make_invoice(card, next_attempt_at=database_now())
    shop.collect()
    attempt = PaymentAttempt.objects.get(invoice=paid)
    read_card_now(attempt, tuning=shop.tuning, now=database_now())
    other = make_invoice(card)
    with pytest.raises(ResolutionError, match=f"already explains the attempt {attempt.public_id}"):
        record_found_payment(
            invoice=other, transaction_id=attempt.gateway_transaction_id or "", now=database_now(), **WHY
        )


def test_a_transaction_of_another_customers_card_pays_nothing(shop: Shop) -> None:
    _, transaction_id = lost(shop)
    other = make_invoice(shop.card(), due_at=database_now())
    with pytest.raises(ResolutionError) as refused:
        record_found_payment(invoice=other, transaction_id=transaction_id, now=database_now(), **WHY)
    assert refused.value.rule in ("card_differs", "invoice_differs")


def test_refunded_transaction_pays_nothing(shop: Shop) -> None:
    invoice, transaction_id = lost(shop)
    give_back(shop, transaction_id, 1990)
    with pytest.raises(ResolutionError) as refused:
        record_found_payment(invoice=invoice, transaction_id=transaction_id, now=database_now(), **WHY)
    assert refused.value.rule == "status_differs"


# --- clearing a hold ----------------------------------------------------------------------------------------


def test_hold_preview_shows_its_charges_and_likely_payments(shop: Shop) -> None:
    invoice, _ = lost(shop)
    card = PaymentMethod.objects.get()
    other = make_invoice(card, amount_minor=700)
    make_invoice(card, amount_minor=800, next_attempt_at=database_now() + timedelta(days=9))
    seen = preview_hold(card, now=database_now())
    assert {one.invoice for one in seen.due} == {invoice.public_id, other.public_id}
    assert (seen.total_minor, seen.currency) == (2690, "MYR")
    order = GatewayOrder.objects.get().gateway_order_id
    assert [one.gateway_order_id for one in seen.orders] == [order]
    assert [(one.order.gateway_order_id, one.invoice.pk, one.why) for one in seen.candidates] == [
        (order, invoice.pk, "names_the_invoice")
    ]
    with pytest.raises(ResolutionError) as refused:
        clear_hold(card=card, decision=Decision("siti", "seen"), now=database_now())
    assert (refused.value.field, refused.value.rule) == ("charge_although", "could_be_payment")
    with pytest.raises(ResolutionError):
        clear_hold(card=card, decision=Decision("siti", "seen"), now=database_now(), charge_although=["another"])
    cleared = clear_hold(card=card, decision=Decision("siti", "seen"), now=database_now(), charge_although=[order])
    assert (cleared.orders, cleared.proposal) == ([order], None)


def test_order_of_an_open_case_is_no_other_invoices_payment(shop: Shop) -> None:
    attempt = a_case(shop)
    foreign_charge(shop, attempt.payment_method)
    read_card_now(attempt, tuning=shop.tuning, now=database_now())
    assert preview_hold(attempt.payment_method, now=database_now()).candidates == []


def test_above_the_limit_two_people_clear_a_hold(shop: Shop) -> None:
    lost(shop)
    card, order = PaymentMethod.objects.get(), GatewayOrder.objects.get().gateway_order_id
    siti, mei = two_persons()
    now = database_now()
    given = {"card": card, "decision": Decision("siti", "seen", siti.pk), "now": now}
    proposal = clear_hold(**given, charge_although=[order]).proposal  # type: ignore[arg-type]
    assert proposal is not None
    card.refresh_from_db()
    assert card.held_at is not None
    with pytest.raises(ResolutionError, match="proposal by siti"):
        clear_hold(**given, charge_although=[order])  # type: ignore[arg-type]
    with pytest.raises(ResolutionError, match="another person"):
        confirm_clearing(proposal=proposal, decision=Decision("siti", "", siti.pk), now=now)
    reject_clearing(proposal=proposal, decision=Decision("mei", "not yet", mei.pk), now=now)
    again = clear_hold(**given, charge_although=[order]).proposal  # type: ignore[arg-type]
    assert again is not None
    assert confirm_clearing(proposal=again, decision=Decision("mei", "", mei.pk), now=now).orders == [order]
    card.refresh_from_db()
    assert card.held_at is None


@pytest.mark.parametrize("refusal", ["preflight_missing", "gateway_unavailable"])
def test_charge_that_clearing_brings_forward_is_counted(refusal: str) -> None:
    now = database_now()
    card = make_card(held_at=now, held_reason="unexplained_order")
    subscription = make_subscription(card, next_due_at=None)
    soon = make_invoice(card, subscription, next_attempt_at=now + timedelta(seconds=30), refusal=refusal)
    make_invoice(card, next_attempt_at=now + timedelta(days=3))  # its own day comes whether the card is held or not
    seen = preview_hold(card, now=now)
    assert ([one.invoice for one in seen.due], seen.total_minor) == ([soon.public_id], 1990)
    two_persons()
    given: dict[str, Any] = {"card": card, "decision": Decision("siti", "seen"), "now": now}
    assert clear_hold(**given).proposal is not None, "above the amount: two persons"
    GatewayAccount.objects.update(second_person_above_minor=None)
    Proposal.objects.update(outcome="rejected", decided_at=now, decided_by="mei")
    clear_hold(**given)
    soon.refresh_from_db()
    assert soon.next_attempt_at == now


def test_clear_proposal_is_overtaken_when_the_card_is_freed(shop: Shop) -> None:
    invoice, transaction_id = lost(shop)
    siti, _ = two_persons()
    order = GatewayOrder.objects.get().gateway_order_id
    given = {"card": PaymentMethod.objects.get(), "charge_although": [order]}
    assert clear_hold(decision=Decision("siti", "seen", siti.pk), now=database_now(), **given).proposal is not None  # type: ignore[arg-type]
    GatewayAccount.objects.update(second_person_above_minor=None)
    record_found_payment(invoice=invoice, transaction_id=transaction_id, now=database_now(), **WHY)
    assert PaymentMethod.objects.get().held_at is None
    assert Proposal.objects.get().outcome == "overtaken"


def test_close_proposal_is_overtaken_when_its_payment_is_found() -> None:
    attempt = move_attempt(make_attempt(), "declined")
    siti, _ = two_persons()
    assert close("void", attempt.invoice, user_id=siti.pk).proposal is not None
    found = Finding(Verdict.PAID, Source.ORDER_LIST, amount_minor=1990, currency="MYR", transaction_id="t-1")
    settle([AttemptFinding(attempt.marker, found)], tuning=SHORT, now=database_now(), actor="engine")
    assert Invoice.objects.get().state == "paid"
    assert Proposal.objects.get().outcome == "overtaken"


# --- charged and given back ---------------------------------------------------------------------------------


def decide(shop: Shop, attempt: PaymentAttempt, resolution: Resolution, **changes: Any) -> Any:
    given = {
        "decision": Decision("siti", "the portal says so"),
        "tuning": shop.tuning,
        "now": database_now(),
        **changes,
    }
    return resolve(attempt=attempt, resolution=resolution, **given)


def test_charged_and_refunded_money_is_recorded_as_both(shop: Shop) -> None:
    attempt = a_case(shop, "lost_after")
    transaction_id = taken(shop, attempt)
    give_back(shop, transaction_id, 1990)
    kinds = [one.kind for one in read_case(attempt, now=database_now()).choices]
    assert "charged_and_given_back" in kinds
    decided = decide(shop, attempt, Resolution.CHARGED_AND_GIVEN_BACK, transaction_id=transaction_id)
    attempt.refresh_from_db()
    invoice = Invoice.objects.get()
    assert (decided.state, attempt.state, attempt.amount_refunded_minor) == ("succeeded", "succeeded", 1990)
    assert (invoice.state, invoice.amount_refunded_minor) == ("paid", 1990)
    assert Refund.objects.get().origin == "gateway"
    assert shop.collect().armed == 0
    assert violations(now=database_now(), tuning=SHORT) == []


def test_part_that_went_back_is_recorded_with_the_decision(shop: Shop) -> None:
    from rm_gateway.client import RefundKind

    attempt = a_case(shop, "lost_after")
    transaction_id = taken(shop, attempt)
    give_back(shop, transaction_id, 500, RefundKind.PARTIAL)
    decide(shop, attempt, Resolution.CHARGED, transaction_id=transaction_id)
    attempt.refresh_from_db()
    assert (attempt.state, attempt.amount_refunded_minor) == ("succeeded", 500)
    assert Invoice.objects.get().amount_refunded_minor == 500
    assert violations(now=database_now(), tuning=SHORT) == []


@pytest.mark.parametrize("resolution", [Resolution.NOT_CHARGED, Resolution.DECLINED])
def test_refunded_charge_cannot_be_called_not_charged(shop: Shop, resolution: Resolution) -> None:
    attempt = a_case(shop, "lost_after")
    transaction_id = taken(shop, attempt)
    give_back(shop, transaction_id, 1990)
    read_card_now(attempt, tuning=shop.tuning, now=database_now())
    with pytest.raises(ResolutionError) as refused:
        decide(shop, attempt, resolution)
    assert (refused.value.rule, transaction_id in str(refused.value)) == ("money_was_given_back", True)
    attempt.refresh_from_db()
    assert attempt.state == "needs_review"


@pytest.mark.parametrize("part", [0, 500])
def test_kept_money_cannot_be_called_refunded(shop: Shop, part: int) -> None:
    attempt = a_case(shop, "lost_after")
    transaction_id = taken(shop, attempt)
    if part:
        from rm_gateway.client import RefundKind

        give_back(shop, transaction_id, part, RefundKind.PARTIAL)
    with pytest.raises(ResolutionError, match="does not show a full refund"):
        decide(shop, attempt, Resolution.CHARGED_AND_GIVEN_BACK, transaction_id=transaction_id)
    with pytest.raises(ResolutionError, match="transaction_id"):
        decide(shop, attempt, Resolution.CHARGED_AND_GIVEN_BACK)
