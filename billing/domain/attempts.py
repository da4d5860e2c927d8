"""What one try to collect an invoice can be, and what evidence does to it.

`decide` is the only place where a state is chosen. It is pure and total: every pair of state and
verdict has an answer. Time alone never closes an attempt, and what is not understood is *unknown*.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, assert_never


class AttemptState(StrEnum):
    SENDING = "sending"  # armed: the one POST may be leaving, on its way, or lost with its process
    SUCCEEDED = "succeeded"  # money taken, and this attempt pays the invoice
    DECLINED = "declined"  # the gateway said FAILED
    NOT_SENT = "not_sent"  # provably nothing was executed; costs no try
    IN_PROCESS = "in_process"  # the gateway has it and has not finished
    UNKNOWN = "unknown"  # the money may or may not have moved
    NOT_CHARGED = "not_charged"  # was unknown; shown by evidence that no money moved
    NEEDS_HUMAN = "needs_human"  # evidence contradicts or is exhausted: a person decides
    SURPLUS = "surplus"  # money that arrived although the invoice had its money or owed none
    REVERSED = "reversed"  # the gateway took a success back


S = AttemptState
HOLDS_PLACE = frozenset({S.SENDING, S.UNKNOWN, S.IN_PROCESS, S.NEEDS_HUMAN, S.SUCCEEDED})
UNRESOLVED = frozenset({S.SENDING, S.UNKNOWN, S.IN_PROCESS, S.NEEDS_HUMAN})
ENDED_WITHOUT_MONEY = frozenset({S.DECLINED, S.NOT_SENT, S.NOT_CHARGED})
HAS_MONEY = frozenset({S.SUCCEEDED, S.SURPLUS})

# Every move that the database lets happen (trigger attempts_move_only_along_the_table).
MOVES: frozenset[tuple[AttemptState, AttemptState]] = frozenset(
    {
        *((S.SENDING, to) for to in (S.SUCCEEDED, S.DECLINED, S.NOT_SENT, S.IN_PROCESS, S.UNKNOWN)),
        *((S.SENDING, to) for to in (S.NEEDS_HUMAN, S.SURPLUS)),
        *(
            (waiting, to)
            for waiting in (S.UNKNOWN, S.IN_PROCESS)
            for to in (S.SUCCEEDED, S.DECLINED, S.NOT_CHARGED, S.NEEDS_HUMAN, S.SURPLUS)
        ),
        *((S.NEEDS_HUMAN, to) for to in (S.SUCCEEDED, S.DECLINED, S.NOT_CHARGED, S.SURPLUS)),
        *((ended, to) for ended in ENDED_WITHOUT_MONEY for to in (S.SUCCEEDED, S.SURPLUS)),
        (S.SURPLUS, S.SUCCEEDED),
        (S.SUCCEEDED, S.REVERSED),
        (S.SURPLUS, S.REVERSED),
    }
)


# Why an attempt is *not charged*, or *reversed*: its transaction had taken the money and given it back.
FOUND_REVERSED = "reversed_at_the_gateway"


class Source(StrEnum):
    """Who told us."""

    ANSWER = "answer"  # the HTTP answer to the one POST, or the lack of one
    ORDER_LIST = "order_list"  # a complete read of the card's orders, with the transactions behind them
    TRANSACTION_QUERY = "transaction_query"
    SWEEPER = "sweeper"
    COMMIT_UNACKNOWLEDGED = "commit_unacknowledged"  # arm's COMMIT raised, so nothing was sent
    HOLDER_ENDED = "holder_ended"  # the attempt that held the invoice ended without money
    OPERATOR = "operator"


class Verdict(StrEnum):
    """What we were told."""

    PAID = "paid"
    DECLINED = "declined"
    IN_PROCESS = "in_process"
    REVERSED = "reversed"
    NOT_SENT = "not_sent"
    UNCLEAR = "unclear"
    ABSENT = "absent"
    ABSENT_AT_LAST = "absent_at_last"  # the last rung of the ladder
    ABSENT_FOR_LONG = "absent_for_long"  # absent after the window that the account proved and set
    CONTRADICTION = "contradiction"  # two candidates, an unproved marker, a refunded order, …
    PERSON_NOT_CHARGED = "person_not_charged"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing we were told about an attempt, in our own words.

    `detail` is what is kept verbatim but redacted; `amount_minor` is in the currency's minor unit;
    `marker` is the marker seen in the gateway's record (None: the record echoed none).
    """

    verdict: Verdict
    source: Source
    reason: str = ""
    amount_minor: int | None = None
    currency: str | None = None
    store_id: str | None = None
    gateway_customer_id: str | None = None
    marker: str | None = None
    transaction_id: str | None = None
    order_id: str | None = None
    retry_after_seconds: int | None = None
    stops_account: bool = False
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """What `decide` needs to know of the attempt and of what surrounds it."""

    state: AttemptState
    amount_minor: int
    currency: str
    store_id: str
    gateway_customer_id: str
    marker: str
    armed_at: datetime
    transaction_id: str | None
    place_taken: bool  # another attempt of the invoice holds the place
    money_wanted: bool  # the invoice is open or uncollectible: money for it is still owed
    transaction_claimed: bool = False  # another attempt already carries the finding's transaction
    found_reversed: bool = False  # it ended because its own transaction was seen reversed


