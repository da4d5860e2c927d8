"""What a settlement changes around an attempt: worked out on locked rows, and written once at the end."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from billing.charging.attempts.first_payments import FirstPayments
from billing.charging.attempts.subjects import Row, event_of, transition_of
from billing.domain.dunning import DunningPolicy
from billing.domain.reasons import Reason
from billing.domain.subscriptions import RUNNING, InvoiceState, SubscriptionState
from billing.models.bulk import settling
from billing.models.bulk.card_limits import Rulings, rulings_of
from billing.models.bulk.dunning import InForce, policies_of_invoices
from billing.models.bulk.history import NewEvent, NewTransition, record_history
from billing.subscriptions.leftovers import leave_to_staff


class Changes:
    """Invoices and subscriptions on their way to another state, each with the history that says why."""

    def __init__(self, locked: settling.Locked, now: datetime) -> None:
        self.now = now
        self.first_payments = FirstPayments(now)
        self._subscriptions_locked = locked.subscriptions
        self._invoices_locked = locked.invoices
        self._policies: dict[int, InForce] = {}
        self._invoices: dict[int, settling.InvoiceRow] = {}
        self._subscriptions: dict[int, settling.SubscriptionRow] = {}
        self._canceled: list[int] = []
        self._history: list[NewTransition | NewEvent] = []
        self._rulings: dict[int, Rulings] = {}

    def write_rows(self) -> None:
        settling.write_invoices(list(self._invoices.values()))
        settling.write_subscriptions(list(self._subscriptions.values()))
        self.first_payments.write()
        self._history += leave_to_staff(self._canceled)

    def write_history(self, actor: str) -> None:
        record_history(self._history, actor=actor, now=self.now)

    def rulings(self, account_id: int) -> Rulings:
        """What the account's staff decided about codes of declines; read once, at the first decline."""
        if account_id not in self._rulings:
            self._rulings[account_id] = rulings_of(account_id)
        return self._rulings[account_id]

    def touch(self, invoice: settling.InvoiceRow) -> None:
        """The invoice is written at the end, with whatever is changed of it until then."""
        self._invoices[invoice.id] = invoice

    def subscription_of(self, invoice: settling.InvoiceRow) -> settling.SubscriptionRow | None:
        return self._subscriptions_locked.get(invoice.subscription_id) if invoice.subscription_id else None

    def policy_of(self, invoice: settling.InvoiceRow) -> DunningPolicy:
        """What the account does about the decline; the invoice keeps the policy that its first decline met."""
        if not self._policies:  # of all of them at the first decline, for most settlements have none
            self._policies = policies_of_invoices(list(self._invoices_locked))
        in_force = self._policies[invoice.id]
        invoice.dunning_policy_id = in_force.id
        return in_force.policy

    def try_again(self, invoice: settling.InvoiceRow, at: datetime) -> None:
        if invoice.state == InvoiceState.OPEN and invoice.hold is None:
            invoice.next_attempt_at = max(at, invoice.look_from_at or at)

    def set_invoice(
        self, invoice: settling.InvoiceRow, state: InvoiceState, reason: str, evidence_id: int | None
    ) -> dict[str, Any]:
        """What the event of the move says besides, as `log` returns it."""
        detail = self.log(invoice, invoice.state, state, reason, evidence_id, invoice=invoice.public_id)
        if subscription := self.subscription_of(invoice):
            change = (state is InvoiceState.OPEN) - (invoice.state == InvoiceState.OPEN)
            subscription.open_invoices += change
            subscription.declined_invoices += change if invoice.tries else 0
        invoice.state = state.value
        invoice.state_reason = reason
        invoice.closed_at = None if state is InvoiceState.OPEN else self.now
        return detail

    def set_subscription(
        self, subscription: settling.SubscriptionRow, state: SubscriptionState, reason: str, evidence_id: int | None
    ) -> None:
        self.log(subscription, subscription.state, state, reason, evidence_id)
        subscription.state = state.value
        self._subscriptions[subscription.id] = subscription

    def cancel(self, subscription: settling.SubscriptionRow, reason: str, evidence_id: int | None) -> None:
        subscription.next_due_at = None
        subscription.ended_at = self.now
        self._canceled.append(subscription.id)
        self.set_subscription(subscription, SubscriptionState.CANCELED, reason, evidence_id)

    def complete_if_over(self, subscription: settling.SubscriptionRow, evidence_id: int | None) -> None:
        """Completed: all repetitions were opened and none of their invoices is open any more."""
        over = subscription.repetitions is not None and subscription.periods_charged >= subscription.repetitions
        if over and subscription.state in RUNNING and subscription.open_invoices == 0:
            subscription.ended_at = self.now
            self.set_subscription(subscription, SubscriptionState.COMPLETED, Reason.REPETITIONS_OVER, evidence_id)

    def log(
        self, row: Row, before: str, after: str, reason: str, evidence_id: int | None, **detail: Any
    ) -> dict[str, Any]:
        """What the event of the move says besides, to be added to before it is written."""
        self._history.append(transition_of(row, before, after, reason, evidence_id, detail))
        return detail

    def record_event(self, kind: str, row: Row, payload: Mapping[str, Any], *, occasion: str) -> None:
        self._history.append(event_of(kind, row, payload, occasion))
