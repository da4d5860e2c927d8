"""A person closes an invoice without a charge: paid elsewhere, void, or written off.

1. For a payment found at the gateway: look at it, outside any transaction.
2. In one commit: lock the card, the subscription, the invoice and its attempts, in the one order, and refuse while an
   attempt may have taken the money.
3. Either carry it out, with a row of history, or, above the account's amount, take the invoice off the work list and
   propose it to another person.

Nothing is asked of any card for a closed invoice; money that a card sends all the same is surplus.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.db import IntegrityError, transaction

from billing import doorbell
from billing.charging.cases import approvals
from billing.charging.cases.found_payments import close_found
from billing.charging.cases.holds import ResolutionError
from billing.charging.cases.unexplained_payments import (
    SeenPayment,
    mark_as_explained,
    read_payment,
    refuse_transaction,
)
from billing.domain.arming import Refusal
from billing.domain.attempts import AttemptState
from billing.domain.closing import CLOSABLE, PaidBy, refuse_closing, refuse_payment
from billing.domain.decisions import Decision
from billing.domain.late_money import next_watch
from billing.domain.reasons import Reason
from billing.domain.resolution import ProposalKind, ProposalOutcome, Refused
from billing.domain.subscriptions import RUNNING, Hold, InvoiceState, SubscriptionState
from billing.ids import new_id
from billing.models import Invoice, OutsidePayment, PaymentAttempt, PaymentMethod, Proposal, Subscription
from billing.models.bulk import watching
from billing.subscriptions import first_payment
from billing.subscriptions.states import change_state, close_invoice

ENDS: Mapping[ProposalKind, tuple[InvoiceState, str]] = {
    ProposalKind.PAID_ELSEWHERE: (InvoiceState.PAID, Reason.PAID_ELSEWHERE),
    ProposalKind.VOID: (InvoiceState.VOID, Reason.VOIDED),
    ProposalKind.WRITE_OFF: (InvoiceState.UNCOLLECTIBLE, Reason.WRITTEN_OFF),
}


@dataclass(frozen=True, slots=True)
class Closing:
    """What came of it: the invoice's state now, and the open proposal when another person has to confirm."""

    state: InvoiceState
    proposal: Proposal | None = None


def pay_elsewhere(
    *,
    invoice: Invoice,
    method: PaidBy,
    reference: str,
    paid_date: date,
    decision: Decision,
    now: datetime,
) -> Closing:
    """Records that an open or uncollectible invoice was paid outside, all of it, and closes it as paid.

    `reference` says where the payment is found; `paid_date` is by the account's clocks. Raises ResolutionError."""
    if method is PaidBy.GATEWAY:
        raise ResolutionError("method", "not_here", "must be the gateway's transaction id")
    today = now.astimezone(ZoneInfo(invoice.account.time_zone)).date()
    _raise(refuse_payment(method, reference, paid_date, today))
    details = {"method": method.value, "reference": reference.strip(), "paid_date": paid_date.isoformat()}
    return _close(invoice, _Wish(ProposalKind.PAID_ELSEWHERE, _stated(decision).reason, details), decision, now=now)


def record_found_payment(*, invoice: Invoice, transaction_id: str, decision: Decision, now: datetime) -> Closing:
    """Records that a transaction of the gateway which no attempt of ours explains is the payment of the invoice.

    It is read at the gateway and compared. Its order counts as explained from then on, and its card is free again
    once nothing else of it is unexplained; where it waited as a found payment, that is decided.
    Raises ResolutionError, GatewayUnavailableError."""
    found = read_payment(invoice, transaction_id.strip())
    wish = _Wish(ProposalKind.PAID_ELSEWHERE, _stated(decision).reason, _details_of(invoice, found))
    return _close(invoice, wish, decision, now=now, found=found)


def void(*, invoice: Invoice, decision: Decision, now: datetime) -> Closing:
    """Says that nothing is owed for an open or uncollectible invoice. Final. Raises ResolutionError."""
    return _close(invoice, _Wish(ProposalKind.VOID, _stated(decision).reason, {}), decision, now=now)


def write_off(*, invoice: Invoice, decision: Decision, now: datetime) -> Closing:
    """Stops asking for an open invoice that is still owed: it is uncollectible, and may be collected again by a
    person. Raises ResolutionError."""
    return _close(invoice, _Wish(ProposalKind.WRITE_OFF, _stated(decision).reason, {}), decision, now=now)


