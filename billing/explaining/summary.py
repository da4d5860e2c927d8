"""The customer's question, answered in a sentence or two: was I charged, and was it refunded."""

from collections.abc import Sequence
from enum import StrEnum

from billing.domain.attempts import HAS_MONEY, UNRESOLVED
from billing.domain.closing import PaidBy
from billing.domain.money import display
from billing.domain.reason_words import reason_words
from billing.domain.reasons import Reason
from billing.domain.subscriptions import InvoiceState
from billing.explaining.wording import held_because, moment, paid_by, sentence, times
from billing.models import Invoice, OutsidePayment, PaymentAttempt


class Answer(StrEnum):
    """In one word, whether the customer's money was taken."""

    CHARGED = "charged"
    CHARGED_TOO_OFTEN = "charged_too_often"
    GIVEN_BACK = "given_back"
    NOT_CHARGED = "not_charged"
    PAID_ELSEWHERE = "paid_elsewhere"  # and not by a charge of this card
    NOT_KNOWN = "not_known"


def answer_of(
    invoice: Invoice,
    attempts: Sequence[PaymentAttempt],
    open_refunds: Sequence[str],
    zone: str,
    outside: OutsidePayment | None = None,
) -> tuple[Answer, str]:
    """The answer, in a word and in sentences. `open_refunds` are sentences about money that is to go back, or may have
    gone; `zone` is the IANA time zone that the sentences speak in; `outside` is the payment that no attempt made."""
    took = [attempt for attempt in attempts if attempt.state in HAS_MONEY or attempt.state == "reversed"]
    kept = [one for one in took if one.state in HAS_MONEY and one.amount_refunded_minor < one.amount_minor]
    open_ones = any(attempt.state in UNRESOLVED for attempt in attempts)
    money, what = display(invoice.amount_minor, invoice.currency), _what(invoice)
    after = [_gone_back(invoice, took, kept), *open_refunds]
    if outside is not None:
        return _paid_outside(invoice, outside, kept, _joined(*after))
    if len(kept) > 1:
        text = f"The card was charged {money} {times(len(kept))} for {what}. Only one of the charges may stay."
        if any(one.checkout_id for one in kept):
            text = (
                f"{money} was paid {times(len(kept))} for {what}, not only by card. Only one of the payments may stay."
            )
        return Answer.CHARGED_TOO_OFTEN, _joined(text, *after)
    if kept:
        text = f"{_taken(kept[0], money, what)}, on {moment(kept[0].armed_at, zone)}."
        other = "The outcome of another attempt is not known yet." if open_ones else ""
        return Answer.CHARGED, _joined(text, *after, other)
    if open_ones:
        text = f"It is not known yet whether the card was charged {money} for {what}."
        return Answer.NOT_KNOWN, _joined(text, "It is not charged again before that is known.", *after)
    if len(took) > 1:
        text = f"The card was charged {money} {times(len(took))} for {what}, and all of it was refunded."
        return Answer.GIVEN_BACK, text
    if took:
        when = moment(took[0].armed_at, zone)
        return (
            Answer.GIVEN_BACK,
            f"{_taken(took[0], money, what)}, on {when}, and all of it was refunded.",
        )
    return Answer.NOT_CHARGED, f"The card was not charged {money} for {what}: {_why_not(invoice, attempts)}."


def _taken(attempt: PaymentAttempt, money: str, what: str) -> str:
    """How the money of one payment came, without an end of the sentence."""
    if attempt.checkout_id is not None:
        return f"{money} was paid on a payment page for {what}"
    return f"The card was charged {money} once for {what}"


def _paid_outside(
    invoice: Invoice, outside: OutsidePayment, kept: Sequence[PaymentAttempt], after: str
) -> tuple[Answer, str]:
    """Money that a card sent beside it is one charge too many."""
    money, what = display(invoice.amount_minor, invoice.currency), _what(invoice)
    at_the_gateway = outside.method == PaidBy.GATEWAY
    if kept:
        text = f"{what} was paid {paid_by(outside, to_staff=False)}, and the card was charged {money} beside it."
        return Answer.CHARGED_TOO_OFTEN, _joined(sentence(text), "That charge may not stay.", after)
    if at_the_gateway:
        text = f"The card was charged {money} once for {what}, {paid_by(outside, to_staff=False)}."
        return Answer.CHARGED, _joined(text, after)
    text = f"The card was not charged {money} for {what}: it was paid {paid_by(outside, to_staff=False)}."
    return Answer.PAID_ELSEWHERE, _joined(text, after)


def _gone_back(invoice: Invoice, took: Sequence[PaymentAttempt], kept: Sequence[PaymentAttempt]) -> str:
    """What of the charges was refunded, beside what is kept."""
    money, wholly = display(invoice.amount_minor, invoice.currency), len(took) - len(kept)
    others = {0: "", 1: f"Another charge of {money} was refunded."}
    part = sum(one.amount_refunded_minor for one in kept)
    return _joined(
        f"{display(part, invoice.currency)} of it was refunded." if part else "",
        others.get(wholly, f"{wholly} other charges of {money} were refunded."),
    )


def _what(invoice: Invoice) -> str:
    numbered = f"period {(invoice.period_index or 0) + 1} of {invoice.description}"
    return numbered if invoice.subscription_id else invoice.description


def _why_not(invoice: Invoice, attempts: Sequence[PaymentAttempt]) -> str:
    if invoice.state == InvoiceState.VOID:
        return reason_words(invoice.state_reason)
    if invoice.state_reason == Reason.WRITTEN_OFF:
        return "it was written off"
    if invoice.state == InvoiceState.UNCOLLECTIBLE:
        return f"all {invoice.tries} tries were declined" if invoice.tries > 1 else "it was declined"
    if invoice.hold:
        return held_because(invoice.hold)
    if invoice.refusal:
        return reason_words(invoice.refusal)
    if not attempts:
        return "it was not tried yet"
    last = attempts[-1].state
    if invoice.next_attempt_at is None and invoice.grace_ends_at is not None:
        return "it was declined, and no try is left"
    return (
        "it was declined, and is tried again" if last == "declined" else "nothing was executed, and it is tried again"
    )


def _joined(*sentences: str) -> str:
    return " ".join(filter(None, sentences))
