"""preflight: before an invoice is tried again, every card it was tried on is read.

A decline may have become money since, at the gateway's own doing; nobody charges before looking. A look counts only
when it began after everything that it must exclude could be seen (`look_from_at`). A card that cannot be read holds its
invoice up; when that lasts, a person decides whether to go on without it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.charging.reading.fetch import fetch
from billing.charging.reading.known import CardRead, KnownCard, Unread, load
from billing.charging.reading.orders import note_unread
from billing.charging.reading.record import record
from billing.domain.arming import LOOK_AGAIN, PREFLIGHT_FRESH, Refusal
from billing.domain.attempts import ENDED_WITHOUT_MONEY, Verdict
from billing.gateway.connection import Gateway, GatewayUnavailableError
from billing.models import GatewayAccount, PaymentMethod
from billing.models.bulk import checking
from billing.operating.clocks import addresses_off
from billing.operating.tuning import Tuning

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=150)
READ_AGAIN = timedelta(seconds=30)
# Of an order that may still become money, though evidence of its attempt shows that none was taken.
UNDECIDED = frozenset({Verdict.IN_PROCESS, Verdict.UNCLEAR})

# What came of reading the cards of one invoice; an error alone: none of them was read.
Outcome = Sequence[CardRead | Unread] | GatewayUnavailableError


@dataclass(frozen=True, slots=True)
class Reading:
    """One leased invoice, with what we know of the cards to read for it."""

    preflight: checking.Preflight
    cards: tuple[KnownCard, ...]
    started_at: datetime


def claim(account: GatewayAccount, *, now: datetime, limit: int) -> list[Reading]:
    """Leases the account's invoices that need a preflight now; to be read without a database, then recorded."""
    if account.api_url in addresses_off(now):
        return []
    leased = checking.claim_preflights(
        account.pk,
        now=now,
        lease=LEASE,
        fresh=PREFLIGHT_FRESH,
        always=account.preflights_always(now),
        limit=limit,
    )
    if not leased:
        return []
    known = load(sorted({card for one in leased for card in one.card_ids}))
    return [
        Reading(one, tuple(known[card] for card in one.card_ids if known[card].gateway_customer_id), now)
        for one in leased
    ]


def read(gateway: Gateway, reading: Reading) -> list[CardRead | Unread]:
    """The network part. One card that cannot be read does not keep the others from being read."""
    return [_read(gateway, card) for card in reading.cards]


def _read(gateway: Gateway, card: KnownCard) -> CardRead | Unread:
    try:
        return fetch(gateway, card)
    except GatewayUnavailableError as error:
        return Unread(card, error)
    except Exception as error:
        logger.exception("preflight: reading card %s failed", card.public_id)
        return Unread(card, GatewayUnavailableError(f"reading failed: {type(error).__name__}"))


def finish(reading: Reading, outcome: Outcome, *, tuning: Tuning, now: datetime) -> None:
    """Records what was read. The invoice may be armed only when nothing was left unexplained, and no card unread but
    those that a person gave up."""
    if isinstance(outcome, GatewayUnavailableError):
        logger.warning("preflight: invoice %s: %s", reading.preflight.invoice_id, outcome)
        return _fail(reading, Refusal.PREFLIGHT_MISSING, READ_AGAIN, now)
    read = [card for card in outcome if isinstance(card, CardRead)]
    unread = [card for card in outcome if isinstance(card, Unread)]
    for card in read:
        record(card, card.findings, tuning=tuning, now=now)
    for missing in unread:
        logger.warning("preflight: card %s could not be read: %s", missing.card.public_id, missing.error)
    note_unread(unread, tuning=tuning, now=now)
    states = _states(unread)
    if any(card.unexplained or card.doubts or _is_undecided(card) for card in read):
        return _fail(reading, Refusal.PREFLIGHT_FOUND_MONEY, LOOK_AGAIN[Refusal.PREFLIGHT_FOUND_MONEY], now)
    if any(states[one.card.id] is None for one in unread):
        return _fail(reading, Refusal.PREFLIGHT_MISSING, READ_AGAIN, now)
    if any(states[one.card.id] == "unreadable" for one in unread):
        return _fail(reading, Refusal.CARD_UNREADABLE, LOOK_AGAIN[Refusal.CARD_UNREADABLE], now)
    if now - reading.started_at > PREFLIGHT_FRESH:  # it took so long that nothing may be armed on it
        return _fail(reading, Refusal.PREFLIGHT_MISSING, READ_AGAIN, now)
    checking.finish_preflight(reading.preflight, read_at=reading.started_at)
    return None


def _is_undecided(read: CardRead) -> bool:
    """Whether the gateway still works on a try that ended without money, or says what nobody understands of it."""
    ended = {attempt.wanted.marker for attempt in read.card.attempts if attempt.state in ENDED_WITHOUT_MONEY}
    return any(found.marker in ended and found.finding.verdict in UNDECIDED for found in read.findings)


def _states(unread: Sequence[Unread]) -> dict[int, str | None]:
    """By card: *unreadable* for so long that a person was asked, *given up* by a person, or None."""
    cards = PaymentMethod.objects.in_bulk([one.card.id for one in unread])
    return {
        pk: "given up" if card.given_up_at else "unreadable" if card.unreadable_at else None
        for pk, card in cards.items()
    }


def _fail(reading: Reading, reason: Refusal, wait: timedelta, now: datetime) -> None:
    checking.fail_preflight(reading.preflight, now=now, again_at=now + wait, refusal=reason.value)
