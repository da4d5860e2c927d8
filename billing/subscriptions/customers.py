"""Customers of a merchant."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from billing.domain.errors import RefusedError
from billing.domain.reasons import Reason
from billing.ids import new_id
from billing.models import Customer, GatewayAccount
from billing.models.bulk.history import record_change, record_transition

CREATED = "created"  # the one state of a customer in history
CHANGEABLE = frozenset({"name", "email", "country_code", "phone_number", "language", "silenced", "metadata"})


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
    language: str | None = None,
    silenced: bool = False,
    metadata: dict[str, Any] | None = None,
    actor: str = "engine",
) -> Customer:
    """Records who pays; `phone_number` is without the country code. Raises ReferenceTakenError."""
    try:
        with transaction.atomic():
            customer = Customer.objects.create(
                public_id=new_id("cus", now),
                account=account,
                reference=reference,
                name=name,
                email=email,
                country_code=country_code,
                phone_number=phone_number,
                language=language,
                silenced=silenced,
                metadata=metadata or {},
                created_at=now,
            )
            record_transition(
                account_id=account.pk,
                subject_type="customer",
                subject_id=customer.pk,
                from_state="",
                to_state=CREATED,
                reason=Reason.CREATED,
                actor=actor,
                now=now,
            )
            return customer
    except IntegrityError as error:
        raise ReferenceTakenError(
            "reference", "taken", f"must be unique in the account; another customer has {reference!r}"
        ) from error


def update_customer(*, customer: Customer, changes: Mapping[str, Any], actor: str, now: datetime) -> Customer:
    """Writes new values of `CHANGEABLE` fields. The gateway keeps what it got when the card was saved."""
    unknown = sorted(set(changes) - CHANGEABLE)
    if unknown:
        raise ValueError(f"{unknown[0]}: cannot be changed this way")
    with transaction.atomic():
        locked = Customer.objects.select_for_update(no_key=True).get(pk=customer.pk)
        changed = {
            field: (getattr(locked, field), value)
            for field, value in sorted(changes.items())
            if getattr(locked, field) != value
        }
        for field, (_, value) in changed.items():
            setattr(locked, field, value)
        if changed:
            locked.save(update_fields=list(changed))
            record_change(
                account_id=locked.account_id,
                subject_type="customer",
                subject_id=locked.pk,
                state=CREATED,
                kind="customer.updated",
                changes=changed,
                actor=actor,
                now=now,
            )
    return locked
