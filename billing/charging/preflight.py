"""preflight: before an invoice is tried again, every card it was tried on is read.

A decline may have become money since, at the gateway's own doing; nobody charges before looking.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.charging.card_reading import CardRead, KnownCard, fetch, load, record
from billing.charging.limits import Limits
from billing.domain.arming import LOOK_AGAIN, PREFLIGHT_FRESH, Refusal
from billing.gateway.connection import Gateway, GatewayUnavailableError
from billing.models import GatewayAccount
from billing.models.bulk import checking

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=150)


@dataclass(frozen=True, slots=True)
class Reading:
    """One leased invoice, with what we know of the cards to read for it."""

    preflight: checking.Preflight
    cards: tuple[KnownCard, ...]
    begun_at: datetime


def claim(account: GatewayAccount, *, now: datetime, limit: int) -> list[Reading]:
    """Leases the account's invoices that need a preflight now; to be read without a database, then recorded."""
    leased = checking.claim_preflights(
        account.pk,
        now=now,
        lease=LEASE,
        fresh=PREFLIGHT_FRESH,
        always=account.preflight_always,
        limit=limit,
    )
    if not leased:
        return []
    known = load(sorted({card for one in leased for card in one.card_ids}))
    return [
        Reading(one, tuple(known[card] for card in one.card_ids if known[card].gateway_customer_id), now)
        for one in leased
    ]


def read(gateway: Gateway, reading: Reading) -> list[CardRead] | GatewayUnavailableError:
    """The network part."""
    try:
        return [fetch(gateway, card) for card in reading.cards]
    except GatewayUnavailableError as error:
        return error


def finish(
    reading: Reading, outcome: Sequence[CardRead] | GatewayUnavailableError, *, limits: Limits, now: datetime
) -> None:
    """Records what was read. The invoice may be armed only when nothing was left unexplained."""
    reason: Refusal | None = None
    again = now
    if isinstance(outcome, GatewayUnavailableError):
        logger.warning("preflight: invoice %s: %s", reading.preflight.invoice_id, outcome)
        reason = Refusal.PREFLIGHT_MISSING
        again = now + timedelta(seconds=30)
    else:
        for card in outcome:
            record(card, card.findings, limits=limits, now=now)
        if any(card.unexplained for card in outcome):
            reason = Refusal.PREFLIGHT_FOUND_MONEY
            again = now + LOOK_AGAIN[reason]
    if reason is None:
        checking.finish_preflight(reading.preflight, read_at=reading.begun_at)
    else:
        checking.fail_preflight(reading.preflight, now=now, again_at=again, refusal=reason.value)
