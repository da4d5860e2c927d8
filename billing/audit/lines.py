"""The sentences of an explanation."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    """What a sentence is about."""

    RULE = "rule"  # what was agreed
    DUE = "due"
    OPENED = "opened"
    REFUSED = "refused"  # it was time, and it was not charged
    PREFLIGHT = "preflight"  # a look at the gateway before another try
    ARMED = "armed"  # an attempt or a refund was written down, to be sent once
    ANSWERED = "answered"
    LOST = "lost"  # no answer will come
    CHECKED = "checked"  # the gateway was asked
    DECIDED = "decided"  # by a person
    PAID = "paid"
    DECLINED = "declined"
    SURPLUS = "surplus"
    REVERSED = "reversed"
    REFUND_ASKED = "refund_asked"
    GIVEN_BACK = "given_back"
    NOT_GIVEN_BACK = "not_given_back"  # a refund ended, and no money went back by it
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
