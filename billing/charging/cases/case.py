"""A case as a person needs to see it: the attempt, its evidence, the gateway's orders beside ours, what waits."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.charging.cases.resolve import needs_second_person
from billing.charging.reading.fetch import fetch
from billing.charging.reading.known import load
from billing.charging.reading.record import record
from billing.domain.attempts import AttemptState
from billing.domain.dunning import FinalAction, RetryAt, WaitUntil, next_step
from billing.domain.messages import Language, day_in_words
from billing.domain.resolution import ProposalKind
from billing.domain.subscriptions import InvoiceState, SubscriptionState
from billing.gateway.connection import gateway_for
from billing.models import Evidence, GatewayOrder, PaymentAttempt, Proposal
from billing.models.bulk.dunning import policies_of_invoices
from billing.models.bulk.holding import HeldUp, held_up
from billing.operating.tuning import Tuning

MOST_EVIDENCE = 100
MOST_PAIRS = 50


@dataclass(frozen=True, slots=True)
class Pair:
    """One line of ours beside the gateway's: an attempt, an order, or both. `why` says what explains the order.

    An attempt that was answered is explained by its transaction, though no list showed its order yet."""

    attempt: PaymentAttempt | None
    order: GatewayOrder | None
    why: str

    @property
    def unexplained(self) -> bool:
        return self.why == UNEXPLAINED


EXPLAINED, BEFORE, UNEXPLAINED, NO_ORDER, TOOK_NOTHING = (
    "explained",
    "was_there_before",
    "unexplained",
    "no_order_seen",
    "failed",
)


@dataclass(frozen=True, slots=True)
class Consequence:
    """What one choice does, shown before choosing."""

    kind: ProposalKind
    invoice: str
    next_charge_at: datetime | None
    subscription: str
    card: str


@dataclass(frozen=True, slots=True)
class Case:
    """Everything about one attempt that a decision rests on; the attempt has its account, invoice and card."""

    attempt: PaymentAttempt
    evidence: Sequence[Evidence]
    pairs: Sequence[Pair]
    holds_up: Sequence[HeldUp]
    choices: Sequence[Consequence]
    proposals: Sequence[Proposal]
    second_person: bool

    @property
    def is_open(self) -> bool:
        return self.attempt.state == AttemptState.NEEDS_REVIEW

    @property
    def proposal(self) -> Proposal | None:
        return next((one for one in self.proposals if one.outcome == "open"), None)

    @property
    def doubtful_orders(self) -> list[str]:
        """Ids of the orders that nothing explains, or that are this open attempt's own."""
        return [pair.order.gateway_order_id for pair in self.pairs if pair.order is not None and pair.unexplained]


def read_case(attempt: PaymentAttempt, *, now: datetime) -> Case:
    """The case as the database knows it; the gateway is not asked."""
    related = ("account", "invoice__customer", "invoice__subscription__plan", "payment_method")
    row = PaymentAttempt.objects.select_related(*related).defer("request_body").get(pk=attempt.pk)
    is_open = row.state == AttemptState.NEEDS_REVIEW
    return Case(
        row,
        list(Evidence.objects.filter(attempt_id=row.pk).order_by("pk")[:MOST_EVIDENCE]),
        _pairs(row),
        held_up([row.card_id], now=now),
        _consequences(row, now) if is_open else [],
        list(Proposal.objects.filter(attempt=row).order_by("-pk")),
        is_open and needs_second_person(row),
    )


def read_card_now(attempt: PaymentAttempt, *, tuning: Tuning, now: datetime) -> int:
    """Reads the attempt's card at the gateway completely and records what it shows; how many orders there are.

    Outside any transaction. Raises GatewayUnavailableError, and then nothing was changed."""
    card = load([attempt.card_id])[attempt.card_id]
    read = fetch(gateway_for(attempt.account), card)
    record(read, read.findings, tuning=tuning, now=now)
    return len(read.orders)


def _pairs(row: PaymentAttempt) -> list[Pair]:
    """Our attempts on the card and the gateway's orders of it, the newest first."""
    tried = list(
        PaymentAttempt.objects.filter(payment_method=row.card)
        .select_related("invoice")
        .defer("request_body")
        .order_by("-pk")[:MOST_PAIRS]
    )
    orders = list(
        GatewayOrder.objects.filter(payment_method=row.card).select_related("attempt").order_by("-pk")[:MOST_PAIRS]
    )
    of_attempt: dict[int, list[GatewayOrder]] = {}
    for order in orders:
        if order.attempt_id is not None:
            of_attempt.setdefault(order.attempt_id, []).append(order)
    found: list[tuple[datetime, Pair]] = [
        (one.armed_at, Pair(one, order, EXPLAINED)) for one in tried for order in of_attempt.get(one.pk, ())
    ]
    found += [
        (one.armed_at, Pair(one, None, EXPLAINED if one.gateway_transaction_id else NO_ORDER))
        for one in tried
        if one.pk not in of_attempt
    ]
    found += [
        (order.ordered_at or order.first_seen_at, Pair(None, order, _why(order)))
        for order in orders
        if order.attempt_id is None
    ]
    found.sort(key=lambda item: item[0], reverse=True)
    return [pair for _, pair in found[:MOST_PAIRS]]


