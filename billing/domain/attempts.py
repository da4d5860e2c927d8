"""What one try to collect an invoice can be, and what evidence does to it.

`decide` is the only place where a state is chosen. It is pure and total: every pair of state and
verdict has an answer. Time alone never closes an attempt, and what is not understood is *unknown*.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, assert_never

from billing.domain.reasons import Reason


class AttemptState(StrEnum):
    SENDING = "sending"  # armed: the one POST may be leaving, on its way, or lost with its process
    SUCCEEDED = "succeeded"  # money taken, and this attempt pays the invoice
    DECLINED = "declined"  # the gateway answered FAILED
    NOT_SENT = "not_sent"  # provably nothing was executed; costs no try
    IN_PROCESS = "in_process"  # the gateway has it and has not finished
    UNKNOWN = "unknown"  # the money may or may not have moved
    NOT_CHARGED = "not_charged"  # was unknown; shown by evidence that no money moved
    NEEDS_REVIEW = "needs_review"  # evidence contradicts or is exhausted: a person decides
    SURPLUS = "surplus"  # money that arrived although the invoice had its money or owed none
    REVERSED = "reversed"  # the gateway took a success back


S = AttemptState
HOLDS_PLACE = frozenset({S.SENDING, S.UNKNOWN, S.IN_PROCESS, S.NEEDS_REVIEW, S.SUCCEEDED})
UNRESOLVED = frozenset({S.SENDING, S.UNKNOWN, S.IN_PROCESS, S.NEEDS_REVIEW})
CHECKED = frozenset({S.UNKNOWN, S.IN_PROCESS})  # read at the gateway until evidence closes them
ENDED_WITHOUT_MONEY = frozenset({S.DECLINED, S.NOT_SENT, S.NOT_CHARGED})
HAS_MONEY = frozenset({S.SUCCEEDED, S.SURPLUS})

# Every move that the database lets happen (trigger attempts_move_only_along_the_table).
MOVES: frozenset[tuple[AttemptState, AttemptState]] = frozenset(
    {
        *((S.SENDING, to) for to in (S.SUCCEEDED, S.DECLINED, S.NOT_SENT, S.IN_PROCESS, S.UNKNOWN)),
        *((S.SENDING, to) for to in (S.NEEDS_REVIEW, S.SURPLUS)),
        *(
            (waiting, to)
            for waiting in (S.UNKNOWN, S.IN_PROCESS)
            for to in (S.SUCCEEDED, S.DECLINED, S.NOT_CHARGED, S.NEEDS_REVIEW, S.SURPLUS)
        ),
        *((S.NEEDS_REVIEW, to) for to in (S.SUCCEEDED, S.DECLINED, S.NOT_CHARGED, S.SURPLUS)),
        *((ended, to) for ended in ENDED_WITHOUT_MONEY for to in (S.SUCCEEDED, S.SURPLUS)),
        (S.SURPLUS, S.SUCCEEDED),
        (S.SUCCEEDED, S.REVERSED),
        (S.SURPLUS, S.REVERSED),
    }
)


class Source(StrEnum):
    """Where a finding comes from."""

    ANSWER = "answer"  # the HTTP answer to the one POST, or the lack of one
    ORDER_LIST = "order_list"  # a complete read of the card's orders, with the transactions behind them
    TRANSACTION_QUERY = "transaction_query"
    SWEEPER = "sweeper"
    COMMIT_UNACKNOWLEDGED = "commit_unacknowledged"  # arm's COMMIT raised, so nothing was sent
    HOLDER_ENDED = "holder_ended"  # the attempt that held the invoice ended without money
    OPERATOR = "operator"


class Verdict(StrEnum):
    """What a finding means for the money."""

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
    """What one response, order list or decision shows about an attempt.

    `detail` is what is kept verbatim but redacted; `amount_minor` is in the currency's minor unit;
    `marker` is the marker seen in the gateway's record (None: the record echoed none). `nothing_left`: provably no
    byte of the request left this machine. `read_at` is when the complete read began that was made for this attempt.
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
    kind: str = ""  # of a failure, as the gateway's client calls it: connect, timeout, signature, validation, …
    nothing_left: bool = False
    read_at: datetime | None = None
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
    transaction_reversed: bool = False  # the finding's transaction was seen reversed
    found_reversed: bool = False  # it ended because its own transaction was seen reversed


@dataclass(frozen=True, slots=True)
class Move:
    to: AttemptState
    reason: str


