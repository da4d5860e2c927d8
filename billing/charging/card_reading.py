"""Reading a card at the gateway: every order it has, and which attempt explains each.

`load` reads what we know (database), `fetch` asks the gateway (network, no database), `record` writes what was
learned in one commit, in which evidence goes in by `settle` like all other evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction

from billing.charging.limits import Limits
from billing.charging.payments_seen import look_at_payments
from billing.charging.refund_settling import record_seen
from billing.charging.settle import Told, settle_in_transaction
from billing.domain.attempts import HAS_MONEY, UNRESOLVED, AttemptState, Finding, Source, Verdict
from billing.domain.matching import (
    Ambiguous,
    MarkerEcho,
    Match,
    NoMatch,
    SeenOrder,
    Wanted,
    carries,
    could_be,
    match,
)
from billing.domain.subscriptions import CardKind
from billing.gateway.connection import Gateway, ListedOrder, ReadTransaction
from billing.ids import new_id
from billing.models import (
    Event,
    Evidence,
    GatewayAccount,
    GatewayOrder,
    GatewayTransaction,
    PaymentAttempt,
    PaymentMethod,
)
from billing.models.bulk import settling

ASKED_ABOUT = frozenset({AttemptState.UNKNOWN, AttemptState.IN_PROCESS})
# After any other error money may have been taken first and the card switched off later, with the order not listed yet.
REFUSALS_OF_INACTIVE_CARDS = ("INVALID_REQUEST",)
# Their orders may be there already: that is no news yet, and no riddle either.
SPOKEN_FOR = frozenset({AttemptState.SENDING, AttemptState.NEEDS_HUMAN})


@dataclass(frozen=True, slots=True)
class KnownAttempt:
    id: int
    state: AttemptState
    answered_with_error: bool
    wanted: Wanted
    order_id: str | None
    refundable: bool = True  # not all of its money was given back yet


@dataclass(frozen=True, slots=True)
class KnownCard:
    """What we know of a card before asking. `explained` maps order ids to (status, attempt or None for baseline)."""

    id: int
    public_id: str
    account_id: int
    gateway_customer_id: str
    echo: MarkerEcho
    retry_after_absence: timedelta | None
    attempts: tuple[KnownAttempt, ...]
    explained: dict[str, tuple[str, int | None]]


@dataclass(slots=True)
class CardRead:
    """What one complete read of a card said."""

    card: KnownCard
    orders: list[ListedOrder]
    transactions: dict[str, ReadTransaction] = field(default_factory=dict)
    findings: list[Told] = field(default_factory=list)
    explained_by: dict[str, int] = field(default_factory=dict)  # order id -> attempt
    unexplained: list[ListedOrder] = field(default_factory=list)
    absent: list[KnownAttempt] = field(default_factory=list)  # unknown attempts of which nothing was found
    inactive: bool = False
    paid: dict[int, ReadTransaction] = field(default_factory=dict)  # payments looked at, by attempt


def load(card_ids: Sequence[int]) -> dict[int, KnownCard]:
    """What we know of the cards."""
    cards = PaymentMethod.objects.select_related("account").in_bulk(list(card_ids))
    attempts: dict[int, list[KnownAttempt]] = {card: [] for card in cards}
    with_errors = set(_answered_with_error(card_ids))
    for row in PaymentAttempt.objects.filter(payment_method_id__in=card_ids).order_by("id"):
        wanted = Wanted(row.marker, row.amount_minor, row.currency, row.armed_at, row.gateway_transaction_id)
        state, left = AttemptState(row.state), row.amount_minor - row.amount_refunded_minor
        attempts[row.payment_method_id].append(
            KnownAttempt(row.pk, state, row.pk in with_errors, wanted, row.gateway_order_id, left > 0)
        )
    explained: dict[int, dict[str, tuple[str, int | None]]] = {card: {} for card in cards}
    for order in GatewayOrder.objects.filter(payment_method_id__in=card_ids):
        if order.in_baseline or order.attempt_id is not None:
            explained[order.payment_method_id][order.gateway_order_id] = (order.status, order.attempt_id)
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
        )
        for pk, card in cards.items()
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


def fetch(gateway: Gateway, card: KnownCard, *, look_at: frozenset[int] = frozenset()) -> CardRead:
    """Asks the gateway for all orders of the card and for the transactions behind those that are not explained, and
    for those of its newest payments and of the payments `look_at`, of which money may have been given back.

    Raises GatewayUnavailableError when any part cannot be read: a partial read is no read."""
    read = CardRead(card, gateway.read_orders(card.gateway_customer_id))
    open_orders: list[ListedOrder] = []
    for order in read.orders:
        attempt = _attempt_of(card, order)
        if attempt is None:
            if order.order_id not in card.explained:
                open_orders.append(order)
        else:
            read.explained_by[order.order_id] = attempt.id
            if not _says_nothing_new(attempt, order):
                _hear(gateway, read, attempt, order)
    for order in open_orders:
        if order.transaction_id:
            read.transactions[order.transaction_id] = gateway.read_transaction(order.transaction_id)
    _explain(read, open_orders)
    _ask_for_lost_transactions(gateway, read)
    look_at_payments(gateway, read, look_at)
    if any(attempt.answered_with_error for attempt in read.absent):
        read.inactive = not gateway.read_card(card.gateway_customer_id).is_active
    return read


def _attempt_of(card: KnownCard, order: ListedOrder) -> KnownAttempt | None:
    """The attempt that is known to have made the order, by its order or transaction id."""
    _, named = card.explained.get(order.order_id, ("", None))
    for attempt in card.attempts:
        if attempt.id == named or attempt.order_id == order.order_id:
            return attempt
        if order.transaction_id and attempt.wanted.transaction_id == order.transaction_id:
            return attempt
    return None


def _says_nothing_new(attempt: KnownAttempt, order: ListedOrder) -> bool:
    if attempt.wanted.transaction_id not in (None, order.transaction_id):
        return False  # retried by the gateway under a new transaction
    if order.status == "SUCCESS":
        return attempt.state in HAS_MONEY
    return order.status == "FAILED" and attempt.state is AttemptState.DECLINED


def _hear(gateway: Gateway, read: CardRead, attempt: KnownAttempt, order: ListedOrder) -> None:
    if not order.transaction_id:
        return
    transaction_read = gateway.read_transaction(order.transaction_id)
    read.transactions[order.transaction_id] = transaction_read
    own = attempt.wanted.transaction_id == order.transaction_id
    if own and attempt.state in HAS_MONEY and transaction_read.says_refunded:
        read.paid[attempt.id] = transaction_read
        return
    read.findings.append(Told(attempt.id, _finding(transaction_read, attempt, order)))


def _finding(transaction_read: ReadTransaction, attempt: KnownAttempt, order: ListedOrder) -> Finding:
    found = transaction_read.finding(attempt.wanted.marker)
    if found.order_id in (None, "", order.order_id):
        return found
    return Finding(
        Verdict.CONTRADICTION, Source.ORDER_LIST, reason="order_and_transaction_disagree", detail=found.detail
    )


def _explain(read: CardRead, orders: list[ListedOrder]) -> None:
    """Gives each new order to the attempt whose marker it carries; then matches what carries none."""
    nameless: list[ListedOrder] = []
    for order in orders:
        words = _words(read, order)
        owner = next((a for a in read.card.attempts if carries(words, a.wanted.marker)), None)
        if owner is None:
            nameless.append(order)
        else:
            _give(read, owner, order)
    heard = {told.attempt_id for told in read.findings}
    for attempt in read.card.attempts:
        if attempt.state not in ASKED_ABOUT or attempt.id in heard:
            continue
        outcome = match(attempt.wanted, [_seen(read, order) for order in nameless], read.card.echo)
        match outcome:
            case Match(found) if _anothers_as_well(read, attempt, found):
                detail = {"orders": [found.order_id]}
                reason = "order_with_two_possible_makers"
                finding = Finding(Verdict.CONTRADICTION, Source.ORDER_LIST, reason=reason, detail=detail)
                read.findings.append(Told(attempt.id, finding))
            case Match(found):
                order = next(o for o in nameless if o.order_id == found.order_id)
                nameless.remove(order)
                _give(read, attempt, order)
            case Ambiguous(candidates, reason):
                detail = {"orders": [candidate.order_id for candidate in candidates]}
                finding = Finding(Verdict.CONTRADICTION, Source.ORDER_LIST, reason=reason, detail=detail)
                read.findings.append(Told(attempt.id, finding))
            case NoMatch():
                read.absent.append(attempt)
    waiting = [attempt.wanted for attempt in read.card.attempts if attempt.state in SPOKEN_FOR]
    # A failed order moved no money: it is recorded, and looked at again when its status changes.
    read.unexplained = [
        order for order in nameless if order.status != "FAILED" and not any(_could_be(w, order) for w in waiting)
    ]


def _anothers_as_well(read: CardRead, attempt: KnownAttempt, found: SeenOrder) -> bool:
    """Whether an order that names nobody may as well be that of another attempt whose own order was never seen: one
    that waits with a person, or whose failed charge became money late."""
    if carries(found.words, attempt.wanted.marker) or found.transaction_id == attempt.wanted.transaction_id:
        return False
    has_its_order = set(read.explained_by.values())
    return any(
        other.id != attempt.id
        and other.state is not AttemptState.NOT_SENT
        and other.order_id is None
        and other.id not in has_its_order
        and could_be(
            other.wanted, amount_minor=found.amount_minor, currency=found.currency, created_at=found.created_at
        )
        for other in read.card.attempts
    )


def _could_be(wanted: Wanted, order: ListedOrder) -> bool:
    return could_be(wanted, amount_minor=order.amount_minor, currency=order.currency, created_at=order.created_at)


def _give(read: CardRead, attempt: KnownAttempt, order: ListedOrder) -> None:
    read.explained_by[order.order_id] = attempt.id
    if order.transaction_id in read.transactions:
        found = _finding(read.transactions[order.transaction_id], attempt, order)
        read.findings.append(Told(attempt.id, found))


def _ask_for_lost_transactions(gateway: Gateway, read: CardRead) -> None:
    """An attempt whose transaction is known is asked about directly when the list does not show its order yet."""
    for attempt in list(read.absent):
        if attempt.wanted.transaction_id:
            found = gateway.read_transaction(attempt.wanted.transaction_id)
            read.transactions[attempt.wanted.transaction_id] = found
            read.findings.append(Told(attempt.id, found.finding(attempt.wanted.marker)))
            read.absent.remove(attempt)


def _words(read: CardRead, order: ListedOrder) -> str:
    found = read.transactions.get(order.transaction_id)
    return found.words if found else ""


def _seen(read: CardRead, order: ListedOrder) -> SeenOrder:
    return SeenOrder(
        order.order_id,
        order.transaction_id,
        order.amount_minor,
        order.currency,
        order.created_at,
        _words(read, order),
    )


def record(read: CardRead, told: Sequence[Told], *, limits: Limits, now: datetime) -> dict[str, int]:
    """Writes orders, transactions and evidence in one commit; an order that nothing explains pauses the card."""
    with transaction.atomic(durable=True):
        counts: dict[str, int] = {}
        if read.paid:
            # All of it in one go, in the one order, with what is settled below.
            settling.lock_for_settlement(sorted({*read.paid, *(one.attempt_id for one in told)}), lock_accounts=False)
        if told:
            counts = settle_in_transaction(told, limits=limits, now=now, actor="engine")
        record_seen(read.paid, limits=limits, now=now)
        _write_orders(read, now)
        _write_transactions(read, now)
        read.unexplained = _still_unexplained(read)
        if read.unexplained:
            settling.hold_cards([(read.card.id, "unexplained_order")], now=now)
            _alert(read, now)
        if read.inactive:
            PaymentMethod.objects.filter(pk=read.card.id, state="active").update(state="inactive")
    return counts


def _still_unexplained(read: CardRead) -> list[ListedOrder]:
    """Without the orders of attempts that were armed on the card while it was being read."""
    if not read.unexplained:
        return []
    known = {attempt.id for attempt in read.card.attempts}
    armed_since = [attempt for attempt in load([read.card.id])[read.card.id].attempts if attempt.id not in known]
    return [order for order in read.unexplained if not any(_made(read, attempt, order) for attempt in armed_since)]


def _made(read: CardRead, attempt: KnownAttempt, order: ListedOrder) -> bool:
    named = attempt.order_id == order.order_id or carries(_words(read, order), attempt.wanted.marker)
    return named or (attempt.state in UNRESOLVED and _could_be(attempt.wanted, order))


def write_baseline(card: PaymentMethod, orders: Sequence[ListedOrder], now: datetime) -> None:
    """The orders that were there before the card became ours to charge: none of them is ever a candidate."""
    GatewayOrder.objects.bulk_create(
        [_order_row(card.account_id, card.pk, order, now, in_baseline=True) for order in orders],
        update_conflicts=True,
        unique_fields=["account", "gateway_order_id"],
        update_fields=["status", "last_seen_at"],
    )


def _write_orders(read: CardRead, now: datetime) -> None:
    GatewayOrder.objects.bulk_create(
        [
            _order_row(
                read.card.account_id,
                read.card.id,
                order,
                now,
                attempt_id=read.explained_by.get(order.order_id),
                in_baseline=read.card.explained.get(order.order_id, ("", 0))[1] is None,
            )
            for order in read.orders
        ],
        update_conflicts=True,
        unique_fields=["account", "gateway_order_id"],
        update_fields=["status", "gateway_transaction_id", "attempt", "last_seen_at"],
    )


def _order_row(
    account_id: int,
    card_id: int,
    order: ListedOrder,
    now: datetime,
    *,
    attempt_id: int | None = None,
    in_baseline: bool = False,
) -> GatewayOrder:
    return GatewayOrder(
        account_id=account_id,
        payment_method_id=card_id,
        gateway_order_id=order.order_id,
        gateway_transaction_id=order.transaction_id,
        status=order.status,
        amount_minor=order.amount_minor,
        currency=order.currency,
        recurring_reference=order.recurring_reference,
        ordered_at=order.created_at,
        in_baseline=in_baseline,
        attempt_id=attempt_id,
        first_seen_at=now,
        last_seen_at=now,
    )


def _write_transactions(read: CardRead, now: datetime) -> None:
    GatewayTransaction.objects.bulk_create(
        [
            GatewayTransaction(
                account_id=read.card.account_id,
                gateway_transaction_id=transaction_id,
                gateway_order_id=found.transaction.order_additional_data or "",
                status=found.transaction.status_text,
                amount_minor=found.transaction.amount_minor,
                currency=found.transaction.currency,
                words=found.words,
                content=found.content,
                first_seen_at=now,
                last_seen_at=now,
            )
            for transaction_id, found in read.transactions.items()
        ],
        update_conflicts=True,
        unique_fields=["account", "gateway_transaction_id"],
        update_fields=["status", "content", "last_seen_at"],
    )


def _alert(read: CardRead, now: datetime) -> None:
    orders = sorted(order.order_id for order in read.unexplained)
    Event.objects.bulk_create(
        [
            Event(
                public_id=new_id("evt", now),
                account_id=read.card.account_id,
                kind="card.unexplained_order",
                subject_type="card",
                subject_id=read.card.id,
                occasion=order,
                payload={"card": read.card.public_id, "order": order},
                created_at=now,
            )
            for order in orders
        ],
        ignore_conflicts=True,
    )
