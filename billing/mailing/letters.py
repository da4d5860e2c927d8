"""What a message says, in the words of its language: read from what it is about, when it is sent.

What it would say may no longer be true by then: the invoice is paid, the subscription ended. Then it says why it is
not sent (`stale`)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Q

from billing.domain.arming import Refusal
from billing.domain.declines import decline_of
from billing.domain.messages import Language, MessageKind, NoticeReason, day_in_words, how_often
from billing.domain.money import display
from billing.domain.reasons import Reason
from billing.domain.subscriptions import ENDED, RUNNING, CardState, InvoiceState, SubscriptionState
from billing.models import Invoice, MailSettings, Message, PaymentAttempt, PaymentMethod, Refund, Subscription

K = MessageKind


@dataclass(frozen=True, slots=True)
class Letter:
    """The values of a template. `stale`: why it is not sent any more; empty when it is true."""

    values: Mapping[str, Any] = field(default_factory=dict)
    stale: str = ""


def letter_of(message: Message, settings: MailSettings) -> Letter:
    """Reads what the message is about. Raises ObjectDoesNotExist if that is gone."""
    return _WRITERS[MessageKind(message.kind)](message, Language(message.language), settings)


def _common(customer_name: str, settings: MailSettings) -> dict[str, Any]:
    return {"name": customer_name, "merchant": settings.sender_name}


def subscription_values(row: Subscription, settings: MailSettings, language: Language) -> dict[str, Any]:
    due = row.next_due_at
    return {
        **_common(row.customer.name, settings),
        "what": row.plan.name,
        "amount": display(row.amount_minor, row.currency),
        "how_often": how_often(row.interval, row.every, language),
        "next_charge": day_in_words(due, row.time_zone, language) if due else "",
        "trial": bool(row.trial_ends_at and due and row.periods_charged == 0),
        "times": row.repetitions or "",
    }


def invoice_values(row: Invoice, settings: MailSettings, language: Language) -> dict[str, Any]:
    zone = _zone_of(row)
    at = row.next_attempt_at
    return {
        **_common(row.customer.name, settings),
        "what": row.description,
        "amount": display(row.amount_minor, row.currency),
        "invoice": row.public_id,
        "due": day_in_words(row.due_at, zone, language),
        "try_again": day_in_words(at, zone, language) if at else "",
        "paid_on": day_in_words(row.closed_at or row.due_at, zone, language),
        "card": "",
        "until": "",
    }


def _zone_of(row: Invoice) -> str:
    return row.subscription.time_zone if row.subscription else row.account.time_zone


def digits(label: str) -> str:
    """The last four digits of a card; nothing where the gateway gave none."""
    return label[-4:] if label[-4:].isdigit() else ""


def _digits_of(attempt: PaymentAttempt | None) -> str:
    """Of the card that paid; nothing where it was paid on a page or elsewhere."""
    return digits(attempt.payment_method.label) if attempt and attempt.payment_method else ""


def _subscription(message: Message) -> Subscription:
    return Subscription.objects.select_related("customer", "plan", "account").get(pk=message.subject_id)


def _invoice(pk: int) -> Invoice:
    return Invoice.objects.select_related("customer", "account", "subscription").get(pk=pk)


def _enrolled(message: Message, language: Language, settings: MailSettings) -> Letter:
    row = _subscription(message)
    stale = "the subscription has ended" if row.state in ENDED else ""
    return Letter(subscription_values(row, settings, language), stale)


def _notice(message: Message, language: Language, settings: MailSettings) -> Letter:
    row, details = _subscription(message), message.details
    due_at = datetime.fromisoformat(details["due_at"])
    comes = row.state in RUNNING and row.next_due_at == due_at and row.amount_minor == details["amount_minor"]
    before = details.get("last_amount_minor")
    values = subscription_values(row, settings, language) | {
        "due": day_in_words(due_at, row.time_zone, language),
        "trial": details["reason"] == NoticeReason.TRIAL_ENDS,
        "old_amount": display(before, row.currency) if details["reason"] == NoticeReason.PRICE_CHANGES else "",
    }
    return Letter(values, "" if comes else "this charge no longer comes")


def _receipt(message: Message, language: Language, settings: MailSettings) -> Letter:
    row = _invoice(message.subject_id)
    paid = PaymentAttempt.objects.filter(invoice=row, state="succeeded").select_related("payment_method").first()
    values = invoice_values(row, settings, language) | {"card": _digits_of(paid)}
    return Letter(values, "" if row.state == InvoiceState.PAID else "the invoice is not paid any more")


def _payment_failed(message: Message, language: Language, settings: MailSettings) -> Letter:
    row = _invoice(message.subject_id)
    code = str(message.details.get("code", ""))
    first = row.state == InvoiceState.OPEN and row.refusal == Refusal.FIRST_CHARGE_DECLINED
    values = invoice_values(row, settings, language) | {"why": decline_of(code).payer[language], "first": first}
    if first:
        return Letter(values)
    if message.details.get("tries_left"):
        collected = row.state == InvoiceState.OPEN and row.next_attempt_at is not None
        return Letter(values, "" if collected else "the invoice is not collected any more")
    values["try_again"] = ""
    in_grace = row.state == InvoiceState.OPEN and row.grace_ends_at is not None
    if in_grace and row.grace_ends_at:
        values["until"] = day_in_words(row.grace_ends_at, _zone_of(row), language)
    owed = in_grace or row.state == InvoiceState.UNCOLLECTIBLE
    return Letter(values, "" if owed else "nothing is owed for the invoice any more")


def _paused(message: Message, language: Language, settings: MailSettings) -> Letter:
    row = _subscription(message)
    values = subscription_values(row, settings, language) | {"unpaid": _unpaid(message)}
    return Letter(values, "" if row.state == SubscriptionState.PAUSED else "the subscription is not paused any more")


def _ended(message: Message, language: Language, settings: MailSettings) -> Letter:
    row = _subscription(message)
    over = row.state == SubscriptionState.COMPLETED
    values = subscription_values(row, settings, language) | {"unpaid": _unpaid(message), "over": over}
    return Letter(values, "" if row.state in ENDED else "the subscription has not ended")


def _expired(message: Message, language: Language, settings: MailSettings) -> Letter:
    row = _subscription(message)
    late = PaymentAttempt.objects.filter(invoice__subscription=row, state__in=["succeeded", "surplus"])
    return Letter(subscription_values(row, settings, language), "its payment came after all" if late.exists() else "")


def _unpaid(message: Message) -> bool:
    return bool(message.details.get("reason") == Reason.TRIES_EXHAUSTED)


def _card_needed(message: Message, language: Language, settings: MailSettings) -> Letter:
    row = _subscription(message)
    waits = row.state == SubscriptionState.INCOMPLETE
    values = subscription_values(row, settings, language) | {
        "at_start": row.charge_at_start and not row.plan.trial_days
    }
    return Letter(values, "" if waits else "the subscription needs no card")


def _card_switched_off(message: Message, _: Language, settings: MailSettings) -> Letter:
    row = PaymentMethod.objects.select_related("customer", "account").get(pk=message.subject_id)
    on_it = Q(payment_method=row) | (Q(payment_method=None) if row.is_default else Q(pk__in=[]))
    charged = Subscription.objects.filter(on_it, customer=row.customer, state__in=[state.value for state in RUNNING])
    values = _common(row.customer.name, settings) | {"card": digits(row.label)}
    off = row.state == CardState.INACTIVE
    return Letter(values, "" if off and charged.exists() else "nothing is charged on the card")


def _refunded(message: Message, language: Language, settings: MailSettings) -> Letter:
    row = Refund.objects.select_related("attempt__payment_method").get(pk=message.subject_id)
    invoice = _invoice(row.invoice_id)
    values = invoice_values(invoice, settings, language) | {
        "amount": display(row.amount_minor, row.currency),
        "card": _digits_of(row.attempt),
    }
    return Letter(values)


_WRITERS: dict[MessageKind, Callable[[Message, Language, MailSettings], Letter]] = {
    K.ENROLLED: _enrolled,
    K.NOTICE: _notice,
    K.RECEIPT: _receipt,
    K.PAYMENT_FAILED: _payment_failed,
    K.LAST_WARNING: _payment_failed,
    K.PAUSED: _paused,
    K.ENDED: _ended,
    K.EXPIRED: _expired,
    K.CARD_NEEDED: _card_needed,
    K.CARD_SWITCHED_OFF: _card_switched_off,
    K.REFUNDED: _refunded,
}
