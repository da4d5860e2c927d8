"""How an explanation says things: days, spans of time, why a day is due, and what each piece of evidence told."""

from datetime import date, datetime, timedelta
from typing import assert_never
from zoneinfo import ZoneInfo

from billing.domain.arming import Refusal
from billing.domain.attempts import AttemptState, Source, Verdict
from billing.domain.refunds import RefundEnd, RefundWait
from billing.domain.schedules import Interval, Schedule
from billing.domain.subscriptions import Hold

S = AttemptState
REVERSED_ON_REQUEST = "reversed_on_request"

REFUSALS: dict[Refusal, str] = {
    Refusal.SUBSCRIPTION_NOT_USABLE: "the subscription is not running",
    Refusal.NO_CARD: "the customer has no card",
    Refusal.CARD_NOT_ACTIVE: "the card is not active",
    Refusal.CARD_HELD: "something about the card is unexplained, and a person has to look at it first",
    Refusal.CARD_HAS_GATEWAY_SCHEDULE: "the gateway charges this card on a schedule of its own",
    Refusal.CARD_HAS_UNRESOLVED_ATTEMPT: "the outcome of another charge on this card is still open",
    Refusal.INVOICE_HAS_HOLDER: "the outcome of an earlier attempt is still open",
    Refusal.COLLECTED_BY_GATEWAY: "the gateway itself collects this subscription",
    Refusal.ENVIRONMENT_DIFFERS: "the card and the account do not belong to the same gateway",
    Refusal.ABOVE_LIMIT: "the amount is above the account's limit for one charge",
    Refusal.ALREADY_REFUNDED: "the invoice was refunded",
    Refusal.PREFLIGHT_MISSING: "the card's orders at the gateway have to be read first",
    Refusal.PREFLIGHT_FOUND_MONEY: "the gateway shows money that nothing explains yet",
    Refusal.REQUEST_IMPOSSIBLE: "no request could be made of it",
    Refusal.CONSTRAINT: "a rule of the database forbade it",
    Refusal.GATEWAY_UNAVAILABLE: "the gateway could not be reached",
}
HOLDS: dict[Hold, str] = {
    Hold.CATCH_UP: "its period was missed, and a person decides whether it is still collected",
    Hold.REVERSED: "its payment was taken back, and a person decides whether it is collected again",
    Hold.SUBSCRIPTION_CANCELED: "the subscription was cancelled, and a person decides whether it is still collected",
}
REFUND_WAITS: dict[str, str] = {
    RefundWait.ACCOUNT_STOPPED: "the account is stopped",
    RefundWait.LIVE_NOT_ALLOWED: "this installation does not speak to the live gateway",
    RefundWait.ENVIRONMENT_DIFFERS: "the payment and the account do not belong to the same gateway",
    RefundWait.ABOVE_LIMIT: "the amount is above the account's limit for one charge",
    RefundWait.GATEWAY_UNAVAILABLE: "the gateway could not be reached",
    RefundWait.CONSTRAINT: "a rule of the database forbade it",
}
REFUND_ENDS: dict[str, str] = {
    RefundEnd.NO_MONEY: "the payment has no money any more",
    RefundEnd.NOT_THAT_MUCH: "more was given back meanwhile, and that much is not left",
    RefundEnd.REVERSE_WINDOW_PASSED: "the gateway reverses a payment for 15 minutes only",
    RefundEnd.ORDER_UNKNOWN: "the gateway's order of the payment is not known",
    RefundEnd.REQUEST_IMPOSSIBLE: "no request could be made of it",
    RefundEnd.WITHDRAWN: "it was taken back",
    "refunded_at_the_gateway": "money was given back in the gateway's own portal first",
}
# Why something went to a person, or was not understood, beyond what the words themselves say.
_REASONS = {
    "amount_differs": "the amount is another",
    "currency_differs": "the currency is another",
    "store_differs": "the store is another",
    "card_differs": "it is about another card",
    "marker_differs": "it carries the mark of another attempt",
    "transaction_id_claimed": "its transaction belongs to another attempt already",
    "transaction_id_missing": "it names no transaction",
    "order_without_marker": "an order of the same amount and time carries no mark that would prove whose it is",
    "two_candidate_orders": "two orders could be this attempt's",
    "two_orders_for_one_attempt": "two orders carry this attempt's mark",
    "order_with_two_possible_makers": "an order of the same amount and time could be another attempt's as well",
    "order_and_transaction_disagree": "the order and its transaction contradict each other",
    "absent_no_report": "nothing was found, and nothing proves that nothing was taken",
    "absent_in_reports": "nothing was found there, nor in the gateway's reports of those days",
    "reported_payment_without_marker": "the gateway's reports list a payment that could be this one",
    "reads_keep_failing": "the gateway could not be read for days",
    "full_refunded": "the money was taken and given back before it was ever seen",
    "partial_refunded": "a part of the money was given back before it was ever seen",
    "evidence_while_with_a_person": "it arrived while a person was deciding",
    "declined_after_money": "money is recorded, and the gateway now calls it declined",
    "second_transaction": "a second transaction claims to be this payment",
    "paid_after_reversal": "it calls the charge paid after it had been reversed",
    "reversal_of_another_transaction": "the reversal is of another transaction",
    "unchanged_at_the_gateway": "nothing had changed, and nothing proves that nothing will",
    "amount_unknown": "how much went back is not shown",
    "another_transaction": "it showed another payment",
    "reversed_instead": "the whole payment was reversed",
    "refunded_instead": "the payment was refunded, not reversed",
    "not_seen_in_the_answer": "the answer does not show that the money went back",
    "PAYMENT_FULLY_REFUNDED": "the gateway says that all of it was given back, and not by whom",
    "timeout": "there was no answer in time",
    "connection": "the connection was lost",
    "answer": "the answer could not be understood",
    "sender_failed": "the program that sent it failed",
    "not_recordable": "the answer could not be written down",
    "status_not_recognised": "its status is not one that we know",
    "expired": "the request was too old to be sent",
}


