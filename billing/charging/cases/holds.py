"""What waits for a person without an attempt being in doubt: held invoices, and orders that nothing explains."""

from datetime import datetime

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from billing import doorbell
from billing.domain.arming import Refusal
from billing.domain.closing import CLOSABLE
from billing.domain.decisions import Decision
from billing.domain.errors import RefusedError
from billing.domain.resolution import ProposalOutcome
from billing.domain.subscriptions import Hold, InvoiceState
from billing.models import FoundPayment, GatewayOrder, Invoice, PaymentAttempt, PaymentMethod
from billing.models.bulk.history import record_transition


class ResolutionError(RefusedError):
    """The decision is not possible."""


def collect_held(*, invoice: Invoice, decision: Decision, now: datetime) -> None:
    """A person decides that an invoice which waits (missed periods, a reversal, a cancelled subscription) is
    collected after all. Raises ResolutionError when it does not wait, and while another person is to confirm that it
    is closed."""
    with transaction.atomic():
        locked = Invoice.objects.select_for_update(no_key=True).get(pk=invoice.pk)
        # Not by its hold: that of a cancelled subscription takes the place of the proposal's.
        if locked.proposals.filter(outcome=ProposalOutcome.OPEN.value).exists():
            raise ResolutionError("proposal", "state", "a proposal to close the invoice must be decided first")
        waiting = Invoice.objects.filter(pk=invoice.pk, state=InvoiceState.OPEN.value, hold__isnull=False)
        freed = waiting.exclude(hold=Hold.PROPOSAL.value).update(
            hold=None, next_attempt_at=now, collect_regardless=True, asked_for=True
        )
        if not freed:
            raise ResolutionError("invoice", "state", "must need review; it does not")
        record_transition(
            account_id=invoice.account_id,
            subject_type="invoice",
            subject_id=invoice.pk,
            from_state=f"open ({invoice.hold})",
            to_state="open",
            reason=decision.reason,
            actor=decision.actor,
            now=now,
        )
        doorbell.ring_on_commit(doorbell.COLLECT)


def go_on_without(*, card: PaymentMethod, decision: Decision, now: datetime) -> int:
    """A person decides that the customer's invoices are charged on other cards although the orders of this one, on
    which they were tried before, cannot be read. How many of the invoices are tried again now.

    The card itself is not charged until a read of its orders succeeds, which ends the decision. Raises
    ResolutionError without a reason, and for a card that was not unreadable for long."""
    if not decision.reason:
        raise ResolutionError("reason", "required", "must state what the gateway's portal shows for the card")
    with transaction.atomic():
        given_up = to_go_on_without().filter(pk=card.pk).update(given_up_at=now)
        if not given_up:
            raise ResolutionError("payment_method", "state", "its orders can be read, or it was already set aside")
        record_transition(
            account_id=card.account_id,
            subject_type="card",
            subject_id=card.pk,
            from_state="unreadable",
            to_state="given up",
            reason=decision.reason,
            actor=decision.actor,
            now=now,
        )
        freed = waiting_for_card(card).update(next_attempt_at=now, lease_token=F("lease_token") + 1)
        doorbell.ring_on_commit(doorbell.COLLECT)
    return freed


def to_go_on_without() -> QuerySet[PaymentMethod]:
    """The cards that could not be read for long, and about which nobody has decided. In quarantine that takes a
    decision that was made since it began."""
    undecided = Q(given_up_at=None) | Q(given_up_at__lt=F("account__quarantined_at"))
    return PaymentMethod.objects.filter(undecided, unreadable_at__isnull=False)


def waiting_for_card(card: PaymentMethod) -> QuerySet[Invoice]:
    """The customer's invoices that are not charged because a card's orders cannot be read."""
    return Invoice.objects.filter(
        customer_id=card.customer_id,
        state=InvoiceState.OPEN.value,
        next_attempt_at__isnull=False,
        refusal=Refusal.CARD_UNREADABLE.value,
    )


def unexplained_orders(card_id: int) -> QuerySet[GatewayOrder]:
    """The orders seen on the card that nothing explains and that may have taken money."""
    return GatewayOrder.objects.filter(payment_method_id=card_id, attempt=None, in_baseline=False).exclude(
        status="FAILED"
    )


def found_payments_of(customer_id: int) -> QuerySet[FoundPayment]:
    """The found payments that name an invoice of the customer which is still owed, that no attempt has by now, and
    about which nobody has decided."""
    attempts = PaymentAttempt.objects.filter(
        account_id=OuterRef("account_id"), gateway_transaction_id=OuterRef("gateway_transaction_id")
    )
    return FoundPayment.objects.filter(
        ~Exists(attempts),
        invoice__customer_id=customer_id,
        invoice__state__in=sorted(CLOSABLE),
        attempt=None,
        decided_at=None,
    )
