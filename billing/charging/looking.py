"""A look at the gateway before a person's decision is taken: the card's orders, complete, and a named transaction.

`look` speaks to the gateway and must run outside any transaction; `object_to` judges what was seen and only reads.
"""

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from billing.charging.card_reading import CardRead, KnownCard, fetch, load
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.matching import Wanted, carries
from billing.domain.resolution import (
    CardOrder,
    NamedTransaction,
    Refused,
    Resolution,
    doubtful,
    fits,
    money_of_the_attempt,
    refuse_charged,
)
from billing.gateway.connection import (
    Gateway,
    GatewayUnavailableError,
    NotKnownAtGatewayError,
    ReadTransaction,
    gateway_for,
)
from billing.models import GatewayAccount, GatewayOrder, PaymentAttempt

READERS = 8
CARD_IS_GONE = "card_not_known"  # said instead of orders when there is no list of them any more
_TRANSACTION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
# What of a transaction says that its money went back.
_GIVEN_BACK = frozenset({"FULL_REFUNDED", "REVERSED"})


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen for one attempt. `read` is None when the gateway does not know the card any more, `named` when
    no transaction was named or the gateway does not know it. `orders` are those that nothing else explains."""

    read: CardRead | None
    orders: tuple[CardOrder, ...]
    named: ReadTransaction | None

    def doubtful(self, attempt: PaymentAttempt) -> list[CardOrder]:
        return doubtful(wanted(attempt), self.orders)


def wanted(attempt: PaymentAttempt) -> Wanted:
    return Wanted(
        attempt.marker,
        attempt.amount_minor,
        attempt.currency,
        attempt.armed_at,
        attempt.gateway_transaction_id,
    )


def look(attempt: PaymentAttempt, transaction_id: str = "") -> Look:
    """Reads the card completely, and the transaction when one is named.

    Raises GatewayUnavailableError when any part of it got no usable answer: a partial look is no look."""
    (seen,) = look_at_all([attempt], transaction_id)
    if isinstance(seen, GatewayUnavailableError):
        raise seen
    return seen


def look_at_all(attempts: Sequence[PaymentAttempt], transaction_id: str = "") -> list[Look | GatewayUnavailableError]:
    """The same for several, some at a time; what could not be read is its error."""
    if not attempts:
        return []
    cards = load(sorted({attempt.payment_method_id for attempt in attempts}))
    accounts = GatewayAccount.objects.in_bulk({attempt.account_id for attempt in attempts})
    gateways = {pk: gateway_for(account) for pk, account in accounts.items()}
    with ThreadPoolExecutor(min(READERS, len(attempts)), thread_name_prefix="look") as pool:
        started = [
            pool.submit(_look, gateways[one.account_id], one, cards[one.payment_method_id], transaction_id)
            for one in attempts
        ]
        return [future.result() for future in started]


def _look(
    gateway: Gateway, attempt: PaymentAttempt, card: KnownCard, transaction_id: str
) -> Look | GatewayUnavailableError:
    """The network part; no database here."""
    try:
        named = _named(gateway, transaction_id) if transaction_id else None
        try:
            read = fetch(gateway, card)
        except NotKnownAtGatewayError:
            return Look(None, (), named)
        return Look(read, tuple(_orders(read, attempt)), named)
    except GatewayUnavailableError as error:
        return error


def _named(gateway: Gateway, transaction_id: str) -> ReadTransaction | None:
    if not _TRANSACTION_ID.fullmatch(transaction_id):
        return None
    try:
        return gateway.read_transaction(transaction_id)
    except NotKnownAtGatewayError:
        return None


def _orders(read: CardRead, attempt: PaymentAttempt) -> list[CardOrder]:
    found = []
    for order in read.orders:
        if read.explained_by.get(order.order_id, attempt.pk) != attempt.pk:
            continue
        if read.card.explained.get(order.order_id, ("", attempt.pk))[1] is None:
            continue  # it was there before the card was ours, or a person said that it is not ours
        behind = read.transactions.get(order.transaction_id)
        status = behind.transaction.status_text if behind else order.status
        found.append(
            CardOrder(
                order.order_id,
                order.transaction_id,
                status,
                order.amount_minor,
                order.currency,
                order.created_at,
                behind.words if behind else "",
                kept=status not in _GIVEN_BACK,
            )
        )
    return found


# --- judging ----------------------------------------------------------------------------------------------


def object_to(
    attempt: PaymentAttempt,
    resolution: Resolution,
    transaction_id: str,
    seen: Look,
    *,
    despite: frozenset[str],
) -> Refused | None:
    """Why the decision cannot stand against what was seen, or None.

    `despite` are the orders that the person looked at and decides despite of."""
    if resolution is Resolution.CHARGED:
        return _object_to_charged(attempt, transaction_id, seen)
    return _object_to_no_money(attempt, resolution, seen, despite)


def _object_to_charged(attempt: PaymentAttempt, transaction_id: str, seen: Look) -> Refused | None:
    if seen.named is None:
        message = "the gateway knows no transaction of this id; copy it from the gateway's portal"
        return Refused("transaction_id", "unknown", message)
    named = seen.named.transaction
    order_id = named.order_additional_data
    same = Q(gateway_transaction_id=transaction_id) | (Q(gateway_order_id=order_id) if order_id else Q(pk__in=[]))
    claims = PaymentAttempt.objects.filter(same, account_id=attempt.account_id).exclude(pk=attempt.pk)
    elsewhere = GatewayOrder.objects.filter(same, account_id=attempt.account_id).exclude(
        payment_method_id=attempt.payment_method_id
    )
    listed = seen.read is not None and any(
        order.transaction_id == transaction_id or (order_id and order.order_id == order_id)
        for order in seen.read.orders
    )
    return refuse_charged(
        wanted(attempt),
        attempt.account.store_id,
        NamedTransaction(
            transaction_id=transaction_id,
            status=named.status_text,
            amount_minor=named.amount_minor,
            currency=named.currency,
            store_id=named.store_id,
            created_at=named.created_at or named.transaction_at,
            words=seen.named.words,
            card_lists_it=listed,
            on_another_card=elsewhere.exists(),
            claimed_by=claims.values_list("public_id", flat=True).first(),
        ),
    )


def _object_to_no_money(
    attempt: PaymentAttempt, resolution: Resolution, seen: Look, despite: frozenset[str]
) -> Refused | None:
    ours = money_of_the_attempt(wanted(attempt), seen.orders)
    if ours is not None:
        return Refused(
            "resolution",
            "money_was_taken",
            f"the gateway has the order {ours.order_id} of this very attempt: transaction {ours.transaction_id}, "
            f"status {ours.status}. It is not {resolution.value.replace('_', ' ')}. If its amount is right, decide "
            "*charged* with that transaction; if not, give it back in full at the gateway's portal first",
        )
    if seen.read is None and CARD_IS_GONE not in despite:
        message = (
            "the gateway does not know the card any more, so its orders cannot be read; look at the gateway's portal "
            f"and decide despite {CARD_IS_GONE}"
        )
        return Refused("despite_orders", "orders_not_readable", message)
    left = [order for order in seen.doubtful(attempt) if order.order_id not in despite]
    if not left:
        return None
    named = ", ".join(f"{one.order_id} ({one.status}{', fits' if fits(wanted(attempt), one) else ''})" for one in left)
    return Refused(
        "despite_orders",
        "unexplained_orders",
        f"the gateway shows orders of this card that nothing explains: {named}. Look at each of them at the gateway; "
        "if none is this charge, confirm that you decide despite them. The card stays held until they are explained",
    )


def finding_of(
    attempt: PaymentAttempt, resolution: Resolution, transaction_id: str, seen: Look, said: Mapping[str, Any]
) -> Finding:
    """The decision as evidence; `said` is who decided and how, and what was seen at the gateway goes with it."""
    detail: dict[str, Any] = {**said, "read": _told(attempt, seen)}
    if resolution is not Resolution.CHARGED or seen.named is None:
        verdict = Verdict.DECLINED if resolution is Resolution.DECLINED else Verdict.PERSON_NOT_CHARGED
        return Finding(verdict, Source.OPERATOR, reason=str(said["reason"]), detail=detail)
    named = seen.named.transaction
    return Finding(
        Verdict.PAID,
        Source.OPERATOR,
        reason=str(said["reason"]),
        amount_minor=named.amount_minor,
        currency=named.currency,
        store_id=named.store_id,
        marker=attempt.marker if carries(seen.named.words, attempt.marker) else None,
        transaction_id=transaction_id,
        order_id=named.order_additional_data or _listed_order(seen, transaction_id),
        detail={**detail, "transaction": seen.named.content},
    )


def _listed_order(seen: Look, transaction_id: str) -> str | None:
    orders = seen.read.orders if seen.read else []
    return next((order.order_id for order in orders if order.transaction_id == transaction_id), None)


def _told(attempt: PaymentAttempt, seen: Look) -> dict[str, Any]:
    if seen.read is None:
        return {"card": "not known at the gateway"}
    return {
        "orders": len(seen.read.orders),
        "unexplained": [
            {"order": one.order_id, "status": one.status, "amount_minor": one.amount_minor, "currency": one.currency}
            for one in seen.doubtful(attempt)
        ],
    }
