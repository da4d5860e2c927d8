"""The pace of one account, shared by all workers: permits are asked for and outcomes reported in one short transaction.

1. Lock the account's pace.
2. Learn what came of the charges since the last time; a breaker may open or close.
3. When a run begins, write its manifest, and hold the account when it is far from the account's own history.
4. Grant permits: nothing is armed without one.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from billing import doorbell
from billing.domain import pacing
from billing.domain.errors import RefusedError
from billing.domain.manifests import Manifest, abnormal
from billing.domain.outcomes import Outcomes
from billing.domain.pacing import Grant, Pace, PaceState, Terms
from billing.models import GatewayAccount
from billing.models.bulk import pacing as rows
from billing.models.bulk.history import lock_account, record_transition
from billing.models.bulk.sql import durable
from billing.operating.tuning import Tuning

logger = logging.getLogger(__name__)

# A worker's share outlasts its charges; a worker that is gone keeps it so long.
SHARE_MARGIN = timedelta(seconds=5)


class LetRunError(RefusedError):
    """The account does not wait; or no reason was stated. The message names the field and the rule."""


@dataclass(frozen=True, slots=True)
class Paced:
    grant: Grant
    pace: Pace


def exchange(
    *,
    account: GatewayAccount,
    worker: str,
    in_flight: int,
    wanted: int,
    may_probe: bool,
    outcomes: Outcomes,
    check_size: bool,
    tuning: Tuning,
    now: datetime,
) -> Paced:
    """Reports `outcomes` of a worker that has `in_flight` charges, and grants at most `wanted` more.

    `check_size`: compare what is due with the account's history, as is done when a run begins."""
    terms = terms_of(account, tuning)
    with durable():  # so that nobody waits for the row for ever; `lock` takes back that it waits for the disk
        before = rows.lock(account.pk)
        pace = pacing.learn(before, outcomes, terms=terms, now=now)
        if outcomes.paid_minor:
            rows.count_day(account.pk, now.date(), outcomes.paid, outcomes.paid_minor)
        if check_size and pace.state is PaceState.CLOSED:
            pace = _sized(account.pk, pace, now)
        pace, grant = pacing.take(
            pace, worker=worker, in_flight=in_flight, wanted=wanted, may_probe=may_probe, terms=terms, now=now
        )
        if grant.begins:
            _write_manifest(account.pk, "", now)
        _write(account.pk, before, pace, actor="engine", now=now)
    if pace.state is not before.state:
        logger.warning("pace: account %s: %s -> %s %s", account.public_id, before.state, pace.state, pace.reason)
    return Paced(grant, pace)


def let_run(*, account: GatewayAccount, reason: str, actor: str, now: datetime) -> None:
    """A person lets an account that pauses, or waits, charge again. Raises LetRunError.

    One that pauses is tried at once, beginning with a read; what one waits for does not hold it again for a day."""
    if not reason.strip():
        raise LetRunError("reason", "required", "must state the reason for resuming")
    with transaction.atomic():
        before = rows.lock(account.pk)
        if before.state not in (PaceState.OPEN, PaceState.HELD):
            raise LetRunError("account", "state", "must be paused or need review; it is not")
        pace = pacing.let_run(before, now=now)
        _write(account.pk, before, pace, actor=actor, now=now, why=reason.strip())
        if pace.state is before.state:
            _log(account.pk, before, pace, reason.strip(), actor=actor, now=now)
        doorbell.ring_on_commit(doorbell.COLLECT)


def due(account: GatewayAccount, *, now: datetime) -> Manifest:
    """What letting the account run charges."""
    return rows.manifest(account.pk, now=now)


def terms_of(account: GatewayAccount, tuning: Tuning) -> Terms:
    return Terms(
        share_lasts=tuning.deadline + SHARE_MARGIN,
        canary=tuning.canary,
        most=account.max_in_flight,
        per_second=account.charges_per_second,
        pauses=tuning.pauses,
    )


def _sized(account_id: int, pace: Pace, now: datetime) -> Pace:
    due, known = rows.manifest(account_id, now=now), rows.history(account_id, today=now.date())
    reason = abnormal(pace, due, known, now)
    if reason is None:
        return pace
    _write_manifest(account_id, reason, now)
    return pacing.held(pace, kind="size", reason=reason, now=now)


def _write_manifest(account_id: int, held_reason: str, now: datetime) -> None:
    due, known = rows.manifest(account_id, now=now), rows.history(account_id, today=now.date())
    rows.write_manifest(account_id, due, known, held_reason=held_reason, now=now)


def _write(account_id: int, before: Pace, pace: Pace, *, actor: str, now: datetime, why: str = "") -> None:
    if pace != before:
        rows.write(account_id, pace)
    if pace.state is before.state or pace.state is PaceState.HALF_OPEN:
        return
    if before.state is PaceState.HALF_OPEN and pace.state is PaceState.OPEN:
        return  # one long pause, recorded once
    _log(account_id, before, pace, why or pace.reason, actor=actor, now=now)


def _log(account_id: int, before: Pace, pace: Pace, why: str, *, actor: str, now: datetime) -> None:
    lock_account(account_id)
    record_transition(
        account_id=account_id,
        subject_type="pace",
        subject_id=account_id,
        from_state=before.state.value,
        to_state=pace.state.value,
        reason=why,
        actor=actor,
        now=now,
        detail={"reason": pace.reason or before.reason, "kind": pace.kind or before.kind},
    )
