"""Quarantine of accounts: how it begins, what is left to do, and how a person ends it.

While an account is in quarantine nothing of it is armed, neither charges nor refunds. What only reads and records goes
on, and what was sent before is settled as usual.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet

from billing.domain.counts import counted
from billing.domain.doubts import (
    LOOK_FIRST_FOR,
    POINT_MARGIN,
    Doubt,
    NotYet,
    complete_from,
    in_utc,
    why_not_lifted,
)
from billing.domain.errors import RefusedError
from billing.domain.money import display
from billing.domain.reason_words import reason_words
from billing.models import GatewayAccount, GatewayOrder, PaymentAttempt, PaymentMethod
from billing.models.bulk import recognising, sql
from billing.models.bulk.history import NewTransition, record_transition, record_transitions
from billing.operating.clocks import addresses_not_to_open, is_known_to_be_wrong
from billing.operating.timings import Limits


class QuarantineError(RefusedError):
    """What is refused; the message names the field and the rule."""


class NotYetError(QuarantineError):
    """It cannot be lifted yet."""

    def __init__(self, why: NotYet, when: Callable[[datetime], str] = in_utc) -> None:
        super().__init__("account", "state", why.sentence(when))
        self.why = why


def shown_after(account: GatewayAccount) -> timedelta:
    """How long after now the gateway's lists show everything that is sent by now: what was armed a moment ago may
    still be on its way until its sender has given up, and the lists may lag."""
    return Limits.from_settings().deadline + timedelta(seconds=account.list_lag_seconds)


def enter(account_ids: Sequence[int] | None, doubt: Doubt, detail: str, *, now: datetime) -> list[int]:
    """Inside the caller's transaction: puts the accounts (None: all) into quarantine, or begins theirs anew."""
    newest = recognising.newest_known()
    point = newest - POINT_MARGIN if newest is not None else None
    entered = recognising.quarantine_accounts(
        account_ids,
        reason=doubt.value,
        detail=detail,
        point_at=point,
        doubted=addresses_not_to_open(now),  # its clock is wrong, or nobody has compared it yet
        now=now,
    )
    _record_transitions(entered, "quarantined", f"{doubt.value}: {detail}"[:400], actor="engine", now=now)
    return entered


def enter_for_lost_order(account_id: int, order_id: str, *, now: datetime) -> None:
    """The gateway shows a charge of ours that this database never made. An account that is in quarantine stays so."""
    with sql.durable():
        account = GatewayAccount.objects.select_for_update().get(pk=account_id)
        if account.quarantined_at is None:
            enter([account_id], Doubt.ORDER_OF_ANOTHER, f"order {order_id}", now=now)


def counts_by_the_clock(account: GatewayAccount, *, now: datetime) -> bool:
    """Whether a read that begins at `now` counts for the quarantine; nothing is read while the clock is wrong.

    A quarantine that began or went on by such a clock begins anew once it is right: by a clock that was behind, the
    lists would be taken to have caught up when they have not."""
    if is_known_to_be_wrong(account.api_url, now):
        GatewayAccount.objects.filter(pk=account.pk, quarantined_at__isnull=False).update(quarantine_clock_doubted=True)
        return False
    account.refresh_from_db()  # it may have been found right again by this very look
    if not account.quarantine_clock_doubted:
        return True
    if account.api_url in addresses_not_to_open(now):
        return False
    with sql.durable():
        if recognising.begin_quarantine_anew(account.pk, now=now):
            why = "the clock was wrong or not compared yet; the quarantine restarts"
            record_transition(
                account_id=account.pk,
                subject_type="quarantine",
                subject_id=account.pk,
                from_state="quarantined",
                to_state="quarantined",
                reason=why,
                actor="engine",
                now=now,
            )
    account.refresh_from_db()
    return True


def _record_transitions(account_ids: Sequence[int], to: str, reason: str, *, actor: str, now: datetime) -> None:
    """A line of history and an event for each account."""
    before = "" if to == "quarantined" else "quarantined"
    record_transitions(
        [
            NewTransition(
                account_id=account,
                subject_type="quarantine",
                subject_id=account,
                from_state=before,
                to_state=to,
                reason=reason,
            )
            for account in account_ids
        ],
        actor=actor,
        now=now,
    )


def sentence(account: GatewayAccount) -> str:
    """What is wrong with an account in quarantine, for the operator."""
    why = reason_words(account.quarantine_reason)
    since = f"{account.quarantined_at:%Y-%m-%d %H:%M} UTC"
    return (
        f"account {account.public_id} has been in quarantine since {since}, because {why}. Nothing is charged or "
        "refunded until its cards are read and a person lifts the quarantine (on its page in the admin, or with "
        "manage.py quarantine)"
    )


def sentences() -> list[str]:
    """One for each account in quarantine."""
    return [sentence(account) for account in GatewayAccount.objects.exclude(quarantined_at=None).order_by("pk")]


# --- what is left to do -----------------------------------------------------------------------------------