def _why(order: GatewayOrder) -> str:
    if order.in_baseline:
        return BEFORE
    return TOOK_NOTHING if order.status == "FAILED" else UNEXPLAINED


# --- consequences -----------------------------------------------------------------------------------------


def _consequences(row: PaymentAttempt, now: datetime) -> list[Consequence]:
    return [
        _charged(row),
        _charged_and_given_back(row),
        _declined(row, now),
        _not_charged(row, now),
        *([] if row.released_at else [_release(row)]),
    ]


def _owed(row: PaymentAttempt) -> bool:
    return row.invoice.state == InvoiceState.OPEN and row.invoice.hold is None


def _charged(row: PaymentAttempt) -> Consequence:
    if row.invoice.state in (InvoiceState.OPEN, InvoiceState.UNCOLLECTIBLE):
        invoice = "The invoice is paid and is not charged again."
    else:
        invoice = f"The invoice is {row.invoice.state}: the money is recorded as an overpayment, to be refunded."
    subscription = row.invoice.subscription
    state = "There is no subscription." if subscription is None else "The subscription continues."
    if subscription is not None and subscription.state == SubscriptionState.PAST_DUE:
        state = "The subscription is active again, unless another of its invoices is declined."
    return Consequence(ProposalKind.CHARGED, invoice, None, state, _freed(row))


def _charged_and_given_back(row: PaymentAttempt) -> Consequence:
    charged = _charged(row)
    invoice = (
        "The charge and its refund are recorded. The invoice is closed as paid and refunded, and is not charged "
        "again. If the customer still owes the money, charge it as a one-off."
    )
    if row.invoice.state not in (InvoiceState.OPEN, InvoiceState.UNCOLLECTIBLE):
        invoice = f"The invoice is {row.invoice.state}: the charge and its refund are recorded, and nothing else."
    return Consequence(ProposalKind.CHARGED_AND_GIVEN_BACK, invoice, None, charged.subscription, charged.card)


def _declined(row: PaymentAttempt, now: datetime) -> Consequence:
    invoice, subscription = row.invoice, row.invoice.subscription
    if not _owed(row):
        state = f"The invoice is {invoice.state}" + (" and needs a decision of its own." if invoice.hold else ".")
        return Consequence(ProposalKind.DECLINED, state, None, _unchanged(row), _freed(row))
    policy = policies_of_invoices([invoice.pk])[invoice.pk].policy
    first = invoice.first_tried_at or row.armed_at
    step = next_step(policy, first_tried_at=first, tried_at=row.armed_at, now=now)
    if isinstance(step, RetryAt):
        return Consequence(
            ProposalKind.DECLINED,
            f"It counts as try {invoice.tries + 1}. The invoice stays open and is tried again.",
            step.at,
            _unchanged(row) if subscription is None else "The subscription is past due until the invoice is paid.",
            _freed(row),
        )
    if isinstance(step, WaitUntil):
        return Consequence(
            ProposalKind.DECLINED,
            f"It was the last try. The invoice stays open, and can be paid, until {_day(step.at, row)}.",
            None,
            _unchanged(row) if subscription is None else "The subscription is past due until then.",
            _freed(row),
        )
    ends = {
        FinalAction.CANCEL: "The subscription is cancelled. Its other open invoices need review.",
        FinalAction.PAUSE: "The subscription is paused.",
        FinalAction.KEEP: "The subscription stays past due. Later periods are charged on their dates.",
    }
    return Consequence(
        ProposalKind.DECLINED,
        "It was the last try: the invoice becomes uncollectible.",
        None,
        _unchanged(row) if subscription is None else ends[step.action],
        _freed(row),
    )


def _day(at: datetime, row: PaymentAttempt) -> str:
    return day_in_words(at, row.account.time_zone, Language.ENGLISH)


def _not_charged(row: PaymentAttempt, now: datetime) -> Consequence:
    if _owed(row):
        invoice, at = "No try is counted. The invoice stays open and is charged again now.", now
    else:
        invoice, at = f"The invoice stays {row.invoice.state} and is not charged.", None
    if at is not None and row.card.held_at is not None:
        invoice, at = "No try is counted. The invoice is charged again once its card's hold is released.", None
    elif at is not None and row.account.stopped_at is not None:
        invoice, at = "No try is counted. The invoice is charged again once the account is started.", None
    return Consequence(ProposalKind.NOT_CHARGED, invoice, at, _unchanged(row), _freed(row))


def _release(row: PaymentAttempt) -> Consequence:
    subscription = row.invoice.subscription
    return Consequence(
        ProposalKind.RELEASE,
        "This invoice stays blocked until the attempt is resolved.",
        None,
        "There is no subscription." if subscription is None else "Its later periods are charged on their dates.",
        "The card is charged for its other invoices again, waiting ones first."
        if row.card.held_reason in ("", row.state_reason)
        else "The card stays on hold for another reason. Release that hold on the card's page.",
    )


def _unchanged(row: PaymentAttempt) -> str:
    return "There is no subscription." if row.invoice.subscription is None else "The subscription is unchanged."


def _freed(row: PaymentAttempt) -> str:
    if row.card.held_at is None:
        return "The card is charged for its other invoices again."
    return (
        "The card is charged for its other invoices again once none of its orders is unexplained. Until then it "
        "stays on hold."
    )
