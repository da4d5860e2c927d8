"""The sentences of an explanation."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

# Who proposed what another person confirmed, by when and by whom it was confirmed.
Proposers = Mapping[tuple[datetime, str], str]


class Kind(StrEnum):
    """What a sentence is about."""

    RULE = "rule"  # what was agreed
    DUE = "due"
    OPENED = "opened"
    REFUSED = "refused"  # it was time, and it was not charged
    PREFLIGHT = "preflight"  # the read of the card's orders before another try
    ARMED = "armed"  # an attempt or a refund was recorded, to be sent once
    ANSWERED = "answered"
    CHECKOUT = "checkout"  # a page of the gateway's on which it can be paid
    LOST = "lost"  # no answer will come
    CHECKED = "checked"  # the gateway was checked
    DECIDED = "decided"  # by a person
    PAID = "paid"
    DECLINED = "declined"
    SURPLUS = "surplus"
    REVERSED = "reversed"
    REFUND_ASKED = "refund_asked"
    GIVEN_BACK = "given_back"
    NOT_GIVEN_BACK = "not_given_back"  # a refund ended without refunding money
    WITH_A_PERSON = "with_a_person"
    ALARM = "alarm"
    SUBSCRIPTION = "subscription"  # it was paused, resumed, cancelled
    STOPPED = "stopped"  # the stop switch
    NOW = "now"
    NEXT = "next"


@dataclass(frozen=True, slots=True)
class Line:
    """One dated sentence. `evidence` names what it rests on: ids of ours, the gateway's transaction and order.

    `rank` orders what happened at one instant."""

    at: datetime
    text: str
    kind: Kind
    evidence: tuple[str, ...]
    rank: int = 0
