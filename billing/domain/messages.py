"""Which e-mails there are, what causes each, and when one is sent, repeated or dropped; their days in words."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from billing.domain.errors import RefusedError
from billing.domain.reasons import Reason
from billing.domain.schedules import Interval


class MailError(RefusedError):
    """A setting of an account's mail that cannot be used."""


class Language(StrEnum):
    ENGLISH = "en"
    MALAY = "ms"


class MessageKind(StrEnum):
    ENROLLED = "enrolled"
    NOTICE = "notice"  # before a charge
    RECEIPT = "receipt"
    PAYMENT_FAILED = "payment_failed"
    LAST_WARNING = "last_warning"
    PAUSED = "paused"
    ENDED = "ended"
    EXPIRED = "expired"  # the first payment was not made in time
    CARD_NEEDED = "card_needed"
    CARD_SWITCHED_OFF = "card_switched_off"
    REFUNDED = "refunded"
    STAFF = "staff"


class MessageState(StrEnum):
    PENDING = "pending"
    SENDING = "sending"  # a worker has it; what it did is not recorded yet
    SENT = "sent"  # the mail server accepted it
    BOUNCED = "bounced"  # accepted, and then sent back
    REFUSED = "refused"
    UNKNOWN = "unknown"  # its worker died while it was sending; sent again only by a person
    CANCELED = "canceled"  # what it would say is no longer true
    SILENCED = "silenced"


class NoticeReason(StrEnum):
    TRIAL_ENDS = "trial_ends"
    PRICE_CHANGES = "price_changes"
    LONG_PERIOD = "long_period"
    EVERY_CHARGE = "every_charge"


# A move that is not listed is refused by the database too.
MESSAGE_MOVES: Mapping[MessageState, frozenset[MessageState]] = {
    MessageState.PENDING: frozenset({MessageState.SENDING, MessageState.CANCELED}),
    MessageState.SENDING: frozenset(
        {
            MessageState.PENDING,
            MessageState.SENT,
            MessageState.REFUSED,
            MessageState.UNKNOWN,
            MessageState.CANCELED,
            MessageState.SILENCED,
        }
    ),
    MessageState.SENT: frozenset({MessageState.BOUNCED}),
    # Back to pending when a person decides to send it again.
    MessageState.UNKNOWN: frozenset({MessageState.BOUNCED, MessageState.PENDING}),
}
TO_CUSTOMERS = tuple(kind for kind in MessageKind if kind is not MessageKind.STAFF)
# Card networks require them: a customer who is silenced gets them all the same.
LEGAL = frozenset({MessageKind.ENROLLED, MessageKind.NOTICE})
# A second copy looks like a second payment, so one whose sending was interrupted is sent again only by a person.
AT_MOST_ONCE = frozenset({MessageKind.RECEIPT, MessageKind.REFUNDED})

# Visa: at least 7 days before. Mastercard: 7 to 30 days for periods of six months and more, 3 to 7 before a trial ends.
NOTICE_DAYS = 7
NOTICE_TIME = time(8)
LONG_PERIOD_DAYS = 180
_DAYS = {Interval.DAILY: 1, Interval.WEEKLY: 7, Interval.MONTHLY: 30}

# A customer who is entering the card just now needs no mail about it.
WAITS = {MessageKind.CARD_NEEDED: timedelta(hours=1)}
RETRY_WAITS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 180, 360, 720))


def message_of(event: str, details: Mapping[str, Any]) -> MessageKind | None:
    """What a customer gets when this event is recorded. `details` is the event's payload."""
    before = (details.get("changes") or {}).get("state", {}).get("from")
    match event:
        case "subscription.created":
            return MessageKind.CARD_NEEDED
        case "subscription.trialing" | "subscription.active":
            return MessageKind.ENROLLED if before == "incomplete" else None
        case "subscription.paused":
            return MessageKind.PAUSED
        case "subscription.canceled" | "subscription.completed":
            return MessageKind.ENDED
        case "subscription.expired":
            # Who voids the first invoice by hand knows the customer's wish, and says the rest.
            return MessageKind.EXPIRED if details.get("reason") == Reason.FIRST_PAYMENT_OVERDUE else None
        case "invoice.paid":
            return None if details.get("paid_elsewhere") else MessageKind.RECEIPT
        case "invoice.payment_failed":
            return failure_message(details)
        case "payment_method.switched_off":
            return MessageKind.CARD_SWITCHED_OFF
        case "refund.succeeded":
            return MessageKind.REFUNDED
        case _:
            return None


