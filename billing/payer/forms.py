"""The signed token of each form: which act, on what, and what the customer saw when they were asked.

It proves that the form came from a page of this link, without a session or a cookie, and it fits only while what it is
about is as it was shown: a form that is sent twice, or again after Back, acts once."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.core import signing

from billing.models import Customer

SALT = "kitaran.payer-form"
VALID = timedelta(hours=2)
LONGEST = 300


class Act(StrEnum):
    PAY = "pay"
    OTHER_WAY = "page"  # a page of the gateway's: FPX, DuitNow, wallets, other cards
    SAVE_CARD = "card"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Form:
    """`target` is a public id, and `seen` what the customer saw of it; "" where the act needs none."""

    act: Act
    target: str = ""
    seen: str = ""


def token_of(form: Form, customer: Customer, *, now: datetime) -> str:
    ends = str(int((now + VALID).timestamp()))
    return _signer().sign(".".join((*_link(customer), form.act.value, form.target, form.seen, ends)))


def read_form(token: str, customer: Customer, *, now: datetime) -> Form | None:
    """What a form asks for; None for one that is not of this customer's link, or is too old."""
    if len(token) > LONGEST:
        return None
    try:
        *link, act, target, seen, ends = _signer().unsign(token).split(".")
    except signing.BadSignature:
        return None
    if tuple(link) != _link(customer) or now.timestamp() >= int(ends):
        return None
    return Form(Act(act), target, seen)


def _link(customer: Customer) -> tuple[str, str]:
    return customer.public_id, customer.link_epoch


def _signer() -> signing.Signer:
    return signing.Signer(salt=SALT, sep=".")
