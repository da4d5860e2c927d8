"""The customer's question, answered in a sentence or two: was I charged, and was it given back."""

from collections.abc import Sequence
from enum import StrEnum

from billing.audit.wording import HOLDS, REFUSALS, moment, times
from billing.domain.arming import Refusal
from billing.domain.attempts import HAS_MONEY, UNRESOLVED
from billing.domain.money import display
from billing.domain.subscriptions import Hold, InvoiceState
from billing.models import Invoice, PaymentAttempt


class Answer(StrEnum):
    """In one word, whether the customer's money was taken."""

    CHARGED = "charged"
    CHARGED_TOO_OFTEN = "charged_too_often"
    GIVEN_BACK = "given_back"
    NOT_CHARGED = "not_charged"
    NOT_KNOWN = "not_known"


def answer_of(
    invoice: Invoice, attempts: Sequence[PaymentAttempt], open_refunds: Sequence[str], zone: str
) -> tuple[Answer, str]:
    """The answer, in a word and in sentences. `open_refunds` are sentences about money that is to go back, or may have
    gone; `zone` is the IANA time zone that the sentences speak in."""
    took = [attempt for attempt in attempts if attempt.state in HAS_MONEY or attempt.state == "reversed"]
    kept = [one for one in took if one.state in HAS_MONEY and one.amount_refunded_minor < one.amount_minor]
    open_ones = any(attempt.state in UNRESOLVED for attempt in attempts)
    money, what = display(invoice.amount_minor, invoice.currency), _what(invoice)
    after = [_gone_back(invoice, took, kept), *open_refunds]
    if len(kept) > 1:
        said = f"The card was charged {money} {times(len(kept))} for {what}. Only one of the charges may stay."
        return Answer.CHARGED_TOO_OFTEN, _joined(said, *after)
    if kept:
        said = f"The card was charged {money} once for {what}, on {moment(kept[0].armed_at, zone)}."
        other = "What came of another attempt is not known yet." if open_ones else ""
        return Answer.CHARGED, _joined(said, *after, other)
    if open_ones:
        said = f"It is not known yet whether the card was charged {money} for {what}."
        return Answer.NOT_KNOWN, _joined(said, "It is not charged again before that is known.", *after)
    if len(took) > 1:
        said = f"The card was charged {money} {times(len(took))} for {what}, and all of it was given back."
        return Answer.GIVEN_BACK, said
    if took:
        when = moment(took[0].armed_at, zone)
        return (
            Answer.GIVEN_BACK,
            f"The card was charged {money} once for {what}, on {when}, and all of it was given back.",
        )
    return Answer.NOT_CHARGED, f"The card was not charged {money} for {what}: {_why_not(invoice, attempts)}."


def _gone_back(invoice: Invoice, took: Sequence[PaymentAttempt], kept: Sequence[PaymentAttempt]) -> str:
    """What of the charges went back, beside what is kept."""
    money, wholly = display(invoice.amount_minor, invoice.currency), len(took) - len(kept)
    others = {0: "", 1: f"Another charge of {money} was given back."}
    part = sum(one.amount_refunded_minor for one in kept)
    return _joined(
        f"{display(part, invoice.currency)} of it was given back." if part else "",
        others.get(wholly, f"{wholly} other charges of {money} were given back."),
    )


def _what(invoice: Invoice) -> str:
    numbered = f"period {(invoice.period_index or 0) + 1} of {invoice.description}"
    return numbered if invoice.subscription_id else invoice.description


def _why_not(invoice: Invoice, attempts: Sequence[PaymentAttempt]) -> str:
    if invoice.state == InvoiceState.VOID:
        return "the period was skipped"
    if invoice.state == InvoiceState.UNCOLLECTIBLE:
        return f"all {invoice.tries} tries were declined" if invoice.tries > 1 else "it was declined"
    if invoice.hold:
        return HOLDS[Hold(invoice.hold)]
    if invoice.refusal:
        return REFUSALS[Refusal(invoice.refusal)]
    if not attempts:
        return "it was not tried yet"
    last = attempts[-1].state
    return (
        "it was declined, and is tried again" if last == "declined" else "nothing was executed, and it is tried again"
    )


def _joined(*sentences: str) -> str:
    return " ".join(filter(None, sentences))