def failure_message(details: Mapping[str, Any]) -> MessageKind | None:
    """What a customer gets about a declined try; `details` is the payload of its event.

    The end of a subscription has a message of its own, which names the payment. The last warning, and the news that
    nothing more is tried, are sent also where a policy keeps quiet."""
    if details.get("ends_subscription"):
        return None
    left = details.get("tries_left")
    if left == 1:
        return MessageKind.LAST_WARNING
    if details.get("avoided") and not details.get("first"):
        return None  # nothing happened that the customer was not told of
    return None if details.get("quiet") and left else MessageKind.PAYMENT_FAILED


# News for the staff, each with its sentence; many go into one mail.
STAFF_NEWS = {
    "attempt.needs_review": "A charge needs review.",
    "refund.needs_review": "A refund needs review.",
    "invoice.held": "An invoice needs review before it is charged.",
    "proposal.created": "A decision needs a second person.",
    "payment_method.unreadable": "A card's orders cannot be read.",
    "payment_method.unexplained_order": "The gateway shows an unexplained order.",
    "payment.unexplained": "A daily report lists an unexplained payment.",
    "payment.went_back": "A payment that a person recorded was refunded.",
    "subscription.not_opened": "A due period could not be opened.",
    "attempt.surplus": "An overpayment arrived.",
    "attempt.alarm": "The gateway contradicts a charge that had ended.",
    "refund.alarm": "The gateway contradicts a refund that had ended.",
    "attempt.orphan_answer": "The gateway answered a charge that is not in this database.",
    "refund.orphan_answer": "The gateway answered a refund that is not in this database.",
    "account.stopped": "A person stopped all charging.",
    "account.paused": "Charging paused automatically.",
    "account.held": "A run needs review before it continues.",
    "account.quarantined": "The account is in quarantine: nothing is charged.",
    "audit.failed": "The nightly audit found violations.",
}


def is_long(interval: str, every: int) -> bool:
    """Whether a charge comes so rarely that the customer is reminded of it."""
    return _DAYS[Interval(interval)] * every >= LONG_PERIOD_DAYS


def notice_reason(
    *, first_after_trial: bool, price_changes: bool, interval: str, every: int, every_charge: bool
) -> NoticeReason | None:
    """Why a charge is announced; None: it is not."""
    if first_after_trial:
        return NoticeReason.TRIAL_ENDS
    if price_changes:
        return NoticeReason.PRICE_CHANGES
    if is_long(interval, every):
        return NoticeReason.LONG_PERIOD
    return NoticeReason.EVERY_CHARGE if every_charge else None


def notice_at(due_at: datetime, zone: str) -> datetime:
    """When the notice of a charge is sent (UTC): in the morning seven days before, at least 7 x 24 hours ahead."""
    local = due_at.astimezone(ZoneInfo(zone))
    day = local.date() - timedelta(days=NOTICE_DAYS)
    morning = datetime.combine(day, min(NOTICE_TIME, local.time()), ZoneInfo(zone)).astimezone(UTC)
    return min(morning, due_at - timedelta(days=NOTICE_DAYS))


def retry_at(tries: int, now: datetime) -> datetime | None:
    """When a mail that was put off is tried again, after so many tries; None: not any more."""
    return now + RETRY_WAITS[tries - 1] if tries <= len(RETRY_WAITS) else None


# fmt: off
_MONTHS = {
    Language.ENGLISH: (
        "January", "February", "March", "April", "May", "June",
        "July", "August", "September", "October", "November", "December",
    ),
    Language.MALAY: (
        "Januari", "Februari", "Mac", "April", "Mei", "Jun",
        "Julai", "Ogos", "September", "Oktober", "November", "Disember",
    ),
}
# fmt: on


def day_in_words(moment: datetime | date, zone: str, language: Language) -> str:
    """`3 March 2026`, `3 Mac 2026`: the day of an instant in a time zone."""
    day = moment.astimezone(ZoneInfo(zone)).date() if isinstance(moment, datetime) else moment
    return f"{day.day} {_MONTHS[language][day.month - 1]} {day.year}"


_UNITS = {
    Language.ENGLISH: {
        Interval.DAILY: ("every day", "every {} days"),
        Interval.WEEKLY: ("every week", "every {} weeks"),
        Interval.MONTHLY: ("every month", "every {} months"),
    },
    Language.MALAY: {
        Interval.DAILY: ("setiap hari", "setiap {} hari"),
        Interval.WEEKLY: ("setiap minggu", "setiap {} minggu"),
        Interval.MONTHLY: ("setiap bulan", "setiap {} bulan"),
    },
}
_YEARLY = {
    Language.ENGLISH: ("every year", "every {} years"),
    Language.MALAY: ("setiap tahun", "setiap {} tahun"),
}


def how_often(interval: str, every: int, language: Language) -> str:
    one, many = _UNITS[language][Interval(interval)]
    if interval == Interval.MONTHLY and every % 12 == 0:
        (one, many), every = _YEARLY[language], every // 12
    return one if every == 1 else many.format(every)