def reason_words(reason: str) -> str:
    """Why, as a part of a sentence; codes of the gateway and of banks are shown as they are."""
    if not reason:
        return "no reason was given"
    if reason in _REASONS:
        return _REASONS[reason]
    if reason.startswith("still_"):
        return f"after the last check it was still {reason.removeprefix('still_').replace('_', ' ')}"
    if reason.isdigit() or reason.isupper():
        return f"code {reason}"
    return reason.replace("_", " ")


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


def said_by(actor: str, what: str, reason: str, *, to_staff: bool) -> str:
    """`siti paused it: on holiday.` To anybody but staff no name and nothing that staff wrote is repeated."""
    if not to_staff:
        return f"{'the engine' if actor == 'engine' else 'a person'} {what}."
    why = reason.strip().rstrip(".")
    return f"{actor} {what}{f': {why}' if why else ''}."


def sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def told(source: Source, verdict: Verdict, reason: str, number: int | None, *, to_staff: bool) -> str:
    """One piece of evidence, as what follows a colon. `number` is that of the check, where there is one."""
    if reason == REVERSED_ON_REQUEST:
        return "the payment was taken back, as it had been asked for."
    match source:
        case Source.SWEEPER:
            return "the program that was to send the request was lost, so nobody knows whether it left."
        case Source.COMMIT_UNACKNOWLEDGED:
            return "the database did not confirm that the attempt was written down, so nothing was sent."
        case Source.HOLDER_ENDED:
            return "the attempt that the invoice was waiting for ended without money."
        case Source.OPERATOR:
            return _decided(verdict, reason, to_staff=to_staff)
        case Source.ANSWER:
            return _said("the gateway answered", verdict, reason)
        case Source.TRANSACTION_QUERY:
            return _said("asked about the transaction, the gateway said", verdict, reason)
        case Source.ORDER_LIST:
            check = f"at check {number} the" if number else "the"
            return _listed(f"{check} gateway's complete list of the card's orders", verdict, reason)
        case _:
            assert_never(source)


def _decided(verdict: Verdict, reason: str, *, to_staff: bool) -> str:
    words = {
        Verdict.PAID: "that the card was charged",
        Verdict.DECLINED: "that the charge was declined",
        Verdict.PERSON_NOT_CHARGED: "that the card was not charged",
    }
    who, _, why = reason.removeprefix("decided by ").partition(": ")
    what = f"decided {words.get(verdict, verdict.value.replace('_', ' '))}"
    return said_by(who, what, why, to_staff=to_staff)


def _said(by: str, verdict: Verdict, reason: str) -> str:
    match verdict:
        case Verdict.PAID:
            return f"{by} that the money was taken."
        case Verdict.DECLINED:
            return f"{by} that the charge was declined ({reason_words(reason)})."
        case Verdict.IN_PROCESS:
            return f"{by} that it has the charge and has not finished it."
        case Verdict.REVERSED:
            return f"{by} that it took the charge back."
        case Verdict.NOT_SENT:
            return f"it is certain that nothing was executed ({reason_words(reason)})."
        case Verdict.UNCLEAR:
            return f"what came of the request is not known: {reason_words(reason)}."
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
        case Verdict.DECLINED if reason == "card_inactive":
            return f"{by} shows nothing of it, and the gateway calls the card inactive: nothing was taken."
        case Verdict.DECLINED:
            return f"{by} shows that it was declined ({reason_words(reason)})."
        case Verdict.PAID:
            return f"{by} shows that the money was taken."
        case Verdict.IN_PROCESS:
            return f"{by} shows that the gateway has not finished it."
        case Verdict.REVERSED:
            return f"{by} shows that the gateway took the charge back."
        case Verdict.NOT_SENT | Verdict.PERSON_NOT_CHARGED:
            return f"{by} shows that nothing was taken."
        case _:
            assert_never(verdict)


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
            return "The invoice and the card wait, and the gateway is asked until it is known."
        case S.NOT_CHARGED:
            return "The invoice may be tried again."
        case S.NEEDS_HUMAN:
            return "A person has to decide; until then the invoice and the card wait."
        case S.SURPLUS:
            return "The invoice did not need this money any more: it is a surplus, to be given back."
        case S.REVERSED:
            return "The money went back to the customer."
        case _:
            assert_never(to)
