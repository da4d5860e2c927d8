"""Attacks on the database through raw SQL: copies of rows with something wrong, and what must refuse them."""

# ruff: noqa: S608  (names of tables and columns come from the models)

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, time, timedelta
from typing import Any, TypeVar

import pytest
from django.db import IntegrityError, connection, models, transaction

from billing.models import (
    AccountTrouble,
    ApiKey,
    Customer,
    DeclineRuling,
    DunningPolicy,
    Event,
    Evidence,
    GatewayAccount,
    GatewayClock,
    GatewayOrder,
    GatewayTransaction,
    Heartbeat,
    Host,
    IdempotencyRecord,
    Installation,
    Invoice,
    OrphanAnswer,
    OutsidePayment,
    PaymentAttempt,
    PaymentMethod,
    Plan,
    Proposal,
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
    make_decline_ruling,
    make_evidence,
    make_invoice,
    make_outside_payment,
    make_plan,
    make_proposal,
    make_refund,
    make_refund_evidence,
    make_subscription,
    move_attempt,
)

Test = TypeVar("Test", bound=Callable[..., None])

# Names of the constraints and triggers that some test attacks; compared with the catalogue in test_completeness.py.
ATTACKED: set[str] = set()
_numbers = itertools.count(1)


def attacks(*names: str) -> Callable[[Test], Test]:
    """Notes that the decorated test attacks these constraints or triggers."""
    ATTACKED.update(names)
    return lambda test: test


@contextmanager
def refused(name: str) -> Iterator[None]:
    """The block is refused by the constraint or trigger of this name, and by no other."""
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        yield
    assert caught.value.__cause__.diag.constraint_name == name


