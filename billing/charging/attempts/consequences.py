"""What a finding does to everything around an attempt, worked out on locked rows and written at the end."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from billing.charging.attempts.card_standing import recount
from billing.charging.attempts.changes import Changes
from billing.charging.attempts.decline import after_decline
from billing.charging.protocol.evidence import evidence_of
from billing.domain.arming import Refusal
from billing.domain.attempts import (
    ENDED_WITHOUT_MONEY,
    HAS_MONEY,
    HOLDS_PLACE,
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
from billing.domain.late_money import may_become_money, next_watch
from billing.domain.outcomes import REFUSALS_BEFORE_HOLD, Fault, fault_of
from billing.domain.reads import look_from
from billing.domain.reasons import Reason
from billing.domain.subscriptions import STOPPED, Hold, InvoiceState, SubscriptionState
from billing.models.bulk import holding, refunding, settling, watching
from billing.models.bulk.checking import LEASE
from billing.models.bulk.evidence import insert_evidence
from billing.operating.tuning import Tuning
from billing.subscriptions.waking import wake

S = AttemptState
COMPLETE_READS = frozenset({Verdict.ABSENT, Verdict.IN_PROCESS, Verdict.REVERSED, Verdict.UNCLEAR})


class Settlement:
    """One settling transaction: apply findings one after the other, then write once."""

    def __init__(
        self,
        locked: settling.Locked,
        claims: dict[settling.Claim, int],
        *,
        tuning: Tuning,
        now: datetime,
        actor: str,
    ) -> None:
        self._locked = locked
        self._claims = claims
        self._of_invoice: dict[int, list[settling.AttemptRow]] = {}
        for row in locked.attempts.values():
            self._of_invoice.setdefault(row.invoice_id, []).append(row)
        self._tuning = tuning
        self._now = now
        self._actor = actor
        self._counts: dict[str, int] = {}
        self._holds: list[tuple[int, str]] = []
        self._refunded: list[tuple[int, int]] = []
        self._to_a_person: list[tuple[settling.AttemptRow, dict[str, Any]]] = []
        self._from_a_person: list[int] = []
        self._closed_while_proposed: list[int] = []  # invoices
        self._watch: list[int] = []
        self._changes = Changes(locked, now)
        self._found: list[watching.NewFound] = []
        self._attempts: dict[int, settling.AttemptRow] = {}
        self._recount: set[int] = set()  # cards

    def apply(self, attempt_id: int, finding: Finding, evidence_id: int) -> None:
        attempt = self._locked.attempts[attempt_id]
        decision = decide(
            self._facts(attempt, finding),
            finding,
            now=self._now,
            reversed_settles_after=self._tuning.reversed_settles_after,
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
        self._changes.write_rows()
        settling.write_refunded(self._refunded)
        settling.hold_cards(self._holds, now=self._now)
        watching.watch(self._watch, now=self._now, at=next_watch(self._now, self._now) or self._now)
        watching.list_found(self._found, now=self._now)
        holding.overtake_proposals(
            attempts=self._from_a_person, invoices=self._closed_while_proposed, actor=self._actor, now=self._now
        )
        self._alert_cases()
        ended = [row.payment_method_id for row in self._attempts.values() if row.state not in UNRESOLVED]
        wake({card for card in ended if card is not None}, Refusal.CARD_HAS_UNRESOLVED_ATTEMPT, now=self._now)
        recount(self._recount, actor=self._actor, now=self._now)
        self._changes.write_history(self._actor)
        return self._counts

    def _alert_cases(self) -> None:
        """The event of each attempt that came to a person names the invoices that wait behind it."""
        if not self._to_a_person:
            return
        cards = [row.payment_method_id for row, _ in self._to_a_person]
        found = holding.held_up([card for card in cards if card is not None], now=self._now)
        for (_, payload), card in zip(self._to_a_person, cards, strict=True):
            payload |= holding.payload_of(card, found) if card is not None else {}

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
            transaction_reversed=(attempt.account_id, f"reversed {finding.transaction_id}") in self._claims,
            found_reversed=attempt.state == S.NOT_CHARGED and attempt.state_reason == Reason.REVERSED_AT_THE_GATEWAY,
        )

    def _others(self, attempt: settling.AttemptRow) -> list[settling.AttemptRow]:
        return [other for other in self._of_invoice[attempt.invoice_id] if other.id != attempt.id]

    def _move(
        self, attempt: settling.AttemptRow, to: AttemptState, reason: str, finding: Finding, evidence_id: int
    ) -> None:
        before = AttemptState(attempt.state)
        names = {"attempt": attempt.public_id, "invoice": self._locked.invoices[attempt.invoice_id].public_id}
        detail = self._changes.log(attempt, before, to, reason, evidence_id, **names)
        self._counts[to.value] = self._counts.get(to.value, 0) + 1
        if before is S.NEEDS_REVIEW:
            self._from_a_person.append(attempt.id)
        attempt.state = to.value
        attempt.state_reason = reason
        attempt.last_evidence_id = evidence_id
        attempt.settled_at = None if to in UNRESOLVED else self._now
        self._learn_ids(attempt, finding)
        attempt.next_check_at = self._first_check(attempt, finding) if to in (S.UNKNOWN, S.IN_PROCESS) else None
        if may_become_money(to, finding) and attempt.payment_method_id is not None:
            self._watch.append(attempt.payment_method_id)
        self._carry_out(attempt, to, finding, evidence_id, detail)
        card = attempt.payment_method_id
        if card is not None and (S.DECLINED in (before, to) or (to in HAS_MONEY and card in self._locked.cards)):
            self._recount.add(card)
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
            return attempt.armed_at + self._tuning.reversed_settles_after
        if finding.source is Source.SWEEPER:
            return self._now  # its sender is gone: the deadline has passed already
        return next_check(attempt.armed_at, self._tuning.rungs, 0, self._now) or self._now

    def _stay(self, attempt: settling.AttemptRow, finding: Finding) -> None:
        if AttemptState(attempt.state) not in (S.UNKNOWN, S.IN_PROCESS):
            return
        self._learn_ids(attempt, finding)
        if finding.source is not Source.ORDER_LIST or finding.verdict not in COMPLETE_READS:
            return
        if finding.read_at is None or not self._is_a_rung(attempt, finding.read_at):
            return
        attempt.checks_done += 1
        attempt.rung_at = finding.read_at
        hinted = attempt.next_check_at is not None and attempt.next_check_at < finding.read_at + LEASE
        if not hinted:  # a hint that came while the card was read asks for another read
            attempt.next_check_at = self._tuning.checks.due(
                attempt.armed_at, attempt.rung_at, attempt.checks_done, self._now
            )

    def _is_a_rung(self, attempt: settling.AttemptRow, read_at: datetime) -> bool:
        return self._tuning.checks.counts(attempt.armed_at, attempt.rung_at, attempt.checks_done, read_at)

    def _alarm(self, attempt: settling.AttemptRow, reason: str, evidence_id: int) -> None:
        """The state stands; one alarm is recorded, and nothing more is armed on the card."""
        self._hold(attempt, reason)
        self._changes.record_event("attempt.alarm", attempt, {"attempt": attempt.public_id}, occasion=reason)
        self._changes.log(attempt, attempt.state, attempt.state, reason, evidence_id)

    def _hold(self, attempt: settling.AttemptRow, reason: str) -> None:
        """Nothing more is armed on its card. What was paid on a page has none."""
        if attempt.payment_method_id is not None:
            self._holds.append((attempt.payment_method_id, reason))

    def _promote_surplus(self, ended: settling.AttemptRow) -> None:
        """The holder ended without money: the first surplus of the invoice becomes its payment.

        Not one that may be on its way back: what comes of its refund says whether there is money to pay with."""
        invoice = self._locked.invoices[ended.invoice_id]
        surplus = [
            other
            for other in self._others(ended)
            if other.state == S.SURPLUS.value and other.amount_refunded_minor < other.amount_minor
        ]
        going_back = refunding.going_back([other.id for other in surplus])
        staying = [other for other in surplus if other.id not in going_back]
        if not staying or invoice.state not in (InvoiceState.OPEN, InvoiceState.UNCOLLECTIBLE):
            return
        heir = min(staying, key=lambda other: other.number)
        holder = {"holder": ended.public_id}
        finding = Finding(Verdict.PAID, Source.HOLDER_ENDED, reason=Reason.HOLDER_ENDED_WITHOUT_MONEY, detail=holder)
        evidence = replace(evidence_of(finding, holder), digest=f"holder-{ended.public_id}")
        row = evidence.of(heir.account_id, heir.id)
        news = insert_evidence([row], of="attempt", now=self._now)
        if row.key in news:
            self.apply(heir.id, finding, news[row.key])

    # --- invoice, subscription, account -------------------------------------------------------------------

    def _carry_out(
        self,
        attempt: settling.AttemptRow,
        to: AttemptState,
        finding: Finding,
        evidence_id: int,
        detail: dict[str, Any],
    ) -> None:
        """`detail` is what the event of the attempt's move says; what is known only here is added to it."""
        invoice = self._locked.invoices[attempt.invoice_id]
        self._changes.touch(invoice)
        if to not in HOLDS_PLACE:
            invoice.look_from_at = self._look_from(attempt, invoice, finding)
        match to:
            case S.SUCCEEDED:
                self._pay(attempt, invoice, evidence_id)
                if attempt.amount_refunded_minor:  # it was surplus, and a part of it went back already
                    self._refunded.append((invoice.id, attempt.amount_refunded_minor))
            case S.DECLINED:
                after_decline(self._changes, attempt, invoice, evidence_id)
            case S.NOT_SENT:
                self._not_sent(attempt, invoice, finding)
            case S.NOT_CHARGED:
                self._changes.try_again(invoice, self._now)
            case S.UNKNOWN | S.IN_PROCESS:
                invoice.not_sent_in_a_row = 0
            case S.NEEDS_REVIEW:
                detail |= {"amount_minor": attempt.amount_minor, "currency": attempt.currency}
                self._to_a_person.append((attempt, detail))
                if finding.verdict is Verdict.CONTRADICTION:
                    self._hold(attempt, attempt.state_reason)
            case S.SURPLUS:
                detail["proposal"] = "refund"
                if invoice.state == InvoiceState.OPEN:
                    invoice.next_attempt_at = None  # money is there: stop asking for more
                if subscription := self._changes.subscription_of(invoice):
                    detail["subscription_state"] = subscription.state
            case S.REVERSED:
                self._take_back(attempt, invoice, evidence_id)
            case S.SENDING:
                raise AssertionError("nothing moves to sending")
            case _:
                assert_never(to)

    def _look_from(self, attempt: settling.AttemptRow, invoice: settling.InvoiceRow, finding: Finding) -> datetime:
        lag = timedelta(seconds=self._locked.accounts[attempt.account_id].list_lag_seconds)
        at = look_from(
            finding, armed_at=attempt.armed_at, sender_deadline=self._tuning.deadline, list_lag=lag, now=self._now
        )
        # News of an earlier attempt does not bring the look nearer that the last one needs.
        is_last = all(other.number < attempt.number for other in self._others(attempt))
        return at if is_last else max(at, invoice.look_from_at or at)

    def _pay(self, attempt: settling.AttemptRow, invoice: settling.InvoiceRow, evidence_id: int) -> None:
        detail = self._changes.set_invoice(invoice, InvoiceState.PAID, Reason.PAID, evidence_id)
        invoice.next_attempt_at = None
        if invoice.hold == Hold.PROPOSAL:
            self._closed_while_proposed.append(invoice.id)
        invoice.hold = None
        subscription = self._changes.subscription_of(invoice)
        if attempt.state_reason == Reason.LATE_MONEY:
            detail |= {"late": True, "subscription_state": subscription.state if subscription else None}
            if subscription and subscription.state in STOPPED:
                self._found.append(watching.after_the_end(attempt))
        if subscription:
            if subscription.state == SubscriptionState.INCOMPLETE:
                self._changes.first_payments.paid(subscription, attempt)
                self._changes.set_subscription(
                    subscription, SubscriptionState.ACTIVE, Reason.FIRST_PAYMENT_PAID, evidence_id
                )
            if subscription.state == SubscriptionState.PAST_DUE and subscription.declined_invoices == 0:
                self._changes.set_subscription(subscription, SubscriptionState.ACTIVE, Reason.INVOICE_PAID, evidence_id)
            self._changes.complete_if_over(subscription, evidence_id)

    def _not_sent(self, attempt: settling.AttemptRow, invoice: settling.InvoiceRow, finding: Finding) -> None:
        invoice.not_sent_in_a_row += 1
        wait = wait_after_not_sent(invoice.not_sent_in_a_row, finding.retry_after_seconds)
        if finding.source is Source.COMMIT_UNACKNOWLEDGED:
            wait = timedelta(0)
        self._changes.try_again(invoice, self._now + wait)
        if fault_of(finding) is Fault.INVOICE:
            self._hold_if_always_refused(attempt, invoice)

    def _hold_if_always_refused(self, attempt: settling.AttemptRow, invoice: settling.InvoiceRow) -> None:
        """What the gateway refuses because of this invoice stops the invoice, and nothing else."""
        alike = [
            other
            for other in self._of_invoice[invoice.id]
            if other.state == S.NOT_SENT.value and other.state_reason == attempt.state_reason
        ]
        if len(alike) < REFUSALS_BEFORE_HOLD or invoice.state != InvoiceState.OPEN or invoice.hold is not None:
            return
        hold = Hold.ALWAYS_REFUSED.value
        invoice.next_attempt_at = None
        invoice.hold = hold
        state, held = InvoiceState.OPEN.value, f"{InvoiceState.OPEN.value} ({hold})"
        self._changes.log(invoice, state, held, attempt.state_reason, None, invoice=invoice.public_id, hold=hold)

    def _take_back(self, attempt: settling.AttemptRow, invoice: settling.InvoiceRow, evidence_id: int) -> None:
        paid_by_it = invoice.state == InvoiceState.PAID and invoice.state_reason != Reason.PAID_ELSEWHERE
        if paid_by_it and not any(o.state == S.SUCCEEDED.value for o in self._others(attempt)):
            self._changes.set_invoice(invoice, InvoiceState.OPEN, Reason.PAYMENT_REVERSED, evidence_id)
            invoice.hold = Hold.REVERSED.value
