"""What a customer can do about an invoice on their own page.

Pure: rows come in as values, and the standing of the invoice goes out. The page shows by it, and the use case refuses
by it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from billing.domain.arming import Refusal
from billing.domain.attempts import UNRESOLVED, AttemptState
from billing.domain.closing import CLOSABLE
from billing.domain.reasons import Reason
from billing.domain.subscriptions import CardState, Hold, InvoiceState

# Whoever holds a payment link, as history names them: nobody has logged in.
PAYER = "payer"
DEFAULT_LINK_DAYS, MOST_LINK_DAYS = 30, 365

# It is charged without anybody's help, as soon as something else is over.
_SOON = frozenset({Refusal.LISTS_MAY_LAG, Refusal.PREFLIGHT_MISSING})


class Standing(StrEnum):
    """What the page says of an invoice."""

    PAYABLE = "payable"
    PROCESSING = "processing"  # a charge is under way, or about to be
    BEING_CHECKED = "being_checked"  # whether a charge took the money is not known yet
    BEHIND_ANOTHER = "behind_another"  # so is another charge on the same card, which comes first
    ON_A_PAGE = "on_a_page"  # somebody may be paying it on a page of the gateway's
    IN_REVIEW = "in_review"  # the merchant decides first
    CARD_NEEDED = "card_needed"  # no card is there that may be charged
    NOT_NOW = "not_now"  # the merchant charges nothing at the moment
    NOT_OWED = "not_owed"  # paid, void, or written off


# No charge is under way and nobody is to decide: it may also be paid on the gateway's page, by another method.
PAID_ON_A_PAGE = frozenset({Standing.PAYABLE, Standing.CARD_NEEDED, Standing.ON_A_PAGE})


@dataclass(frozen=True, slots=True)
class PayerFacts:
    """Everything about an invoice that the page goes by. `card_state` is of the card that would be charged, None
    without one; `card_is_busy`: an attempt on it, of whichever invoice, is unresolved; `card_may_be_tried`: it was not
    declined for good, nor so often that its network forbids another try; `charges_nothing`: the account, or everything,
    is stopped or in quarantine; `page_is_open`: a checkout of the invoice is not over."""

    state: InvoiceState
    state_reason: str
    hold: Hold | None
    proposed: bool
    amount_refunded_minor: int
    attempts: Collection[AttemptState]
    next_attempt_at: datetime | None
    refusal: Refusal | None
    card_state: CardState | None
    card_held: bool
    card_is_busy: bool
    card_may_be_tried: bool
    charges_nothing: bool
    page_is_open: bool


def standing(facts: PayerFacts, now: datetime) -> Standing:
    """The first that applies. A hold is the merchant's to end, except that of a cancelled subscription: what is owed
    from before may be paid by whoever wants to."""
    states = set(facts.attempts)
    open_to_payers = facts.hold in (None, Hold.SUBSCRIPTION_CANCELED) and not facts.proposed
    due = facts.next_attempt_at is not None and (facts.next_attempt_at <= now or facts.refusal in _SOON)
    checks = (
        (facts.state not in CLOSABLE or facts.state_reason == Reason.WRITTEN_OFF, Standing.NOT_OWED),
        (AttemptState.SENDING in states, Standing.PROCESSING),
        (bool(states & UNRESOLVED), Standing.BEING_CHECKED),
        (
            not open_to_payers or facts.amount_refunded_minor > 0 or AttemptState.SURPLUS in states or facts.card_held,
            Standing.IN_REVIEW,
        ),
        (facts.charges_nothing, Standing.NOT_NOW),
        (facts.page_is_open, Standing.ON_A_PAGE),
        (facts.card_is_busy, Standing.BEHIND_ANOTHER),
        (due, Standing.PROCESSING),
        (facts.card_state is not CardState.ACTIVE or not facts.card_may_be_tried, Standing.CARD_NEEDED),
    )
    return next((found for applies, found in checks if applies), Standing.PAYABLE)
