"""A look at the gateway before a person's decision is taken: the card's orders, complete, and a named transaction.

`look` speaks to the gateway and must run outside any transaction; `object_to` judges what was seen and only reads.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from billing.charging.reading.fetch import fetch
from billing.charging.reading.known import CardRead, KnownCard, load
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.matching import Wanted, carries
from billing.domain.reasons import Reason
from billing.domain.resolution import (
    TOOK_MONEY,
    CardOrder,
    NamedTransaction,
    Refused,
    Resolution,
    doubtful,
    fits,
    given_back_of_the_attempt,
    money_of_the_attempt,
    refuse_charged,
)
from billing.gateway.connection import (
    CardNotKnownError,
    Gateway,
    GatewayUnavailableError,
    ReadTransaction,
    TransactionNotKnownError,
    gateway_for,
)
from billing.models import GatewayAccount, GatewayOrder, PaymentAttempt

logger = logging.getLogger(__name__)

READERS = 8
# Confirmed instead of orders: the gateway has no list of them any more, or has not shown it for long.
CARD_IS_GONE = "card_not_known"
CARD_IS_UNREADABLE = "card_not_readable"
_MISSING = {
    CARD_IS_GONE: "the gateway does not know the card any more",
    CARD_IS_UNREADABLE: "the gateway has not shown the card's orders for a long time",
}
_TRANSACTION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
# What of a transaction says that its money went back.
_GIVEN_BACK = frozenset({"FULL_REFUNDED", "REVERSED"})


@dataclass(frozen=True, slots=True)
class Shown:
    """What was seen for one attempt. `read` is None when the gateway does not know the card any more, or could not
    be made to show its orders for long (`missing` says which), `named` when no transaction was named or the gateway
    does not know it. `orders` are those that nothing else explains."""

    read: CardRead | None
    orders: tuple[CardOrder, ...]
    named: ReadTransaction | None
    missing: str = CARD_IS_GONE

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


def read_before(attempt: PaymentAttempt, transaction_id: str = "") -> Shown:
    """Reads the card completely, and the transaction when one is named.

    Raises GatewayUnavailableError when any part of it got no usable answer: a partial look is no look."""
    (seen,) = read_all_before([attempt], transaction_id)
    if isinstance(seen, GatewayUnavailableError):
        raise seen
    return seen


def read_all_before(
    attempts: Sequence[PaymentAttempt], transaction_id: str = ""
) -> list[Shown | GatewayUnavailableError]:
    """The same for several, some at a time; what could not be read is its error."""
    if not attempts:
        return []
    cards = load(sorted({attempt.card_id for attempt in attempts}))
    accounts = GatewayAccount.objects.in_bulk({attempt.account_id for attempt in attempts})
    gateways = {pk: _gateway_of(account) for pk, account in accounts.items()}
    with ThreadPoolExecutor(min(READERS, len(attempts)), thread_name_prefix="before-decision") as pool:
        started = [
            pool.submit(_read, gateways[one.account_id], one, cards[one.card_id], transaction_id) for one in attempts
        ]
        return [future.result() for future in started]


def _gateway_of(account: GatewayAccount) -> Gateway | GatewayUnavailableError:
    """Its error when there is none, such as for a key that cannot be read: the other accounts' are looked at."""
    try:
        return gateway_for(account)
    except GatewayUnavailableError as error:
        return error
    except Exception as error:
        logger.exception("check: no gateway client for account %s", account.public_id)
        return GatewayUnavailableError(f"no gateway client for the account: {type(error).__name__}")


def _read(
    gateway: Gateway | GatewayUnavailableError, attempt: PaymentAttempt, card: KnownCard, transaction_id: str
) -> Shown | GatewayUnavailableError:
    """The network part; no database here."""
    if isinstance(gateway, GatewayUnavailableError):
        return gateway
    try:
        named = _named(gateway, transaction_id) if transaction_id else None
        try:
            read = fetch(gateway, card)
        except CardNotKnownError:
            return Shown(None, (), named)
        except GatewayUnavailableError:
            if not card.unreadable:
                raise
            return Shown(None, (), named, CARD_IS_UNREADABLE)
        return Shown(read, tuple(_orders(read, attempt)), named)
    except GatewayUnavailableError as error:
        return error


def _named(gateway: Gateway, transaction_id: str) -> ReadTransaction | None:
    if not _TRANSACTION_ID.fullmatch(transaction_id):
        return None
    try:
        return gateway.read_transaction(transaction_id)
    except TransactionNotKnownError:
        return None


