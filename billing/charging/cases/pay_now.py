"""A customer asks on the customer page that an invoice is charged now."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Prefetch, QuerySet

from billing.charging.attempts.card_standing import why_not_tried
from billing.charging.cases.holds import collect_held
from billing.charging.cases.retry_now import RetryError, retry_now
from billing.charging.cases.ways_out import lock_for_closing
from billing.charging.checkouts.open import open_checkout
from billing.domain.arming import USABLE_SUBSCRIPTIONS, Refusal
from billing.domain.attempts import UNRESOLVED, AttemptState
from billing.domain.checkouts import LIVE
from billing.domain.closing import CLOSABLE
from billing.domain.decisions import Decision
from billing.domain.paying import PAID_ON_A_PAGE, PAYER, PayerFacts, Standing, standing
from billing.domain.reasons import Reason
from billing.domain.resolution import ProposalOutcome
from billing.domain.subscriptions import CardState, Hold, InvoiceState
from billing.models import Checkout, Customer, Installation, Invoice, PaymentAttempt, PaymentMethod, Proposal

REQUESTED = "requested on the customer page"


def owed_by(customer: Customer) -> QuerySet[Invoice]:
    """What the customer owes and is asked for, the oldest first, with all that `standing_of` reads."""
    attempts = PaymentAttempt.objects.defer("request_body").order_by("number")
    open_pages = Checkout.objects.filter(state__in=sorted(LIVE))
    waiting = Proposal.objects.filter(outcome=ProposalOutcome.OPEN.value)
    return (
        Invoice.objects.filter(customer=customer, state__in=sorted(CLOSABLE))
        .exclude(state_reason=Reason.WRITTEN_OFF.value)
        .select_related("account", "subscription__plan", "subscription__payment_method", "payment_method")
        .prefetch_related(
            Prefetch("attempts", attempts), Prefetch("proposals", waiting), Prefetch("checkouts", open_pages)
        )
        .order_by("due_at", "pk")
    )


@dataclass(frozen=True, slots=True)
class Means:
    """What a customer can be charged with: their cards, which of them have an unresolved attempt, and whether the
    account, or everything, charges nothing at the moment."""

    cards: Sequence[PaymentMethod]
    busy: frozenset[int]
    stopped: bool

    def card_for(self, invoice: Invoice) -> PaymentMethod | None:
        """As arming chooses it: the invoice's own card, the subscription's, or the default."""
        own = invoice.payment_method or (invoice.subscription.payment_method if invoice.subscription else None)
        return own or next((card for card in self.cards if card.is_default), None)


def means_of(customer: Customer) -> Means:
    """With the cards that may be charged, the oldest first."""
    cards = PaymentMethod.objects.filter(customer=customer, state=CardState.ACTIVE.value).order_by("pk")
    unresolved = PaymentAttempt.objects.filter(
        payment_method__customer=customer, state__in=sorted(UNRESOLVED), released_at=None
    )
    busy = frozenset(unresolved.values_list("payment_method_id", flat=True))
    account = customer.account
    stopped = account.stopped_at is not None or account.quarantined_at is not None
    return Means(list(cards), busy, stopped or Installation.objects.filter(pk=1, stopped_at__isnull=False).exists())


def standing_of(invoice: Invoice, means: Means, *, now: datetime) -> Standing:
    """What can be done about an invoice that was read by `owed_by`."""
    card = means.card_for(invoice)
    facts = PayerFacts(
        state=InvoiceState(invoice.state),
        state_reason=invoice.state_reason,
        hold=Hold(invoice.hold) if invoice.hold else None,
        proposed=bool(invoice.proposals.all()),
        amount_refunded_minor=invoice.amount_refunded_minor,
        attempts=[AttemptState(one.state) for one in invoice.attempts.all()],
        next_attempt_at=invoice.next_attempt_at,
        refusal=Refusal(invoice.refusal) if invoice.refusal else None,
        card_state=CardState(card.state) if card else None,
        card_held=card is not None and card.held_at is not None,
        card_is_busy=card is not None and card.pk in means.busy,
        card_may_be_tried=card is not None and why_not_tried(card, now) is None,
        charges_nothing=means.stopped,
        page_is_open=bool(invoice.checkouts.all()),
    )
    return standing(facts, now)


def as_shown(invoice: Invoice) -> str:
    """Stands for what the customer saw of an invoice: another word after each try, and once it was asked for."""
    seen = (invoice.state, invoice.hold, invoice.attempt_count, invoice.next_attempt_at)
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]


def pay_now(*, invoice: Invoice, seen: str, now: datetime) -> None:
    """Has an invoice charged now because its customer asks for it. `seen` is what `as_shown` said when the customer was
    asked: a form that is sent twice, or again after another attempt, acts once.

    Locks subscription, invoice and attempts. Raises RetryError when it was seen otherwise, and unless it is payable:
    while an attempt is unresolved, while it is held, and when staff closed it."""
    with transaction.atomic():
        lock_for_closing(invoice)
        customer = Customer.objects.select_related("account").get(pk=invoice.customer_id)
        fresh = owed_by(customer).filter(pk=invoice.pk).first()
        if fresh is None:
            raise RetryError("invoice", "state", "must be owed; it is not")
        if as_shown(fresh) != seen:
            raise RetryError("invoice", "changed", "must be as it was shown; it was tried, or closed, since")
        found = standing_of(fresh, means_of(customer), now=now)
        if found is not Standing.PAYABLE:
            raise RetryError("invoice", "state", f"must be payable; it is {found.replace('_', ' ')}")
        decision = Decision(PAYER, REQUESTED)
        if fresh.hold is None:
            retry_now(invoice=fresh, decision=decision, now=now)
        else:
            collect_held(invoice=fresh, decision=decision, now=now)
        if fresh.subscription is not None and fresh.subscription.state not in USABLE_SUBSCRIPTIONS:
            Invoice.objects.filter(pk=fresh.pk).update(collect_regardless=True)


def page_to_pay_on(*, invoice: Invoice, now: datetime) -> Checkout:
    """A page of the gateway's on which the customer pays the invoice by another method; the same one while it can be
    used. Speaks to the gateway, so it runs in no transaction. Raises RetryError unless the invoice may be paid so,
    CheckoutError, and GatewayUnavailableError."""
    customer = Customer.objects.select_related("account").get(pk=invoice.customer_id)
    fresh = owed_by(customer).filter(pk=invoice.pk).first()
    found = Standing.NOT_OWED if fresh is None else standing_of(fresh, means_of(customer), now=now)
    if found not in PAID_ON_A_PAGE:
        raise RetryError("invoice", "state", f"must be payable; it is {found.replace('_', ' ')}")
    return open_checkout(invoice=invoice, actor=PAYER, now=now)
