"""A page of the gateway's on which an invoice is paid: when it is opened, when it is looked at, when it is over.

Nothing here is evidence of money: that is a transaction, and it becomes an attempt. A page only says how long the card
is left alone, and when the gateway is asked again.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from billing.domain.attempts import HOLDS_PLACE, AttemptState
from billing.domain.closing import CLOSABLE
from billing.domain.resolution import Refused
from billing.domain.subscriptions import Hold, InvoiceState


class CheckoutState(StrEnum):
    CREATING = "creating"  # on record; the gateway was perhaps asked for its page, which nobody was shown
    OPEN = "open"  # its page was handed out
    PAID = "paid"  # a payment of it is an attempt
    CLOSED = "closed"  # its page is over without a payment; the gateway is asked about it for a while all the same


CS = CheckoutState
LIVE = frozenset({CS.CREATING, CS.OPEN})  # somebody may be paying: no card is charged for the invoice
CHECKOUT_MOVES: frozenset[tuple[CheckoutState, CheckoutState]] = frozenset(
    {
        *((CS.CREATING, to) for to in (CS.OPEN, CS.PAID, CS.CLOSED)),
        *((CS.OPEN, to) for to in (CS.PAID, CS.CLOSED)),
        (CS.CLOSED, CS.PAID),  # the bank's word came late
    }
)

# How long the page is handed out: the gateway's published example is open for ten minutes.
PAGE_FOR = timedelta(minutes=10)
# A page with less left than this is not handed out again.
LEAST_LEFT = timedelta(minutes=2)
# Whoever pressed the button at the last moment is at the bank meanwhile.
GRACE = timedelta(minutes=5)
# The call that makes the page has certainly ended, and its process found its row closed.
CREATING_FOR = timedelta(minutes=3)
# However little the gateway says, a card is left alone for no longer.
EXCLUDES_FOR = timedelta(hours=24)
# When the gateway is asked, counted from the checkout's creation. The last look is later than the daily reports.
LOOKS_AFTER = (
    *(timedelta(minutes=minutes) for minutes in (1, 2, 4, 8, 15, 20, 30)),
    *(timedelta(hours=hours) for hours in (1, 2, 6, 12, 24)),
    *(timedelta(days=days) for days in (2, 3, 4, 5, 6, 7)),
)
# A payment may be taken back by the gateway soon after it; a paid checkout is looked at for so long.
PAID_LOOKS_UNTIL = timedelta(hours=24)
FIRST_PAUSE = timedelta(seconds=30)


class Shown(StrEnum):
    """What the gateway shows of the payment of a checkout."""

    NOTHING = "nothing"  # it knows no transaction of the order
    FAILED = "failed"
    UNDER_WAY = "under_way"
    PAID = "paid"
    UNCLEAR = "unclear"  # another amount, money that went back, a status that is not understood


def next_look(created_at: datetime, now: datetime, *, paid: bool = False) -> datetime | None:
    """When the gateway is asked next about a checkout; None: it is left to the daily reports."""
    steps = [step for step in LOOKS_AFTER if not paid or step <= PAID_LOOKS_UNTIL]
    return next((created_at + step for step in steps if created_at + step > now), None)


def look_after_failure(created_at: datetime, failures: int, now: datetime) -> datetime:
    """When it is asked again after the `failures`-th (from 1) look in a row that got no answer."""
    doubled: int = 2 ** min(max(failures, 1) - 1, 8)
    pause = FIRST_PAUSE * doubled
    planned = next_look(created_at, now)
    return min(now + pause, planned) if planned else now + pause


def is_over(
    state: CheckoutState,
    shown: Shown | None,
    *,
    page_over: bool,
    created_at: datetime,
    expires_at: datetime,
    excludes_until: datetime,
    read_at: datetime,
) -> bool:
    """Whether a look that began at `read_at` ends the checkout. `shown` None: the gateway could not be asked.

    `page_over`: the gateway says that the page was cancelled or has expired."""
    if state not in LIVE:
        return False
    if read_at >= excludes_until:
        return True
    if shown not in (Shown.NOTHING, Shown.FAILED):
        return False
    ends = created_at + CREATING_FOR if state is CS.CREATING else expires_at + GRACE
    return page_over or read_at >= ends


@dataclass(frozen=True, slots=True)
class OpeningFacts:
    """What is read under the locks before a page is opened. `surplus`: an overpayment that was not wholly refunded;
    `card_held`: something about a card of the customer is unexplained; `live_until`: another page may be being paid."""

    invoice_state: InvoiceState
    hold: Hold | None
    account_stopped: bool
    collected_by_gateway: bool
    amount_refunded_minor: int
    attempts: tuple[tuple[str, AttemptState], ...]
    surplus: bool
    card_held: bool
    look_from_at: datetime | None
    live_until: datetime | None


_HOLDS_THAT_WAIT = frozenset({Hold.REVERSED, Hold.PROPOSAL, Hold.PRICE_JUMPED, Hold.CATCH_UP})


def refuse_opening(facts: OpeningFacts, now: datetime) -> Refused | None:
    """Why no page may be opened now, or None."""
    if facts.invoice_state not in CLOSABLE:
        return Refused("invoice", "state", f"must be open or uncollectible; it is {facts.invoice_state}")
    if facts.account_stopped:
        return Refused("account", "state", "must be charging; it is stopped or in quarantine")
    for public_id, state in facts.attempts:
        if state in HOLDS_PLACE:
            message = (
                f"attempt {public_id} is {state.replace('_', ' ')} and may have taken the money; its outcome must "
            )
            return Refused("invoice", "state", message + "be known first")
    lists_lag = facts.look_from_at is not None and facts.look_from_at > now
    until = f"{facts.live_until:%Y-%m-%dT%H:%M:%SZ}" if facts.live_until else ""
    from_at = f"{facts.look_from_at:%Y-%m-%dT%H:%M:%SZ}" if facts.look_from_at else ""
    checks = (
        (facts.live_until is not None, f"may be being paid on another page; ask again after {until}"),
        (facts.collected_by_gateway, "is collected by the gateway's own schedule"),
        (facts.hold in _HOLDS_THAT_WAIT, "needs review before it can be paid"),
        (facts.surplus, "has an overpayment that must be refunded or used first"),
        (facts.amount_refunded_minor > 0, "was refunded; a person decides what is owed"),
        (facts.card_held, "waits until an unexplained payment of its customer is reviewed"),
        (lists_lag, f"the gateway need not show yet what the last charge did; ask again after {from_at}"),
    )
    return next((Refused("invoice", "state", why) for fails, why in checks if fails), None)