def cards_of(account: GatewayAccount) -> QuerySet[PaymentMethod]:
    """Every card of the account that could have been charged."""
    return PaymentMethod.objects.filter(account=account, gateway_customer_id__isnull=False).exclude(
        gateway_customer_id=""
    )


def cards_to_read(account: GatewayAccount, *, now: datetime) -> QuerySet[PaymentMethod]:
    """The cards whose next read is due: one soon, which shows most, and one when no list can be late any more."""
    if account.quarantined_at is None:
        return PaymentMethod.objects.none()
    complete = complete_from(account.quarantined_at, shown_after(account))
    since = complete if now >= complete else account.quarantined_at
    return cards_of(account).filter(Q(quarantine_read_at__isnull=True) | Q(quarantine_read_at__lt=since))


@dataclass(frozen=True, slots=True)
class Status:
    """How far an account's quarantine is. `why_not_lifted` is None when a person may lift it; `given_up` are cards that
    could not be read, and that a person decided to go on without since the quarantine began."""

    account: GatewayAccount
    why: str
    cards: int
    read_once: int
    unread: int
    given_up: list[PaymentMethod]
    complete_from: datetime
    why_not_lifted: NotYet | None
    recovered: list[PaymentAttempt]
    unmatched: list[GatewayOrder]
    reports: dict[str, Any]


def status(account: GatewayAccount, *, now: datetime) -> Status:
    """Everything that a person needs to know before lifting. Raises QuarantineError when there is no quarantine."""
    if account.quarantined_at is None:
        raise QuarantineError("account", "state", "must be in quarantine; it is not")
    lag = shown_after(account)
    complete = complete_from(account.quarantined_at, lag)
    cards = cards_of(account)
    not_read = cards.exclude(quarantine_read_at__gte=complete)
    # A person looked at these in the portal; they are not charged until a read succeeds.
    given_up = not_read.filter(given_up_at__gte=account.quarantined_at)
    unread = not_read.exclude(pk__in=given_up.values("pk")).count()
    why_not = why_not_lifted(quarantined_at=account.quarantined_at, lag=lag, unread=unread, now=now)
    if account.quarantine_clock_doubted:
        why_not = NotYet(complete, clock_doubted=True)
    return Status(
        account=account,
        why=reason_words(account.quarantine_reason),
        cards=cards.count(),
        read_once=cards.filter(quarantine_read_at__gte=account.quarantined_at).count(),
        unread=unread,
        given_up=list(given_up.select_related("customer").order_by("pk")),
        complete_from=complete,
        why_not_lifted=why_not,
        recovered=list(
            PaymentAttempt.objects.filter(account=account, recovered_at__gte=account.quarantined_at)
            .select_related("invoice__customer")
            .order_by("pk")
        ),
        unmatched=list(
            GatewayOrder.objects.filter(
                account=account, attempt=None, in_baseline=False, last_seen_at__gte=account.quarantined_at
            )
            .exclude(status="FAILED")
            .select_related("payment_method__customer")
            .order_by("pk")
        ),
        reports=account.quarantine_reports,
    )


def lift(*, account: GatewayAccount, reason: str, actor: str, now: datetime) -> None:
    """A person ends the quarantine of one account. Raises QuarantineError while something is left to read.

    For a while after it first attempts too are preceded by a look."""
    if not reason.strip():
        raise QuarantineError("reason", "required", "must state the reason for lifting it")
    with sql.durable():
        if is_known_to_be_wrong(account.api_url, now):  # before: what it notices doubts the quarantine
            raise QuarantineError(
                "account",
                "state",
                "the clock disagrees with the gateway's; lift the quarantine once the clock is right",
            )
        locked = GatewayAccount.objects.select_for_update().get(pk=account.pk)
        found = status(locked, now=now)
        if found.why_not_lifted:
            raise NotYetError(found.why_not_lifted)
        GatewayAccount.objects.filter(pk=account.pk).update(
            quarantined_at=None,
            quarantine_reason="",
            quarantine_detail="",
            quarantine_point_at=None,
            quarantine_reports={},
            preflight_until=now + max(LOOK_FIRST_FOR, shown_after(locked)),
        )
        _record_transitions([account.pk], "lifted", reason.strip(), actor=actor, now=now)


def report_lines(reports: dict[str, Any]) -> list[str]:
    """What the daily reports showed, in sentences."""
    if not reports:
        return ["daily reports: not read yet; they are read after the cards, as a cross-check"]
    found = counted(len(reports["found"]), "unexplained payment")
    lines = [f"daily reports: {counted(reports['days'], 'day')} read, {found}"]
    lines += [
        f"  {one['day']} transaction {one['transaction']} {display(one['amount_minor'], one['currency'])} "
        f"{one['name']}: check it in the gateway's portal; its customer or card is not in this database"
        for one in reports["found"][:20]
    ]
    if reports["not_read"]:
        lines.append(f"  not readable: {', '.join(reports['not_read'])}")
    if reports["not_asked"]:
        lines.append(f"  not checked: {counted(reports['not_asked'], 'more payment')}")
    return lines
