"""Unique constraints: the second row of what may exist once is refused, and differs in nothing else."""

import pytest
from django.db import models

from billing.domain.attempts import HOLDS_PLACE, UNRESOLVED, AttemptState
from billing.models import (
    AccountTrouble,
    ApiKey,
    Customer,
    DeclineRuling,
    Event,
    Evidence,
    GatewayAccount,
    GatewayClock,
    GatewayOrder,
    GatewayTransaction,
    Heartbeat,
    Host,
    IdempotencyRecord,
    Invoice,
    OrphanAnswer,
    PaymentAttempt,
    PaymentMethod,
    Plan,
    Proposal,
    Refund,
    RefundEvidence,
    Subscription,
)
from tests.factories import NOW, make_attempt, make_card, move_attempt
from tests.promises.attacks import MAKERS, attacks, insert_another, refused, update

pytestmark = pytest.mark.django_db

# Constraint, its table, and the column whose repetition it refuses.
CASES: list[tuple[str, type[models.Model], str]] = [
    ("one_trouble_per_account_and_work", AccountTrouble, "work"),
    ("one_clock_per_gateway_and_machine", GatewayClock, "machine"),
    ("billing_apikey_public_id_key", ApiKey, "public_id"),
    ("billing_apikey_prefix_key", ApiKey, "prefix"),
    ("billing_apikey_key_hash_key", ApiKey, "key_hash"),
    ("billing_customer_public_id_key", Customer, "public_id"),
    ("customer_reference_once_per_account", Customer, "reference"),
    ("one_ruling_per_decline_code", DeclineRuling, "code"),
    ("billing_event_public_id_key", Event, "public_id"),
    ("billing_host_host_id_key", Host, "host_id"),
    ("an_event_is_told_once", Event, "occasion"),
    ("evidence_is_told_once", Evidence, "digest"),
    ("billing_gatewayaccount_public_id_key", GatewayAccount, "public_id"),
    ("one_row_per_gateway_order", GatewayOrder, "gateway_order_id"),
    ("one_row_per_gateway_transaction", GatewayTransaction, "gateway_transaction_id"),
    ("billing_heartbeat_queue_key", Heartbeat, "queue"),
    ("one_answer_per_idempotency_key", IdempotencyRecord, "key"),
    ("billing_invoice_public_id_key", Invoice, "public_id"),
    ("one_invoice_per_period", Invoice, "period_index"),
    ("one_invoice_per_due_date", Invoice, "due_at"),
    ("an_orphan_answer_is_recorded_once", OrphanAnswer, "nonce"),
    ("billing_paymentattempt_public_id_key", PaymentAttempt, "public_id"),
    ("billing_paymentattempt_marker_key", PaymentAttempt, "marker"),
    ("billing_paymentattempt_request_nonce_key", PaymentAttempt, "request_nonce"),
    ("a_transaction_explains_one_attempt", PaymentAttempt, "gateway_transaction_id"),
    ("an_order_explains_one_attempt", PaymentAttempt, "gateway_order_id"),
    ("billing_paymentmethod_public_id_key", PaymentMethod, "public_id"),
    ("billing_paymentmethod_return_token_key", PaymentMethod, "return_token"),
    ("one_card_per_gateway_customer", PaymentMethod, "gateway_customer_id"),
    ("one_default_card_per_customer", PaymentMethod, "is_default"),
    ("billing_plan_public_id_key", Plan, "public_id"),
    ("one_plan_per_code_and_version", Plan, "code"),
    ("billing_refund_public_id_key", Refund, "public_id"),
    ("billing_refund_request_nonce_key", Refund, "request_nonce"),
    ("one_open_refund_per_attempt", Refund, "attempt_id"),
    ("refund_evidence_is_told_once", RefundEvidence, "digest"),
    ("billing_proposal_public_id_key", Proposal, "public_id"),
    ("one_open_proposal_per_attempt", Proposal, "attempt_id"),
    ("billing_subscription_public_id_key", Subscription, "public_id"),
    ("subscription_reference_once_per_account", Subscription, "reference"),
]


