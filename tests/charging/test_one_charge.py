"""One charge, from the open invoice to the evidence, against the simulator over HTTP."""

import time
from datetime import timedelta
from typing import NoReturn

import pytest

from billing.charging.cases.holds import collect_held
from billing.charging.reading.known import CardRead
from billing.domain.attempts import AttemptState
from billing.domain.decisions import Decision
from billing.gateway.connection import gateway_for
from billing.models import AccountPace, Event, Evidence, Invoice, PaymentAttempt, Transition
from billing.models.clock import database_now
from tests.conftest import Shop
from tests.factories import make_invoice, make_plan, make_subscription
from tests.faults.recovery import settle_down

pytestmark = pytest.mark.django_db


def due_invoice(shop: Shop, card_number: str = "4111111111111111", **columns: object) -> Invoice:
    return make_invoice(shop.card(card_number), next_attempt_at=database_now(), **columns)


def test_a_due_invoice_is_charged_once_and_paid(shop: Shop) -> None:
    invoice = due_invoice(shop)

    collected = shop.collect()

    assert collected.armed == 1
    attempt = PaymentAttempt.objects.get()
    invoice.refresh_from_db()
    assert (attempt.state, invoice.state) == ("succeeded", "paid")
    assert attempt.gateway_transaction_id == shop.taken(invoice)[0]["transaction_id"]
    assert attempt.gateway_order_id == shop.taken(invoice)[0]["order_id"]
    assert len(shop.taken(invoice)) == 1
    assert shop.collect().armed == 0


def test_request_is_frozen_with_the_attempt_and_holds_no_token(shop: Shop) -> None:
    invoice = due_invoice(shop)
    shop.collect()

    attempt = PaymentAttempt.objects.get()
    charge = shop.taken(invoice)[0]
    assert attempt.title.split()[-1] == attempt.marker == attempt.description.split()[0]
    assert charge["title"] == attempt.title
    assert charge["description"] == attempt.description
    assert attempt.marker.encode() in bytes(attempt.request_body)
    assert len(attempt.request_hash) == 64
    columns = [str(value) for value in vars(attempt).values()] + [bytes(attempt.request_body).decode()]
    assert not any("Bearer" in column or "Authorization" in column for column in columns)


def test_every_change_of_state_is_a_row_with_its_evidence(shop: Shop) -> None:
    due_invoice(shop)
    shop.collect()

    attempt = PaymentAttempt.objects.get()
    moves = Transition.objects.filter(subject_type="attempt", subject_id=attempt.pk).order_by("id")
    assert [(move.from_state, move.to_state) for move in moves] == [("", "sending"), ("sending", "succeeded")]
    evidence = Evidence.objects.get(pk=moves[1].evidence_id)
    assert evidence.attempt_id == attempt.pk
    assert evidence.content["transaction_id"] == attempt.gateway_transaction_id
    assert not {"phoneNumber", "email", "maskNo"} & set(str(evidence.content).replace("'", " ").split())
    assert Event.objects.get(kind="invoice.paid").payload["invoice"].startswith("inv_")


def test_decline_is_retried_on_its_day_and_makes_it_past_due(shop: Shop) -> None:
    card = shop.card("4000000000000002")
    now = database_now()
    subscription = make_subscription(card, next_due_at=now, anchor_date=now.date())
    shop.open()
    shop.collect()

    invoice = Invoice.objects.get()
    attempt = PaymentAttempt.objects.get()
    subscription.refresh_from_db()
    assert (attempt.state, attempt.state_reason) == ("declined", "9010")
    assert (invoice.state, invoice.tries) == ("open", 1)
    assert invoice.next_attempt_at == attempt.armed_at + timedelta(days=3)
    assert subscription.state == "past_due"


def PaymentMethod_id(invoice: Invoice) -> str:  # noqa: N802
    assert invoice.payment_method is not None
    return str(invoice.payment_method.gateway_customer_id)


