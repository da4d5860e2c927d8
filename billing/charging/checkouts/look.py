"""look: asks the gateway what was paid on a page, and ends the page when nothing can be paid on it any more.

1. Ask for the payment of the order, and, where there is none, whether the page is over (network, no transaction).
2. A payment goes in as every payment does that the gateway shows (`reading.report_days`): it becomes an attempt.
3. Under the invoice's lock: a page that is over is closed, and what waited for it is charged again.

A redirect and a notify only bring the look forward. That a page is over is no evidence about money: the gateway is
asked again for days, and the daily reports list what it does not say.
"""

import logging
from dataclasses import dataclass
from datetime import datetime

from billing import doorbell
from billing.charging.reading import page_payments, report_days
from billing.charging.reading.page_payments import change
from billing.domain.checkouts import LIVE, CheckoutState, Shown, is_over
from billing.domain.reasons import Reason
from billing.gateway.connection import (
    Gateway,
    GatewayUnavailableError,
    ReadTransaction,
    TransactionNotKnownError,
    gateway_for,
)
from billing.models import Checkout, Invoice
from billing.models.bulk import checkouts
from billing.models.bulk.sql import durable
from billing.operating.tuning import Tuning

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """What the gateway showed of a checkout from `read_at` on. `unread`: why it could not be asked."""

    read_at: datetime
    payment: ReadTransaction | None = None
    page_over: bool = False
    unread: str = ""


def look_now(checkout: Checkout, *, tuning: Tuning, now: datetime) -> CheckoutState:
    """Asks about one checkout at once, and records what is shown; its state then. Speaks to the gateway, so it runs in
    no transaction. Raises GatewayUnavailableError when it gave no answer."""
    look = ask(gateway_for(checkout.account), checkout, read_at=now)
    if look.unread:
        raise GatewayUnavailableError(look.unread)
    return record(checkout, look, tuning=tuning, now=now)


def ask(gateway: Gateway, checkout: Checkout, *, read_at: datetime) -> Look:
    """Network only."""
    payment: ReadTransaction | None = None
    try:
        payment = gateway.read_payment_of_order(checkout.order_id)
    except TransactionNotKnownError:
        pass
    except GatewayUnavailableError as error:
        return Look(read_at, unread=str(error))
    if checkout.state not in LIVE or not checkout.gateway_checkout_id or _shown(checkout, payment) not in _UNPAID:
        return Look(read_at, payment)
    try:
        return Look(read_at, payment, page_over=gateway.page_is_over(checkout.gateway_checkout_id))
    except GatewayUnavailableError as error:  # the page's own word is not needed: it ends by time as well
        logger.warning("checkouts: the page of %s could not be read: %s", checkout.public_id, error)
        return Look(read_at, payment)


_UNPAID = (Shown.NOTHING, Shown.FAILED)
_STATUSES = {"FAILED": Shown.FAILED, "REVERSED": Shown.FAILED, "IN_PROCESS": Shown.UNDER_WAY, "SUCCESS": Shown.PAID}


def _shown(checkout: Checkout, payment: ReadTransaction | None) -> Shown:
    """What the transaction says of the money; a reversed one left none."""
    if payment is None:
        return Shown.NOTHING
    shown = _STATUSES.get(payment.transaction.status_text, Shown.UNCLEAR)
    return Shown.UNCLEAR if shown is Shown.PAID and page_payments.differs(checkout, payment) else shown


def record(checkout: Checkout, look: Look, *, tuning: Tuning, now: datetime) -> CheckoutState:
    """Writes down what a look showed; the checkout's state then. Raises GatewayUnavailableError when the payment could
    not be recorded: it is looked at again."""
    if look.payment is not None:
        _, problem = report_days.record(checkout.account_id, [look.payment], tuning, now)
        if problem:
            raise GatewayUnavailableError(problem)
    shown = None if look.unread else _shown(checkout, look.payment)
    with durable():
        invoice = Invoice.objects.select_for_update(no_key=True, of=("self",)).get(pk=checkout.invoice_id)
        row = Checkout.objects.get(pk=checkout.pk)
        over = is_over(
            CheckoutState(row.state),
            shown,
            page_over=look.page_over,
            created_at=row.created_at,
            expires_at=row.expires_at,
            excludes_until=row.excludes_until,
            read_at=look.read_at,
        )
        if over:
            reason = Reason.PAGE_OVER if shown in _UNPAID else Reason.PAGE_UNANSWERED
            close(row, invoice, reason, now=now)
        return CheckoutState(row.state)


def close(row: Checkout, invoice: Invoice, reason: Reason, *, now: datetime) -> None:
    """Ends a page whose invoice the caller holds locked; a card is charged for it again."""
    change(row, CheckoutState.CLOSED, reason, now=now)
    if checkouts.wake([invoice.pk], now=now):
        doorbell.ring_on_commit(doorbell.COLLECT)
