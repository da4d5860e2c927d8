"""Triggers: what has happened stays as it was, and states move along the table only."""

from collections.abc import Iterable
from enum import StrEnum
from importlib import import_module
from itertools import permutations
from typing import Any

import pytest
from django.db import models
from psycopg.types.json import Json

from billing.domain.attempts import MOVES, AttemptState
from billing.domain.subscriptions import INVOICE_MOVES, SUBSCRIPTION_MOVES, InvoiceState, SubscriptionState
from billing.models import (
    Event,
    Evidence,
    GatewayOrder,
    GatewayTransaction,
    Invoice,
    OrphanAnswer,
    PaymentAttempt,
    PaymentMethod,
    Plan,
    Refund,
    RefundEvidence,
    Subscription,
    Transition,
)
from tests.factories import (
    NOW,
    make_account,
    make_attempt,
    make_card,
    make_customer,
    make_evidence,
    make_invoice,
    make_plan,
    make_subscription,
    make_unpaid,
    move_attempt,
)
from tests.promises.attacks import (
    MAKERS,
    attacks,
    columns,
    delete,
    insert_another,
    make_orphan_answer,
    make_period_invoice,
    other_value,
    refused,
    rewrite,
    run,
    table,
    update,
)
from tests.promises.test_uniques import PATHS

pytestmark = pytest.mark.django_db
promises = import_module("billing.migrations.0002_promises")
FROZEN_PLAN_COLUMNS = (*promises.FROZEN_PLAN_COLUMNS, "activates_on")
answers = import_module("billing.migrations.0011_answers")


def every_pair(states: Iterable[StrEnum]) -> list[Any]:
    return [pytest.param(old, new, id=f"{old}-{new}") for old, new in permutations(states, 2)]


# --- states -------------------------------------------------------------------------------------------------


@attacks("attempts_are_born_sending")
@pytest.mark.parametrize("state", sorted(set(AttemptState) - {AttemptState.SENDING}))
def test_an_attempt_is_born_sending_and_in_no_other_state(state: AttemptState) -> None:
    attempt = make_attempt()
    with refused("attempts_are_born_sending"):
        insert_another(attempt, state=state)


@attacks("attempts_move_only_along_the_table")
@pytest.mark.parametrize(("old", "new"), every_pair(AttemptState))
def test_an_attempt_moves_along_the_table_only(old: AttemptState, new: AttemptState) -> None:
    attempt = move_attempt(make_attempt(), *PATHS[old])
    evidence = make_evidence(attempt)
    if (old, new) in MOVES:
        transaction = attempt.gateway_transaction_id or f"t-{attempt.pk}"
        update(attempt, state=new, last_evidence_id=evidence.pk, gateway_transaction_id=transaction)
        attempt.refresh_from_db()
        assert attempt.state == new
    else:
        with refused("attempts_move_only_along_the_table"):
            update(attempt, state=new, last_evidence_id=evidence.pk)


@attacks("every_move_of_an_attempt_names_its_evidence")
@pytest.mark.parametrize(("old", "new"), [pytest.param(o, n, id=f"{o}-{n}") for o, n in sorted(MOVES)])
def test_attempt_never_moves_without_new_evidence_about_it(old: AttemptState, new: AttemptState) -> None:
    attempt = move_attempt(make_attempt(), *PATHS[old])
    of_another = make_evidence(make_attempt())
    for evidence in (None, attempt.last_evidence_id, of_another.pk, of_another.pk + 1_000_000):
        with refused("every_move_of_an_attempt_names_its_evidence"):
            update(attempt, state=new, last_evidence_id=evidence)


def test_evidence_moves_an_attempt_only_once() -> None:
    attempt = move_attempt(make_attempt(), "unknown")
    used = attempt.last_evidence_id
    move_attempt(attempt, "not_charged")
    with refused("every_move_of_an_attempt_names_its_evidence"):
        update(attempt, state="succeeded", last_evidence_id=used)


def test_an_attempt_that_stays_needs_no_evidence() -> None:
    attempt = move_attempt(make_attempt(), "unknown")
    update(attempt, state="unknown", checks_done=1)


@attacks("invoices_move_only_along_the_table")
@pytest.mark.parametrize(("old", "new"), every_pair(InvoiceState))
def test_an_invoice_moves_along_the_table_only(old: InvoiceState, new: InvoiceState) -> None:
    closed = {state: None if state is InvoiceState.OPEN else NOW for state in InvoiceState}
    invoice = make_invoice(state=old, closed_at=closed[old], next_attempt_at=None)
    if (old, new) in INVOICE_MOVES:
        update(invoice, state=new, closed_at=closed[new])
    else:
        with refused("invoices_move_only_along_the_table"):
            update(invoice, state=new, closed_at=closed[new])