def test_a_lost_answer_is_found_in_the_order_list(shop: Shop) -> None:
    invoice = due_invoice(shop, "4000000000000119")
    shop.collect()
    assert PaymentAttempt.objects.get().state == "unknown"
    assert shop.collect().armed == 0

    time.sleep(0.4)
    assert shop.reconcile() == 1

    attempt = PaymentAttempt.objects.get()
    invoice.refresh_from_db()
    assert (attempt.state, invoice.state) == ("succeeded", "paid")
    assert attempt.gateway_orders.get().status == "SUCCESS"
    assert len(shop.taken(invoice)) == 1


def test_absence_never_permits_a_retry_and_ends_in_review(shop: Shop) -> None:
    invoice = due_invoice(shop, "4000000000000259")
    shop.collect()
    attempt = settle_down(shop, invoice)

    assert (attempt.state, attempt.state_reason) == ("needs_review", "absent_no_report")
    assert attempt.checks_done == 2  # the third read was the last rung
    told = Evidence.objects.filter(attempt_id=attempt.pk, source="order_list").values_list("verdict", flat=True)
    assert sorted(told) == ["absent", "absent", "absent_at_last"]
    assert shop.collect().armed == 0
    assert shop.taken(invoice) == []


def test_order_without_a_marker_needs_review_and_holds_the_card(shop: Shop) -> None:
    shop.simulator.set(echo=False)
    invoice = due_invoice(shop, "4000000000000119")
    shop.collect()
    attempt = settle_down(shop, invoice)

    assert (attempt.state, attempt.state_reason) == ("needs_review", "order_without_marker")
    attempt.payment_method.refresh_from_db()
    assert attempt.payment_method.held_at is not None


def test_single_order_is_ours_when_the_account_echoes_nothing(shop: Shop) -> None:
    type(shop.account).objects.filter(pk=shop.account.pk).update(marker_echo="proved_absent")
    shop.simulator.set(echo=False)
    invoice = due_invoice(shop, "4000000000000119")
    shop.collect()

    assert settle_down(shop, invoice).state == "succeeded"
    assert len(shop.taken(invoice)) == 1


def test_a_failed_read_does_not_count_and_is_repeated(shop: Shop) -> None:
    due_invoice(shop, "4000000000000259")
    shop.collect()
    port = shop.account.api_url
    type(shop.account).objects.filter(pk=shop.account.pk).update(api_url="http://127.0.0.1:9/v3")
    later = database_now() + timedelta(seconds=2)
    shop.reconcile(later)

    attempt = PaymentAttempt.objects.get()
    assert (attempt.state, attempt.checks_done, attempt.checks_failed) == ("unknown", 0, 1)
    assert attempt.next_check_at is not None
    assert attempt.next_check_at > later

    type(shop.account).objects.filter(pk=shop.account.pk).update(api_url=port)
    shop.reconcile(later + timedelta(seconds=40))
    attempt.refresh_from_db()
    assert attempt.checks_done == 1


def test_success_with_another_amount_needs_review(shop: Shop) -> None:
    invoice = due_invoice(shop)
    shop.simulator.set_customer(PaymentMethod_id(invoice), outcome=["wrong_amount"])
    shop.collect()

    attempt = PaymentAttempt.objects.get()
    assert (attempt.state, attempt.state_reason) == ("needs_review", "amount_differs")


def test_invoice_is_tried_again_only_after_its_cards_were_read(shop: Shop) -> None:
    invoice = due_invoice(shop, "4000000000000366")  # declines once, then succeeds
    shop.collect()
    Invoice.objects.filter(pk=invoice.pk).update(next_attempt_at=database_now(), asked_for=True)
    read_before = shop.simulator.requests()["since_start"]["GET /v3/customer/{id}/orders"]

    shop.collect()

    invoice.refresh_from_db()
    states = list(invoice.attempts.order_by("number").values_list("state", flat=True))
    assert states == ["declined", "succeeded"]
    assert shop.simulator.requests()["since_start"]["GET /v3/customer/{id}/orders"] == read_before + 1
    assert invoice.preflight_at is not None
    assert len(shop.taken(invoice)) == 1


