"""One decision about several cases, such as after an incident."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.charging.cases.holds import ResolutionError
from billing.charging.cases.resolve import Resolution, Resolved, release_card, resolve
from billing.charging.reading.before_decision import read_all_before
from billing.domain.attempts import AttemptState
from billing.domain.decisions import Decision
from billing.domain.resolution import TOOK_MONEY
from billing.gateway.connection import GatewayUnavailableError
from billing.models import PaymentAttempt
from billing.operating.tuning import Tuning

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 100
NO_ANSWER = "gave no usable answer; nothing was changed. Try again later"
FAILED = "the decision failed; open the attempt to see whether it took effect. The other decisions stand"


@dataclass(frozen=True, slots=True)
class OneOfMany:
    """What came of one attempt of several: its state and perhaps a proposal, or why it was refused."""

    attempt: PaymentAttempt
    resolved: Resolved | None = None
    refused: ResolutionError | None = None


def resolve_many(
    *,
    attempts: Sequence[PaymentAttempt],
    resolution: Resolution,
    decision: Decision,
    tuning: Tuning,
    now: datetime,
) -> list[OneOfMany]:
    """Decides on several at once, such as after an incident: each after its own look, in a commit of its own.

    Not for *charged*, which names a transaction each. What one is refused for does not hold up the others."""
    if resolution in TOOK_MONEY:
        raise ResolutionError(
            "resolution",
            "not_in_bulk",
            "must not be charged: it needs a transaction id for each attempt; decide those one at a time",
        )
    _check_number(attempts)
    current = PaymentAttempt.objects.in_bulk([attempt.pk for attempt in attempts])
    cases = [one for one in current.values() if one.state == AttemptState.NEEDS_REVIEW] if decision.reason else []
    looks = dict(zip([one.pk for one in cases], read_all_before(cases), strict=True))

    def one(attempt: PaymentAttempt) -> Resolved:
        seen = looks.get(attempt.pk)
        if isinstance(seen, GatewayUnavailableError):
            raise ResolutionError("gateway", "gateway_unavailable", NO_ANSWER) from seen
        return resolve(attempt=attempt, resolution=resolution, decision=decision, tuning=tuning, now=now, seen=seen)

    return [_outcome(attempt, one) for attempt in attempts]


def release_many(*, attempts: Sequence[PaymentAttempt], decision: Decision, now: datetime) -> list[OneOfMany]:
    """Releases the cards of several cases, each in a commit of its own."""
    _check_number(attempts)

    def one(attempt: PaymentAttempt) -> Resolved:
        return release_card(attempt=attempt, decision=decision, now=now)

    return [_outcome(attempt, one) for attempt in attempts]


def _outcome(attempt: PaymentAttempt, act: Callable[[PaymentAttempt], Resolved]) -> OneOfMany:
    """What came of one. Whatever it fails with is its own: those before it are carried out, and somebody has to hear
    which they were. Raises ResolutionError for a reason that is missing for all of them."""
    try:
        return OneOfMany(attempt, act(attempt))
    except ResolutionError as error:
        if error.field == "reason":
            raise
        return OneOfMany(attempt, refused=error)
    except Exception:
        logger.exception("resolve: attempt %s failed among several", attempt.public_id)
        return OneOfMany(attempt, refused=ResolutionError("attempt", "failed", FAILED))


def _check_number(attempts: Sequence[PaymentAttempt]) -> None:
    if not 1 <= len(attempts) <= MOST_AT_ONCE:
        raise ResolutionError("attempts", "number", f"must be from 1 to {MOST_AT_ONCE} attempts")
    if len({attempt.pk for attempt in attempts}) < len(attempts):
        raise ResolutionError("attempts", "repeated", "must name each attempt once")