@dataclass(frozen=True, slots=True)
class Stay:
    """The state stands, and nobody needs to know."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """The state stands, but an alarm is recorded: the evidence contradicts what is recorded."""

    reason: str


def decide(
    attempt: AttemptFacts, finding: Finding, *, now: datetime, reversed_settles_after: timedelta
) -> Move | Stay | Alarm:
    """What `finding` does to `attempt`; `reversed_settles_after` is how old an attempt must be before a
    reversal seen at the gateway closes it."""
    state = attempt.state
    if state is S.NEEDS_REVIEW and finding.source is not Source.OPERATOR:
        return Alarm(Reason.EVIDENCE_WHILE_WITH_A_PERSON) if finding.verdict is Verdict.PAID else Stay()
    match finding.verdict:
        case Verdict.PAID:
            return _paid(attempt, finding)
        case Verdict.DECLINED:
            return _declined(attempt, finding)
        case Verdict.IN_PROCESS:
            return Move(S.IN_PROCESS, Reason.IN_PROCESS) if state is S.SENDING else Stay()
        case Verdict.REVERSED:
            return _reversed(attempt, finding, now=now, settles_after=reversed_settles_after)
        case Verdict.NOT_SENT:
            if state is S.SENDING:
                return Move(S.NOT_SENT, finding.reason)
            if state is S.IN_PROCESS:  # the gateway's own record of it outweighs an answer that says it has none
                return Stay()
            # The sweeper was first: the attempt had become unknown, and now it is shown that nothing left.
            return Move(S.NOT_CHARGED, finding.reason) if state in UNRESOLVED else Stay()
        case Verdict.UNCLEAR:
            return Move(S.UNKNOWN, finding.reason) if state is S.SENDING else Stay()
        case Verdict.ABSENT:
            return Stay()
        case Verdict.ABSENT_FOR_LONG:
            return Move(S.NOT_CHARGED, Reason.ABSENT_FOR_LONG) if state is S.UNKNOWN else Stay()
        case Verdict.ABSENT_AT_LAST | Verdict.CONTRADICTION:
            return _to_a_person(state, finding)
        case Verdict.PERSON_NOT_CHARGED:
            return Move(S.NOT_CHARGED, finding.reason) if state is S.NEEDS_REVIEW else Stay()
        case _:
            assert_never(finding.verdict)


def mismatch(attempt: AttemptFacts, finding: Finding) -> Reason | None:
    """Why a success cannot be this attempt's, or None. A field that the gateway left out is not compared."""
    if finding.amount_minor != attempt.amount_minor:
        return Reason.AMOUNT_DIFFERS
    if finding.currency != attempt.currency:
        return Reason.CURRENCY_DIFFERS
    if finding.store_id is not None and attempt.store_id and finding.store_id != attempt.store_id:
        return Reason.STORE_DIFFERS
    return _anothers(attempt, finding) or (None if finding.transaction_id else Reason.TRANSACTION_ID_MISSING)


def _anothers(attempt: AttemptFacts, finding: Finding) -> Reason | None:
    """Why the finding is about another attempt, or None."""
    if finding.gateway_customer_id is not None and finding.gateway_customer_id != attempt.gateway_customer_id:
        return Reason.CARD_DIFFERS
    if finding.marker is not None and finding.marker != attempt.marker:
        return Reason.MARKER_DIFFERS
    return Reason.TRANSACTION_ID_CLAIMED if attempt.transaction_claimed else None


def _declined(attempt: AttemptFacts, finding: Finding) -> Move | Stay | Alarm:
    state = attempt.state
    if state in HAS_MONEY:
        return Alarm(Reason.DECLINED_AFTER_MONEY)
    if state not in UNRESOLVED:
        return Stay()
    if wrong := _anothers(attempt, finding):
        return Alarm(wrong) if state is S.NEEDS_REVIEW else Move(S.NEEDS_REVIEW, wrong)
    return Move(S.DECLINED, finding.reason)


def _paid(attempt: AttemptFacts, finding: Finding) -> Move | Stay | Alarm:
    state = attempt.state
    if finding.source is Source.HOLDER_ENDED:
        heir = state is S.SURPLUS and attempt.money_wanted and not attempt.place_taken
        return Move(S.SUCCEEDED, Reason.HOLDER_ENDED_WITHOUT_MONEY) if heir else Stay()
    if state in HAS_MONEY:
        known = attempt.transaction_id in (None, finding.transaction_id)
        return Stay() if known else Alarm(Reason.SECOND_TRANSACTION)
    found_reversed = attempt.found_reversed and finding.transaction_id == attempt.transaction_id
    if state is S.REVERSED or attempt.transaction_reversed or found_reversed:
        return Alarm(Reason.PAID_AFTER_REVERSAL)  # an answer that was kept, for one, is older than what was read since
    if wrong := mismatch(attempt, finding):
        if state in UNRESOLVED and state is not S.NEEDS_REVIEW:
            return Move(S.NEEDS_REVIEW, wrong)
        return Alarm(wrong)
    if attempt.place_taken or not attempt.money_wanted:
        return Move(S.SURPLUS, Reason.MONEY_NOT_OWED)
    return Move(S.SUCCEEDED, Reason.LATE_MONEY if state in ENDED_WITHOUT_MONEY else finding.reason or Reason.PAID)


def _reversed(
    attempt: AttemptFacts, finding: Finding, *, now: datetime, settles_after: timedelta
) -> Move | Stay | Alarm:
    state = attempt.state
    if state in HAS_MONEY:
        if finding.transaction_id and finding.transaction_id != attempt.transaction_id:
            return Alarm(Reason.REVERSAL_OF_ANOTHER_TRANSACTION)
        return Move(S.REVERSED, Reason.REVERSED_AT_THE_GATEWAY)
    if state is S.SENDING:
        return Move(S.UNKNOWN, Reason.REVERSED_AT_FIRST)
    if state in UNRESOLVED and now - attempt.armed_at >= settles_after:
        return Move(S.NOT_CHARGED, Reason.REVERSED_AT_THE_GATEWAY)
    return Stay()


def _to_a_person(state: AttemptState, finding: Finding) -> Move | Stay | Alarm:
    if state in UNRESOLVED and state is not S.NEEDS_REVIEW:
        return Move(S.NEEDS_REVIEW, finding.reason or finding.verdict.value)
    return Alarm(finding.reason) if finding.verdict is Verdict.CONTRADICTION else Stay()


# --- words and times around an attempt -----------------------------------------------------------------

# Waits before the next try when nothing was executed, in minutes; the last one repeats.
NOT_SENT_WAITS = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15), timedelta(minutes=60))
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
