"""Customers of a merchant."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from billing.domain.errors import RefusedError
from billing.ids import new_id
from billing.models import Customer, GatewayAccount

CHANGEABLE = frozenset({"name", "email", "country_code", "phone_number", "metadata"})


class ReferenceTakenError(RefusedError):
    """The merchant's reference already names another row of the account."""


def create_customer(
    *,
    account: GatewayAccount,
    reference: str,
    name: str,
    email: str,
    phone_number: str,
    now: datetime,
    country_code: str = "60",
    metadata: dict[str, Any] | None = None,
) -> Customer:
    """Records who pays; `phone_number` is without the country code. Raises ReferenceTakenError."""
    try:
        with transaction.atomic():
            return Customer.objects.create(
                public_id=new_id("cus", now),
                account=account,
                reference=reference,
                name=name,
                email=email,
                country_code=country_code,
                phone_number=phone_number,
                metadata=metadata or {},
                created_at=now,
            )
    except IntegrityError as error:
        raise ReferenceTakenError(
            "reference", "taken", f"must be unique in the account; another customer has {reference!r}"
        ) from error


def update_customer(*, customer: Customer, changes: Mapping[str, Any]) -> Customer:
    """Writes new values of `CHANGEABLE` fields. The gateway keeps what it got when the card was saved."""
    unknown = sorted(set(changes) - CHANGEABLE)
    if unknown:
        raise ValueError(f"{unknown[0]}: cannot be changed this way")
    for field, value in changes.items():
        setattr(customer, field, value)
    if changes:
        customer.save(update_fields=sorted(changes))
    return customer