@dataclass(frozen=True, slots=True)
class Move:
    to: AttemptState
    reason: str


@dataclass(frozen=True, slots=True)
class Stay:
    reason: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """The state stands, but a person must hear of it: the evidence contradicts what is recorded."""

    reason: str


def decide(
    attempt: AttemptFacts, finding: Finding, *, now: datetime, reversed_settles_after: timedelta
) -> Move | Stay | Alarm:
    """What `finding` does to `attempt`; `reversed_settles_after` is how old an attempt must be before a
    reversal seen at the gateway closes it."""
    state = attempt.state
    if state is S.NEEDS_HUMAN and finding.source is not Source.OPERATOR:
        return Alarm("evidence_while_with_a_person") if finding.verdict is Verdict.PAID else Stay("with_a_person")
    match finding.verdict:
        case Verdict.PAID:
            return _paid(attempt, finding)
        case Verdict.DECLINED:
            return _declined(attempt, finding)
        case Verdict.IN_PROCESS:
            return Move(S.IN_PROCESS, "in_process") if state is S.SENDING else Stay("still_in_process")
        case Verdict.REVERSED:
            return _reversed(attempt, finding, now=now, settles_after=reversed_settles_after)
        case Verdict.NOT_SENT:
            if state is S.SENDING:
                return Move(S.NOT_SENT, finding.reason)
            # The sweeper was first: the attempt had become unknown, and now it is shown that nothing left.
            return Move(S.NOT_CHARGED, finding.reason) if state in UNRESOLVED else Stay("already_ended")
        case Verdict.UNCLEAR:
            return Move(S.UNKNOWN, finding.reason) if state is S.SENDING else Stay("still_unclear")
        case Verdict.ABSENT:
            return Stay("absent")
        case Verdict.ABSENT_FOR_LONG:
            return Move(S.NOT_CHARGED, "absent_for_long") if state is S.UNKNOWN else Stay("absent")
        case Verdict.ABSENT_AT_LAST | Verdict.CONTRADICTION:
            return _to_a_person(state, finding)
        case Verdict.PERSON_NOT_CHARGED:
            return Move(S.NOT_CHARGED, finding.reason) if state is S.NEEDS_HUMAN else Stay("not_with_a_person")
        case _:
            assert_never(finding.verdict)


def mismatch(attempt: AttemptFacts, finding: Finding) -> str | None:
    """Why a success cannot be this attempt's, or None. A field that the gateway left out is not compared."""
    if finding.amount_minor != attempt.amount_minor:
        return "amount_differs"
    if finding.currency != attempt.currency:
        return "currency_differs"
    if finding.store_id is not None and attempt.store_id and finding.store_id != attempt.store_id:
        return "store_differs"
    return _anothers(attempt, finding) or (None if finding.transaction_id else "transaction_id_missing")


def _anothers(attempt: AttemptFacts, finding: Finding) -> str | None:
    """Why what was said is about another attempt, or None."""
    if finding.gateway_customer_id is not None and finding.gateway_customer_id != attempt.gateway_customer_id:
        return "card_differs"
    if finding.marker is not None and finding.marker != attempt.marker:
        return "marker_differs"
    return "transaction_id_claimed" if attempt.transaction_claimed else None


def _declined(attempt: AttemptFacts, finding: Finding) -> Move | Stay | Alarm:
    state = attempt.state
    if state in HAS_MONEY:
        return Alarm("declined_after_money")
    if state not in UNRESOLVED:
        return Stay("already_ended")
    if wrong := _anothers(attempt, finding):
        return Alarm(wrong) if state is S.NEEDS_HUMAN else Move(S.NEEDS_HUMAN, wrong)
    return Move(S.DECLINED, finding.reason)


