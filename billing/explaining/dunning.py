"""Where the collection of a declined invoice stands, in sentences: tries, reason, next try, and what ends it."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from billing.domain.attempts import UNRESOLVED
from billing.domain.declines import DeclineKind, decline_of
from billing.domain.dunning import DunningPolicy, FinalAction, ends_at, ladder
from billing.domain.plurals import counted
from billing.domain.reasons import Reason
from billing.domain.subscriptions import RUNNING, InvoiceState, SubscriptionState
from billing.models import Invoice

_ENDS = {
    FinalAction.CANCEL: "the subscription is cancelled",
    FinalAction.PAUSE: "the subscription is paused",
    FinalAction.KEEP: "the subscription stays past due",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """A declined invoice on its way to being paid or given up. `planned` are the tries that its policy still has;
    `last_at` is the last of them, and `ends_at` when the final action follows."""

    tries: int
    of: int
    reason: str
    next_at: datetime | None
    planned: tuple[datetime, ...]
    ends_at: datetime | None
    end: str


def standing_of(invoice: Invoice, policy: DunningPolicy) -> Standing:
    """`invoice` has its subscription selected, and was declined."""
    first = invoice.first_tried_at
    is_open = invoice.state == InvoiceState.OPEN
    later = ladder(policy, first) if first is not None and is_open and invoice.grace_ends_at is None else ()
    after = invoice.next_attempt_at
    planned = tuple(at for at in later if after is None or at >= after)
    # A retry that a person wanted is one of its own: the days of the policy stay.
    extra = 1 if after is not None and after not in planned else 0
    return Standing(
        tries=invoice.tries,
        of=invoice.tries + len(planned) + extra,
        reason=reason_of(invoice.decline_code),
        next_at=after,
        planned=planned,
        ends_at=invoice.grace_ends_at or (ends_at(policy, first) if first is not None and is_open else None),
        end=_end(invoice, policy),
    )


def reason_of(code: str) -> str:
    """Why the bank declined, for staff: `not enough money (51)`."""
    words = decline_of(code).staff
    return f"{words} ({code})" if words else f"no known reason ({code})" if code else "no known reason"


def kind_of(code: str) -> DeclineKind:
    return decline_of(code).kind


def _end(invoice: Invoice, policy: DunningPolicy) -> str:
    subscription = invoice.subscription
    if subscription is None:
        return "the invoice is uncollectible"
    if subscription.state not in RUNNING:
        return "the invoice is uncollectible, and the subscription stays as it is"
    return _ENDS[policy.final_action]


def sentences(invoice: Invoice, policy: DunningPolicy, zone: str) -> str:
    """Such as: Declined 2 of 4 tries: not enough money (51). Next try Mon 7 Dec 2026, 09:00. If the last try, on
    Mon 14 Dec 2026, 09:00, is declined too, the subscription is cancelled."""
    seen = standing_of(invoice, policy)
    parts = [f"Declined {_tries(seen)}: {seen.reason}."]
    if invoice.tries_avoided:
        made = "was not made" if invoice.tries_avoided == 1 else "were not made"
        parts.append(f"Of these, {invoice.tries_avoided} {made}, because the card would be declined.")
    if invoice.state == InvoiceState.UNCOLLECTIBLE:
        written_off = invoice.state_reason == Reason.WRITTEN_OFF
        parts.append("It was written off." if written_off else "No try is left, and it is uncollectible.")
    elif invoice.hold:
        parts.append("It needs review before it is tried again.")
    elif _is_first_payment(invoice):
        parts.append("It is tried again only on another card, or when a person wants it.")
    elif seen.next_at is not None:
        parts.append(f"Next try {day_and_time(seen.next_at, zone)}.")
        parts.append(_last(seen, zone))
    elif any(attempt.state in UNRESOLVED for attempt in invoice.attempts.all()):
        parts.append("A try is under way.")
    elif invoice.grace_ends_at is not None:
        until = day_and_time(invoice.grace_ends_at, zone)
        parts.append(f"No try is left. If it is not paid by {until}, {seen.end}.")
    return " ".join(parts)


def _last(seen: Standing, zone: str) -> str:
    last = seen.planned[-1] if seen.planned else seen.next_at
    which = "it" if last is None or last == seen.next_at else f"the last try, on {day_and_time(last, zone)},"
    if seen.ends_at is not None and last is not None and seen.ends_at > last:
        until = day_and_time(seen.ends_at, zone)
        return f"If {which} is declined too, it can be paid until {until}; then {seen.end}."
    return f"If {which} is declined too, {seen.end}."


def _tries(seen: Standing) -> str:
    if seen.of > seen.tries:
        return f"{seen.tries} of {seen.of} tries"
    return "once" if seen.tries == 1 else counted(seen.tries, "time")


def _is_first_payment(invoice: Invoice) -> bool:
    return bool(invoice.subscription and invoice.subscription.state == SubscriptionState.INCOMPLETE)


def day_and_time(at: datetime, zone: str) -> str:
    """`Mon 7 Dec 2026, 09:00`."""
    local = at.astimezone(ZoneInfo(zone))
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M}"
