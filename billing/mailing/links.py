"""The link in a message where the customer saves another card: signed, and worthless after a month.

It names the customer by the public id alone. Opening it does nothing, for scanners of mail open links too."""

from datetime import timedelta

from django.conf import settings
from django.core import signing

from billing.models import Customer

SALT = "kitaran.save-card"
VALID = timedelta(days=30)


def card_link(customer: Customer) -> str:
    token = signing.TimestampSigner(salt=SALT).sign(customer.public_id)
    return f"{settings.KITARAN_PUBLIC_URL}/card/{token}/"


def customer_of(token: str) -> Customer | None:
    """Whose link it is; None when it is nobody's, or has expired."""
    try:
        public_id = signing.TimestampSigner(salt=SALT).unsign(token, max_age=VALID)
    except signing.BadSignature:
        return None
    return Customer.objects.select_related("account").filter(public_id=public_id).first()
