"""expire: a subscription that was not paid for in time ends, and nothing is owed for it (docs/adr/0025).

1. Find those whose time for the first payment has passed, in accounts that charge and whose clock is right.
2. In one commit each: recognise the database, for one that was put back may have forgotten the payment; lock account,
   the customer's cards, subscription, invoice and attempts, in the one order; decide again (`domain.first_payment`).
3. Void the first invoice, as where a person cancels the subscription; it expires by it.

One whose payment may be on its way, or which the engine has yet to charge, is left alone until that is known.
"""

from datetime import datetime

from django.db.models import Exists, F, OuterRef, Q, QuerySet

from billing.charging.cases.approvals import open_proposal
from billing.charging.cases.ways_out import lock_for_closing
from billing.charging.protocol import permission
from billing.domain.arming import Refusal
from billing.domain.attempts import HOLDS_PLACE, AttemptState
from billing.domain.closing import CLOSABLE
from billing.domain.first_payment import NEEDS_ANOTHER_CARD, UNPROVEN, Unpaid, why_not_expired
from billing.domain.subscriptions import SubscriptionState
from billing.models import Invoice, PaymentAttempt, PaymentMethod, Subscription
from billing.models.bulk import arming
from billing.operating import troubles
from billing.operating.clocks import addresses_not_to_open
from billing.subscriptions import first_payment

BATCH = 200


def expire_unpaid(*, now: datetime) -> int:
    """Lets at most `BATCH` subscriptions expire that were not paid for by `now`; how many. Each one's failures are its
    own."""
    expired = 0
    for invoice in _overdue(now).select_related("subscription")[:BATCH]:
        name = invoice.subscription.public_id if invoice.subscription else ""
        with troubles.isolated(invoice.account_id, f"expire {name}", lambda: now):
            expired += _expire(invoice, now)
    return expired


def _overdue(now: datetime) -> QuerySet[Invoice]:
    """The first invoices of what may expire. Those that wait for something else would hold up the others."""
    attempts = PaymentAttempt.objects.filter(invoice=OuterRef("pk"))
    waits = Q(state__in=[state.value for state in HOLDS_PLACE])
    cards = PaymentMethod.objects.filter(customer=OuterRef("customer"))
    unread = Q(invoice__preflight_at=None) | Q(invoice__preflight_at__lt=F("invoice__look_from_at"))
    last = Q(number=F("invoice__attempt_count"), state__in=[state.value for state in UNPROVEN])
    found = Invoice.objects.filter(
        Q(next_attempt_at=None) | Q(refusal__in=[refusal.value for refusal in NEEDS_ANOTHER_CARD]),
        ~Exists(attempts.filter(waits)),
        ~Exists(cards.filter(held_at__isnull=False)),
        ~Exists(attempts.filter(last, unread, invoice__look_from_at__isnull=False)),
        state__in=[state.value for state in CLOSABLE],
        hold=None,
        subscription__state=SubscriptionState.INCOMPLETE.value,
        subscription__first_payment_ends_at__lte=now,
        account__stopped_at=None,
        account__quarantined_at=None,
    )
    return found.exclude(account__api_url__in=addresses_not_to_open(now)).order_by(
        "subscription__first_payment_ends_at"
    )


def _expire(invoice: Invoice, now: datetime) -> int:
    def decide() -> permission.Frozen[int]:
        return permission.Frozen(_expire_if_due(invoice, now))

    match permission.ask_permission(decide, about=f"the expiry by invoice {invoice.public_id}", now=now):
        case permission.Permitted(expired):
            return expired
        case _:  # the database is not recognised: nothing is decided in it
            return 0


def _expire_if_due(first: Invoice, now: datetime) -> int:
    stopped = arming.lock_account(first.account_id).stopped
    cards = PaymentMethod.objects.filter(customer_id=first.customer_id).values_list("pk", flat=True)
    invoice = lock_for_closing(first, *cards)
    subscription = Subscription.objects.get(invoices=invoice)
    unpaid = _facts(subscription, invoice, stopped=stopped)
    if unpaid is None or why_not_expired(unpaid, now) is not None:
        return 0
    return int(first_payment.expire(subscription, now=now))


def _facts(subscription: Subscription, invoice: Invoice, *, stopped: bool) -> Unpaid | None:
    """Read under the locks; None when the subscription does not wait for this payment any more."""
    ends_at = subscription.first_payment_ends_at
    if ends_at is None or subscription.state != SubscriptionState.INCOMPLETE or invoice.state not in CLOSABLE:
        return None
    states = invoice.attempts.order_by("number").values_list("state", flat=True)
    # Any of them: a restored database may have forgotten on which the charge was tried that is unexplained now.
    held = PaymentMethod.objects.filter(customer_id=invoice.customer_id, held_at__isnull=False)
    return Unpaid(
        ends_at=ends_at,
        account_stopped=stopped,
        attempts=[AttemptState(state) for state in states],
        held=invoice.hold is not None or open_proposal(invoice) is not None,
        card_held=held.exists(),
        look_from_at=invoice.look_from_at,
        preflight_at=invoice.preflight_at,
        next_attempt_at=invoice.next_attempt_at,
        refusal=Refusal(invoice.refusal) if invoice.refusal else None,
        checkout_open=bool(arming.invoices_being_paid([invoice.pk])),
    )
