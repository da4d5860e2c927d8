"""What giving money back can be, and what evidence does to it.

A refund has the three phases of a charge and the same rule: one request, sent once, closed by evidence only.
`decide` is the only place where a state is chosen; it is pure and total. A refund has one request for life: one
that was not sent is final, and whoever still wants it asks again. Nobody waits at a till for a refund, a person
requested it and sees why it failed, and what most often keeps a request from leaving (a wrong key, a path, a
permission) does not heal by itself.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, assert_never

from billing.domain.attempts import Alarm, Stay
from billing.domain.errors import RefusedError
from billing.domain.reasons import Reason


class RefundState(StrEnum):
    REQUESTED = "requested"  # asked for; nothing was sent yet
    SENDING = "sending"  # armed: the one POST may be leaving, on its way, or lost with its process
    SUCCEEDED = "succeeded"  # the money goes back
    REFUSED = "refused"  # the gateway refused it
    NOT_SENT = "not_sent"  # provably nothing was executed: it could not be sent, or was withdrawn
    UNKNOWN = "unknown"  # the money may or may not go back
    NOT_REFUNDED = "not_refunded"  # was unknown; shown that no money goes back
    NEEDS_REVIEW = "needs_review"  # evidence contradicts or is exhausted: a person decides


class RefundKind(StrEnum):
    FULL = "full"  # everything that the attempt took, nothing of which was given back before
    PARTIAL = "partial"  # a part, or what is left after earlier parts
    REVERSE = "reverse"  # the payment itself is taken back, as if it had not been


class RefundOrigin(StrEnum):
    ENGINE = "engine"  # asked for here
    GATEWAY = "gateway"  # made in the gateway's own portal, and seen there


R = RefundState
# May still give money back: one of these at most for an attempt.
OPEN = frozenset({R.REQUESTED, R.SENDING, R.UNKNOWN, R.NEEDS_REVIEW})
MAY_HAVE_ACTED = frozenset({R.SENDING, R.UNKNOWN, R.NEEDS_REVIEW})
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
        *((R.UNKNOWN, to) for to in (R.SUCCEEDED, R.REFUSED, R.NOT_REFUNDED, R.NEEDS_REVIEW)),
        *((R.NEEDS_REVIEW, to) for to in (R.SUCCEEDED, R.NOT_REFUNDED)),
    }
)

# How long after a payment the gateway reverses it (GATEWAY notes, section 4.7), counted from arming.
REVERSE_WINDOW = timedelta(minutes=15)
# A refund is armed on what the gateway showed this long ago at most.
LOOK_FRESH = timedelta(seconds=60)
# Ended by a response or a decision: the gateway may have executed it all the same.
MAY_HAVE_ACTED_ALL_THE_SAME = frozenset({R.NOT_SENT, R.NOT_REFUNDED})


class RefundSource(StrEnum):
    """Where a finding comes from."""

    ENGINE = "engine"  # our own act: armed, or refused to arm
    ANSWER = "answer"  # the HTTP answer to the one POST, or the lack of one
    TRANSACTION_QUERY = "transaction_query"
    SWEEPER = "sweeper"
    COMMIT_UNACKNOWLEDGED = "commit_unacknowledged"  # arm's COMMIT raised, so nothing was sent
    OPERATOR = "operator"


class RefundVerdict(StrEnum):
    """What a finding means for the money."""

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
    """What one response, read or decision shows about a refund; `detail` is kept verbatim but redacted."""

    verdict: RefundVerdict
    source: RefundSource
    reason: str = ""
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SeenMoney:
    """What a transaction at the gateway shows of money given back, in minor units.

    `refunded_minor` is None when that is not known; `reversed`: the gateway took the payment itself back."""

    transaction_id: str
    refunded_minor: int | None
    reversed: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    to: RefundState
    reason: str


def decide(state: RefundState, finding: RefundFinding) -> Move | Stay | Alarm:
    """What `finding` does to a refund in `state`."""
    if state is R.NEEDS_REVIEW and finding.source is not RefundSource.OPERATOR:
        return Stay()
    if state not in OPEN:
        late = finding.verdict is RefundVerdict.REFUNDED and state in ENDED_WITHOUT_REFUND
        return Alarm(Reason.REFUNDED_AFTER_ALL) if late else Stay()
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
            return Stay()
        case RefundVerdict.NOTHING_AT_LAST | RefundVerdict.CONTRADICTION:
            return _if(state is R.UNKNOWN, R.NEEDS_REVIEW, finding)
        case RefundVerdict.PERSON_NOT_REFUNDED:
            return _if(state is R.NEEDS_REVIEW, R.NOT_REFUNDED, finding)
        case _:
            assert_never(finding.verdict)


def _if(moves: bool, to: RefundState, finding: RefundFinding) -> Move | Stay:
    return Move(to, finding.reason or finding.verdict.value) if moves else Stay()


def judge(
    seen: SeenMoney, *, kind: RefundKind, amount_minor: int, before_minor: int, transaction_id: str
) -> tuple[RefundVerdict, Reason | None]:
    """What a transaction says about one refund of `amount_minor`, and why; `before_minor` was given back before it.

    While a refund is open nothing else of its attempt is written down, so `before_minor` is all that is explained
    otherwise; only a change by exactly this amount is this refund."""
    if seen.transaction_id != transaction_id:
        return RefundVerdict.UNCLEAR, Reason.ANOTHER_TRANSACTION
    if kind is RefundKind.REVERSE:
        if seen.reversed:
            return RefundVerdict.REFUNDED, Reason.REVERSED
        if seen.refunded_minor:
            return RefundVerdict.CONTRADICTION, Reason.REFUNDED_INSTEAD
        return (
            (RefundVerdict.UNCLEAR, Reason.UNCLEAR) if seen.refunded_minor is None else (RefundVerdict.UNCHANGED, None)
        )
    if seen.reversed:
        return RefundVerdict.CONTRADICTION, Reason.REVERSED_INSTEAD
    if seen.refunded_minor is None:
        return RefundVerdict.UNCLEAR, Reason.AMOUNT_UNKNOWN
    change = seen.refunded_minor - before_minor
    if change == amount_minor:
        return RefundVerdict.REFUNDED, Reason.REFUNDED
    return (RefundVerdict.UNCHANGED, None) if change == 0 else (RefundVerdict.CONTRADICTION, Reason.AMOUNT_DIFFERS)


@dataclass(frozen=True, slots=True)
class Contradiction:
    """What the gateway plainly shows against a person's word about a refund: a stable rule, and a sentence."""

    rule: str
    message: str


