"""What came of the charges that were due in a run, and whether any was made twice or missed. Reads only."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, assert_never

from billing.audit.periods import UNREADABLE, Known, known_subscriptions, periods_missing
from billing.domain.attempts import UNRESOLVED, AttemptState
from billing.domain.subscriptions import RUNNING, InvoiceState
from billing.models import Invoice, PaymentAttempt, PaymentMethod, Subscription

S = AttemptState
# Statuses of the gateway under which it keeps the customer's money.
KEPT_BY_THE_GATEWAY = frozenset({"SUCCESS", "PARTIAL_REFUNDED"})


class Outcome(StrEnum):
    """What has come of an invoice so far."""

    PAID = "paid"
    DECLINED = "declined"
    WITH_A_PERSON = "with_a_person"  # unknown, and nothing more is asked
    CHECKING = "checking"  # unknown or in process, and asked about again
    SENDING = "sending"
    AGAIN = "again"  # provably not charged: another attempt follows by itself
    UNTRIED = "untried"  # it is due, and there was no attempt yet
    LATER = "later"  # not to be charged now: the catch-up put it off, or asks a person first


@dataclass(frozen=True, slots=True)
class Start:
    """What a run began with: the instant, and which invoices were open then."""

    at: datetime
    open_invoices: frozenset[int]


@dataclass(frozen=True, slots=True)
class RunCounts:
    """Invoices by outcome, and how many subscriptions have a period due that is not opened."""

    outcomes: Mapping[Outcome, int]
    unopened: int

    @property
    def due(self) -> int:
        return sum(self.outcomes.values()) - self.outcomes.get(Outcome.LATER, 0)

    @property
    def paid(self) -> int:
        return self.outcomes.get(Outcome.PAID, 0)

    @property
    def declined(self) -> int:
        return self.outcomes.get(Outcome.DECLINED, 0)

    @property
    def unknown(self) -> int:
        return self.outcomes.get(Outcome.CHECKING, 0) + self.outcomes.get(Outcome.WITH_A_PERSON, 0)

    @property
    def in_flight(self) -> int:
        return self.outcomes.get(Outcome.SENDING, 0)

    @property
    def waiting(self) -> int:
        return self.outcomes.get(Outcome.UNTRIED, 0) + self.outcomes.get(Outcome.AGAIN, 0) + self.unopened

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen by itself."""
        return not (self.waiting or self.in_flight or self.outcomes.get(Outcome.CHECKING, 0))


def start_of_run(*, account_id: int | None, now: datetime) -> Start:
    """The start of a run at `now`; `account_id` None: there is no account yet."""
    still_open = Invoice.objects.filter(account_id=account_id, state=InvoiceState.OPEN.value)
    return Start(now, frozenset(still_open.values_list("id", flat=True)))


def count_run(*, account_id: int, start: Start, now: datetime) -> RunCounts:
    """What has come of the account's invoices that were open at the start or opened since."""
    invoices = Invoice.objects.filter(account_id=account_id).exclude(state=InvoiceState.VOID.value)
    of_the_run = [one for one in invoices if one.pk in start.open_invoices or one.created_at >= start.at]
    states: dict[int, list[AttemptState]] = defaultdict(list)
    attempts = PaymentAttempt.objects.filter(invoice_id__in=[one.pk for one in of_the_run]).order_by("number")
    for invoice_id, state in attempts.values_list("invoice_id", "state"):
        states[invoice_id].append(AttemptState(state))
    unopened = Subscription.objects.filter(account_id=account_id, next_due_at__lte=now).count()
    return RunCounts(Counter(outcome_of(one, states[one.pk], now=now) for one in of_the_run), unopened)


def outcome_of(invoice: Invoice, attempts: Sequence[AttemptState], *, now: datetime) -> Outcome:
    """What has come of an invoice whose attempts, in order, are in these states."""
    if invoice.state == InvoiceState.PAID:
        return Outcome.PAID
    if not attempts:
        planned = invoice.next_attempt_at is not None and invoice.next_attempt_at > now and invoice.refusal is None
        return Outcome.LATER if planned or invoice.hold is not None else Outcome.UNTRIED
    unresolved = [state for state in attempts if state in UNRESOLVED]
    latest = unresolved[-1] if unresolved else attempts[-1]
    match latest:
        case S.SENDING:
            return Outcome.SENDING
        case S.UNKNOWN | S.IN_PROCESS:
            return Outcome.CHECKING
        case S.NEEDS_REVIEW | S.SURPLUS | S.REVERSED | S.SUCCEEDED:
            return Outcome.WITH_A_PERSON  # money came or went, and the invoice is not paid by it
        case S.DECLINED:
            return Outcome.DECLINED
        case S.NOT_SENT | S.NOT_CHARGED:
            return Outcome.AGAIN
        case _:
            assert_never(latest)


def missed(*, account_id: int, start: Start, now: datetime) -> int:
    """Periods that fell due without an invoice, and invoices due in the run without an attempt."""
    untried = count_run(account_id=account_id, start=start, now=now).outcomes.get(Outcome.UNTRIED, 0)
    return untried + missing_periods(account_id=account_id, now=now)


def missing_periods(*, account_id: int, now: datetime) -> int:
    """Periods of running subscriptions that were due by `now` and have no invoice, worked out from the schedule."""
    return sum(_missing(one, now) for one in known_subscriptions(account_id) if one.state in RUNNING)


def _missing(one: Known, now: datetime) -> int:
    """One at least, when the periods of a subscription that is due cannot be worked out."""
    try:
        return len(periods_missing(one, now=now, opened_within=timedelta(0)))
    except UNREADABLE:
        return int(one.next_due_at is not None and one.next_due_at <= now)


def double_charges(*, account_id: int, charges: Iterable[Mapping[str, Any]]) -> int:
    """How many of the gateway's successes are one too many: beyond one an invoice, or explained by no attempt.

    `charges` are rows of the simulator's ledger, over all runs. Charges of cards that the account does not know
    belong to another database that used the same simulator, and are not counted."""
    cards = set(PaymentMethod.objects.filter(account_id=account_id).values_list("gateway_customer_id", flat=True))
    invoices = dict(PaymentAttempt.objects.filter(account_id=account_id).values_list("marker", "invoice_id"))
    successes: Counter[int | None] = Counter()
    for charge in charges:
        if charge["customer_id"] in cards and charge["status"] in KEPT_BY_THE_GATEWAY:
            words = str(charge["title"]).split()
            successes[invoices.get(words[-1]) if words else None] += 1
    unexplained = successes.pop(None, 0)
    return unexplained + sum(count - 1 for count in successes.values())
