"""What an account's staff decide about a code of declines, and what the account's own charges say about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from billing.charging.attempts.card_standing import recount
from billing.domain.decisions import Decision
from billing.domain.declines import DeclineKind, decline_of
from billing.domain.errors import RefusedError
from billing.models import DeclineRuling, GatewayAccount
from billing.models.bulk import card_limits
from billing.models.bulk.history import lock_account, record_change
from billing.models.bulk.sql import durable

LEARNT_FROM = timedelta(days=180)
NEWEST = 20_000
LONGEST_CODE = 40
# Cards whose standing depends on the code are decided anew so many at a time, each time in a transaction of its own.
CARDS_AT_ONCE = 200
_COUNTS_FOR = timedelta(days=30)


class RulingError(RefusedError):
    """A decision about a code that cannot be made; the message names the field and the rule."""


@dataclass(frozen=True, slots=True)
class JudgedCode:
    """A code with its kind in this account, and what came of its declines in the last 180 days."""

    outcome: card_limits.CodeOutcome
    kind: DeclineKind
    is_ruled: bool
    meaning: str


def learnt(account_id: int, *, now: datetime) -> list[JudgedCode]:
    """The account's codes, the most frequent first."""
    rulings = card_limits.rulings_of(account_id)
    found = card_limits.outcomes_by_code(account_id, since=now - LEARNT_FROM, newest=NEWEST)
    return [_judged(one, rulings) for one in found]


def _judged(outcome: card_limits.CodeOutcome, rulings: Mapping[str, DeclineKind]) -> JudgedCode:
    meaning = decline_of(outcome.code)
    ruled = rulings.get(outcome.code)
    return JudgedCode(outcome, ruled or meaning.kind, ruled is not None, meaning.staff)


def rule(*, account: GatewayAccount, code: str, kind: DeclineKind, decision: Decision, now: datetime) -> int:
    """Decides of which kind a code of declines is for this account; how many cards that says something about.

    They are frozen, rest or are free by it at once, and later declines too. A process that dies on the way leaves some
    cards as they were, until their next decline; the same decision again goes on. Raises RulingError."""
    code = code.strip().upper()
    if not code or len(code) > LONGEST_CODE:
        raise RulingError("code", "invalid", f"must be a code of at most {LONGEST_CODE} characters")
    if not decision.reason:
        raise RulingError("reason", "required", "must state the reason for the decision")
    with transaction.atomic():
        lock_account(account.pk)
        before = card_limits.rulings_of(account.pk).get(code) or decline_of(code).kind
        DeclineRuling.objects.update_or_create(
            account=account,
            code=code,
            defaults={
                "kind": kind.value,
                "decided_by": decision.actor,
                "reason": decision.reason,
                "decided_at": now,
            },
        )
        record_change(
            account_id=account.pk,
            subject_type="account",
            subject_id=account.pk,
            state="running" if account.stopped_at is None else "stopped",
            kind="account.updated",
            changes={f"decline {code}": (before.value, kind.value)},
            reason=decision.reason,
            actor=decision.actor,
            now=now,
        )
    return _recount_all(account.pk, code, actor=decision.actor, now=now)


def _recount_all(account_id: int, code: str, *, actor: str, now: datetime) -> int:
    counted, last = 0, 0
    while cards := card_limits.cards_declined_with(
        account_id, code, since=now - _COUNTS_FOR, limit=CARDS_AT_ONCE, after=last
    ):
        with durable():
            card_limits.lock(cards)
            recount(cards, actor=actor, now=now)
        counted, last = counted + len(cards), cards[-1]
    return counted