def confirm_closing(*, proposal: Proposal, decision: Decision, now: datetime) -> Closing:
    """Another person carries a proposal about an invoice out. Raises ResolutionError for the proposer, and for all
    that forbids it now; what was overtaken by a payment is closed as such."""
    fresh = approvals.still_open(proposal)
    if fresh.invoice is None:
        raise ResolutionError("proposal", "not_here", "must be about an invoice")
    approvals.refuse_same_person(fresh, decision)
    if fresh.invoice.state not in CLOSABLE:
        with transaction.atomic():
            approvals.decide(fresh, ProposalOutcome.OVERTAKEN, replace(decision, reason=""), now)
        raise ResolutionError("invoice", "state", f"is already {fresh.invoice.state}; the proposal no longer applies")
    transaction_id = fresh.details.get("gateway_transaction_id")
    found = read_payment(fresh.invoice, str(transaction_id)) if transaction_id else None
    wish = _Wish(ProposalKind(fresh.kind), fresh.reason, fresh.details)
    return _close(fresh.invoice, wish, decision, now=now, found=found, confirmed=fresh)


def reject_closing(*, proposal: Proposal, decision: Decision, now: datetime) -> None:
    """A person says no to a proposal about an invoice (the proposer too): it is collected as before."""
    fresh = approvals.still_open(proposal)
    if fresh.invoice is None:
        raise ResolutionError("proposal", "not_here", "must be about an invoice")
    with transaction.atomic():
        invoice = lock_for_closing(fresh.invoice)
        approvals.decide(fresh, ProposalOutcome.REJECTED, _stated(decision), now)
        if invoice.hold == Hold.PROPOSAL:
            before, tried_at = fresh.details.get("hold_before"), fresh.details.get("next_attempt_before")
            unpaid = invoice.refusal == Refusal.FIRST_CHARGE_DECLINED or invoice.grace_ends_at is not None
            waits = before or (tried_at is None and unpaid)
            invoice.hold = str(before) if before else None
            invoice.next_attempt_at = None if waits else max(now, datetime.fromisoformat(tried_at or now.isoformat()))
            invoice.save(update_fields=["hold", "next_attempt_at"])
            doorbell.ring_on_commit(doorbell.COLLECT)


# --- steps ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Wish:
    kind: ProposalKind
    reason: str
    details: Mapping[str, Any]


def _stated(decision: Decision) -> Decision:
    if not decision.reason:
        raise ResolutionError("reason", "required", "must state the reason for the decision")
    return decision


def _raise(refused: Refused | None) -> None:
    if refused is not None:
        raise ResolutionError(refused.field, refused.rule, refused.message)


def _details_of(invoice: Invoice, found: SeenPayment) -> dict[str, Any]:
    made_at = found.transaction.made_at
    zone = ZoneInfo(invoice.account.time_zone)
    return {
        "method": PaidBy.GATEWAY.value,
        "reference": "",
        "gateway_transaction_id": found.transaction_id,
        "paid_date": (made_at or invoice.due_at).astimezone(zone).date().isoformat(),
    }


def _close(
    invoice: Invoice,
    wish: _Wish,
    decision: Decision,
    *,
    now: datetime,
    found: SeenPayment | None = None,
    confirmed: Proposal | None = None,
) -> Closing:
    to, state_reason = ENDS[wish.kind]
    try:
        with transaction.atomic():
            locked = lock_for_closing(invoice, *([found.card_id] if found and found.card_id is not None else []))
            _refuse(locked, to, confirmed)
            if found is not None:
                _raise(refuse_transaction(locked, found))
            if confirmed is None and approvals.is_needed(locked.account, locked.amount_minor, decision):
                return Closing(InvoiceState(locked.state), _propose(locked, wish, decision, now))
            if confirmed is not None:
                approvals.decide(confirmed, ProposalOutcome.CONFIRMED, decision, now)
            if wish.kind is ProposalKind.PAID_ELSEWHERE:
                _write_payment(locked, wish, decision.actor, confirmed, now)
            if found is not None:
                close_found(locked, found.transaction_id, actor=decision.actor, now=now)
            if found is not None and found.card_id is not None:
                why = f"pays the invoice {locked.public_id}"
                mark_as_explained(found, found.card_id, reason=why, actor=decision.actor, now=now)
                # Its money may go back, and nothing else would have the card read.
                watching.watch([found.card_id], now=now, at=next_watch(now, now) or now)
            _end(locked, to, state_reason, wish, decision, now)
    except IntegrityError as error:  # what the locks do not cover: the transaction explains something since a moment
        raise ResolutionError("transaction_id", "claimed", "now explains something else") from error
    return Closing(to)


