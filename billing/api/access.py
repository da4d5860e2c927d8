"""The one place where the API reads rows: everything is filtered by the key's account, here and nowhere else."""

import re
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

from billing.api.problems import Problem, invalid
from billing.models import (
    Checkout,
    Customer,
    DunningPolicy,
    Event,
    GatewayAccount,
    Invoice,
    Message,
    PaymentAttempt,
    PaymentMethod,
    Plan,
    Refund,
    Subscription,
    WebhookDelivery,
    WebhookEndpoint,
)

Row = TypeVar("Row", bound=Model)

# What an answer names of other rows, read in the same query.
RELATED: dict[type[Model], tuple[str, ...]] = {
    Customer: (),
    PaymentMethod: ("customer",),
    Plan: (),
    DunningPolicy: ("account",),
    Subscription: ("customer", "plan", "payment_method"),
    Invoice: ("customer", "subscription", "payment_method", "dunning_policy"),
    PaymentAttempt: ("invoice", "payment_method", "checkout"),
    Checkout: ("invoice",),
    Refund: ("attempt", "invoice"),
    WebhookEndpoint: (),
    WebhookDelivery: ("endpoint",),
    Message: ("customer",),
}
# What it names of rows that point to it, in one more query for all.
PREFETCHED: dict[type[Model], tuple[str, ...]] = {
    DunningPolicy: ("assignments", "second_assignments"),
    Invoice: ("outside_payments", "proposals"),
    PaymentAttempt: ("proposals",),
    PaymentMethod: ("proposals",),
    Checkout: ("attempts",),
}
PREFIXES: dict[type[Model], str] = {
    Customer: "cus",
    PaymentMethod: "pm",
    Plan: "plan",
    DunningPolicy: "dpol",
    Subscription: "sub",
    Invoice: "inv",
    PaymentAttempt: "att",
    Checkout: "chk",
    Refund: "ref",
    WebhookEndpoint: "whe",
    WebhookDelivery: "whd",
    Message: "msg",
    Event: "evt",
}
# What is not there for a merchant's system: yet, or ever, as news for the staff.
HIDDEN: dict[type[Model], Q] = {Event: Q(sequence__isnull=True), Message: Q(customer__isnull=True)}
_ID = re.compile(r"[a-z]{2,4}_[0-9a-z]{26}", re.ASCII)


def rows_of(account: GatewayAccount, model: type[Row]) -> QuerySet[Row]:
    """The account's own rows of `model`, with what their answers name."""
    rows = with_related(model).filter(account_id=account.pk)
    return rows.exclude(HIDDEN[model]) if model in HIDDEN else rows


def with_related(model: type[Row]) -> QuerySet[Row]:
    """Rows of any account, read with what their answers name; for bodies that stay with their account."""
    rows: QuerySet[Row] = model._default_manager.prefetch_related(*PREFETCHED.get(model, ()))
    related = RELATED.get(model, ())
    return rows.select_related(*related) if related else rows


def find(account: GatewayAccount, model: type[Row], public_id: str) -> Row:
    """The row that an address names. Raises Problem `not_found`, for another account's rows too."""
    row = rows_of(account, model).filter(public_id=public_id).first() if _ID.fullmatch(public_id) else None
    if row is None:
        raise Problem("not_found", "No such object in this account.")
    return row


def refer(account: GatewayAccount, model: type[Row], public_id: str, field: str) -> Row:
    """The row that a field of the body names. Raises Problem `invalid_request`, rule `not_found`."""
    try:
        return find(account, model, public_id)
    except Problem:
        raise invalid(field, "not_found", "no such object in this account") from None


def taken(account: GatewayAccount, model: type[Any], reference: str, error: Exception) -> Exception:
    """What to raise when a reference was refused: a Problem that names the row which has it."""
    row = rows_of(account, model).filter(reference=reference).first()
    if row is None:
        return error
    message = f"must be unique in the account; {row.public_id} has it"
    field = {"field": "reference", "rule": "unique", "message": message}
    problem = Problem("reference_taken", f"reference: {message}", existing=row.public_id)
    problem.errors = [field]
    return problem


def own_account(account: GatewayAccount) -> GatewayAccount:
    """The key's account as it is now."""
    return GatewayAccount.objects.get(pk=account.pk)
