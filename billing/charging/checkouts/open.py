"""open: a page of the gateway's on which an invoice is paid by any method, once.

1. A page that was handed out and can still be used is handed out again; one that is older is looked at first.
2. In one durable commit, as where a charge is armed: recognise the database, lock account and invoice, check that
   nothing has taken the money or may have, and put the checkout on record with its order id.
3. Ask the gateway for the page, once. That moves no money: after a lost answer there is a page that nobody was shown.
4. Record its address, unless the checkout was closed meanwhile. Only then is it handed out.
"""

import logging
from datetime import datetime

from django.conf import settings
from django.db import IntegrityError

from billing.charging.checkouts.look import close, look_now
from billing.charging.protocol import permission
from billing.charging.reading.page_payments import change
from billing.domain.arming import Environment
from billing.domain.attempts import HOLDS_PLACE, AttemptState, charge_description, charge_title
from billing.domain.checkouts import (
    EXCLUDES_FOR,
    LEAST_LEFT,
    LIVE,
    PAGE_FOR,
    CheckoutState,
    OpeningFacts,
    next_look,
    refuse_opening,
)
from billing.domain.errors import RefusedError
from billing.domain.reasons import Reason
from billing.domain.subscriptions import Collector, Hold, InvoiceState
from billing.gateway.connection import GatewayUnavailableError, PageWanted, PayPage, gateway_for
from billing.ids import new_id, new_marker
from billing.models import Checkout, Invoice
from billing.models.bulk import arming, checkouts
from billing.models.bulk.history import record_transition
from billing.models.bulk.sql import durable
from billing.operating.tuning import Tuning

logger = logging.getLogger(__name__)

ORDER_PREFIX = "KT"


class CheckoutError(RefusedError):
    """No page can be opened for the invoice now."""


def open_checkout(*, invoice: Invoice, actor: str, now: datetime, return_url: str = "") -> Checkout:
    """The page on which the invoice can be paid, with its `url` and when it `expires_at`. Asking again gives the same
    page while it can be used. `return_url` is where the browser is led after our own page.

    Speaks to the gateway, so it runs in no transaction. Raises CheckoutError when the invoice cannot be paid now, and
    GatewayUnavailableError when the gateway gave no page; then nobody can pay on one."""
    usable = _usable(invoice, now)
    if usable is not None:
        return usable
    row = _put_on_record(invoice, actor, return_url, now)
    try:
        page = gateway_for(row.account).create_page(_wanted(row))
    except (GatewayUnavailableError, ValueError) as error:
        logger.warning("checkouts: no page for %s: %s", row.public_id, error)
        _give_up(row, now)
        raise GatewayUnavailableError("no payment page was made") from error
    return _hand_out(row, page, now)


def _usable(invoice: Invoice, now: datetime) -> Checkout | None:
    """The page that may still be used. One that may be being paid is looked at, so that it can end."""
    row = Checkout.objects.filter(invoice=invoice, state__in=LIVE).select_related("account", "invoice").first()
    if row is None:
        return None
    if row.state == CheckoutState.OPEN and now < row.expires_at - LEAST_LEFT:
        return row
    if look_now(row, tuning=Tuning.from_settings(), now=now) is CheckoutState.PAID:
        raise CheckoutError("invoice", "state", "was paid a moment ago")
    return None


def _put_on_record(invoice: Invoice, actor: str, return_url: str, now: datetime) -> Checkout:
    def write() -> permission.Frozen[Checkout]:
        return permission.Frozen(_write(invoice, actor, return_url, now))

    try:
        answer = permission.ask_permission(write, about=f"the checkout of invoice {invoice.public_id}", now=now)
    except IntegrityError:
        # Somebody opened one, or a charge was armed, between our look and our lock.
        logger.warning("checkouts: a constraint refused a page for invoice %s", invoice.public_id)
        raise CheckoutError("invoice", "state", "may be being paid already; read it again") from None
    match answer:
        case permission.Permitted(row):
            return row
        case _:
            raise CheckoutError("account", "state", "must be charging; its database is in quarantine")


