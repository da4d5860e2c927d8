"""One decision about several cases, such as after an incident."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.charging.holds import ResolutionError
from billing.charging.limits import Limits
from billing.charging.looking import look_at_all
from billing.charging.resolve import Decision, Resolution, release_card, resolve
from billing.domain.attempts import AttemptState
from billing.gateway.connection import GatewayUnavailableError
from billing.models import PaymentAttempt

MOST_AT_ONCE = 100
NO_ANSWER = "gateway: gave no usable answer, so nothing was changed; try again later"


@dataclass(frozen=True, slots=True)
class OneOfMany:
    """What came of one attempt of several: its state and perhaps a proposal, or why it was refused."""

    attempt: PaymentAttempt
    decision: Decision | None = None
    refused: ResolutionError | None = None


def resolve_many(
    *,
    attempts: Sequence[PaymentAttempt],
    resolution: Resolution,
    reason: str,
    actor: str,
    limits: Limits,
    now: datetime,
    user_id: int | None = None,
) -> list[OneOfMany]:
    """Decides on several at once, such as after an incident: each after its own look, in a commit of its own.

    Not for *charged*, which names a transaction each. What one is refused for does not hold up the others."""
    if resolution is Resolution.CHARGED:
        raise ResolutionError("resolution: charged names a transaction, so it is decided one by one", "not_in_bulk")
    _check_number(attempts)
    current = PaymentAttempt.objects.in_bulk([attempt.pk for attempt in attempts])
    cases = [one for one in current.values() if one.state == AttemptState.NEEDS_HUMAN] if reason.strip() else []
    looks = dict(zip([one.pk for one in cases], look_at_all(cases), strict=True))
    results = []
    for attempt in attempts:
        seen = looks.get(attempt.pk)
        if isinstance(seen, GatewayUnavailableError):
            results.append(OneOfMany(attempt, refused=ResolutionError(NO_ANSWER, "gateway_unavailable")))
            continue
        try:
            decision = resolve(
                attempt=attempt,
                resolution=resolution,
                reason=reason,
                actor=actor,
                limits=limits,
                now=now,
                user_id=user_id,
                seen=seen,
            )
            results.append(OneOfMany(attempt, decision))
        except ResolutionError as error:
            if error.field == "reason":
                raise
            results.append(OneOfMany(attempt, refused=error))
    return results


def release_many(
    *, attempts: Sequence[PaymentAttempt], reason: str, actor: str, now: datetime, user_id: int | None = None
) -> list[OneOfMany]:
    """Releases the cards of several cases, each in a commit of its own."""
    _check_number(attempts)
    results = []
    for attempt in attempts:
        try:
            decision = release_card(attempt=attempt, reason=reason, actor=actor, now=now, user_id=user_id)
            results.append(OneOfMany(attempt, decision))
        except ResolutionError as error:
            if error.field == "reason":
                raise
            results.append(OneOfMany(attempt, refused=error))
    return results


def _check_number(attempts: Sequence[PaymentAttempt]) -> None:
    if not 1 <= len(attempts) <= MOST_AT_ONCE:
        raise ResolutionError(f"attempts: between 1 and {MOST_AT_ONCE} at once", "number")
    if len({attempt.pk for attempt in attempts}) < len(attempts):
        raise ResolutionError("attempts: each is named once", "repeated")