def run(query: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return list(cursor.fetchall()) if cursor.description else []


def table(row: models.Model | type[models.Model]) -> str:
    return row._meta.db_table


def columns(row: models.Model | type[models.Model]) -> list[str]:
    return [field.column for field in row._meta.concrete_fields if not field.primary_key]


def update(row: models.Model, **changes: Any) -> None:
    """UPDATE of one row, with nothing of Django between."""
    assignments = ", ".join(f'"{column}" = %s' for column in changes)
    run(f"UPDATE {table(row)} SET {assignments} WHERE id = %s", [*changes.values(), row.pk])


def rewrite(row: models.Model, column: str) -> None:
    """UPDATE of one row that changes nothing."""
    run(f'UPDATE {table(row)} SET "{column}" = "{column}" WHERE id = %s', [row.pk])


def delete(row: models.Model) -> None:
    run(f"DELETE FROM {table(row)} WHERE id = %s", [row.pk])


def insert_copy(row: models.Model, **changes: Any) -> int:
    """INSERT of a row like `row` but for `changes`; its id."""
    names = columns(row)
    assert set(changes) <= {*names, "id"}
    wanted = [*names, *(["id"] if "id" in changes else [])]
    into = ", ".join(f'"{column}"' for column in wanted)
    values = ", ".join("%s" if column in changes else f'"{column}"' for column in wanted)
    parameters = [changes[column] for column in wanted if column in changes]
    ((new_id,),) = run(
        f"INSERT INTO {table(row)} ({into}) SELECT {values} FROM {table(row)} WHERE id = %s RETURNING id",
        [*parameters, row.pk],
    )
    return int(new_id)


def insert_another(row: models.Model, *same: str, **changes: Any) -> int:
    """INSERT of a lawful further row like `row`, but with the columns `same` taken over from it."""
    fresh = {name: make(row) for name, make in FRESH[type(row)].items() if name not in {*same, *changes}}
    return insert_copy(row, **fresh, **changes)


def other_value(value: Any) -> Any:
    """A value of the same type that differs."""
    match value:
        case None:
            return 1
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return f"{value}X"
        case bytes() | memoryview():
            return bytes(value) + b"X"
        case time():
            return value.replace(hour=(value.hour + 1) % 24)
        case datetime():
            return value + timedelta(hours=1)
        case _:
            raise AssertionError(f"no other value for {value!r}")


# --- one lawful row of every table --------------------------------------------------------------------------


def make_api_key() -> ApiKey:
    return ApiKey.objects.create(
        public_id="key_1",
        account=make_account(),
        name="server",
        prefix="kit_abc",
        key_hash="hash",
        scopes=["read"],
        created_at=NOW,
    )


def make_idempotency_record() -> IdempotencyRecord:
    return IdempotencyRecord.objects.create(account=make_account(), key="key", request_hash="hash", created_at=NOW)


def make_gateway_order(attempt: PaymentAttempt | None = None, /, **changes: Any) -> GatewayOrder:
    attempt = attempt or make_attempt()
    known: dict[str, Any] = {
        "account": attempt.account,
        "payment_method": attempt.payment_method,
        "gateway_order_id": "1001",
        "status": "SUCCESS",
        "amount_minor": 1990,
        "currency": "MYR",
        "attempt": attempt,
        "first_seen_at": NOW,
        "last_seen_at": NOW,
    }
    return GatewayOrder.objects.create(**{**known, **changes})


def make_gateway_transaction() -> GatewayTransaction:
    return GatewayTransaction.objects.create(
        account=make_account(),
        gateway_transaction_id="2001",
        status="SUCCESS",
        amount_minor=1990,
        currency="MYR",
        content={},
        first_seen_at=NOW,
        last_seen_at=NOW,
    )


def make_event() -> Event:
    return Event.objects.create(
        public_id="evt_1",
        account_id=make_account().pk,
        kind="invoice.paid",
        subject_type="invoice",
        subject_id=1,
        occasion="1",
        payload={},
        created_at=NOW,
    )


def make_transition() -> Transition:
    return Transition.objects.create(
        account_id=make_account().pk, subject_type="invoice", subject_id=1, to_state="open", actor="engine", at=NOW
    )


def make_orphan_answer(**changes: Any) -> OrphanAnswer:
    return OrphanAnswer.objects.create(
        **{
            "account_id": make_account().pk,
            "kind": "charge",
            "marker": "ABCDEF012345",
            "nonce": "nonce",
            "gateway_customer_id": "customer",
            "amount_minor": 1990,
            "currency": "MYR",
            "title": "Coffee club ABCDEF012345",
            "description": "ABCDEF012345 inv_1 Coffee club",
            "source": "answer",
            "verdict": "paid",
            "transaction_id": "2001",
            "content": {},
            "digest": "digest",
            "recorded_at": NOW,
            **changes,
        }
    )


def make_heartbeat() -> Heartbeat:
    return Heartbeat.objects.create(queue="charge", worker="worker", beat_at=NOW)


def make_trouble() -> AccountTrouble:
    return AccountTrouble.objects.create(
        account=make_account(), work="reconcile", since=NOW, last_at=NOW, error="RuntimeError"
    )


def make_gateway_clock() -> GatewayClock:
    return GatewayClock.objects.create(
        api_url="http://127.0.0.1:1/v3",
        machine="this boot",
        started_earliest=NOW,
        started_latest=NOW,
        uptime=timedelta(hours=1),
        checked_at=NOW,
    )


def make_host() -> Host:
    return Host.objects.create(host_id="host", first_seen_at=NOW, last_seen_at=NOW)


def make_installation() -> Installation:
    return Installation.objects.get(pk=1)


def make_period_invoice(**changes: Any) -> Invoice:
    card = make_card()
    return make_invoice(card, make_subscription(card), **changes)


def make_told_evidence() -> Evidence:
    return make_evidence(make_attempt())


def make_partial_refund() -> Refund:
    """A part of surplus money, so that other parts and other surplus of the invoice may go back too."""
    surplus = move_attempt(make_attempt(), "surplus")
    return make_refund(surplus, amount_minor=500, kind="partial", request_nonce=f"refund-{next(_numbers)}")


def make_told_refund_evidence() -> RefundEvidence:
    return make_refund_evidence(make_refund())


MAKERS: dict[type[models.Model], Callable[[], models.Model]] = {
    AccountTrouble: make_trouble,
    ApiKey: make_api_key,
    Customer: make_customer,
    DeclineRuling: make_decline_ruling,
    Event: make_event,
    Evidence: make_told_evidence,
    GatewayAccount: make_account,
    GatewayClock: make_gateway_clock,
    GatewayOrder: make_gateway_order,
    GatewayTransaction: make_gateway_transaction,
    Heartbeat: make_heartbeat,
    Host: make_host,
    IdempotencyRecord: make_idempotency_record,
    Installation: make_installation,
    Invoice: make_period_invoice,
    OrphanAnswer: make_orphan_answer,
    PaymentAttempt: make_attempt,
    PaymentMethod: make_card,
    Plan: make_plan,
    Refund: make_partial_refund,
    RefundEvidence: make_told_refund_evidence,
    OutsidePayment: make_outside_payment,
    Proposal: make_proposal,
    Subscription: make_subscription,
    Transition: make_transition,
}


def _text(_: models.Model) -> str:
    return f"fresh-{next(_numbers)}"


def _number(_: models.Model) -> int:
    return 1000 + next(_numbers)


def _period(row: models.Model) -> int | None:
    assert isinstance(row, Invoice)
    return None if row.subscription_id is None else _number(row)


def _later(row: models.Model) -> datetime:
    assert isinstance(row, Invoice)
    return row.due_at + timedelta(seconds=_number(row))


def _marker(_: models.Model) -> str:
    return f"{next(_numbers):012}"


def _other_invoice(row: models.Model) -> int:
    assert isinstance(row, PaymentAttempt)
    return make_invoice(row.payment_method).pk


def _other_case(row: models.Model) -> int:
    assert isinstance(row, Proposal)
    assert row.attempt is not None
    card = make_card(row.attempt.payment_method.customer, is_default=False)
    return move_attempt(make_attempt(make_invoice(card), card), "needs_review").pk


def _other_card(row: models.Model) -> int:
    assert isinstance(row, PaymentAttempt)
    return make_card(row.payment_method.customer, is_default=False).pk


def _other_money(row: models.Model) -> int:
    """A further payment of the same invoice, as surplus."""
    assert isinstance(row, Refund)
    return move_attempt(make_attempt(row.invoice, row.attempt.payment_method), "surplus").pk


# What a further row like an existing one has to have for itself.
FRESH: dict[type[models.Model], dict[str, Callable[[models.Model], Any]]] = {
    AccountTrouble: {"work": _text},
    ApiKey: {"public_id": _text, "prefix": _text, "key_hash": _text},
    Customer: {"public_id": _text, "reference": _text},
    DeclineRuling: {"code": _text},
    DunningPolicy: {"public_id": _text, "code": _text},
    Event: {"public_id": _text, "occasion": _text},
    Evidence: {"digest": _text},
    GatewayAccount: {"public_id": _text},
    GatewayClock: {"machine": _text},
    GatewayOrder: {"gateway_order_id": _text},
    GatewayTransaction: {"gateway_transaction_id": _text},
    Heartbeat: {"queue": _text},
    Host: {"host_id": _text},
    IdempotencyRecord: {"key": _text},
    Invoice: {"public_id": _text, "period_index": _period, "due_at": _later},
    OrphanAnswer: {"nonce": _text},
    PaymentAttempt: {
        "public_id": _text,
        "number": _number,
        "marker": _marker,
        "request_nonce": _text,
        "gateway_transaction_id": _text,
        "gateway_order_id": _text,
        "invoice_id": _other_invoice,
        "payment_method_id": _other_card,
        "state": lambda _: "sending",
        "released_at": lambda _: None,
    },
    PaymentMethod: {
        "public_id": _text,
        "return_token": _text,
        "gateway_customer_id": _text,
        "is_default": lambda _: False,
    },
    Plan: {"public_id": _text, "code": _text},
    Refund: {"public_id": _text, "request_nonce": _text, "attempt_id": _other_money, "state": lambda _: "requested"},
    RefundEvidence: {"digest": _text},
    Proposal: {"public_id": _text, "attempt_id": _other_case},
    Subscription: {"public_id": _text, "reference": _text},
}
