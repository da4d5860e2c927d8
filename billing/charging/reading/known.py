"""A card as we know it before the gateway is asked (`load`), and what one complete read of it shows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from billing.charging.attempts.settle import AttemptFinding
from billing.domain.attempts import AttemptState, Source, Verdict
from billing.domain.matching import KnownAttempt, MarkerEcho, Wanted, could_be
from billing.domain.subscriptions import CardKind
from billing.gateway.connection import GatewayUnavailableError, ListedOrder, ReadTransaction
from billing.models import Evidence, GatewayAccount, GatewayOrder, OutsidePayment, PaymentAttempt, PaymentMethod

# After any other error money may have been taken first and the card switched off later, with the order not listed yet.
REFUSALS_OF_INACTIVE_CARDS = ("INVALID_REQUEST",)


@dataclass(frozen=True, slots=True)
class KnownCard:
    """What we know of a card before asking. `explained` maps order ids to (status, attempt or None for baseline).
    `unreadable`: its orders could not be read for so long that a person was asked; `given_up`: who went on without.
    `recorded`: transactions on it that a person recorded as payments of invoices."""

    id: int
    public_id: str
    account_id: int
    gateway_customer_id: str
    echo: MarkerEcho
    retry_after_absence: timedelta | None
    attempts: tuple[KnownAttempt, ...]
    explained: dict[str, tuple[str, int | None]]
    unreadable: bool = False
    given_up: bool = False
    recorded: tuple[str, ...] = ()


@dataclass(slots=True)
class CardRead:
    """What one complete read of a card showed."""

    card: KnownCard
    orders: list[ListedOrder]
    transactions: dict[str, ReadTransaction] = field(default_factory=dict)
    findings: list[AttemptFinding] = field(default_factory=list)
    explained_by: dict[str, int] = field(default_factory=dict)  # order id -> attempt
    unexplained: list[ListedOrder] = field(default_factory=list)
    absent: list[KnownAttempt] = field(default_factory=list)  # unknown attempts of which nothing was found
    # Orders that are not understood, or whose transaction the gateway does not show: they may be any attempt's money.
    doubts: list[str] = field(default_factory=list)
    inactive: bool = False
    paid: dict[int, ReadTransaction] = field(default_factory=dict)  # payments looked at, by attempt


@dataclass(frozen=True, slots=True)
class Unread:
    """A card whose orders could not be read."""

    card: KnownCard
    error: GatewayUnavailableError


def load(card_ids: Sequence[int]) -> dict[int, KnownCard]:
    """What we know of the cards."""
    cards = PaymentMethod.objects.select_related("account").in_bulk(list(card_ids))
    attempts: dict[int, list[KnownAttempt]] = {card: [] for card in cards}
    with_errors = set(_answered_with_error(card_ids))
    for row in PaymentAttempt.objects.filter(payment_method_id__in=card_ids).order_by("id"):
        wanted = Wanted(row.marker, row.amount_minor, row.currency, row.armed_at, row.gateway_transaction_id)
        state, left = AttemptState(row.state), row.amount_minor - row.amount_refunded_minor
        attempts[row.card_id].append(
            KnownAttempt(row.pk, state, row.pk in with_errors, wanted, row.gateway_order_id, left > 0)
        )
    explained: dict[int, dict[str, tuple[str, int | None]]] = {card: {} for card in cards}
    baseline: dict[int, list[str]] = {card: [] for card in cards}
    for order in GatewayOrder.objects.filter(payment_method_id__in=card_ids):
        if order.in_baseline or order.attempt_id is not None:
            explained[order.payment_method_id][order.gateway_order_id] = (order.status, order.attempt_id)
        if order.in_baseline and order.gateway_transaction_id:
            baseline[order.payment_method_id].append(order.gateway_transaction_id)
    recorded = _recorded(baseline, cards)
    return {
        pk: KnownCard(
            pk,
            card.public_id,
            card.account_id,
            card.gateway_customer_id or "",
            _echo(card),
            _retry_after_absence(card.account),
            tuple(attempts[pk]),
            explained[pk],
            unreadable=card.unreadable_at is not None,
            given_up=card.given_up_at is not None,
            recorded=recorded[pk],
        )
        for pk, card in cards.items()
    }


def _recorded(baseline: dict[int, list[str]], cards: dict[int, PaymentMethod]) -> dict[int, tuple[str, ...]]:
    """By card, its transactions that a person recorded as the payment of an invoice."""
    names = [name for listed in baseline.values() for name in listed]
    rows = OutsidePayment.objects.filter(gateway_transaction_id__in=names) if names else OutsidePayment.objects.none()
    found = set(rows.values_list("account_id", "gateway_transaction_id"))
    return {
        pk: tuple(sorted({name for name in listed if (cards[pk].account_id, name) in found}))
        for pk, listed in baseline.items()
    }


def _echo(card: PaymentMethod) -> MarkerEcho:
    """On a card that the gateway charges by its own schedule, an order without a marker is never taken for ours."""
    if card.kind == CardKind.RECURRING:
        return MarkerEcho.UNPROVEN
    return MarkerEcho(card.account.marker_echo)


def _retry_after_absence(account: GatewayAccount) -> timedelta | None:
    hours = account.retry_after_absence_hours
    return None if hours is None else timedelta(hours=hours)


def _answered_with_error(card_ids: Sequence[int]) -> list[int]:
    """Unknown attempts whose POST was answered with what the gateway says to a card that is not active."""
    unknown = PaymentAttempt.objects.filter(payment_method_id__in=card_ids, state=AttemptState.UNKNOWN.value)
    return list(
        Evidence.objects.filter(
            attempt_id__in=unknown.values("id"),
            source=Source.ANSWER.value,
            verdict=Verdict.UNCLEAR.value,
            content__detail__code__in=REFUSALS_OF_INACTIVE_CARDS,
        ).values_list("attempt_id", flat=True)
    )


def words_of(read: CardRead, order: ListedOrder) -> str:
    """Title and description behind the order, as the gateway echoed them; "" when its transaction was not read."""
    found = read.transactions.get(order.transaction_id)
    return found.words if found else ""


def fits_order(wanted: Wanted, order: ListedOrder) -> bool:
    """Whether the order has the attempt's amount and time."""
    return could_be(wanted, amount_minor=order.amount_minor, currency=order.currency, created_at=order.created_at)
