"""Asking the gateway for every order of a card, and which attempt explains each: network, no database."""

from billing.charging.attempts.settle import AttemptFinding
from billing.charging.reading.known import CardRead, KnownCard, fits_order, words_of
from billing.charging.reading.payments import read_payments, read_recorded
from billing.domain.attempts import ENDED_WITHOUT_MONEY, HAS_MONEY, AttemptState, Finding, Source, Verdict
from billing.domain.matching import ASKED_ABOUT, KnownAttempt, SeenOrder, explain
from billing.domain.reasons import Reason
from billing.gateway.connection import Gateway, ListedOrder, ReadTransaction, TransactionNotKnownError


def fetch(gateway: Gateway, card: KnownCard, *, payments_of: frozenset[int] = frozenset()) -> CardRead:
    """Asks the gateway for all orders of the card and for the transactions behind those that are not explained, and
    for those of its newest payments and of the payments `payments_of`, of which money may have been given back.

    Raises GatewayUnavailableError when any part cannot be read: a partial read is no read. An order that is not
    understood, and one whose transaction the gateway does not show, are read: they are doubts."""
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
                _read_transaction_of(gateway, read, attempt, order)
    for order in open_orders:
        if not order.is_understood:
            read.doubts.append(order.order_id)
        if order.transaction_id:
            _read_transaction(gateway, read, order)
    _explain(read, open_orders)
    _ask_for_lost_transactions(gateway, read)
    read_payments(gateway, read, payments_of)
    read_recorded(gateway, read)
    if any(attempt.answered_with_error for attempt in read.absent):
        read.inactive = not gateway.read_card(card.gateway_customer_id).is_active
    return read


def _read_transaction(gateway: Gateway, read: CardRead, order: ListedOrder) -> None:
    """The transaction behind an order that nothing explains. One that the gateway does not show makes the order a
    doubt, unless it moved no money and is none that is asked about."""
    try:
        read.transactions[order.transaction_id] = gateway.read_transaction(order.transaction_id)
    except TransactionNotKnownError:
        asked = [attempt.wanted for attempt in read.card.attempts if attempt.state in ASKED_ABOUT]
        if order.status != "FAILED" or any(fits_order(wanted, order) for wanted in asked):
            read.doubts.append(order.order_id)


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


def _read_transaction_of(gateway: Gateway, read: CardRead, attempt: KnownAttempt, order: ListedOrder) -> None:
    if not order.transaction_id:
        ended = attempt.state in ENDED_WITHOUT_MONEY and order.status != "FAILED"
        if ended or attempt.state in ASKED_ABOUT:
            read.doubts.append(order.order_id)
        return
    try:
        transaction_read = gateway.read_transaction(order.transaction_id)
    except TransactionNotKnownError:
        if attempt.state in ENDED_WITHOUT_MONEY and order.status != "FAILED":
            raise  # it may have become money since: the card is not read until that is known
        if attempt.state in ASKED_ABOUT:
            read.doubts.append(order.order_id)
        return
    read.transactions[order.transaction_id] = transaction_read
    own = attempt.wanted.transaction_id == order.transaction_id
    if own and attempt.state in HAS_MONEY and transaction_read.says_refunded:
        read.paid[attempt.id] = transaction_read
        return
    read.findings.append(AttemptFinding(attempt.wanted.marker, _finding(transaction_read, attempt, order)))


def _finding(transaction_read: ReadTransaction, attempt: KnownAttempt, order: ListedOrder) -> Finding:
    found = transaction_read.finding(attempt.wanted.marker)
    if found.order_id in (None, "", order.order_id):
        return found
    return Finding(
        Verdict.CONTRADICTION, Source.ORDER_LIST, reason=Reason.ORDER_AND_TRANSACTION_DISAGREE, detail=found.detail
    )


def _explain(read: CardRead, orders: list[ListedOrder]) -> None:
    """Gives each new order to its attempt, as `domain.matching` decides."""
    explained = explain(
        read.card.attempts,
        [_seen(read, order) for order in orders],
        echo=read.card.echo,
        doubtful=read.doubts,
        with_order=set(read.explained_by.values()),
        answered={found.marker for found in read.findings},
    )
    for order in orders:
        if owner := explained.owners.get(order.order_id):
            _give(read, owner, order)
    for one in explained.contradictions:
        detail = {"orders": list(one.order_ids)}
        finding = Finding(Verdict.CONTRADICTION, Source.ORDER_LIST, reason=one.reason, detail=detail)
        read.findings.append(AttemptFinding(one.attempt.wanted.marker, finding))
    read.absent += explained.absent
    read.doubts = [order_id for order_id in read.doubts if order_id not in explained.owners]
    # A failed order moved no money: it is recorded, and looked at again when its status changes.
    read.unexplained = [order for order in orders if order.order_id in explained.unexplained]


def _give(read: CardRead, attempt: KnownAttempt, order: ListedOrder) -> None:
    read.explained_by[order.order_id] = attempt.id
    if order.transaction_id in read.transactions:
        found = _finding(read.transactions[order.transaction_id], attempt, order)
        read.findings.append(AttemptFinding(attempt.wanted.marker, found))


def _ask_for_lost_transactions(gateway: Gateway, read: CardRead) -> None:
    """An attempt whose transaction is known is asked about directly when the list does not show its order yet."""
    for attempt in list(read.absent):
        if attempt.wanted.transaction_id:
            read.absent.remove(attempt)
            try:
                found = gateway.read_transaction(attempt.wanted.transaction_id)
            except TransactionNotKnownError:
                unclear = Finding(Verdict.UNCLEAR, Source.ORDER_LIST, reason=Reason.TRANSACTION_NOT_SHOWN)
                read.findings.append(AttemptFinding(attempt.wanted.marker, unclear))
                continue
            read.transactions[attempt.wanted.transaction_id] = found
            read.findings.append(AttemptFinding(attempt.wanted.marker, found.finding(attempt.wanted.marker)))


def _seen(read: CardRead, order: ListedOrder) -> SeenOrder:
    return SeenOrder(
        order.order_id,
        order.transaction_id,
        order.amount_minor,
        order.currency,
        order.created_at,
        words_of(read, order),
        failed=order.status == "FAILED",
    )