def lock_for_closing(invoice: Invoice, *card_ids: int) -> Invoice:
    """The invoice as it is now, locked with all that closing it touches, in the one order."""
    list(PaymentMethod.objects.select_for_update(no_key=True).filter(pk__in=card_ids).order_by("pk").only("pk"))
    if invoice.subscription_id is not None:
        list(Subscription.objects.select_for_update(no_key=True).filter(pk=invoice.subscription_id))
    locked = Invoice.objects.select_for_update(no_key=True, of=("self",)).select_related("account").get(pk=invoice.pk)
    list(PaymentAttempt.objects.select_for_update(no_key=True).filter(invoice=invoice).order_by("pk").only("pk"))
    return locked


def _refuse(invoice: Invoice, to: InvoiceState, confirmed: Proposal | None) -> None:
    attempts = [(name, AttemptState(state)) for name, state in invoice.attempts.values_list("public_id", "state")]
    waiting = approvals.open_proposal(invoice) if confirmed is None else None
    proposed_by = waiting.proposed_by if waiting else ""
    _raise(refuse_closing(InvoiceState(invoice.state), to, attempts, proposed_by=proposed_by))


def _propose(invoice: Invoice, wish: _Wish, decision: Decision, now: datetime) -> Proposal:
    """Until another person decides, nothing is asked of the card."""
    tried_at = invoice.next_attempt_at.isoformat() if invoice.next_attempt_at else None
    details = {**wish.details, "hold_before": invoice.hold, "next_attempt_before": tried_at}
    proposal = approvals.propose(invoice, wish.kind, decision, now=now, details=details)
    if invoice.state == InvoiceState.OPEN:
        invoice.hold, invoice.next_attempt_at = Hold.PROPOSAL.value, None
        invoice.save(update_fields=["hold", "next_attempt_at"])
    return proposal


def _write_payment(invoice: Invoice, wish: _Wish, actor: str, confirmed: Proposal | None, now: datetime) -> None:
    OutsidePayment.objects.create(
        public_id=new_id("pay", now),
        account_id=invoice.account_id,
        invoice=invoice,
        method=wish.details["method"],
        reference=wish.details["reference"],
        gateway_transaction_id=wish.details.get("gateway_transaction_id"),
        amount_minor=invoice.amount_minor,
        currency=invoice.currency,
        paid_date=date.fromisoformat(wish.details["paid_date"]),
        reason=wish.reason,
        recorded_by=confirmed.proposed_by if confirmed else actor,
        confirmed_by=actor if confirmed else "",
        recorded_at=now,
    )


def _end(invoice: Invoice, to: InvoiceState, state_reason: str, wish: _Wish, decision: Decision, now: datetime) -> None:
    detail = {"invoice": invoice.public_id, "way": wish.kind.value}
    if wish.kind is ProposalKind.PAID_ELSEWHERE:
        detail["paid_elsewhere"] = wish.details["method"]
    close_invoice(
        invoice, to, state_reason=state_reason, reason=wish.reason, actor=decision.actor, now=now, detail=detail
    )
    if invoice.subscription_id is not None:
        _carry_on(Subscription.objects.get(pk=invoice.subscription_id), to, decision, now)


def _carry_on(subscription: Subscription, to: InvoiceState, decision: Decision, now: datetime) -> None:
    """The subscription after one of its invoices was closed, as after a payment. A write-off pays
    nothing: what was past due stays so until something is paid. One that waits for its first payment starts when that
    is paid, and expires when nothing is owed for it any more."""
    if subscription.state == SubscriptionState.INCOMPLETE and to is InvoiceState.PAID:
        first_payment.start(subscription, at=now, actor=decision.actor, now=now)
    still_open = subscription.invoices.filter(state=InvoiceState.OPEN.value)
    state = SubscriptionState(subscription.state)
    after = state
    over = subscription.repetitions is not None and subscription.periods_charged >= subscription.repetitions
    if state is SubscriptionState.INCOMPLETE and to is InvoiceState.VOID:
        after, why = SubscriptionState.EXPIRED, Reason.INVOICE_VOIDED
    elif state in RUNNING and over and not still_open.exists():
        after, why = SubscriptionState.COMPLETED, Reason.REPETITIONS_OVER
    elif (
        state is SubscriptionState.PAST_DUE
        and to is not InvoiceState.UNCOLLECTIBLE
        and not still_open.filter(tries__gt=0).exists()
    ):
        after, why = SubscriptionState.ACTIVE, Reason.INVOICE_PAID if to is InvoiceState.PAID else Reason.INVOICE_VOIDED
    if after is not state:
        change_state(subscription, after, reason=why, actor=decision.actor, now=now)