@attacks(*(name for name, _, _ in CASES))
@pytest.mark.parametrize(("name", "kind", "column"), CASES, ids=[name for name, _, _ in CASES])
def test_what_may_exist_once_is_refused_the_second_time(name: str, kind: type[models.Model], column: str) -> None:
    row = MAKERS[kind]()
    if isinstance(row, PaymentAttempt):
        update(row, gateway_transaction_id="2001", gateway_order_id="1001")
    with refused(name):
        insert_another(row, column)
    assert insert_another(row)


@attacks("attempts_are_numbered")
def test_two_attempts_of_an_invoice_never_have_one_number() -> None:
    attempt = move_attempt(make_attempt(), "declined")
    with refused("attempts_are_numbered"):
        insert_another(attempt, "invoice_id", "number")
    assert insert_another(attempt, "invoice_id")


# How an attempt comes to each state.
PATHS = {
    "sending": (),
    "succeeded": ("succeeded",),
    "declined": ("declined",),
    "not_sent": ("not_sent",),
    "in_process": ("in_process",),
    "unknown": ("unknown",),
    "not_charged": ("unknown", "not_charged"),
    "needs_review": ("needs_review",),
    "surplus": ("surplus",),
    "reversed": ("succeeded", "reversed"),
}


def test_there_is_a_path_to_every_state() -> None:
    assert set(PATHS) == {state.value for state in AttemptState}


@attacks("one_attempt_holds_the_place")
@pytest.mark.parametrize("state", sorted(HOLDS_PLACE))
def test_nothing_is_armed_for_an_invoice_whose_place_is_held(state: AttemptState) -> None:
    holder = move_attempt(make_attempt(), *PATHS[state])
    with refused("one_attempt_holds_the_place"):
        insert_another(holder, "invoice_id")


@pytest.mark.parametrize("state", sorted(set(AttemptState) - HOLDS_PLACE))
def test_invoice_may_be_retried_after_an_attempt_without_money(state: AttemptState) -> None:
    ended = move_attempt(make_attempt(), *PATHS[state])
    assert insert_another(ended, "invoice_id", "payment_method_id")


@attacks("one_attempt_holds_the_place")
def test_late_money_never_makes_a_second_holder_of_the_place() -> None:
    first = move_attempt(make_attempt(), "declined")
    second = PaymentAttempt.objects.get(pk=insert_another(first, "invoice_id", "payment_method_id"))
    with refused("one_attempt_holds_the_place"):
        move_attempt(first, "succeeded")
    assert move_attempt(first, "surplus").state == "surplus"
    move_attempt(second, "declined")
    assert move_attempt(first, "succeeded").state == "succeeded"


@attacks("one_unresolved_attempt_per_card")
@pytest.mark.parametrize("state", sorted(UNRESOLVED))
def test_card_with_an_unresolved_attempt_is_not_charged_again(state: AttemptState) -> None:
    waiting = move_attempt(make_attempt(), *PATHS[state])
    with refused("one_unresolved_attempt_per_card"):
        insert_another(waiting, "payment_method_id")


@pytest.mark.parametrize("state", sorted(set(AttemptState) - UNRESOLVED))
def test_card_with_a_resolved_attempt_is_charged_again(state: AttemptState) -> None:
    resolved = move_attempt(make_attempt(), *PATHS[state])
    assert insert_another(resolved, "payment_method_id")


def test_released_card_is_charged_only_for_the_next_invoice() -> None:
    waiting = move_attempt(make_attempt(), "needs_review")
    update(waiting, released_at=NOW, released_by="mei", released_reason="spoke to the bank")
    assert insert_another(waiting, "payment_method_id")
    with refused("one_attempt_holds_the_place"):
        insert_another(waiting, "invoice_id")


def test_a_customer_may_have_many_cards_that_are_not_the_default() -> None:
    card = make_card(is_default=False)
    assert insert_another(card, "is_default")


def test_cards_that_the_gateway_does_not_know_yet_do_not_collide() -> None:
    card = make_card(state="pending", gateway_customer_id=None)
    assert insert_another(card, "gateway_customer_id")
