"""How an explanation says things: days, spans of time, why a day is due, and what each piece of evidence shows."""

from datetime import date, datetime, timedelta
from typing import assert_never
from zoneinfo import ZoneInfo

from billing.domain.attempts import AttemptState, Source, Verdict
from billing.domain.closing import PaidBy
from billing.domain.decisions import Decision
from billing.domain.paying import PAYER
from billing.domain.reason_words import reason_words
from billing.domain.reasons import Reason
from billing.domain.schedules import Interval, Schedule
from billing.domain.subscriptions import Hold
from billing.models import OutsidePayment

S = AttemptState
PAID_BY: dict[PaidBy, str] = {
    PaidBy.CASH: "in cash",
    PaidBy.BANK_TRANSFER: "by bank transfer",
    PaidBy.OTHER: "in another way",
    PaidBy.GATEWAY: "at the gateway",
}


def day(at: datetime, zone: str) -> str:
    """`Tuesday, 31 March 2026`."""
    local = at.astimezone(ZoneInfo(zone))
    return f"{local:%A}, {local.day} {local:%B %Y}"


def moment(at: datetime, zone: str) -> str:
    """`Tuesday, 31 March 2026 at 09:00`."""
    return f"{day(at, zone)} at {at.astimezone(ZoneInfo(zone)):%H:%M}"


def span(time: timedelta) -> str:
    """`12 seconds`, `3 minutes`, `5 hours`, `2 days`; the largest unit of which there are at least two."""
    seconds = max(int(time.total_seconds()), 0)
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        count = seconds // size
        if count >= 2 or (count and size == 1):
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "less than a second"


def which_day(schedule: Schedule) -> str:
    """Why a day of the schedule is one, in words: `the last day of the month`, `a Monday, every second week`."""
    match schedule.interval:
        case Interval.DAILY:
            unit, named = "day", "it is due every day"
        case Interval.WEEKLY:
            unit, named = "week", f"a {_weekday(schedule.target or 0)}"
        case Interval.MONTHLY:
            unit = "month"
            numbered = {
                -1: "the last day of the month",
                0: "the first day of the month",
                1: "the first day of the month",
            }
            named = numbered.get(schedule.target or 0, f"day {schedule.target} of the month")
        case _:
            assert_never(schedule.interval)
    if schedule.every == 1:
        return named
    started = f"{schedule.anchor_date.day} {schedule.anchor_date:%B %Y}"
    counted = f"every {schedule.every} {unit}s, counted from {started}"
    return counted if schedule.interval is Interval.DAILY else f"{named}, {counted}"


def _weekday(target: int) -> str:
    return f"{date(2023, 1, 1) + timedelta(days=target):%A}"  # 1 January 2023 was a Sunday


def decided_by(actor: str, what: str, reason: str, *, to_staff: bool, proposed_by: str = "") -> str:
    """`siti paused it: on holiday.` To anybody but staff no name and nothing that staff wrote is repeated."""
    if not to_staff:
        return f"{_kind_of(actor)} {what}."
    # Older approvals have both persons before the reason.
    why = reason.removeprefix(f"proposed by {proposed_by}, confirmed by {actor}: ").strip().rstrip(".")
    first = f" (proposed by {proposed_by})" if proposed_by else ""
    return f"{actor} {what}{first}{f': {why}' if why else ''}."


def _kind_of(actor: str) -> str:
    if actor == "engine":
        return "the engine"
    if actor == PAYER:
        return "the payer, by a payment link,"
    return "a program, by an API key," if actor.startswith("api:") else "a person"


def paid_by(payment: OutsidePayment, *, to_staff: bool) -> str:
    """How an invoice was paid without a charge of ours. Nothing that staff wrote is repeated to anybody else."""
    on = f"{payment.paid_date.day} {payment.paid_date:%B %Y}"
    if payment.method == PaidBy.GATEWAY:
        return f"by transaction {payment.gateway_transaction_id} at the gateway, of {on}"
    how = PAID_BY[PaidBy(payment.method)]
    return f"{how} on {on} ({payment.reference})" if to_staff else f"{how} on {on}"


def sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def shown_by(source: Source, verdict: Verdict, reason: str, number: int | None) -> str:
    """One piece of evidence that no person gave, as what follows a colon. `number` is the check's, where it has one."""
    match source:
        case Source.SWEEPER:
            return "the program that was to send the request was lost, so it is not known whether it left."
        case Source.COMMIT_UNACKNOWLEDGED:
            return f"{reason_words(reason)}, so nothing was sent."
        case Source.HOLDER_ENDED:
            return "the attempt that the invoice was waiting for ended without money."
        case Source.OPERATOR:
            return _shown_by("the gateway", verdict, reason)
        case Source.ANSWER:
            return _shown_by("the gateway answered", verdict, reason)
        case Source.TRANSACTION_QUERY:
            return _shown_by("the gateway's record of the transaction shows", verdict, reason)
        case Source.ORDER_LIST:
            check = f"at check {number} the" if number else "the"
            return _listed(f"{check} gateway's complete list of the card's orders", verdict, reason)
        case _:
            assert_never(source)


def decided(verdict: Verdict, decision: Decision, *, to_staff: bool) -> str:
    """A person's decision about an attempt, as what follows a colon."""
    words = {
        Verdict.PAID: "that the card was charged",
        Verdict.DECLINED: "that the charge was declined",
        Verdict.PERSON_NOT_CHARGED: "that the card was not charged",
    }
    what = f"decided {words.get(verdict, verdict.value.replace('_', ' '))}"
    return decided_by(decision.actor, what, decision.reason, to_staff=to_staff, proposed_by=decision.proposed_by)


def _shown_by(by: str, verdict: Verdict, reason: str) -> str:
    match verdict:
        case Verdict.PAID:
            return f"{by} that the money was taken."
        case Verdict.DECLINED:
            return f"{by} that the charge was declined ({reason_words(reason)})."
        case Verdict.IN_PROCESS:
            return f"{by} that it has the charge and has not finished it."
        case Verdict.REVERSED:
            return f"{by} that it reversed the charge."
        case Verdict.NOT_SENT:
            return f"it is certain that nothing was executed ({reason_words(reason)})."
        case Verdict.UNCLEAR:
            return f"the outcome of the request is not known: {reason_words(reason)}."
        case Verdict.ABSENT | Verdict.ABSENT_AT_LAST | Verdict.ABSENT_FOR_LONG | Verdict.CONTRADICTION:
            return f"{by} something that does not fit: {reason_words(reason)}."
        case Verdict.PERSON_NOT_CHARGED:
            return "it was decided that nothing was taken."
        case _:
            assert_never(verdict)


def _listed(by: str, verdict: Verdict, reason: str) -> str:
    match verdict:
        case Verdict.ABSENT:
            return f"{by} shows nothing of it. That alone does not prove that no money was taken."
        case Verdict.ABSENT_AT_LAST:
            return f"{by} was read for the last time: {reason_words(reason)}."
        case Verdict.ABSENT_FOR_LONG:
            return f"{by} shows nothing of it for as long as the account asks for: nothing was taken."
        case Verdict.CONTRADICTION:
            return f"{by} does not settle it: {reason_words(reason)}."
        case Verdict.UNCLEAR:
            return f"{by} does not settle it: {reason_words(reason)}."
        case Verdict.DECLINED if reason == Reason.CARD_INACTIVE:
            return f"{by} shows nothing of it, and the gateway calls the card inactive: nothing was taken."
        case Verdict.DECLINED:
            return f"{by} shows that it was declined ({reason_words(reason)})."
        case Verdict.PAID:
            return f"{by} shows that the money was taken."
        case Verdict.IN_PROCESS:
            return f"{by} shows that the gateway has not finished it."
        case Verdict.REVERSED:
            return f"{by} shows that the gateway reversed the charge."
        case Verdict.NOT_SENT | Verdict.PERSON_NOT_CHARGED:
            return f"{by} shows that nothing was taken."
        case _:
            assert_never(verdict)


def held_because(hold: str) -> str:
    """Why an open invoice waits, and for whom."""
    who = "another person" if hold == Hold.PROPOSAL else "a person"
    return f"{reason_words(hold)}, and {who} decides whether it is collected"


def consequence(to: AttemptState) -> str:
    """What becoming this state meant for the invoice, as a sentence; "" when the evidence says it all."""
    match to:
        case S.SUCCEEDED:
            return "This paid the invoice."
        case S.DECLINED | S.IN_PROCESS | S.SENDING:
            return ""
        case S.NOT_SENT:
            return "It does not count as a try."
        case S.UNKNOWN:
            return "The invoice and the card wait, and the gateway is checked until the outcome is known."
        case S.NOT_CHARGED:
            return "The invoice may be tried again."
        case S.NEEDS_REVIEW:
            return "It needs review; until then the invoice and the card wait."
        case S.SURPLUS:
            return "The invoice did not need this money any more: it is an overpayment, to be refunded."
        case S.REVERSED:
            return "The money was returned to the customer."
        case _:
            assert_never(to)
