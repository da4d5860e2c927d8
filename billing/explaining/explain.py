"""The life of one invoice in sentences, from rule to money: "why was I charged", "why was I not".

Everything is read from rows, in their own words and order; nothing is guessed and nothing is written. The sentences
name no person but the staff who decided something, and no more of a card than its id.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.db.models import Q

from billing.domain.arming import FOR_ITS_DECLINES, Refusal
from billing.domain.attempts import UNRESOLVED
from billing.domain.catch_up import GRACE
from billing.domain.money import display
from billing.domain.reason_words import reason_words
from billing.domain.reasons import Reason
from billing.domain.resolution import ProposalOutcome
from billing.domain.schedules import Schedule
from billing.domain.subscriptions import Hold, InvoiceState, SubscriptionState
from billing.explaining.attempt_life import AttemptLife
from billing.explaining.checkout_life import checkout_lines
from billing.explaining.lines import Kind, Line, Proposers
from billing.explaining.refund_life import RefundLife
from billing.explaining.summary import Answer, answer_of
from billing.explaining.wording import (
    day,
    decided_by,
    held_because,
    moment,
    paid_by,
    sentence,
    span,
    which_day,
)
from billing.models import (
    Evidence,
    GatewayAccount,
    GatewayOrder,
    Installation,
    Invoice,
    OutsidePayment,
    PaymentAttempt,
    Proposal,
    RefundEvidence,
    Subscription,
    Transition,
)
from billing.subscriptions.upcoming import schedule_of

# What the engine did without evidence of its own: a try that was not made.
_OF_THE_ENGINE = {
    Reason.TRY_AVOIDED: "A try was due and was not made: the bank would have declined it again.",
    Reason.TRIES_EXHAUSTED: "It was the last one: the invoice is uncollectible.",
}

__all__ = ["Answer", "Explanation", "Kind", "Line", "NothingFoundError", "explain", "find_invoice"]


class NothingFoundError(LookupError):
    """Nothing goes by that name; the message names what was searched."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """`summary` answers the customer in one sentence or two; `lines` are in the order of time, what is true now and
    what comes next last. `zone` is the IANA time zone that the sentences speak in."""

    invoice: Invoice
    answer: Answer
    summary: str
    zone: str
    lines: tuple[Line, ...]


def find_invoice(name: str, *, account: GatewayAccount | None = None) -> Invoice:
    """The invoice that an id names: its own, an attempt's, a refund's, or the gateway's id of a transaction or order.

    Raises NothingFoundError, also when the gateway's id is known in more than one account."""
    invoices = Invoice.objects.filter(account=account) if account else Invoice.objects.all()
    if name.startswith("inv_"):
        found = invoices.filter(public_id=name)
    elif name.startswith("att_"):
        found = invoices.filter(attempts__public_id=name)
    elif name.startswith("ref_"):
        found = invoices.filter(refunds__public_id=name)
    else:
        by_attempt = PaymentAttempt.objects.filter(Q(gateway_transaction_id=name) | Q(gateway_order_id=name))
        by_order = GatewayOrder.objects.filter(Q(gateway_transaction_id=name) | Q(gateway_order_id=name))
        attempts = {*by_attempt.values_list("pk", flat=True), *by_order.values_list("attempt", flat=True)} - {None}
        elsewhere = OutsidePayment.objects.filter(gateway_transaction_id=name).values("invoice_id")
        found = invoices.filter(Q(attempts__in=attempts) | Q(pk__in=elsewhere))
    rows = list(found.select_related("account", "subscription__plan").distinct()[:2])
    if not rows:
        nouns = "no inv_…, att_…, ref_…, transaction or order of that name"
        raise NothingFoundError(f"no invoice is known by {name!r}: {nouns}")
    if len(rows) > 1:
        raise NothingFoundError(
            f"{name!r} belongs to more than one invoice: {', '.join(row.public_id for row in rows)}"
        )
    return rows[0]


def explain(*, invoice: Invoice, now: datetime, to_staff: bool) -> Explanation:
    """The invoice's life up to `now`, and what happens next.

    `to_staff` names who decided what, and why; without it no name and nothing that staff wrote is repeated."""
    return _Life(invoice, now, to_staff=to_staff).explanation()


