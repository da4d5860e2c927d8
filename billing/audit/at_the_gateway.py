"""S1, S2, S6 and S10 against the gateway itself: the complete order list of every card, and the transactions.

1. Take some cards, with the transactions that our books have for them (database).
2. Ask the gateway, several cards at a time; no transaction and no connection to the database is held meanwhile.
3. Load the attempts of those cards (database), so that every order that was read has its attempt by now, and compare.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from django.db import connection

from billing.audit.money import SUCCESS_OR_REFUNDED
from billing.audit.run_counts import KEPT_BY_THE_GATEWAY
from billing.audit.violation import Violation
from billing.domain.attempts import HAS_MONEY, UNRESOLVED, AttemptState
from billing.domain.matching import carries
from billing.domain.refunds import MAY_HAVE_ACTED
from billing.gateway.connection import Gateway, GatewayUnavailableError, ListedOrder, ReadTransaction, gateway_for
from billing.models import GatewayAccount, GatewayOrder, OutsidePayment, PaymentAttempt, PaymentMethod

logger = logging.getLogger(__name__)

READERS = 8
_CARDS_AT_ONCE = 200


@dataclass(slots=True)
class _Reading:
    """What the gateway showed of one card; `failure` when it could not be asked to the end."""

    card: PaymentMethod
    transaction_ids: tuple[str, ...]
    orders: list[ListedOrder] = field(default_factory=list)
    transactions: dict[str, ReadTransaction] = field(default_factory=dict)
    failure: str = ""


def gateway_violations(*, now: datetime, account_id: int | None = None) -> list[Violation]:
    """What in our books of the account, or of all, is not as the gateway says. A card that cannot be read is one too.

    Attempts armed or settled after `now`, and those whose outcome is open, are left to the reconciler."""
    found: list[Violation] = []
    accounts = GatewayAccount.objects.order_by("id")
    for account in accounts if account_id is None else accounts.filter(pk=account_id):
        try:
            found += _of_account(account, now)
        except Exception as error:  # one account never hides what is wrong with another
            logger.exception("audit: account %s cannot be compared with the gateway", account.public_id)
            found.append(Violation("S10", account.public_id, f"could not be compared: {type(error).__name__}."))
    return found


def _of_account(account: GatewayAccount, now: datetime) -> list[Violation]:
    found: list[Violation] = []
    taken: Counter[str] = Counter()
    for cards in _cards(account):
        for reading in _read_all(gateway_for(account), cards):
            found += _Card(reading, now).compare(taken)
    return found + [
        Violation("S1", invoice, f"took money {times} times at the gateway, and no more than one may stay.")
        for invoice, times in sorted(taken.items())
        if times > 1
    ]


def _cards(account: GatewayAccount) -> Iterator[list[PaymentMethod]]:
    """Cards that were ever bound, some at a time."""
    after = 0
    while True:
        cards = list(
            PaymentMethod.objects.filter(
                account=account, pk__gt=after, gateway_customer_id__isnull=False, baseline_read_at__isnull=False
            ).order_by("pk")[:_CARDS_AT_ONCE]
        )
        if not cards:
            return
        after = cards[-1].pk
        yield cards


def _read_all(gateway: Gateway, cards: Sequence[PaymentMethod]) -> list[_Reading]:
    known: defaultdict[int, list[str]] = defaultdict(list)
    ours = PaymentAttempt.objects.filter(payment_method__in=cards, state__in=sorted(HAS_MONEY))
    for card_id, transaction_id in ours.values_list("payment_method_id", "gateway_transaction_id"):
        known[card_id].append(transaction_id or "")
    readings = [_Reading(card, tuple(known[card.pk])) for card in cards]
    if not connection.in_atomic_block:
        connection.close()
    with ThreadPoolExecutor(READERS, thread_name_prefix="auditor") as pool:
        for future in [pool.submit(_read, gateway, reading) for reading in readings]:
            future.result()
    return readings


def _read(gateway: Gateway, reading: _Reading) -> None:
    """The orders of the card, and each transaction that is named by our books or by an order that took money."""
    try:
        reading.orders = gateway.read_orders(reading.card.gateway_customer_id or "")
        named = {order.transaction_id for order in reading.orders if order.status in KEPT_BY_THE_GATEWAY}
        for transaction_id in sorted((named | set(reading.transaction_ids)) - {""}):
            reading.transactions[transaction_id] = gateway.read_transaction(transaction_id)
    except GatewayUnavailableError as error:
        reading.failure = str(error)


class _Card:
    """One card: our attempts on it beside the orders that the gateway has."""

    def __init__(self, reading: _Reading, now: datetime) -> None:
        self._reading = reading
        self._card = reading.card
        self._now = now
        self._attempts = list(
            PaymentAttempt.objects.filter(payment_method=self._card)
            .select_related("invoice")
            .prefetch_related("refunds")
            .order_by("id")
        )
        self._baseline = set(
            GatewayOrder.objects.filter(payment_method=self._card, in_baseline=True).values_list(
                "gateway_order_id", flat=True
            )
        )

        self._elsewhere = dict(
            OutsidePayment.objects.filter(
                account_id=self._card.account_id, gateway_transaction_id__isnull=False
            ).values_list("gateway_transaction_id", "invoice__public_id")
        )

    def compare(self, taken: Counter[str]) -> Iterator[Violation]:
        """Adds the successes of each invoice to `taken`."""
        if self._reading.failure:
            yield Violation("S10", self._card.public_id, f"could not be read: {self._reading.failure}.")
            return
        of_attempt: defaultdict[int, list[ListedOrder]] = defaultdict(list)
        for order in self._reading.orders:
            if invoice := self._elsewhere.get(order.transaction_id):
                taken[invoice] += order.status in KEPT_BY_THE_GATEWAY
                continue
            if not (order.is_understood or order.order_id in self._baseline or self._owners(order)):
                yield Violation("S10", self._card.public_id, f"has order {order.order_id}, which is not understood.")
            if order.status not in KEPT_BY_THE_GATEWAY or order.order_id in self._baseline:
                continue
            owners = self._owners(order)
            if len(owners) > 1:
                names = " and ".join(owner.public_id for owner in owners)
                yield Violation("S6", names, f"are both explained by order {order.order_id}.")
            for owner in owners[:1]:
                of_attempt[owner.pk].append(order)
                taken[owner.invoice.public_id] += 1
            if not owners and not self._may_be_an_open_attempts(order):
                yield Violation(
                    "S10", self._card.public_id, f"has order {order.order_id}, which took money for no attempt."
                )
        for attempt in self._attempts:
            if attempt.armed_at < self._now and (attempt.settled_at is None or attempt.settled_at < self._now):
                yield from self._compare(attempt, of_attempt[attempt.pk])

    def _owners(self, order: ListedOrder) -> list[PaymentAttempt]:
        """The attempts that name the order or its transaction; else the one whose marker it carries."""
        named = [
            attempt
            for attempt in self._attempts
            if attempt.gateway_order_id == order.order_id
            or (order.transaction_id and attempt.gateway_transaction_id == order.transaction_id)
        ]
        found = self._reading.transactions.get(order.transaction_id)
        return named or [one for one in self._attempts if found and carries(found.words, one.marker)]

    def _may_be_an_open_attempts(self, order: ListedOrder) -> bool:
        return any(
            attempt.state in UNRESOLVED
            and (attempt.amount_minor, attempt.currency) == (order.amount_minor, order.currency)
            for attempt in self._attempts
        )

    def _compare(self, attempt: PaymentAttempt, orders: list[ListedOrder]) -> Iterator[Violation]:
        state = AttemptState(attempt.state)
        if state in HAS_MONEY:
            if wrong := self._what_differs(attempt):
                yield Violation("S2", attempt.public_id, f"is {state}, and its transaction {wrong}.")
            elif wrong := self._what_went_back_otherwise(attempt):
                yield Violation("S10", attempt.public_id, f"counts {wrong}.")
        elif state not in UNRESOLVED and orders:
            yield Violation(
                "S10",
                attempt.public_id,
                f"is {state}, and the gateway took money for it by order {orders[0].order_id}.",
            )

    def _what_differs(self, attempt: PaymentAttempt) -> str | None:
        found = self._reading.transactions.get(attempt.gateway_transaction_id or "")
        if found is None:
            return "was not read"
        seen = found.transaction
        if seen.status_text not in SUCCESS_OR_REFUNDED:
            return f"is {seen.status_text} at the gateway"
        if (seen.amount_minor, seen.currency) != (attempt.amount_minor, attempt.currency):
            return f"is over {seen.amount_minor} {seen.currency} at the gateway"
        if found.finding(attempt.marker).marker not in (None, attempt.marker):
            return "carries another attempt's marker"
        return None

    def _what_went_back_otherwise(self, attempt: PaymentAttempt) -> str | None:
        """What the gateway shows as refunded beside what our refunds say; an open one may explain the difference.

        A payment of which the gateway says only that something was refunded is one of which we must know something."""
        read = self._reading.transactions[attempt.gateway_transaction_id or ""]
        refunds = list(attempt.refunds.all())
        if any(one.state in MAY_HAVE_ACTED or (one.settled_at and one.settled_at >= self._now) for one in refunds):
            return None
        ours, theirs = attempt.amount_refunded_minor, read.money.refunded_minor
        if ours == theirs or (theirs is None and ours):
            return None
        shown = "a part, and not how much" if theirs is None else str(theirs)
        return f"{ours} of {attempt.amount_minor} {attempt.currency} as refunded, and the gateway shows {shown}"