def contradicted(
    seen: SeenMoney, *, refunded: bool, kind: RefundKind, amount_minor: int, before_minor: int, transaction_id: str
) -> Contradiction | None:
    """Why nobody says that this refund was carried out (`refunded`), or was not; None where the gateway shows the same,
    nothing that is known, or money that went back otherwise: then a person knows better."""
    verdict, _ = judge(
        seen, kind=kind, amount_minor=amount_minor, before_minor=before_minor, transaction_id=transaction_id
    )
    if verdict is RefundVerdict.REFUNDED:
        return None if refunded else Contradiction("refunded_at_the_gateway", "the gateway shows that it was refunded")
    if not refunded or seen.transaction_id != transaction_id or seen.reversed or seen.refunded_minor is None:
        return None
    least = 1 if kind is RefundKind.REVERSE else before_minor + amount_minor
    if seen.refunded_minor >= least:
        return None
    message = f"the gateway shows {seen.refunded_minor} sen of the payment refunded, without this refund"
    return Contradiction("not_refunded_at_the_gateway", message)


def unexplained(seen: SeenMoney, *, explained_minor: int) -> int:
    """How much the gateway shows as given back beyond what our rows explain; 0 when nothing or not known."""
    if seen.reversed or seen.refunded_minor is None:
        return 0
    return max(seen.refunded_minor - explained_minor, 0)


def still_owed(*, amount_minor: int, before_minor: int, refunded_minor: int) -> int:
    """How much of a refund of `amount_minor` is still owed, in minor units; `before_minor` was given back before it.

    Who asks for a refund asks for so much more than was given back when they asked. What was given back since, by
    whom ever, is a part of it: a refund of another process, of an older database, or of the gateway's own portal."""
    return max(before_minor + amount_minor - refunded_minor, 0)