@attacks("subscriptions_move_only_along_the_table")
@pytest.mark.parametrize(("old", "new"), every_pair(SubscriptionState))
def test_a_subscription_moves_along_the_table_only(old: SubscriptionState, new: SubscriptionState) -> None:
    subscription = make_subscription(
        state=old,
        next_due_at=None,
        activates_on="payment",
        charge_at_start=True,
        first_payment_ends_at=NOW,
        period_index=1,
    )
    if (old, new) in SUBSCRIPTION_MOVES:
        update(subscription, state=new)
    else:
        with refused("subscriptions_move_only_along_the_table"):
            update(subscription, state=new)


@attacks("a_subscription_expires_unpaid")
@pytest.mark.parametrize("state", ["open", "uncollectible", "paid"])
def test_a_subscription_expires_only_when_nothing_is_owed_or_paid(state: str) -> None:
    invoice = make_unpaid()
    subscription = Subscription.objects.get()
    if state != "open":
        update(invoice, state=state, next_attempt_at=None, closed_at=NOW)
    with refused("a_subscription_expires_unpaid"):
        update(subscription, state="expired")


def test_a_subscription_expires_when_its_invoice_is_void() -> None:
    update(make_unpaid(), state="void", next_attempt_at=None, closed_at=NOW)
    update(Subscription.objects.get(), state="expired")


@attacks("periods_only_count_up")
def test_a_period_is_never_opened_again() -> None:
    subscription = make_subscription(period_index=3)
    with refused("periods_only_count_up"):
        update(subscription, period_index=2)
    update(subscription, period_index=3)
    update(subscription, period_index=4)


# --- who may be charged -------------------------------------------------------------------------------------


@attacks("gateway_collected_subscriptions_have_no_attempts")
def test_what_the_gateway_collects_is_never_charged_by_us() -> None:
    card = make_card()
    attempt = make_attempt(make_invoice(card), card)
    subscription = make_subscription(card, collector="gateway", next_due_at=None)
    collected_there = make_invoice(card, subscription, next_attempt_at=None)
    with refused("gateway_collected_subscriptions_have_no_attempts"):
        insert_another(attempt, invoice_id=collected_there.pk)


@attacks("attempts_ask_for_what_is_owed")
def test_attempt_asks_an_open_invoices_amount_of_its_customer() -> None:
    attempt = make_attempt()
    fresh = make_invoice(make_card(attempt.payment_method.customer, is_default=False), account=attempt.account)
    good = {"invoice_id": fresh.pk, "payment_method_id": fresh.payment_method_id}
    strangers = make_card(make_customer(attempt.account))
    closed = make_invoice(fresh.payment_method, state="void", closed_at=NOW, next_attempt_at=None)
    for wrong in (
        {"amount_minor": attempt.amount_minor + 1},
        {"payment_method_id": strangers.pk},
        {"account_id": make_account().pk},
        {"invoice_id": closed.pk},
    ):
        with refused("attempts_ask_for_what_is_owed"):
            insert_another(attempt, **{**good, **wrong})
    assert insert_another(attempt, **good)


@attacks("the_collector_never_changes")
def test_who_collects_a_subscription_is_decided_once() -> None:
    subscription = make_subscription(next_due_at=None)
    with refused("the_collector_never_changes"):
        update(subscription, collector="gateway")


# --- what is frozen -----------------------------------------------------------------------------------------

# Columns that may change after the row was written. What is in neither list fails the test below.
FREE_ATTEMPT_COLUMNS = {
    "state", "state_reason", "gateway_transaction_id", "gateway_order_id", "next_check_at", "checks_done",
    "rung_at", "looked_at",
    "checks_failed", "last_evidence_id", "settled_at", "released_at", "released_by", "released_reason",
    "amount_refunded_minor",
}  # fmt: skip
FREE_INVOICE_COLUMNS = {
    "payment_method_id", "state", "state_reason", "description", "lines", "amount_refunded_minor", "next_attempt_at",
    "hold", "attempt_count", "tries", "tries_avoided", "asked_for", "first_tried_at", "not_sent_in_a_row", "refusal",
    "refused_at", "preflight_at", "look_from_at", "dunning_policy_id", "decline_code", "grace_ends_at",
    "lease_until", "lease_token", "collect_regardless", "created_at", "closed_at",
}  # fmt: skip
FREE_PLAN_COLUMNS = {"public_id", "name", "created_at"}
FREE_ORPHAN_COLUMNS = {"matched_at", "matched_how", "matched_id", "matched_by", "matched_note"}


@pytest.mark.parametrize(
    ("kind", "frozen", "free"),
    [
        (PaymentAttempt, (*promises.FROZEN_ATTEMPT_COLUMNS, "recovered_at", "checkout_id"), FREE_ATTEMPT_COLUMNS),
        (Invoice, promises.FROZEN_INVOICE_COLUMNS, FREE_INVOICE_COLUMNS),
        (Plan, FROZEN_PLAN_COLUMNS, FREE_PLAN_COLUMNS),
        (OrphanAnswer, answers.WHAT_WAS_ANSWERED, FREE_ORPHAN_COLUMNS),
    ],
)
def test_every_column_is_either_frozen_or_known_to_change(
    kind: type[models.Model], frozen: tuple[str, ...], free: set[str]
) -> None:
    assert {*frozen, *free} == set(columns(kind))
    assert not free & set(frozen)


