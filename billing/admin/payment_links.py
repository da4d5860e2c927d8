"""A link to a customer's page: to copy, to share by WhatsApp, and to end."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from billing.admin.toolkit.actions import Done, Given, PersonAction
from billing.admin.toolkit.fields import ActionForm
from billing.admin.toolkit.formats import moment_text
from billing.domain.messages import Language
from billing.mailing.change_settings import settings_of
from billing.models import Customer
from billing.subscriptions.payment_links import end_links, payment_link

_SHARED = {
    Language.ENGLISH: "Your payments to {merchant}: {url}",
    Language.MALAY: "Bayaran anda kepada {merchant}: {url}",
}


class LinkForm(ActionForm):
    """Nothing to fill in: the confirmation is all."""


def share_address(customer: Customer, url: str) -> str:
    """WhatsApp, with a text that names no one; whom it goes to is chosen there."""
    look = settings_of(customer.account)
    language = Language(customer.language or look.language)
    text = _SHARED[language].format(merchant=look.sender_name, url=url)
    return f"https://wa.me/?{urlencode({'text': text})}"


def _make(customer: Customer, given: Given) -> Done:
    link = payment_link(customer, now=given.now)
    until = moment_text(link.expires_at, customer.account.time_zone)
    return Done(
        f"Send this link to {customer.name}, and to nobody else. It works until {until}, and can be ended before.",
        show=("Payment link", link.url),
        share=("Share by WhatsApp", share_address(customer, link.url)),
    )


def _end(customer: Customer, given: Given) -> Done:
    end_links(customer=customer, reason=given.reason, actor=given.actor, now=given.now)
    return Done("All payment links of this customer ended. A new link works.")


def _explain(customer: Customer) -> str:
    cancels = ", and cancel" if customer.account.payers_may_cancel else ""
    return (
        f"{customer.name} sees what is owed and why a card was declined, and can pay now, save another card, print "
        f"receipts{cancels}. Whoever has the link can do the same. Making one charges nothing."
    )


def _link(of: Callable[[Any], Customer]) -> PersonAction:
    return PersonAction(
        name="payment-link",
        label="Payment link",
        icon="link",
        permission="billing.change_customer",
        explain=lambda row: _explain(of(row)),
        form=LinkForm,
        carry_out=lambda row, given: _make(of(row), given),
        button="Make the link",
    )


LINK_OF_CUSTOMER = _link(lambda row: row)
LINK_OF_INVOICE = _link(lambda row: row.customer)
END_LINKS = PersonAction(
    name="end-payment-links",
    label="End payment links",
    icon="link_off",
    permission="billing.change_customer",
    explain=lambda row: (
        "Every link to this customer's page stops working, those in sent mails included. The next mail, and "
        "the next link that you make, have one that works."
    ),
    carry_out=_end,
    danger=True,
)