def test_money_that_came_after_a_decline_is_found_before_a_retry(shop: Shop) -> None:
    shop.simulator.set(settle_after=0.2)
    invoice = due_invoice(shop, "4000000000000424")  # FAILED, later SUCCESS under a new transaction
    shop.collect()
    assert PaymentAttempt.objects.get().state == "declined"
    time.sleep(0.5)
    Invoice.objects.filter(pk=invoice.pk).update(next_attempt_at=database_now(), asked_for=True)

    shop.collect()

    invoice.refresh_from_db()
    assert invoice.state == "paid"
    assert list(invoice.attempts.values_list("state", flat=True)) == ["succeeded"]
    assert len(shop.taken(invoice)) == 1


def test_an_invoice_waits_when_its_cards_cannot_be_read(shop: Shop) -> None:
    invoice = due_invoice(shop, "4000000000000366")
    shop.collect()
    Invoice.objects.filter(pk=invoice.pk).update(next_attempt_at=database_now(), asked_for=True)
    shop.simulator.set(error_unknown=[500, "SYSTEM_ERROR"], orders_visible_after=0)
    shop.simulator.set_customer(PaymentMethod_id(invoice), page_size=1)
    original = shop.account.api_url
    type(shop.account).objects.filter(pk=shop.account.pk).update(api_url="http://127.0.0.1:9/v3")

    shop.collect()

    invoice.refresh_from_db()
    assert invoice.refusal == "preflight_missing"
    assert invoice.attempts.count() == 1
    type(shop.account).objects.filter(pk=shop.account.pk).update(api_url=original)


def test_invoice_is_charged_once_the_gateway_can_be_reached(shop: Shop) -> None:
    invoice = make_invoice(shop.card(), next_attempt_at=database_now())
    reachable = shop.account.oauth_url
    type(shop.account).objects.filter(pk=shop.account.pk).update(oauth_url="http://127.0.0.1:9/v1")
    assert shop.collect().armed == 0
    invoice.refresh_from_db()
    assert (invoice.refusal, invoice.attempts.count()) == ("gateway_unavailable", 0)

    type(shop.account).objects.filter(pk=shop.account.pk).update(oauth_url=reachable)
    time.sleep(0.3)  # it pauses so long
    shop.collect()
    invoice.refresh_from_db()
    assert (invoice.state, invoice.refusal) == ("paid", None)


def test_unexplained_order_holds_the_card_and_alerts_once(shop: Shop) -> None:
    invoice = due_invoice(shop, "4000000000000366")
    shop.collect()
    stranger = make_invoice(invoice.payment_method, next_attempt_at=database_now(), asked_for=True, amount_minor=5000)
    shop.collect()
    # What the stranger paid is forgotten, as if another system had used the card.
    PaymentAttempt.objects.filter(invoice=invoice).update()
    attempt = PaymentAttempt.objects.get(invoice=stranger)
    assert attempt.state == "succeeded"
    forget(attempt)
    Invoice.objects.filter(pk=invoice.pk).update(next_attempt_at=database_now(), asked_for=True)

    shop.collect()
    Invoice.objects.filter(pk=invoice.pk).update(next_attempt_at=database_now(), asked_for=True, preflight_at=None)
    shop.collect()

    invoice.refresh_from_db()
    card = invoice.payment_method
    assert card is not None
    card.refresh_from_db()
    assert (invoice.refusal, invoice.attempts.count()) == ("preflight_found_money", 1)
    assert card.held_reason == "unexplained_order"
    assert Event.objects.filter(kind="payment_method.unexplained_order").count() == 1