@attacks("armed_requests_never_change")
@pytest.mark.parametrize("column", promises.FROZEN_ATTEMPT_COLUMNS)
def test_what_was_armed_never_changes(column: str) -> None:
    attempt = make_attempt()
    with refused("armed_requests_never_change"):
        update(attempt, **{column: other_value(getattr(attempt, column))})


@attacks("issued_invoices_never_change")
@pytest.mark.parametrize("column", promises.FROZEN_INVOICE_COLUMNS)
def test_what_is_owed_never_changes(column: str) -> None:
    invoice = make_period_invoice()
    with refused("issued_invoices_never_change"):
        update(invoice, **{column: other_value(getattr(invoice, column))})


@attacks("orphan_answers_never_change")
@pytest.mark.parametrize("column", answers.WHAT_WAS_ANSWERED)
def test_what_was_answered_never_changes(column: str) -> None:
    orphan = make_orphan_answer()
    new = Json({"other": 1}) if column == "content" else other_value(getattr(orphan, column))
    with refused("orphan_answers_never_change"):
        update(orphan, **{column: new})


@pytest.mark.parametrize("changes", [{"matched_note": "other"}, {"matched_at": None, "matched_how": None}])
def test_an_orphan_answer_is_matched_once(changes: dict[str, Any]) -> None:
    orphan = make_orphan_answer()
    update(orphan, matched_at=NOW, matched_how="person", matched_by="siti", matched_note="seen in the portal")
    with refused("orphan_answers_never_change"):
        update(orphan, **changes)


@attacks("a_used_plan_is_not_edited")
@pytest.mark.parametrize("column", FROZEN_PLAN_COLUMNS)
def test_a_plan_that_somebody_is_on_is_not_edited(column: str) -> None:
    plan = make_plan()
    make_subscription(make_card(), plan=plan)
    plan.refresh_from_db()
    with refused("a_used_plan_is_not_edited"):
        update(plan, **{column: other_value(getattr(plan, column))})


def test_unused_plan_may_be_edited_and_any_plan_renamed() -> None:
    plan = make_plan()
    update(plan, amount_minor=2990)
    make_subscription(make_card(), plan=plan)
    update(plan, name="Tea club")


@attacks("a_recorded_transaction_never_changes")
@pytest.mark.parametrize("state", ["succeeded", "surplus", "reversed"])
@pytest.mark.parametrize("other", ["2002", None])
def test_money_keeps_its_transaction(state: str, other: str | None) -> None:
    attempt = make_attempt()
    update(attempt, gateway_transaction_id="2001")
    move_attempt(attempt, *PATHS[state])
    with refused("a_recorded_transaction_never_changes"):
        update(attempt, gateway_transaction_id=other)


# --- what is never lost -------------------------------------------------------------------------------------

APPEND_ONLY = (Evidence, RefundEvidence, Transition, Event)
NEVER_DELETED = (
    PaymentAttempt, Refund, Invoice, Subscription, PaymentMethod, GatewayOrder, GatewayTransaction, OrphanAnswer,
)  # fmt: skip


def noun(kind: type[models.Model]) -> str:
    return kind._meta.model_name or ""


@attacks(*(f"{noun(kind)}_is_append_only" for kind in APPEND_ONLY))
@pytest.mark.parametrize("kind", APPEND_ONLY, ids=noun)
def test_history_is_only_added_to(kind: type[models.Model]) -> None:
    row = MAKERS[kind]()
    with refused(f"{noun(kind)}_is_append_only"):
        delete(row)
    for column in columns(kind):
        with refused(f"{noun(kind)}_is_append_only"):
            rewrite(row, column)


@attacks(*(f"{noun(kind)}_is_never_deleted" for kind in NEVER_DELETED))
@pytest.mark.parametrize("kind", NEVER_DELETED, ids=noun)
def test_what_leaves_a_trace_of_money_is_never_deleted(kind: type[models.Model]) -> None:
    row = MAKERS[kind]()
    with refused(f"{noun(kind)}_is_never_deleted"):
        delete(row)


@attacks(*(f"{noun(kind)}_is_never_truncated" for kind in (*APPEND_ONLY, *NEVER_DELETED)))
@pytest.mark.parametrize("kind", [*APPEND_ONLY, *NEVER_DELETED], ids=noun)
@pytest.mark.parametrize("setting", ["off", "", "ON", "true"])
def test_table_is_not_truncated_without_the_tests_setting(kind: type[models.Model], setting: str) -> None:
    run("SELECT set_config('kitaran.allow_truncate', %s, true)", [setting])
    with refused(f"{noun(kind)}_is_never_truncated"):
        run(f"TRUNCATE {table(kind)} CASCADE")
