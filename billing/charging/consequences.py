"""What a finding does to everything around an attempt, worked out on locked rows and written at the end."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, assert_never

from billing.charging.limits import Limits
from billing.domain.attempts import (
    ENDED_WITHOUT_MONEY,
    FOUND_REVERSED,
    HOLDS_PLACE,
    NOT_SENT_LIMIT,
    UNRESOLVED,
    Alarm,
    AttemptFacts,
    AttemptState,
    Finding,
    Move,
    Source,
    Stay,
    Verdict,
    decide,
    next_check,
    wait_after_not_sent,
)
from billing.domain.dunning import DunningPolicy, FinalAction, GiveUp, RetryAt, next_step
from billing.domain.subscriptions import RUNNING, Hold, InvoiceState, SubscriptionState
from billing.ids import new_id
from billing.models.bulk import holding, settling, sql
from billing.subscriptions.renew import open_before_ending

S = AttemptState
COMPLETE_READS = frozenset({Verdict.ABSENT, Verdict.IN_PROCESS, Verdict.REVERSED, Verdict.UNCLEAR})


class Settlement:
    """One settling transaction: apply findings one after the other, then write once."""

    def __init__(
        self,
        locked: settling.Locked,
        claims: dict[settling.Claim, int],
        *,
        limits: Limits,
        now: datetime,
        actor: str,
    ) -> None:
        self._locked = locked
        self._claims = claims
        self._of_invoice: dict[int, list[settling.AttemptRow]] = {}
        for row in locked.attempts.values():
            self._of_invoice.setdefault(row.invoice_id, []).append(row)
        self._limits = limits
        self._now = now
        self._actor = actor
        self._counts: dict[str, int] = {}
        self._transitions: list[sql.NewTransition] = []
        self._events: list[sql.NewEvent] = []
        self._holds: list[tuple[int, str]] = []
        self._canceled: list[int] = []
        self._refunded: list[tuple[int, int]] = []
        self._to_a_person: list[tuple[settling.AttemptRow, dict[str, Any]]] = []
        self._from_a_person: list[int] = []
        self._attempts: dict[int, settling.AttemptRow] = {}
        self._invoices: dict[int, settling.InvoiceRow] = {}
        self._subscriptions: dict[int, settling.SubscriptionRow] = {}
        self._accounts: dict[int, settling.AccountRow] = {}

    def apply(self, attempt_id: int, finding: Finding, evidence_id: int) -> None:
        attempt = self._locked.attempts[attempt_id]
        decision = decide(
            self._facts(attempt, finding),
            finding,
            now=self._now,
            reversed_settles_after=self._limits.reversed_settles_after,
        )
        self._attempts[attempt.id] = attempt
        match decision:
            case Move(to, reason):
                self._move(attempt, to, reason, finding, evidence_id)
            case Stay():
                self._stay(attempt, finding)
            case Alarm(reason):
                self._alarm(attempt, reason, evidence_id)
            case _:
                assert_never(decision)

    def write(self) -> dict[str, int]:
        settling.write_attempts(list(self._attempts.values()))
        settling.write_invoices(list(self._invoices.values()))
        settling.write_refunded(self._refunded)
        settling.write_subscriptions(list(self._subscriptions.values()))
        settling.write_accounts(list(self._accounts.values()))
        settling.hold_invoices_of(self._canceled, hold=Hold.SUBSCRIPTION_CANCELED.value)
        settling.hold_cards(self._holds, now=self._now)
        holding.overtake_proposals(self._from_a_person, actor=self._actor, now=self._now)
        self._alert_cases()
        sql.insert_transitions(self._transitions, actor=self._actor, now=self._now)
        sql.insert_events(self._events, now=self._now)
        return self._counts

    def _alert_cases(self) -> None:
        """One event for each attempt that came to a person, with the invoices that wait behind it."""
        if not self._to_a_person:
            return
        found = holding.held_up([row.payment_method_id for row, _ in self._to_a_person], now=self._now)
        for row, payload in self._to_a_person:
            payload |= holding.told_of(row.payment_method_id, found)
            self._tell("attempt.needs_human", "attempt", row.id, row.account_id, "", payload)

    # --- the attempt --------------------------------------------------------------------------------------

    def _facts(self, attempt: settling.AttemptRow, finding: Finding) -> AttemptFacts:
        invoice = self._locked.invoices[attempt.invoice_id]
        return AttemptFacts(
            state=AttemptState(attempt.state),
            amount_minor=attempt.amount_minor,
            currency=attempt.currency,
            store_id=attempt.store_id,
            gateway_customer_id=attempt.gateway_customer_id,
            marker=attempt.marker,
            armed_at=attempt.armed_at,
            transaction_id=attempt.gateway_transaction_id,
            place_taken=any(AttemptState(other.state) in HOLDS_PLACE for other in self._others(attempt)),
            money_wanted=invoice.state in (InvoiceState.OPEN, InvoiceState.UNCOLLECTIBLE),
            transaction_claimed=self._claimed_by_another(attempt, finding),
            found_reversed=attempt.state == S.NOT_CHARGED.value and attempt.state_reason == FOUND_REVERSED,
        )

    def _others(self, attempt: settling.AttemptRow) -> list[settling.AttemptRow]:
        return [other for other in self._of_invoice[attempt.invoice_id] if other.id != attempt.id]

    def _move(
        self, attempt: settling.AttemptRow, to: AttemptState, reason: str, finding: Finding, evidence_id: int
    ) -> None:
        before = AttemptState(attempt.state)
        self._log("attempt", attempt.id, attempt.account_id, before, to, reason, evidence_id)
        self._counts[to.value] = self._counts.get(to.value, 0) + 1
        if before is S.NEEDS_HUMAN:
            self._from_a_person.append(attempt.id)
        attempt.state = to.value
        attempt.state_reason = reason
        attempt.last_evidence_id = evidence_id
        attempt.settled_at = None if to in UNRESOLVED else self._now
        self._learn_ids(attempt, finding)
        attempt.next_check_at = self._first_check(attempt, finding) if to in (S.UNKNOWN, S.IN_PROCESS) else None
        self._carry_out(attempt, to, reason, finding, evidence_id)
        if to in ENDED_WITHOUT_MONEY or to is S.REVERSED:
            self._promote_surplus(attempt)

    def _claimed_by_another(self, attempt: settling.AttemptRow, finding: Finding) -> bool:
        names = (f"transaction {finding.transaction_id}", f"order {finding.order_id}")
        return any(self._claims.get((attempt.account_id, name), attempt.id) != attempt.id for name in names)

    def _learn_ids(self, attempt: settling.AttemptRow, finding: Finding) -> None:
        """Takes over transaction and order, unless they are another attempt's."""
        transaction = finding.transaction_id
        if not transaction or self._claimed_by_another(attempt, finding):
            return
        if attempt.gateway_transaction_id in (None, transaction) or attempt.state in (S.SUCCEEDED, S.SURPLUS):
            attempt.gateway_transaction_id = transaction
            attempt.gateway_order_id = finding.order_id or attempt.gateway_order_id
            self._claims[(attempt.account_id, f"transaction {transaction}")] = attempt.id
            self._claims[(attempt.account_id, f"order {attempt.gateway_order_id}")] = attempt.id

    def _first_check(self, attempt: settling.AttemptRow, finding: Finding) -> datetime:
        if finding.verdict is Verdict.REVERSED:
            return attempt.armed_at + self._limits.reversed_settles_after
        if finding.source is Source.SWEEPER:
            return self._now  # its sender is gone: the deadline has passed already
        return next_check(attempt.armed_at, self._limits.rungs, 0, self._now) or self._now

    def _stay(self, attempt: settling.AttemptRow, finding: Finding) -> None:
        if AttemptState(attempt.state) not in (S.UNKNOWN, S.IN_PROCESS):
            return
        self._learn_ids(attempt, finding)
        if finding.source is not Source.ORDER_LIST or finding.verdict not in COMPLETE_READS:
            return
        attempt.checks_done += 1
        after = next_check(attempt.armed_at, self._limits.rungs, attempt.checks_done, self._now)
        # What the gateway is still working on is asked about until it says something else.
        attempt.next_check_at = after or self._now + self._limits.ladder[-1]

    def _alarm(self, attempt: settling.AttemptRow, reason: str, evidence_id: int) -> None:
        """The state stands; a person is told once, and nothing more is armed on the card."""
        self._holds.append((attempt.payment_method_id, reason))
        self._tell("attempt.alarm", "attempt", attempt.id, attempt.account_id, reason, {"attempt": attempt.public_id})
        self._log(
            "attempt", attempt.id, attempt.account_id, attempt.state, attempt.state, f"alarm: {reason}", evidence_id
        )

    def _promote_surplus(self, ended: settling.AttemptRow) -> None:
        """The holder ended without money: the first surplus of the invoice becomes its payment."""
        invoice = self._locked.invoices[ended.invoice_id]
        surplus = [
            other
            for other in self._others(ended)
            if other.state == S.SURPLUS.value and other.amount_refunded_minor < other.amount_minor
        ]
        if not surplus or invoice.state not in (InvoiceState.OPEN, InvoiceState.UNCOLLECTIBLE):
            return
        heir = min(surplus, key=lambda other: other.number)
        finding = Finding(
            Verdict.PAID, Source.HOLDER_ENDED, reason="holder_ended_without_money", detail={"holder": ended.public_id}
        )
        content = json.dumps({"holder": ended.public_id})
        key = (heir.id, finding.source.value, f"holder-{ended.public_id}")
        row = settling.NewEvidence(heir.account_id, *key[:2], finding.verdict.value, finding.reason, key[2], content)
        evidence = settling.insert_evidence([row], now=self._now)
        if key in evidence:
            self.apply(heir.id, finding, evidence[key])

    # --- invoice, subscription, account -------------------------------------------------------------------

    def _carry_out(
        self, attempt: settling.AttemptRow, to: AttemptState, reason: str, finding: Finding, evidence_id: int
    ) -> None:
        invoice = self._locked.invoices[attempt.invoice_id]
        self._invoices[invoice.id] = invoice
        match to:
            case S.SUCCEEDED:
                self._pay(invoice, evidence_id)
                if attempt.amount_refunded_minor:  # it was surplus, and a part of it went back already
                    self._refunded.append((invoice.id, attempt.amount_refunded_minor))
            case S.DECLINED:
                self._dun(attempt, invoice, evidence_id)
            case S.NOT_SENT:
                self._not_sent(attempt, invoice, finding)
            case S.NOT_CHARGED:
                self._try_again(invoice, self._now)
            case S.UNKNOWN | S.IN_PROCESS:
                invoice.not_sent_in_a_row = 0
            case S.NEEDS_HUMAN:
                payload = {"attempt": attempt.public_id, "invoice": invoice.public_id, "reason": reason}
                amount = {"amount_minor": attempt.amount_minor, "currency": attempt.currency}
                self._to_a_person.append((attempt, payload | amount))
                if finding.verdict is Verdict.CONTRADICTION:
                    self._holds.append((attempt.payment_method_id, reason))
            case S.SURPLUS:
                self._surplus(attempt, invoice)
            case S.REVERSED:
                self._take_back(attempt, invoice, evidence_id)
            case S.SENDING:
                raise AssertionError("nothing moves to sending")
            case _:
                assert_never(to)
        if to not in (S.NOT_SENT, S.SENDING):
            self._reached_the_gateway(attempt)

    def _pay(self, invoice: settling.InvoiceRow, evidence_id: int) -> None:
        self._set_invoice(invoice, InvoiceState.PAID, "paid", evidence_id)
        invoice.next_attempt_at = None
        invoice.hold = None
        self._tell(
            "invoice.paid", "invoice", invoice.id, invoice.account_id, str(evidence_id), {"invoice": invoice.public_id}
        )
        if subscription := self._subscription(invoice):
            if subscription.state == SubscriptionState.PAST_DUE and subscription.declined_invoices == 0:
                self._set_subscription(subscription, SubscriptionState.ACTIVE, "invoice_paid", evidence_id)
            self._complete_if_over(subscription, evidence_id)

    def _dun(self, attempt: settling.AttemptRow, invoice: settling.InvoiceRow, evidence_id: int) -> None:
        if invoice.state != InvoiceState.OPEN:
            return
        invoice.not_sent_in_a_row = 0
        subscription = self._subscription(invoice)
        if subscription and invoice.tries == 0:
            subscription.declined_invoices += 1
        invoice.tries += 1
        invoice.first_tried_at = invoice.first_tried_at or attempt.armed_at
        account = self._locked.accounts[invoice.account_id]
        policy = DunningPolicy(tuple(account.retry_days), FinalAction(account.final_action))
        step = next_step(policy, tries=invoice.tries, first_tried_at=invoice.first_tried_at, now=self._now)
        payload = {"invoice": invoice.public_id, "attempt": attempt.public_id, "code": attempt.state_reason}
        self._tell("invoice.payment_failed", "invoice", invoice.id, invoice.account_id, str(attempt.number), payload)
        match step:
            case RetryAt(at):
                self._try_again(invoice, at)
                if subscription and subscription.state in (SubscriptionState.ACTIVE, SubscriptionState.TRIALING):
                    self._set_subscription(subscription, SubscriptionState.PAST_DUE, "invoice_declined", evidence_id)
            case GiveUp(action):
                invoice.next_attempt_at = None
                self._set_invoice(invoice, InvoiceState.UNCOLLECTIBLE, "tries_exhausted", evidence_id)
                if subscription:
                    self._give_up(subscription, action, evidence_id)
            case _:
                assert_never(step)

    def _give_up(self, subscription: settling.SubscriptionRow, action: FinalAction, evidence_id: int) -> None:
        if subscription.state not in RUNNING:
            return
        if action is not FinalAction.KEEP and open_before_ending(subscription_id=subscription.id, now=self._now):
            settling.read_again(subscription)
        match action:
            case FinalAction.CANCEL:
                subscription.next_due_at = None
                subscription.ended_at = self._now
                self._canceled.append(subscription.id)
                self._set_subscription(subscription, SubscriptionState.CANCELED, "tries_exhausted", evidence_id)
            case FinalAction.PAUSE:
                subscription.next_due_at = None
                self._set_subscription(subscription, SubscriptionState.PAUSED, "tries_exhausted", evidence_id)
            case FinalAction.KEEP:
                if subscription.state != SubscriptionState.PAST_DUE:
                    self._set_subscription(subscription, SubscriptionState.PAST_DUE, "tries_exhausted", evidence_id)
                self._complete_if_over(subscription, evidence_id)
            case _:
                assert_never(action)

    def _not_sent(self, attempt: settling.AttemptRow, invoice: settling.InvoiceRow, finding: Finding) -> None:
        invoice.not_sent_in_a_row += 1
        wait = wait_after_not_sent(invoice.not_sent_in_a_row, finding.retry_after_seconds)
        if finding.source is Source.COMMIT_UNACKNOWLEDGED:
            wait = timedelta(0)
        self._try_again(invoice, self._now + wait)
        account = self._locked.accounts[attempt.account_id]
        self._accounts[account.id] = account
        if finding.source is not Source.COMMIT_UNACKNOWLEDGED:
            account.not_sent_in_a_row += 1
        if (finding.stops_account or account.not_sent_in_a_row >= NOT_SENT_LIMIT) and account.stopped_at is None:
            account.stopped_at = self._now
            account.stopped_reason = f"not sent: {finding.reason}"
            self._log("account", account.id, account.id, "running", "stopped", account.stopped_reason, None)
            self._tell(
                "account.stopped", "account", account.id, account.id, str(attempt.id), {"reason": finding.reason}
            )

    def _reached_the_gateway(self, attempt: settling.AttemptRow) -> None:
        account = self._locked.accounts[attempt.account_id]
        if account.locked and account.not_sent_in_a_row:
            account.not_sent_in_a_row = 0
            self._accounts[account.id] = account

    def _surplus(self, attempt: settling.AttemptRow, invoice: settling.InvoiceRow) -> None:
        if invoice.state == InvoiceState.OPEN:
            invoice.next_attempt_at = None  # money is there: stop asking for more
        payload = {"attempt": attempt.public_id, "invoice": invoice.public_id, "proposal": "refund"}
        self._tell("attempt.surplus", "attempt", attempt.id, attempt.account_id, "", payload)

    def _take_back(self, attempt: settling.AttemptRow, invoice: settling.InvoiceRow, evidence_id: int) -> None:
        if invoice.state == InvoiceState.PAID and not any(o.state == S.SUCCEEDED.value for o in self._others(attempt)):
            self._set_invoice(invoice, InvoiceState.OPEN, "payment_reversed", evidence_id)
            invoice.hold = Hold.REVERSED.value
        payload = {"attempt": attempt.public_id, "invoice": invoice.public_id}
        self._tell("attempt.reversed", "attempt", attempt.id, attempt.account_id, "", payload)

    def _try_again(self, invoice: settling.InvoiceRow, at: datetime) -> None:
        if invoice.state == InvoiceState.OPEN and invoice.hold is None:
            invoice.next_attempt_at = at

    # --- small steps --------------------------------------------------------------------------------------

    def _subscription(self, invoice: settling.InvoiceRow) -> settling.SubscriptionRow | None:
        return self._locked.subscriptions.get(invoice.subscription_id) if invoice.subscription_id else None

    def _complete_if_over(self, subscription: settling.SubscriptionRow, evidence_id: int) -> None:
        """Completed: all repetitions were opened and none of their invoices is open any more."""
        over = subscription.repetitions is not None and subscription.periods_charged >= subscription.repetitions
        if over and subscription.state in RUNNING and subscription.open_invoices == 0:
            subscription.ended_at = self._now
            self._set_subscription(subscription, SubscriptionState.COMPLETED, "repetitions_over", evidence_id)

    def _set_invoice(
        self, invoice: settling.InvoiceRow, state: InvoiceState, reason: str, evidence_id: int | None
    ) -> None:
        self._log("invoice", invoice.id, invoice.account_id, invoice.state, state, reason, evidence_id)
        if subscription := self._subscription(invoice):
            change = (state is InvoiceState.OPEN) - (invoice.state == InvoiceState.OPEN)
            subscription.open_invoices += change
            subscription.declined_invoices += change if invoice.tries else 0
        invoice.state = state.value
        invoice.state_reason = reason
        invoice.closed_at = None if state is InvoiceState.OPEN else self._now

    def _set_subscription(
        self, subscription: settling.SubscriptionRow, state: SubscriptionState, reason: str, evidence_id: int
    ) -> None:
        self._log(
            "subscription", subscription.id, subscription.account_id, subscription.state, state, reason, evidence_id
        )
        subscription.state = state.value
        self._subscriptions[subscription.id] = subscription

    def _log(
        self,
        subject: str,
        subject_id: int,
        account_id: int,
        before: str,
        after: str,
        reason: str,
        evidence_id: int | None,
    ) -> None:
        self._transitions.append(
            sql.NewTransition(account_id, subject, subject_id, str(before), str(after), reason, evidence_id)
        )

    def _tell(
        self, kind: str, subject: str, subject_id: int, account_id: int, occasion: str, payload: Mapping[str, Any]
    ) -> None:
        self._events.append(
            sql.NewEvent(new_id("evt", self._now), account_id, kind, subject, subject_id, occasion, json.dumps(payload))
        )
