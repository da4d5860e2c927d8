"""The link to a customer's page: signed, good for some weeks, and ended together with all others by one act.

It names the customer by the public id alone. Each link carries the customer's *epoch*, a random word: another word ends
every link that there is, those in sent mail included (docs/adr/0031). Whoever holds a link may do what the page lets
them do, so a link reaches no log."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.core import signing
from django.db import transaction

from billing.models import Customer
from billing.models.bulk.history import record_change
from billing.subscriptions.customers import CREATED

SALT = "kitaran.payment-link"
LONGEST = 200
FIRST_EPOCH = "0"  # of a customer whose links were never ended
# Links of older messages: to a page that only saved cards, with the time at which they were made.
OLD_SALT = "kitaran.save-card"
OLD_VALID = timedelta(days=30)
# A cookie of a browser that left a customer page to save a card: the link to come back by. No gateway sees it.
CAME_FROM = "kitaran_came_from"


@dataclass(frozen=True, slots=True)
class PaymentLink:
    """`expires_at` is in UTC."""

    url: str
    expires_at: datetime


def payment_link(customer: Customer, *, now: datetime) -> PaymentLink:
    """A link to the customer's page, good for as many days as the account says. Nothing is written."""
    expires_at = (now + timedelta(days=customer.account.payment_link_days)).astimezone(UTC).replace(microsecond=0)
    parts = (customer.public_id, customer.link_epoch or FIRST_EPOCH, str(int(expires_at.timestamp())))
    token = signing.Signer(salt=SALT, sep=".").sign(".".join(parts))
    return PaymentLink(address_of(token), expires_at)


def address_of(token: str) -> str:
    return f"{settings.KITARAN_PUBLIC_URL}/pay/{token}/"


def customer_of(token: str, *, now: datetime) -> Customer | None:
    """Whose link it is; None when it is nobody's, has expired, or was ended."""
    named = _read(token, now) if len(token) <= LONGEST else None
    if named is None:
        return None
    public_id, named_epoch = named
    epoch = "" if named_epoch == FIRST_EPOCH else named_epoch
    return Customer.objects.select_related("account").filter(public_id=public_id, link_epoch=epoch).first()


def end_links(*, customer: Customer, reason: str, actor: str, now: datetime) -> Customer:
    """Ends every link to the customer's page, with a line of history. Links that are made afterwards work."""
    with transaction.atomic():
        locked = Customer.objects.select_for_update(no_key=True).get(pk=customer.pk)
        locked.link_epoch = secrets.token_urlsafe(6)
        locked.save(update_fields=["link_epoch"])
        record_change(
            account_id=locked.account_id,
            subject_type="customer",
            subject_id=locked.pk,
            state=CREATED,
            kind=None,
            changes={},
            words="all payment links ended",
            reason=reason,
            actor=actor,
            now=now,
        )
    customer.link_epoch = locked.link_epoch
    return locked


def _read(token: str, now: datetime) -> tuple[str, str] | None:
    """The customer's public id and the epoch that a token of ours names, unless it has expired."""
    try:
        value = signing.Signer(salt=SALT, sep=".").unsign(token)
    except signing.BadSignature:
        return _read_old(token)
    public_id, epoch, expires = value.split(".")
    return (public_id, epoch) if now.timestamp() < int(expires) else None


def _read_old(token: str) -> tuple[str, str] | None:
    """They are of the epoch before any link was ended."""
    try:
        return signing.TimestampSigner(salt=OLD_SALT).unsign(token, max_age=OLD_VALID), FIRST_EPOCH
    except signing.BadSignature:
        return None
