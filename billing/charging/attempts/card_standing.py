"""Where cards stand after their declines, decided anew when one is settled, paid, or judged otherwise by a person."""

from collections.abc import Collection
from datetime import datetime

from billing.domain.arming import FOR_ITS_DECLINES
from billing.domain.card_limits import DeclinedTry, Held, Standing, network_of, standing, why_held
from billing.domain.declines import kind_of
from billing.domain.reason_words import reason_words
from billing.domain.reasons import Reason
from billing.models import Invoice, PaymentMethod
from billing.models.bulk import card_limits
from billing.models.bulk.card_limits import Rulings, Stands, Tried
from billing.models.bulk.history import NewTransition, record_transitions
from billing.subscriptions.waking import wake

FREE, FROZEN = "free", "frozen"


def recount(card_ids: Collection[int], *, actor: str, now: datetime) -> None:
    """In the caller's transaction, which holds the cards locked: freezes them, lets them rest, or frees them, each with
    its line of history. What waited for one that is free again is due."""
    if not card_ids:
        return
    cards = card_limits.tried(sorted(card_ids))
    rulings = {account: card_limits.rulings_of(account) for account in {card.account_id for card in cards}}
    stands = [(card, _standing(card, rulings[card.account_id], now)) for card in cards]
    card_limits.write_standings([_columns(card, new, now) for card, new in stands])
    moves = [_move(card, new) for card, new in stands if (card.frozen_by is None) != (new.frozen_by is None)]
    record_transitions(moves, actor=actor, now=now)
    freed = {card.id for card, new in stands if _is_freer(card, new)}
    for refusal in FOR_ITS_DECLINES:
        wake(freed, refusal, now=now)


def _standing(card: Tried, rulings: Rulings, now: datetime) -> Standing:
    """A decline that is still to come was made while the clock was ahead: it is taken for one of now."""
    declined = [DeclinedTry(min(at, now), code, kind_of(code, rulings), own) for at, code, own in card.declined]
    return standing(declined, paid_at=card.paid_at, network=network_of(card.label))


def _columns(card: Tried, new: Standing, now: datetime) -> Stands:
    frozen_at = None if new.frozen_by is None else card.frozen_at or now
    return Stands(card.id, frozen_at, new.frozen_by, new.rests_until, new.capped_until, new.declined_at)


def _is_freer(card: Tried, new: Standing) -> bool:
    before = (card.rests_until, new.rests_until), (card.capped_until, new.capped_until)
    sooner = any(old is not None and (later is None or later < old) for old, later in before)
    return new.frozen_by is None and (card.frozen_by is not None or sooner)


def _move(card: Tried, new: Standing) -> NewTransition:
    return NewTransition(
        account_id=card.account_id,
        subject_type="card",
        subject_id=card.id,
        from_state=FREE if new.frozen_by else FROZEN,
        to_state=FROZEN if new.frozen_by else FREE,
        reason=new.frozen_by or Reason.DECLINES_FORGIVEN,
    )


def why_not_tried(card: PaymentMethod, now: datetime) -> str | None:
    """Why nobody, whoever asks, may have this card tried at `now`, as the end of a sentence; None: it may be tried."""
    found = Standing(card.frozen_by, card.rests_until, card.capped_until, card.declined_at)
    held = why_held(found, asked_for=True, now=now)
    if held is None:
        return None
    if held[0] is Held.FROZEN:
        return f"was declined for good ({reason_words(card.frozen_by or '')}); another card is needed"
    return f"was declined so often that its network allows no try before {held[1]:%Y-%m-%d %H:%M} UTC"


def card_of(invoice: Invoice) -> PaymentMethod | None:
    """The card that the invoice would be charged on: its own, else its subscription's, else the customer's default."""
    if invoice.payment_method is not None:
        return invoice.payment_method
    if invoice.subscription is not None and invoice.subscription.payment_method is not None:
        return invoice.subscription.payment_method
    return PaymentMethod.objects.filter(customer_id=invoice.customer_id, is_default=True).first()