class _Life:
    def __init__(self, invoice: Invoice, now: datetime, *, to_staff: bool) -> None:
        self._invoice = invoice
        self._to_staff = to_staff
        self._now = now
        self._subscription: Subscription | None = invoice.subscription
        self._zone = self._subscription.time_zone if self._subscription else invoice.account.time_zone
        self._money = display(invoice.amount_minor, invoice.currency)
        attempts = PaymentAttempt.objects.filter(invoice=invoice).select_related("payment_method", "checkout")
        attempts = attempts.order_by("number")
        self._attempts = list(attempts)
        self._evidence: dict[int, list[Evidence]] = {attempt.pk: [] for attempt in self._attempts}
        for row in Evidence.objects.filter(attempt_id__in=self._evidence).order_by("id"):
            self._evidence[row.attempt_id].append(row)
        self._transitions = list(
            Transition.objects.filter(
                Q(subject_type="invoice", subject_id=invoice.pk)
                | Q(subject_type="attempt", subject_id__in=[attempt.pk for attempt in self._attempts])
                | Q(subject_type="subscription", subject_id=invoice.subscription_id or 0)
            ).order_by("id")
        )
        self._refunds = self._lives_of_refunds()
        self._outside = OutsidePayment.objects.filter(invoice=invoice).first()
        self._proposers = self._who_proposed()

    def explanation(self) -> Explanation:
        lines = [*self._rule(), *self._due(), *self._opened(), *self._people(), *self._checked()]
        for attempt in self._attempts:
            earlier = [one.pk for one in self._attempts if one.number < attempt.number]
            rank = self._rank_after(attempt.armed_at, earlier)
            life = AttemptLife(
                attempt,
                self._evidence[attempt.pk],
                self._transitions,
                rank,
                to_staff=self._to_staff,
                proposers=self._proposers,
            )
            lines += life.lines()
        lines += checkout_lines(invoice=self._invoice, zone=self._zone, to_staff=self._to_staff)
        for refund in self._refunds:
            lines += [replace(line, rank=self._before_a_refund(line.at)) for line in refund.lines()]
        lines += [*self._subscription_changes(), *self._stops()]
        lines.sort(key=lambda line: (line.at, line.rank))
        open_refunds = [refund.open_sentence() for refund in self._refunds]
        answer, summary = answer_of(self._invoice, self._attempts, open_refunds, self._zone, self._outside)
        return Explanation(self._invoice, answer, summary, self._zone, (*lines, *self._present()))

    def _rank_after(self, at: datetime, of: Sequence[int]) -> int:
        """The rank of what happened at `at`: right behind the evidence that was there by then, whose ranks are even."""
        evidence = [row for pk, rows in self._evidence.items() if pk in of for row in rows]
        return max((2 * row.pk + 1 for row in evidence if row.recorded_at <= at), default=0)

    def _lives_of_refunds(self) -> list[RefundLife]:
        refunds = list(self._invoice.refunds.order_by("id"))
        ids = [refund.pk for refund in refunds]
        numbers = {attempt.pk: attempt.number for attempt in self._attempts}
        evidence: dict[int, list[RefundEvidence]] = {pk: [] for pk in ids}
        for row in RefundEvidence.objects.filter(refund_id__in=ids).order_by("id"):
            evidence[row.refund_id].append(row)
        moves: dict[int, list[Transition]] = {pk: [] for pk in ids}
        for move in Transition.objects.filter(subject_type="refund", subject_id__in=ids).order_by("id"):
            moves[move.subject_id].append(move)
        return [
            RefundLife(
                one, evidence[one.pk], moves[one.pk], numbers[one.attempt_id], self._zone, to_staff=self._to_staff
            )
            for one in refunds
        ]

    def _who_proposed(self) -> Proposers:
        about = Q(invoice=self._invoice) | Q(attempt__in=[attempt.pk for attempt in self._attempts])
        confirmed = Proposal.objects.filter(about, outcome=ProposalOutcome.CONFIRMED.value)
        return {(one.decided_at, one.decided_by): one.proposed_by for one in confirmed if one.decided_at}

    def _before_a_refund(self, at: datetime) -> int:
        """As `_rank_after` of all attempts, but for what the refund itself did to its attempt."""
        evidence = [row for rows in self._evidence.values() for row in rows if row.reason != Reason.REVERSED_ON_REQUEST]
        return max((2 * row.pk + 1 for row in evidence if row.recorded_at <= at), default=0)

    # --- where it came from -------------------------------------------------------------------------------

    def _rule(self) -> Iterator[Line]:
        subscription = self._subscription
        if subscription is None or self._began_at is None:
            return
        text = (
            f"The subscription to {subscription.plan.name} began: {self._money} {schedule_of(subscription).describe()}."
        )
        if subscription.trial_ends_at:
            text += f" It began with a trial until {day(subscription.trial_ends_at, self._zone)}."
        if subscription.charge_at_start:
            text += (
                " Its first charge is made at the start."
                if not subscription.trial_ends_at
                else (" Its first charge is made when the trial ends.")
            )
        if subscription.first_payment_ends_at:
            text += " It is active once that is paid."
        yield Line(self._began_at, text, Kind.RULE, (subscription.public_id,))

    @property
    def _began_at(self) -> datetime | None:
        """When its subscription began; one that has to pay first begins with its first invoice."""
        if self._subscription is None:
            return None
        if self._subscription.first_payment_ends_at and self._invoice.period_index == 0:
            return self._invoice.due_at
        return self._subscription.activated_at

    def _due(self) -> Iterator[Line]:
        if self._subscription is None:
            return
        why = self._why_that_day(self._subscription)
        invoice = self._invoice
        text = f"Period {(invoice.period_index or 0) + 1} was due on {moment(invoice.due_at, self._zone)}: {why}."
        yield Line(invoice.due_at, text, Kind.DUE, (invoice.public_id,))

    def _why_that_day(self, subscription: Subscription) -> str:
        starts_at = subscription.trial_ends_at or self._began_at
        if subscription.charge_at_start and self._invoice.due_at == starts_at:
            return "the trial ended then" if subscription.trial_ends_at else "the subscription began then"
        schedule: Schedule = schedule_of(subscription)
        return f"{which_day(schedule)}, in the time zone {schedule.zone}"

    def _opened(self) -> Iterator[Line]:
        invoice = self._invoice
        born = next((t for t in self._transitions if t.subject_type == "invoice" and not t.from_state), None)
        if self._subscription is None:
            what = f"requested a single charge of {self._money} for {invoice.description}"
            text = self._by(born.actor if born else "somebody", what, "")
            yield Line(invoice.created_at, text, Kind.OPENED, (invoice.public_id,))
            return
        late = invoice.created_at - invoice.due_at
        text = f"The invoice over {self._money} was issued {span(late)} later."
        if late > GRACE:
            text = f"The period had been missed: its invoice over {self._money} was issued {span(late)} late."
            if invoice.state == InvoiceState.VOID:
                text += " By the subscription's rule for missed periods it is skipped, and nothing is charged for it."
            elif invoice.hold == Hold.CATCH_UP:
                text += " By the subscription's rule for missed periods it needs review."
        yield Line(invoice.created_at, text, Kind.OPENED, (invoice.public_id,))

    # --- what people and the engine did around the attempts -----------------------------------------------

    def _people(self) -> Iterator[Line]:
        """What a person decided about the invoice itself."""
        for row in self._transitions:
            if row.subject_type != "invoice" or not row.from_state or row.evidence_id is not None:
                continue
            if row.to_state.startswith("open ("):  # it names why it is held
                why = held_because(row.to_state.removeprefix("open (").removesuffix(")"))
                yield Line(row.at, f"It was put on hold: {why}.", Kind.WITH_A_PERSON, (self._invoice.public_id,))
                continue
            if row.actor == "engine" and row.reason in _OF_THE_ENGINE:
                yield Line(row.at, _OF_THE_ENGINE[Reason(row.reason)], Kind.REFUSED, (self._invoice.public_id,))
                continue
            named = (self._invoice.public_id, *([self._outside.public_id] if self._outside else []))
            match InvoiceState(row.to_state):
                case InvoiceState.OPEN:
                    # The state before names what it waited for, where it waited.
                    what = f"had it collected {'anyway' if '(' in row.from_state else 'at once'}"
                    named = (self._invoice.public_id,)
                case InvoiceState.PAID if self._outside:
                    what = f"recorded that it was paid elsewhere: {paid_by(self._outside, to_staff=self._to_staff)}"
                case InvoiceState.VOID if row.reason == Reason.FIRST_PAYMENT_OVERDUE:
                    text = "It was not paid in time: it is void, and the subscription expired without having started."
                    yield Line(row.at, text, Kind.SUBSCRIPTION, (self._invoice.public_id, self._subscription_id()))
                    continue
                case InvoiceState.VOID:
                    what = "made it void: nothing is owed for it"
                case InvoiceState.UNCOLLECTIBLE:
                    what = "wrote it off: it stays owed, and is no longer collected"
                case _:
                    continue
            first = self._proposers.get((row.at, row.actor), "")
            yield Line(row.at, self._by(row.actor, what, row.reason, first), Kind.DECIDED, named)

    def _by(self, actor: str, what: str, reason: str, proposed_by: str = "") -> str:
        text = decided_by(actor, what, reason, to_staff=self._to_staff, proposed_by=proposed_by)
        return text if self._to_staff else sentence(text)

    def _subscription_changes(self) -> Iterator[Line]:
        done = {
            SubscriptionState.PAUSED: "paused the subscription",
            SubscriptionState.CANCELED: "cancelled the subscription",
        }
        for row in self._transitions:
            if row.subject_type != "subscription" or row.from_state == row.to_state:
                continue
            if row.at < self._invoice.created_at or row.evidence_id is not None:
                continue
            what = done.get(SubscriptionState(row.to_state))
            if row.from_state == SubscriptionState.PAUSED and what is None:
                what = "resumed the subscription"
            if what and row.reason == Reason.TRIES_EXHAUSTED:  # the last one was not made: there is no evidence
                text = sentence(f"the engine {what}, because no try was left.")
                yield Line(row.at, text, Kind.SUBSCRIPTION, (self._subscription_id(),))
            elif what and row.at <= (self._invoice.closed_at or self._now):
                text = self._by(row.actor, what, row.reason)
                yield Line(row.at, text, Kind.SUBSCRIPTION, (self._subscription_id(),))

    def _subscription_id(self) -> str:
        return self._subscription.public_id if self._subscription else ""

    def _stops(self) -> Iterator[Line]:
        """Nothing is charged while the stop switch is on."""
        stops = Transition.objects.filter(
            Q(subject_type="installation") | Q(subject_type="account", subject_id=self._invoice.account_id),
            at__gte=self._invoice.created_at,
            at__lte=self._invoice.closed_at or self._now,
        ).exclude(from_state="stopped", to_state="stopped")
        for row in stops.order_by("id"):
            if row.from_state == row.to_state:
                continue
            what = "the whole installation" if row.subject_type == "installation" else "the account"
            done = f"{'stopped' if row.to_state == 'stopped' else 'restarted'} all charging of {what}"
            yield Line(row.at, self._by(row.actor, done, row.reason), Kind.STOPPED, ())

    def _checked(self) -> Iterator[Line]:
        """The last time it was due and not charged, and the last preflight before another try."""
        invoice = self._invoice
        if invoice.preflight_at:
            text = "Before another try, the gateway's orders of every card involved were read: no money was there yet."
            tried = [attempt.pk for attempt in self._attempts if attempt.armed_at < invoice.preflight_at]
            yield Line(invoice.preflight_at, text, Kind.PREFLIGHT, (), self._rank_after(invoice.preflight_at, tried))
        if invoice.refusal and invoice.refused_at and invoice.refusal != Refusal.FIRST_CHARGE_DECLINED:
            text = f"It was due, and was not charged: {reason_words(invoice.refusal)}."
            yield Line(invoice.refused_at, text, Kind.REFUSED, (invoice.refusal,))

    # --- what is, and what will be ------------------------------------------------------------------------

    def _present(self) -> Iterator[Line]:
        yield Line(self._now, self._state(), Kind.NOW, (self._invoice.public_id,))
        yield from filter(None, (refund.next(self._now) for refund in self._refunds))
        at, text = self._next()
        yield Line(at, text, Kind.NEXT, ())

    def _state(self) -> str:
        invoice = self._invoice
        match InvoiceState(invoice.state):
            case InvoiceState.PAID:
                how = " It was paid elsewhere." if self._outside else ""
                return f"The invoice is paid.{how}{self._given_back()}"
            case InvoiceState.VOID:
                return "The invoice is void: nothing is owed for it."
            case InvoiceState.UNCOLLECTIBLE:
                if invoice.state_reason == Reason.WRITTEN_OFF:
                    return f"The invoice is written off: {self._money} stays owed, and is no longer collected."
                last = "not made" if invoice.refusal in FOR_ITS_DECLINES else "declined"
                return f"The invoice is uncollectible: its last try was {last}."
            case InvoiceState.OPEN:
                return f"The invoice is open: {self._money} is still owed."

    def _given_back(self) -> str:
        refunded = self._invoice.amount_refunded_minor
        return f" {display(refunded, self._invoice.currency)} of it was refunded." if refunded else ""

    def _next(self) -> tuple[datetime, str]:
        invoice = self._invoice
        if invoice.state != InvoiceState.OPEN:
            return self._now, "Nothing more will be charged for this invoice automatically." + self._next_period()
        if invoice.hold:
            return self._now, f"Nothing happens automatically: {held_because(invoice.hold)}."
        waiting = [attempt for attempt in self._attempts if attempt.state in UNRESOLVED]
        if waiting:
            return self._after(waiting[-1])
        if invoice.refusal == Refusal.FIRST_CHARGE_DECLINED:
            return self._now, self._another_card()
        if invoice.next_attempt_at is None and invoice.grace_ends_at is not None:
            until = moment(invoice.grace_ends_at, self._zone)
            return invoice.grace_ends_at, f"No try is left. It can be paid until {until}, and is uncollectible then."
        if invoice.next_attempt_at is None:
            return self._now, "Nothing happens automatically: money came in, and it needs review."
        if why := self._nothing_is_charged():
            return self._now, f"Nothing is charged automatically: {why}."
        if invoice.next_attempt_at <= self._now:
            return self._now, "It is due now, and is charged as soon as a worker takes it up."
        when = moment(invoice.next_attempt_at, self._zone)
        again = "checked again" if invoice.refusal else "tried again" if self._attempts else "charged"
        return invoice.next_attempt_at, f"It is {again} on {when}."

    def _another_card(self) -> str:
        ends_at = self._subscription.first_payment_ends_at if self._subscription else None
        until = f" until {moment(ends_at, self._zone)}, or the subscription expires" if ends_at else ""
        return f"It is not tried again automatically: the customer has to save another card{until}."

    def _nothing_is_charged(self) -> str:
        account = self._invoice.account
        if account.quarantined_at is not None:
            return "the account is in quarantine, because this database may lack charges"
        stopped = account.stopped_at or Installation.objects.exclude(stopped_at=None).exists()
        return "charging is stopped" if stopped else ""

    def _after(self, attempt: PaymentAttempt) -> tuple[datetime, str]:
        if attempt.state == "needs_review":
            return (
                self._now,
                "Nothing happens automatically: the attempt needs review, and collecting continues after the decision.",
            )
        if attempt.next_check_at is None:
            return self._now, "The attempt is being sent; nothing else happens before its outcome."
        when = moment(attempt.next_check_at, self._zone)
        return (
            attempt.next_check_at,
            f"The gateway is checked again on {when}; nothing is charged before the outcome is known.",
        )

    def _next_period(self) -> str:
        subscription = self._subscription
        if subscription is None or subscription.next_due_at is None:
            return ""
        return f" The next period of the subscription is due on {moment(subscription.next_due_at, self._zone)}."