def overtaken(*, amount_minor: int, before_minor: int, refunded_minor: int) -> "RefundEnd | None":
    """Why a requested refund is not sent because of what was given back since it was asked for, or None.

    A part of it is never sent in its place: a person asked for another amount, and sees first what happened."""
    if refunded_minor == before_minor:
        return None
    left = still_owed(amount_minor=amount_minor, before_minor=before_minor, refunded_minor=refunded_minor)
    return RefundEnd.PARTLY_GIVEN_BACK if left else RefundEnd.ALREADY_GIVEN_BACK


class RefundWait(StrEnum):
    """Why a requested refund is not sent yet; it is looked at again by itself."""

    EARLIER_MAY_HAVE_ACTED = "earlier_may_have_acted"  # the gateway may not show yet what an earlier refund did
    LOOK_TOO_OLD = "look_too_old"

    ACCOUNT_STOPPED = "account_stopped"
    LIVE_NOT_ALLOWED = "live_not_allowed"
    ENVIRONMENT_DIFFERS = "environment_differs"
    ABOVE_LIMIT = "above_limit"
    GATEWAY_UNAVAILABLE = "gateway_unavailable"
    CONSTRAINT = "constraint"
    CLOCK = "clock"  # the database's clock may be wrong


class RefundEnd(StrEnum):
    """Why a requested refund will never be sent."""

    NO_MONEY = "no_money"  # the attempt has no money any more: it was reversed
    ALREADY_GIVEN_BACK = "already_given_back"  # all of what was asked for was given back otherwise meanwhile
    BECAME_THE_PAYMENT = "became_the_payment"  # it was surplus when it was asked back, and pays its invoice now
    PARTLY_GIVEN_BACK = "partly_given_back"  # a part of it was: whoever wants the rest asks for it
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
    became_the_payment: bool  # since it was asked for
    before_minor: int  # given back when it was asked for
    refunded_minor: int  # given back now
    order_id: str | None
    charged_at: datetime
    looked_at: datetime  # when the gateway was asked what was given back
    shown_by: datetime | None  # by when the gateway shows what an earlier refund of the payment may have done


def may_arm(facts: RefundFacts, now: datetime) -> RefundWait | RefundEnd | None:
    """None when the refund may be armed; else why it waits, or why it never will be."""
    if not facts.attempt_has_money:
        return RefundEnd.NO_MONEY
    if facts.became_the_payment:
        return RefundEnd.BECAME_THE_PAYMENT
    if end := overtaken(
        amount_minor=facts.amount_minor, before_minor=facts.before_minor, refunded_minor=facts.refunded_minor
    ):
        return end
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
    if facts.shown_by is not None and facts.looked_at < facts.shown_by:
        return RefundWait.EARLIER_MAY_HAVE_ACTED
    if not timedelta(0) <= now - facts.looked_at <= LOOK_FRESH:
        return RefundWait.LOOK_TOO_OLD
    return None


def cannot_reverse(order_id: str | None, charged_at: datetime, now: datetime) -> RefundEnd | None:
    """Why a payment that was armed at `charged_at` cannot be reversed, or None."""
    if not order_id:
        return RefundEnd.ORDER_UNKNOWN
    return RefundEnd.REVERSE_WINDOW_PASSED if now - charged_at >= REVERSE_WINDOW else None


class RefundRuleError(RefusedError):
    """A refund that cannot be; the message names the field and the rule."""


def kind_and_amount(amount_minor: int | None, *, captured_minor: int, refunded_minor: int) -> tuple[RefundKind, int]:
    """Kind and amount of a refund of `amount_minor`, or of all that is left when that is None.

    The gateway calls only a refund of the whole, untouched payment full. Raises RefundRuleError."""
    left = captured_minor - refunded_minor
    if left <= 0:
        raise RefundRuleError("attempt", "not_usable", "the payment is already fully refunded")
    amount = left if amount_minor is None else amount_minor
    if amount < 1:
        raise RefundRuleError("amount_minor", "not_usable", "must be more than 0")
    if amount > left:
        raise RefundRuleError("amount_minor", "not_usable", f"must be at most {left}, what is left to refund")
    return (RefundKind.FULL if amount == captured_minor else RefundKind.PARTIAL), amount
