"""What giving money back can be, and what evidence does to it.

A refund has the three phases of a charge and the same rule: one request, sent once, closed by evidence only.
`decide` is the only place where a state is chosen; it is pure and total. A refund has one request for life: one
that was not sent is final, and whoever still wants it asks again. Nobody waits at a till for a refund, a person
asked for it and is told why it failed, and what most often keeps a request from leaving (a wrong key, a path, a
permission) does not heal by itself.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, assert_never


class RefundState(StrEnum):
    REQUESTED = "requested"  # asked for; nothing was sent yet
    SENDING = "sending"  # armed: the one POST may be leaving, on its way, or lost with its process
    SUCCEEDED = "succeeded"  # the money goes back
    REFUSED = "refused"  # the gateway looked at it and said no
    NOT_SENT = "not_sent"  # provably nothing was executed: it could not be sent, or was withdrawn
    UNKNOWN = "unknown"  # the money may or may not go back
    NOT_REFUNDED = "not_refunded"  # was unknown; shown that no money goes back
    NEEDS_HUMAN = "needs_human"  # evidence contradicts or is exhausted: a person decides


class RefundKind(StrEnum):
    FULL = "full"  # everything that the attempt took, nothing of which was given back before
    PARTIAL = "partial"  # a part, or what is left after earlier parts
    REVERSE = "reverse"  # the payment itself is taken back, as if it had not been


class RefundOrigin(StrEnum):
    ENGINE = "engine"  # asked for here
    GATEWAY = "gateway"  # made in the gateway's own portal, and seen there


R = RefundState
# May still give money back: one of these at most for an attempt.
OPEN = frozenset({R.REQUESTED, R.SENDING, R.UNKNOWN, R.NEEDS_HUMAN})
MAY_HAVE_ACTED = frozenset({R.SENDING, R.UNKNOWN, R.NEEDS_HUMAN})
ENDED_WITHOUT_REFUND = frozenset({R.REFUSED, R.NOT_SENT, R.NOT_REFUNDED})
GIVEN_BACK = frozenset({R.SUCCEEDED})
# Looked at when their time has come: to be armed, or asked about at the gateway.
WAITING = frozenset({R.REQUESTED, R.UNKNOWN})

# Every move that the database lets happen (trigger refunds_move_only_along_the_table). Nothing leads out of an end:
# money that turns out to have gone back after all is written down as a refund seen at the gateway.
REFUND_MOVES: frozenset[tuple[RefundState, RefundState]] = frozenset(
    {
        (R.REQUESTED, R.SENDING),
        (R.REQUESTED, R.NOT_SENT),
        *((R.SENDING, to) for to in (R.SUCCEEDED, R.REFUSED, R.NOT_SENT, R.UNKNOWN)),
        *((R.UNKNOWN, to) for to in (R.SUCCEEDED, R.REFUSED, R.NOT_REFUNDED, R.NEEDS_HUMAN)),
        *((R.NEEDS_HUMAN, to) for to in (R.SUCCEEDED, R.NOT_REFUNDED)),
    }
)

# How long after a payment the gateway reverses it (GATEWAY notes, section 4.7), counted from arming.
REVERSE_WINDOW = timedelta(minutes=15)


class RefundSource(StrEnum):
    """Who told us."""

    ENGINE = "engine"  # our own act: armed, or refused to arm
    ANSWER = "answer"  # the HTTP answer to the one POST, or the lack of one
    TRANSACTION_QUERY = "transaction_query"
    SWEEPER = "sweeper"
    COMMIT_UNACKNOWLEDGED = "commit_unacknowledged"  # arm's COMMIT raised, so nothing was sent
    OPERATOR = "operator"


class RefundVerdict(StrEnum):
    """What we were told."""

    ARMED = "armed"  # the request is frozen; it may leave
    CANNOT = "cannot"  # it may not be sent, now or later
    REFUNDED = "refunded"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    UNCLEAR = "unclear"
    UNCHANGED = "unchanged"  # the transaction is as it was before
    NOTHING_AT_LAST = "nothing_at_last"  # the last rung of the ladder
    CONTRADICTION = "contradiction"  # the transaction changed, but not by this refund
    PERSON_NOT_REFUNDED = "person_not_refunded"


@dataclass(frozen=True, slots=True)
class RefundFinding:
    """One thing we were told about a refund; `detail` is kept verbatim but redacted."""

    verdict: RefundVerdict
    source: RefundSource
    reason: str = ""
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SeenMoney:
    """What a transaction at the gateway shows of money given back, in minor units.

    `refunded_minor` is None when that cannot be told; `reversed`: the gateway took the payment itself back."""

    transaction_id: str
    refunded_minor: int | None
    reversed: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    to: RefundState
    reason: str


@dataclass(frozen=True, slots=True)
class Stay:
    reason: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """The state stands, but a person must hear of it."""

    reason: str


def decide(state: RefundState, finding: RefundFinding) -> Move | Stay | Alarm:
    """What `finding` does to a refund in `state`."""
    if state is R.NEEDS_HUMAN and finding.source is not RefundSource.OPERATOR:
        return Stay("with_a_person")
    if state not in OPEN:
        late = finding.verdict is RefundVerdict.REFUNDED and state in ENDED_WITHOUT_REFUND
        return Alarm("refunded_after_all") if late else Stay("already_ended")
    match finding.verdict:
        case RefundVerdict.ARMED:
            return _if(state is R.REQUESTED, R.SENDING, finding)
        case RefundVerdict.CANNOT:
            return _if(state is R.REQUESTED, R.NOT_SENT, finding)
        case RefundVerdict.REFUNDED:
            return _if(state in MAY_HAVE_ACTED, R.SUCCEEDED, finding)
        case RefundVerdict.REFUSED:
            return _if(state in (R.SENDING, R.UNKNOWN), R.REFUSED, finding)
        case RefundVerdict.NOT_SENT:
            # The sweeper may have been first: then it had become unknown, and now it is shown that nothing left.
            return _if(state in (R.SENDING, R.UNKNOWN), R.NOT_SENT if state is R.SENDING else R.NOT_REFUNDED, finding)
        case RefundVerdict.UNCLEAR:
            return _if(state is R.SENDING, R.UNKNOWN, finding)
        case RefundVerdict.UNCHANGED:
            return Stay("unchanged")
        case RefundVerdict.NOTHING_AT_LAST | RefundVerdict.CONTRADICTION:
            return _if(state is R.UNKNOWN, R.NEEDS_HUMAN, finding)
        case RefundVerdict.PERSON_NOT_REFUNDED:
            return _if(state is R.NEEDS_HUMAN, R.NOT_REFUNDED, finding)
        case _:
            assert_never(finding.verdict)


def _if(moves: bool, to: RefundState, finding: RefundFinding) -> Move | Stay:
    return Move(to, finding.reason or finding.verdict.value) if moves else Stay("not_now")


def judge(
    seen: SeenMoney, *, kind: RefundKind, amount_minor: int, before_minor: int, transaction_id: str
) -> tuple[RefundVerdict, str]:
    """What a transaction says about one refund of `amount_minor`, and why; `before_minor` was given back before it.

    While a refund is open nothing else of its attempt is written down, so `before_minor` is all that is explained
    otherwise; only a change by exactly this amount is this refund."""
    if seen.transaction_id != transaction_id:
        return RefundVerdict.UNCLEAR, "another_transaction"
    if kind is RefundKind.REVERSE:
        if seen.reversed:
            return RefundVerdict.REFUNDED, "reversed"
        if seen.refunded_minor:
            return RefundVerdict.CONTRADICTION, "refunded_instead"
        return (RefundVerdict.UNCLEAR, "unclear") if seen.refunded_minor is None else (RefundVerdict.UNCHANGED, "")
    if seen.reversed:
        return RefundVerdict.CONTRADICTION, "reversed_instead"
    if seen.refunded_minor is None:
        return RefundVerdict.UNCLEAR, "amount_unknown"
    change = seen.refunded_minor - before_minor
    if change == amount_minor:
        return RefundVerdict.REFUNDED, "refunded"
    return (RefundVerdict.UNCHANGED, "") if change == 0 else (RefundVerdict.CONTRADICTION, "amount_differs")


def unexplained(seen: SeenMoney, *, explained_minor: int) -> int:
    """How much the gateway shows as given back beyond what our rows explain; 0 when nothing or not to be told."""
    if seen.reversed or seen.refunded_minor is None:
        return 0
    return max(seen.refunded_minor - explained_minor, 0)


class RefundWait(StrEnum):
    """Why a requested refund is not sent yet; it is looked at again by itself."""

    ACCOUNT_STOPPED = "account_stopped"
    LIVE_NOT_ALLOWED = "live_not_allowed"
    ENVIRONMENT_DIFFERS = "environment_differs"
    ABOVE_LIMIT = "above_limit"
    GATEWAY_UNAVAILABLE = "gateway_unavailable"
    CONSTRAINT = "constraint"


class RefundEnd(StrEnum):
    """Why a requested refund will never be sent."""

    NO_MONEY = "no_money"  # the attempt has no money any more: it was reversed
    NOT_THAT_MUCH = "not_that_much"  # more was given back meanwhile
    REVERSE_WINDOW_PASSED = "reverse_window_passed"
    ORDER_UNKNOWN = "order_unknown"
    REQUEST_IMPOSSIBLE = "request_impossible"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class RefundFacts:
    """What is known, under locks, of a requested refund that is about to be armed. Money in minor units."""

    kind: RefundKind
    amount_minor: int
    stopped: bool
    live_allowed: bool  # the account is not live, or live is switched on
    environment_fits: bool
    account_limit_minor: int
    attempt_has_money: bool
    captured_minor: int
    refunded_minor: int
    order_id: str | None
    charged_at: datetime


def may_arm(facts: RefundFacts, now: datetime) -> RefundWait | RefundEnd | None:
    """None when the refund may be armed; else why it waits, or why it never will be."""
    if not facts.attempt_has_money:
        return RefundEnd.NO_MONEY
    if facts.refunded_minor + facts.amount_minor > facts.captured_minor:
        return RefundEnd.NOT_THAT_MUCH
    if facts.kind is RefundKind.REVERSE and (end := cannot_reverse(facts.order_id, facts.charged_at, now)):
        return end
    if facts.stopped:
        return RefundWait.ACCOUNT_STOPPED
    if not facts.live_allowed:
        return RefundWait.LIVE_NOT_ALLOWED
    if not facts.environment_fits:
        return RefundWait.ENVIRONMENT_DIFFERS
    if facts.amount_minor > facts.account_limit_minor:
        return RefundWait.ABOVE_LIMIT
    return None


def cannot_reverse(order_id: str | None, charged_at: datetime, now: datetime) -> RefundEnd | None:
    """Why a payment that was armed at `charged_at` cannot be reversed, or None."""
    if not order_id:
        return RefundEnd.ORDER_UNKNOWN
    return RefundEnd.REVERSE_WINDOW_PASSED if now - charged_at >= REVERSE_WINDOW else None


class RefundRuleError(ValueError):
    """A refund that cannot be; the message names the field and the rule."""


def kind_and_amount(amount_minor: int | None, *, captured_minor: int, refunded_minor: int) -> tuple[RefundKind, int]:
    """Kind and amount of a refund of `amount_minor`, or of all that is left when that is None.

    The gateway calls only a refund of the whole, untouched payment full. Raises RefundRuleError."""
    left = captured_minor - refunded_minor
    if left <= 0:
        raise RefundRuleError("attempt: everything it took was given back already")
    amount = left if amount_minor is None else amount_minor
    if amount < 1:
        raise RefundRuleError("amount_minor: must be more than nothing")
    if amount > left:
        raise RefundRuleError(f"amount_minor: only {left} of it can still be given back")
    return (RefundKind.FULL if amount == captured_minor else RefundKind.PARTIAL), amount