def _paid(attempt: AttemptFacts, finding: Finding) -> Move | Stay | Alarm:
    state = attempt.state
    if finding.source is Source.HOLDER_ENDED:
        heir = state is S.SURPLUS and attempt.money_wanted and not attempt.place_taken
        return Move(S.SUCCEEDED, "holder_ended_without_money") if heir else Stay("no_heir")
    if state in HAS_MONEY:
        known = attempt.transaction_id in (None, finding.transaction_id)
        return Stay("already_paid") if known else Alarm("second_transaction")
    if state is S.REVERSED or (attempt.found_reversed and finding.transaction_id == attempt.transaction_id):
        return Alarm("paid_after_reversal")  # an answer that was kept, for one, is older than what was read since
    if wrong := mismatch(attempt, finding):
        if state in UNRESOLVED and state is not S.NEEDS_HUMAN:
            return Move(S.NEEDS_HUMAN, wrong)
        return Alarm(wrong)
    if attempt.place_taken or not attempt.money_wanted:
        return Move(S.SURPLUS, "money_not_owed")
    return Move(S.SUCCEEDED, "late_money" if state in ENDED_WITHOUT_MONEY else finding.reason or "paid")


def _reversed(
    attempt: AttemptFacts, finding: Finding, *, now: datetime, settles_after: timedelta
) -> Move | Stay | Alarm:
    state = attempt.state
    if state in HAS_MONEY:
        if finding.transaction_id and finding.transaction_id != attempt.transaction_id:
            return Alarm("reversal_of_another_transaction")
        return Move(S.REVERSED, FOUND_REVERSED)
    if state is S.SENDING:
        return Move(S.UNKNOWN, "reversed_at_first")
    if state in UNRESOLVED and now - attempt.armed_at >= settles_after:
        return Move(S.NOT_CHARGED, FOUND_REVERSED)
    return Stay("reversed")


def _to_a_person(state: AttemptState, finding: Finding) -> Move | Stay | Alarm:
    if state in UNRESOLVED and state is not S.NEEDS_HUMAN:
        return Move(S.NEEDS_HUMAN, finding.reason or finding.verdict.value)
    return Alarm(finding.reason) if finding.verdict is Verdict.CONTRADICTION else Stay("already_ended")


# --- words and times around an attempt -----------------------------------------------------------------

# Waits before the next try when nothing was executed, in minutes; the last one repeats.
NOT_SENT_WAITS = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15), timedelta(minutes=60))
NOT_SENT_LIMIT = 20  # this many in a row stop the account
MOST_RETRY_AFTER = timedelta(hours=24)


def wait_after_not_sent(in_a_row: int, retry_after_seconds: int | None) -> timedelta:
    """How long an invoice waits after its `in_a_row`-th (from 1) attempt that was not sent."""
    if retry_after_seconds is not None:
        most = int(MOST_RETRY_AFTER.total_seconds())
        return timedelta(seconds=min(max(retry_after_seconds, 1), most))
    return NOT_SENT_WAITS[min(max(in_a_row, 1), len(NOT_SENT_WAITS)) - 1]


def next_check(armed_at: datetime, ladder: tuple[timedelta, ...], checks_done: int, now: datetime) -> datetime | None:
    """When the next complete read is due after `checks_done` of them, or None when the ladder is exhausted.

    Rungs count from arming. Those that passed during an outage are made up for one first rung apart, so that the
    gateway has time to show what it has."""
    if checks_done >= len(ladder):
        return None
    at = armed_at + ladder[checks_done]
    return at if at > now else now + ladder[0]


TITLE_LENGTH = 32
DESCRIPTION_LENGTH = 600
_FORBIDDEN = frozenset("<>&'\"\\")


@lru_cache(maxsize=4096)
def plain(text: str) -> str:
    """`text` without what the gateway's signature libraries disagree on (GATEWAY notes, section 3)."""
    kept = "".join(c if " " <= c <= "~" and c not in _FORBIDDEN else " " for c in text)
    return " ".join(kept.split())


def charge_title(name: str, marker: str) -> str:
    """At most 32 characters; the marker is the last word."""
    return f"{plain(name)[: TITLE_LENGTH - len(marker) - 1].strip()} {marker}".strip()


def charge_description(name: str, invoice_id: str, marker: str) -> str:
    """At most 600 characters; the marker is the first word."""
    return f"{marker} {plain(invoice_id)} {plain(name)}"[:DESCRIPTION_LENGTH].strip()