def _orders(read: CardRead, attempt: PaymentAttempt) -> list[CardOrder]:
    found = []
    for order in read.orders:
        if read.explained_by.get(order.order_id, attempt.pk) != attempt.pk:
            continue
        if read.card.explained.get(order.order_id, ("", attempt.pk))[1] is None:
            continue  # it was there before the card was ours, or a person decided that it is not ours
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
    seen: Shown,
    *,
    despite: frozenset[str],
) -> Refused | None:
    """Why the decision cannot stand against what was seen, or None.

    `despite` are the orders that the person looked at and decides despite of."""
    if resolution in TOOK_MONEY:
        given_back = resolution is Resolution.CHARGED_AND_GIVEN_BACK
        return _object_to_charged(attempt, transaction_id, seen, given_back=given_back)
    return _object_to_no_money(attempt, resolution, seen, despite)


def _object_to_charged(
    attempt: PaymentAttempt, transaction_id: str, seen: Shown, *, given_back: bool
) -> Refused | None:
    if seen.named is None:
        message = "must be a transaction of the gateway; copy the id from the gateway's portal"
        return Refused("transaction_id", "unknown", message)
    named = seen.named.transaction
    order_id = named.order_additional_data
    same = Q(gateway_transaction_id=transaction_id) | (Q(gateway_order_id=order_id) if order_id else Q(pk__in=[]))
    claims = PaymentAttempt.objects.filter(same, account_id=attempt.account_id).exclude(pk=attempt.pk)
    elsewhere = GatewayOrder.objects.filter(same, account_id=attempt.account_id).exclude(
        payment_method_id=attempt.card_id
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
        given_back=given_back,
    )


def _object_to_no_money(
    attempt: PaymentAttempt, resolution: Resolution, seen: Shown, despite: frozenset[str]
) -> Refused | None:
    ours = money_of_the_attempt(wanted(attempt), seen.orders)
    if ours is not None:
        return Refused(
            "resolution",
            "money_was_taken",
            f"the gateway has order {ours.order_id} of this attempt: transaction {ours.transaction_id}, status "
            f"{ours.status}. That contradicts {resolution.value.replace('_', ' ')}. If its amount is right, decide "
            "*charged* with that transaction. If not, refund it in full in the gateway's portal first",
        )
    back = given_back_of_the_attempt(wanted(attempt), seen.orders)
    if back is not None:
        return Refused(
            "resolution",
            "money_was_given_back",
            f"the gateway has order {back.order_id} of this attempt: the money was taken and refunded. Decide "
            f"*charged and refunded* with its transaction {back.transaction_id}: the invoice is then closed, and the "
            "customer is not charged again. If the customer still owes the money, charge it as a one-off",
        )
    if seen.read is None and seen.missing not in despite:
        why = _MISSING[seen.missing]
        message = f"{why}, so its orders cannot be read. Check the gateway's portal, and decide despite {seen.missing}"
        return Refused("despite_orders", "orders_not_readable", message)
    left = [order for order in seen.doubtful(attempt) if order.order_id not in despite]
    if not left:
        return None
    named = ", ".join(f"{one.order_id} ({one.status}{', fits' if fits(wanted(attempt), one) else ''})" for one in left)
    return Refused(
        "despite_orders",
        "unexplained_orders",
        f"the gateway shows unexplained orders of this card: {named}. Review each of them at the gateway. If none is "
        "this charge, confirm that you decide despite them. The card stays on hold until they are explained",
    )


def finding_of(
    attempt: PaymentAttempt, resolution: Resolution, transaction_id: str, seen: Shown, decided: Mapping[str, Any]
) -> Finding:
    """The decision as evidence; `decided` is who decided and how, and what was seen at the gateway goes with it."""
    detail: dict[str, Any] = {**decided, "read": _as_detail(attempt, seen)}
    if resolution not in TOOK_MONEY or seen.named is None:
        verdict = Verdict.DECLINED if resolution is Resolution.DECLINED else Verdict.PERSON_NOT_CHARGED
        return Finding(verdict, Source.OPERATOR, reason=Reason.DECIDED_BY_PERSON, detail=detail)
    named = seen.named.transaction
    return Finding(
        Verdict.PAID,
        Source.OPERATOR,
        reason=Reason.DECIDED_BY_PERSON,
        amount_minor=named.amount_minor,
        currency=named.currency,
        store_id=named.store_id,
        marker=attempt.marker if carries(seen.named.words, attempt.marker) else None,
        transaction_id=transaction_id,
        order_id=named.order_additional_data or _listed_order(seen, transaction_id),
        detail={**detail, "transaction": seen.named.content},
    )


def _listed_order(seen: Shown, transaction_id: str) -> str | None:
    orders = seen.read.orders if seen.read else []
    return next((order.order_id for order in orders if order.transaction_id == transaction_id), None)


def _as_detail(attempt: PaymentAttempt, seen: Shown) -> dict[str, Any]:
    if seen.read is None:
        return {"card": _MISSING[seen.missing]}
    return {
        "orders": len(seen.read.orders),
        "unexplained": [
            {"order": one.order_id, "status": one.status, "amount_minor": one.amount_minor, "currency": one.currency}
            for one in seen.doubtful(attempt)
        ],
    }