def _write(invoice: Invoice, actor: str, return_url: str, now: datetime) -> Checkout:
    account = arming.lock_account(invoice.account_id)
    locked = (
        Invoice.objects.select_for_update(no_key=True, of=("self",))
        .select_related("subscription", "account")
        .get(pk=invoice.pk)
    )
    live_env = Environment(account.environment) is Environment.LIVE and not settings.KITARAN_ALLOW_LIVE
    refused = refuse_opening(_facts(locked, stopped=account.stopped or live_env), now)
    if refused is not None:
        raise CheckoutError(refused.field, refused.rule, refused.message)
    marker = new_marker()
    row = Checkout.objects.create(
        public_id=new_id("chk", now),
        account_id=account.id,
        invoice=locked,
        state=CheckoutState.CREATING.value,
        state_reason=Reason.PAGE_ASKED_FOR,
        order_id=f"{ORDER_PREFIX}{marker}",
        marker=marker,
        amount_minor=locked.amount_minor,
        currency=locked.currency,
        title=charge_title(locked.description, marker),
        description=charge_description(locked.description, locked.public_id, marker),
        return_url=return_url,
        requested_by=actor,
        created_at=now,
        expires_at=now + PAGE_FOR,
        excludes_until=now + EXCLUDES_FOR,
        next_check_at=next_look(now, now),
    )
    record_transition(
        account_id=account.id,
        subject_type="checkout",
        subject_id=row.pk,
        from_state="",
        to_state=row.state,
        reason=Reason.PAGE_ASKED_FOR,
        actor=actor,
        now=now,
    )
    return row


def _facts(invoice: Invoice, *, stopped: bool) -> OpeningFacts:
    """Read under the invoice's lock, which whoever arms a charge of it, or opens a page for it, holds too."""
    attempts = list(invoice.attempts.order_by("number").only("public_id", "state", "amount_minor"))
    live = Checkout.objects.filter(invoice=invoice, state__in=LIVE).first()
    subscription = invoice.subscription
    return OpeningFacts(
        invoice_state=InvoiceState(invoice.state),
        hold=Hold(invoice.hold) if invoice.hold else None,
        account_stopped=stopped,
        collected_by_gateway=subscription is not None and subscription.collector == Collector.GATEWAY,
        amount_refunded_minor=invoice.amount_refunded_minor,
        attempts=tuple((one.public_id, AttemptState(one.state)) for one in attempts if one.state in HOLDS_PLACE),
        surplus=_has_surplus(invoice),
        card_held=checkouts.has_unexplained_card(invoice.customer_id),
        look_from_at=invoice.look_from_at,
        live_until=live.excludes_until if live is not None else None,
    )


def _has_surplus(invoice: Invoice) -> bool:
    surplus = invoice.attempts.filter(state=AttemptState.SURPLUS.value)
    return any(one.amount_refunded_minor < one.amount_minor for one in surplus)


def _wanted(row: Checkout) -> PageWanted:
    return PageWanted(
        order_id=row.order_id,
        amount_minor=row.amount_minor,
        currency=row.currency,
        title=row.title,
        description=row.description,
        redirect_url=f"{settings.KITARAN_PUBLIC_URL}/checkout/{row.public_id}/",
        notify_url=f"{settings.KITARAN_PUBLIC_URL}/callbacks/rm/notify/",
    )


def _hand_out(row: Checkout, page: PayPage, now: datetime) -> Checkout:
    """Records the page's address. A process that slept so long that the checkout was closed shows nobody its page."""
    with durable():
        Invoice.objects.select_for_update(no_key=True, of=("self",)).get(pk=row.invoice_id)
        fresh = Checkout.objects.select_related("account", "invoice").get(pk=row.pk)
        if fresh.state != CheckoutState.CREATING:
            raise CheckoutError("invoice", "state", "the payment page came too late; ask for another one")
        fresh.gateway_checkout_id, fresh.url = page.checkout_id, page.url
        fresh.save(update_fields=["gateway_checkout_id", "url"])
        change(fresh, CheckoutState.OPEN, Reason.PAGE_HANDED_OUT, now=now)
    return fresh


def _give_up(row: Checkout, now: datetime) -> None:
    """Nobody was shown the page, so that nobody can be paying; it is looked at all the same."""
    with durable():
        invoice = Invoice.objects.select_for_update(no_key=True, of=("self",)).get(pk=row.invoice_id)
        fresh = Checkout.objects.get(pk=row.pk)
        if fresh.state == CheckoutState.CREATING:
            close(fresh, invoice, Reason.PAGE_NOT_MADE, now=now)
