"""Writing down what a read of a card showed, in one commit, in which evidence goes in by `settle` like all other."""

from collections.abc import Sequence
from datetime import datetime

from billing.charging.attempts.settle import AttemptFinding, AttemptGoneError, settle_in_transaction
from billing.charging.reading import went_back
from billing.charging.reading.known import CardRead, fits_order, load, words_of
from billing.charging.reading.lost_orders import quarantine_for_lost_orders
from billing.charging.reading.orders import alert_unexplained, write_orders, write_transactions
from billing.charging.refunds.settle import record_seen
from billing.domain.attempts import UNRESOLVED
from billing.domain.matching import KnownAttempt, carries
from billing.domain.reasons import Reason
from billing.domain.subscriptions import CardState
from billing.gateway.connection import ListedOrder
from billing.models import PaymentMethod
from billing.models.bulk import checking, settling
from billing.models.bulk.history import record_transition
from billing.models.bulk.sql import durable
from billing.operating.tuning import Tuning


def record(read: CardRead, findings: Sequence[AttemptFinding], *, tuning: Tuning, now: datetime) -> dict[str, int]:
    """Writes orders, transactions and evidence in one commit; an order that nothing explains pauses the card.

    An order with words of ours that this database never made begins a quarantine of the account first."""
    if read.unexplained:
        quarantine_for_lost_orders(read, now=now)
    with durable():
        if not settling.still_have(_named(read)):
            raise AttemptGoneError(f"card {read.card.public_id}: its attempts are not those that were loaded")
        counts: dict[str, int] = {}
        if read.paid:
            # All of it in one go, in the one order, with what is settled below.
            settling.lock_for_settlement(sorted(read.paid), markers=[one.marker for one in findings])
        if findings:
            counts = settle_in_transaction(findings, tuning=tuning, now=now, actor="engine")
        record_seen(read.paid, tuning=tuning, now=now)
        write_orders(read, now)
        write_transactions(read, now)
        read.unexplained = _still_unexplained(read)
        if read.unexplained:
            settling.hold_cards([(read.card.id, Reason.UNEXPLAINED_ORDER)], now=now)
            alert_unexplained(read, now)
        checking.note_read(read.card.id)
        if read.inactive:
            _switch_off(read, now)
        # Last, for it locks invoices: after the card, as everywhere.
        went_back.note(read.card.account_id, list(read.transactions.values()), now=now)
    return counts


def _switch_off(read: CardRead, now: datetime) -> None:
    if PaymentMethod.objects.filter(pk=read.card.id, state=CardState.ACTIVE.value).update(state=CardState.INACTIVE):
        record_transition(
            account_id=read.card.account_id,
            subject_type="card",
            subject_id=read.card.id,
            from_state=CardState.ACTIVE.value,
            to_state=CardState.INACTIVE.value,
            reason=Reason.CARD_INACTIVE,
            actor="engine",
            now=now,
        )


def _named(read: CardRead) -> dict[int, str]:
    """The attempts that the read is written down for, each with its marker."""
    ids = {*read.explained_by.values(), *read.paid}
    return {attempt.id: attempt.wanted.marker for attempt in read.card.attempts if attempt.id in ids}


def _still_unexplained(read: CardRead) -> list[ListedOrder]:
    """Without the orders of attempts that were armed on the card while it was being read."""
    if not read.unexplained:
        return []
    known = {attempt.id for attempt in read.card.attempts}
    armed_since = [attempt for attempt in load([read.card.id])[read.card.id].attempts if attempt.id not in known]
    return [order for order in read.unexplained if not any(_made(read, attempt, order) for attempt in armed_since)]


def _made(read: CardRead, attempt: KnownAttempt, order: ListedOrder) -> bool:
    named = attempt.order_id == order.order_id or carries(words_of(read, order), attempt.wanted.marker)
    return named or (attempt.state in UNRESOLVED and fits_order(attempt.wanted, order))