def forget(attempt: PaymentAttempt) -> None:
    """Takes an attempt out of the database, past the promises, in this test's transaction."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("DELETE FROM billing_paymentattempt WHERE id = %s", [attempt.pk])
        cursor.execute("SET LOCAL session_replication_role = origin")


def test_an_in_process_charge_is_followed_to_its_end(shop: Shop) -> None:
    shop.simulator.set(settle_after=0.4)
    invoice = due_invoice(shop, "4000000000000341")
    shop.collect()
    assert PaymentAttempt.objects.get().state == "in_process"

    assert settle_down(shop, invoice).state == "succeeded"
    assert len(shop.taken(invoice)) == 1


def test_an_inactive_card_after_an_error_is_a_decline(shop: Shop) -> None:
    invoice = due_invoice(shop, "4000000000000440")  # succeeds once, then is inactive
    shop.collect()
    card = invoice.payment_method
    second = make_invoice(card, next_attempt_at=database_now())
    shop.collect()
    attempt = settle_down(shop, second)

    assert (attempt.state, attempt.state_reason) == ("declined", "card_inactive")
    assert card is not None
    card.refresh_from_db()
    assert card.state == "inactive"
    assert len(shop.taken(second)) == 0


def test_charge_that_did_not_happen_costs_no_try_and_waits(shop: Shop) -> None:
    invoice = due_invoice(shop)
    shop.simulator.set_customer(PaymentMethod_id(invoice), outcome=["throttled"])
    shop.collect()

    attempt = PaymentAttempt.objects.get()
    invoice.refresh_from_db()
    assert attempt.state == "not_sent"
    assert (invoice.tries, invoice.not_sent_in_a_row) == (0, 1)
    assert attempt.settled_at is not None
    # The gateway says two seconds; but the refusal may be false, and what it did all the same is looked for first.
    assert invoice.next_attempt_at == invoice.look_from_at == attempt.armed_at + shop.tuning.deadline


@pytest.mark.parametrize(("outcome", "hours"), [("signature_error", 0.25), ("endpoint_not_found", 1)])
def test_wrong_setup_pauses_the_account_and_says_why(shop: Shop, outcome: str, hours: float) -> None:
    invoice = due_invoice(shop)
    shop.simulator.set_customer(PaymentMethod_id(invoice), outcome=[outcome])
    shop.collect()

    pace = AccountPace.objects.get()
    assert pace.state == "open"
    assert "settings or credentials are wrong" in pace.reason
    assert pace.since is not None
    assert pace.retry_at == pace.since + timedelta(hours=hours)
    assert Event.objects.filter(kind="account.paused").count() == 1
    Invoice.objects.filter(pk=invoice.pk).update(next_attempt_at=database_now(), asked_for=True)
    assert shop.collect().armed == 0
    invoice.refresh_from_db()
    assert invoice.refusal == "account_paused"
    shop.account.refresh_from_db()
    assert shop.account.stopped_at is None, "only people stop an account"


def test_invoice_refused_as_invalid_three_times_is_held_alone(
    shop: Shop,
) -> None:
    invoice, other = due_invoice(shop), due_invoice(shop)
    shop.simulator.set_customer(PaymentMethod_id(invoice), outcome=["validation_error"] * 5)
    for _ in range(5):
        Invoice.objects.filter(pk=invoice.pk, next_attempt_at__isnull=False).update(
            next_attempt_at=database_now(), preflight_at=None, look_from_at=None
        )
        shop.collect()
    invoice.refresh_from_db()
    other.refresh_from_db()
    assert (invoice.state, invoice.hold, invoice.attempts.count()) == ("open", "always_refused", 3)
    assert (other.state, AccountPace.objects.get().state) == ("paid", "closed")
    assert Event.objects.get(kind="invoice.held").payload["reason"] == "VALIDATION_ERROR"

    collect_held(invoice=invoice, decision=Decision("siti", "the description was mended"), now=database_now())
    shop.simulator.set_customer(PaymentMethod_id(invoice), outcome=["success"])
    Invoice.objects.filter(pk=invoice.pk).update(look_from_at=None)
    shop.collect()
    invoice.refresh_from_db()
    assert invoice.state == "paid"


def test_recurring_path_is_used_when_the_account_asks_for_it(shop: Shop) -> None:
    type(shop.account).objects.filter(pk=shop.account.pk).update(charge_path="recurring_charge")
    invoice = due_invoice(shop)
    shop.collect()

    attempt = PaymentAttempt.objects.get()
    assert attempt.state == "succeeded"
    assert attempt.charge_path == "recurring_charge"
    assert attempt.request_url.endswith(f"/recurring-payment/{attempt.gateway_customer_id}/charge")
    assert len(shop.taken(invoice)) == 1


def test_two_charges_of_one_card_never_run_side_by_side(shop: Shop) -> None:
    card = shop.card("4000000000000259")  # every connection is dropped: the first one stays unknown
    for _ in range(3):
        make_invoice(card, next_attempt_at=database_now())
    collected = shop.collect()

    assert collected.armed == 1
    refusals = Invoice.objects.filter(attempt_count=0).values_list("refusal", flat=True)
    assert list(refusals) == ["card_has_unresolved_attempt"] * 2


def test_subscription_is_completed_by_its_last_repetition(shop: Shop) -> None:
    plan = make_plan(shop.account, repetitions=1)
    now = database_now()
    subscription = make_subscription(shop.card(), plan, next_due_at=now, anchor_date=now.date())
    shop.open()
    subscription.refresh_from_db()
    assert (subscription.state, subscription.next_due_at) == ("active", None)

    shop.collect()

    subscription.refresh_from_db()
    assert subscription.state == "completed"
    assert subscription.ended_at is not None


def test_states_of_attempts_are_those_of_the_domain() -> None:
    assert {state for state, _ in PaymentAttempt._meta.get_field("state").choices or ()} == set(AttemptState)


def test_card_whose_records_cannot_be_written_holds_up_no_other(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from billing.charging.reading import reconcile

    odd, good = due_invoice(shop, "4000000000000119"), due_invoice(shop, "4000000000000119")
    shop.collect()
    record = reconcile.record

    def fail_for_the_odd_one(read: CardRead, *args: object, **kwargs: object) -> dict[str, int]:
        if read.card.id == odd.payment_method_id:
            raise ValueError("a bug")
        return record(read, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(reconcile, "record", fail_for_the_odd_one)
    time.sleep(0.4)
    shop.reconcile()

    states = dict(PaymentAttempt.objects.values_list("invoice_id", "state"))
    assert states == {odd.pk: "unknown", good.pk: "succeeded"}
    assert PaymentAttempt.objects.get(invoice=odd).checks_failed == 1
    monkeypatch.undo()
    assert settle_down(shop, odd).state == "succeeded"


@pytest.mark.parametrize("step", ["reconcile", "collect"])
def test_reader_that_fails_unexpectedly_is_a_failed_read(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    from billing.charging.reading import preflight, reconcile

    def fail(*_: object) -> NoReturn:
        raise ValueError("a bug")

    if step == "reconcile":
        due_invoice(shop, "4000000000000119")
        shop.collect()
        monkeypatch.setattr(reconcile, "fetch", fail)
        time.sleep(0.4)
        shop.reconcile()
        assert PaymentAttempt.objects.get().checks_failed == 1
    else:
        invoice = due_invoice(shop, "4000000000000366")
        shop.collect()
        Invoice.objects.filter(pk=invoice.pk).update(next_attempt_at=database_now(), asked_for=True)
        monkeypatch.setattr(preflight, "record", fail)
        shop.collect()
        assert invoice.attempts.count() == 1


def test_card_switched_off_later_does_not_explain_an_error(shop: Shop) -> None:
    """The money was taken, the answer was an error, the order is not listed yet, and then the card is switched off."""
    card = shop.card()
    invoice = make_invoice(card, next_attempt_at=database_now())
    gateway_id = PaymentMethod_id(invoice)
    shop.simulator.set_customer(gateway_id, outcome=["system_error_after"], orders_visible_after=1800)
    shop.collect()
    gateway_for(shop.account)._client.set_active(gateway_id, False)

    time.sleep(0.4)
    assert shop.reconcile() == 1

    assert len(shop.taken(invoice)) == 1
    assert PaymentAttempt.objects.get().state == "unknown", "absence is no evidence, whatever became of the card"
