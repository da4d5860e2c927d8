"""What every reason means, in words: the one table that pages, explanations and commands read."""

from collections.abc import Mapping
from enum import StrEnum

from billing.domain.arming import Refusal
from billing.domain.declines import decline_of
from billing.domain.doubts import Doubt
from billing.domain.reasons import Reason
from billing.domain.refunds import RefundEnd, RefundWait
from billing.domain.subscriptions import Hold

# Parts of a sentence, without a full stop. One word of two enums means the same in both.
WORDS: Mapping[StrEnum, str] = {
    Reason.DECIDED_BY_PERSON: "decided by a person",
    # Requests, by this machine.
    Reason.ARMED: "the request is on record",
    Reason.SENDER_LOST: "the process that sent it was lost",
    Reason.SENDER_FAILED: "the process that sent it failed",
    Reason.NO_SENDER: "this machine could not start a thread to send it",
    Reason.NOT_RECORDABLE: "the response could not be stored",
    Reason.COMMIT_UNACKNOWLEDGED: "the database did not confirm that the request was stored",
    Reason.WITNESS_NOT_WRITTEN: "this machine could not store outside the database what it was about to send",
    Reason.ANOTHER_DATABASE_AT_WORK: "this machine charged with another database at the same time",
    # Requests, by the gateway's client.
    Reason.DNS: "the gateway's host name could not be resolved",
    Reason.CONNECT: "the gateway could not be connected to",
    Reason.TLS: "there was no trusted TLS connection to the gateway",
    Reason.TIMEOUT: "no response in time",
    Reason.EXPIRED: "the request was too old to be sent",
    Reason.TOKEN: "the gateway did not accept the access token, or gave none",
    Reason.ENVIRONMENT: "the request was prepared for another gateway",
    Reason.REQUEST: "no valid request could be made",
    Reason.SIGNATURE: "the gateway rejected the signature",
    Reason.PERMISSION: "the gateway gives these credentials no permission for it",
    Reason.VALIDATION: "the gateway rejected the request as invalid",
    Reason.PATH: "the gateway does not know the request's path",
    Reason.THROTTLED: "the gateway accepted no more requests at the time",
    Reason.CONNECTION: "the connection was lost",
    Reason.ANSWER: "the response could not be understood",
    Reason.UNCLEAR: "the response does not say what happened",
    Reason.NOT_SENT: "nothing was executed",
    Reason.REFUSED: "the gateway refused it",
    # A transaction's status.
    Reason.SUCCESS: "the gateway shows it as successful",
    Reason.DECLINED: "declined without a code",
    Reason.IN_PROCESS: "the gateway has not finished it",
    Reason.REVERSED: "the payment was reversed",
    Reason.FULL_REFUNDED: "the payment was fully refunded before we ever saw it",
    Reason.PARTIAL_REFUNDED: "the payment was partly refunded before we ever saw it",
    Reason.STATUS_NOT_RECOGNISED: "its status is not one we know",
    # Reading the gateway.
    Reason.ABSENT: "not found at the gateway",
    Reason.ABSENT_FOR_LONG: "not found at the gateway for as long as the account requires",
    Reason.ABSENT_IN_REPORTS: "found neither there nor in the gateway's reports for those days",
    Reason.ABSENT_NO_REPORT: "nothing was found, and nothing proves that no money was taken",
    Reason.CARD_INACTIVE: "the gateway calls the card inactive",
    Reason.ORDERS_IN_DOUBT: "an order's transaction could not be read",
    Reason.TRANSACTION_NOT_SHOWN: "the gateway does not show its transaction",
    Reason.READS_KEEP_FAILING: "the gateway could not be read for days",
    Reason.STILL_IN_PROCESS: "after the last check it was still in process",
    Reason.STILL_REVERSED: "after the last check it was still shown as reversed, too soon to count",
    Reason.STILL_UNCLEAR: "after the last check it was still unclear",
    Reason.STILL_ORDERS_IN_DOUBT: "after the last check an order's transaction could still not be read",
    Reason.STILL_TRANSACTION_NOT_SHOWN: "after the last check its transaction was still not shown",
    Reason.STILL_STATUS_NOT_RECOGNISED: "after the last check its status was still not one we know",
    Reason.ORDER_WITHOUT_MARKER: "an order with the same amount and time has no marker to prove whose it is",
    Reason.TWO_CANDIDATE_ORDERS: "two orders could belong to this attempt",
    Reason.TWO_ORDERS_FOR_ONE_ATTEMPT: "two orders carry this attempt's marker",
    Reason.ORDER_WITH_TWO_POSSIBLE_MAKERS: "an order with the same amount and time could be another attempt's",
    Reason.ORDER_AND_TRANSACTION_DISAGREE: "the order and its transaction contradict each other",
    Reason.REPORTED_PAYMENT_WITHOUT_MARKER: "the gateway's reports list a payment that could be this one",
    Reason.PAID_ON_A_PAGE: "paid on a payment page",
    Reason.FOUND_AT_THE_GATEWAY: "found at the gateway; the database had lost it",
    # Findings that do not fit.
    Reason.AMOUNT_DIFFERS: "the amount differs",
    Reason.CURRENCY_DIFFERS: "the currency differs",
    Reason.STORE_DIFFERS: "it belongs to another store",
    Reason.CARD_DIFFERS: "it is for another card",
    Reason.MARKER_DIFFERS: "it carries another attempt's marker",
    Reason.TRANSACTION_ID_MISSING: "it has no transaction id",
    Reason.TRANSACTION_ID_CLAIMED: "its transaction already belongs to another attempt",
    Reason.DECLINED_AFTER_MONEY: "a payment is on record, and the gateway now calls it declined",
    Reason.SECOND_TRANSACTION: "a second transaction claims to be this payment",
    Reason.PAID_AFTER_REVERSAL: "it calls the charge paid after it was reversed",
    Reason.REVERSAL_OF_ANOTHER_TRANSACTION: "the reversal is of another transaction",
    Reason.EVIDENCE_WHILE_WITH_A_PERSON: "it arrived while the attempt was under review",
    # Attempts.
    Reason.PAID: "the money was taken",
    Reason.LATE_MONEY: "the money arrived late",
    Reason.MONEY_NOT_OWED: "the invoice no longer needed the money",
    Reason.HOLDER_ENDED_WITHOUT_MONEY: "the invoice's other attempt ended without money",
    Reason.REVERSED_AT_FIRST: "the gateway reversed the charge at once",
    Reason.REVERSED_AT_THE_GATEWAY: "the gateway reversed the charge",
    Reason.REVERSED_ON_REQUEST: "reversed on request",
    # Refunds.
    Reason.REFUNDED: "refunded",
    Reason.SEEN_AT_THE_GATEWAY: "made in the gateway's portal",
    Reason.REFUNDED_AFTER_ALL: "it had ended without a refund, and the gateway now shows one",
    Reason.REFUNDED_INSTEAD: "the payment was refunded, not reversed",
    Reason.REVERSED_INSTEAD: "the whole payment was reversed",
    Reason.AMOUNT_UNKNOWN: "the refunded amount is not shown",
    Reason.ANOTHER_TRANSACTION: "the gateway showed another payment",
    Reason.NOT_SEEN_IN_THE_ANSWER: "the response does not show the refund",
    Reason.UNCHANGED_AT_THE_GATEWAY: "nothing had changed, and nothing proves that nothing will",
    RefundWait.EARLIER_MAY_HAVE_ACTED: "an earlier refund of the payment ended without money, and the gateway may not "
    "show yet whether it was executed anyway",
    RefundWait.LOOK_TOO_OLD: "the payment has to be read at the gateway once more",
    RefundWait.ACCOUNT_STOPPED: "the account is stopped",
    RefundWait.LIVE_NOT_ALLOWED: "this installation may not call the live gateway",
    RefundWait.CLOCK: "the clock did not agree with the gateway's",
    RefundEnd.NO_MONEY: "the payment was reversed, so there is nothing to refund",
    RefundEnd.ALREADY_GIVEN_BACK: "all of it was already refunded at the gateway",
    RefundEnd.BECAME_THE_PAYMENT: "it was requested for an overpayment, which pays its invoice now",
    RefundEnd.PARTLY_GIVEN_BACK: "part of it was refunded at the gateway meanwhile",
    RefundEnd.REVERSE_WINDOW_PASSED: "the gateway reverses a payment for 15 minutes only",
    RefundEnd.ORDER_UNKNOWN: "the payment's order at the gateway is not known",
    RefundEnd.WITHDRAWN: "withdrawn",
    # Invoices and subscriptions.
    Reason.PERIOD_DUE: "its period is due",
    Reason.SKIPPED: "the period was skipped",
    Reason.PAYMENT_REVERSED: "its payment was reversed",
    Reason.PAID_ELSEWHERE: "paid elsewhere",
    Reason.VOIDED: "nothing is owed for it",
    Reason.WRITTEN_OFF: "written off",
    Reason.CREATED: "created",
    Reason.ACTIVATED: "activated",
    Reason.DECLINES_FORGIVEN: "the bank approved a payment since, or a person judged its decline otherwise",
    Reason.ANOTHER_CARD: "it is tried at once on another card",
    Reason.FIRST_PAYMENT_DUE: "it starts when its first charge is paid",
    Reason.FIRST_PAYMENT_PAID: "its first charge was paid",
    Reason.FIRST_PAYMENT_OVERDUE: "its first charge was not paid in time",
    Reason.ENDED_UNPAID: "the subscription ended before its first payment",
    Reason.TRIAL_OVER: "the trial ended",
    Reason.INVOICE_PAID: "its invoice was paid",
    Reason.INVOICE_DECLINED: "the charge for its invoice was declined",
    Reason.INVOICE_VOIDED: "its invoice was voided",
    Reason.TRIES_EXHAUSTED: "the last try was declined",
    Reason.REPETITIONS_OVER: "all its periods are over",
    Reason.PAGE_ASKED_FOR: "a payment page was requested",
    Reason.PAGE_HANDED_OUT: "its payment page was handed out",
    Reason.PAGE_NOT_MADE: "the gateway made no payment page that anybody could be shown",
    Reason.PAGE_OVER: "its payment page is over, and nothing was paid on it",
    Reason.PAGE_UNANSWERED: "for a day the gateway did not say whether somebody was paying",
    Reason.CHARGE_NOW: "a one-off charge",
    Hold.CATCH_UP: "its period was missed",
    Hold.PROPOSAL: "a proposal to close it awaits approval",
    Hold.ALWAYS_REFUSED: "the gateway rejects its request as invalid every time",
    Hold.PRICE_JUMPED: "it asks for a hundred times what the subscription paid before",
    Hold.SUBSCRIPTION_CANCELED: "the subscription was cancelled",
    Refusal.SUBSCRIPTION_NOT_USABLE: "the subscription is not running",
    Refusal.NO_CARD: "the customer has no card",
    Refusal.CARD_NOT_ACTIVE: "the card is not active",
    Refusal.CARD_HELD: "the card is held until a person has reviewed it",
    Refusal.CARD_HAS_GATEWAY_SCHEDULE: "the gateway charges this card on a schedule of its own",
    Refusal.CARD_HAS_UNRESOLVED_ATTEMPT: "the outcome of another charge on this card is still open",
    Refusal.INVOICE_HAS_HOLDER: "the outcome of an earlier attempt is still open",
    Refusal.CHECKOUT_OPEN: "somebody may be paying it on a payment page",
    Refusal.COLLECTED_BY_GATEWAY: "the gateway itself collects this subscription",
    Refusal.ENVIRONMENT_DIFFERS: "the account uses another gateway environment now",
    Refusal.ABOVE_LIMIT: "the amount is above the account's limit for one charge",
    Refusal.ALREADY_REFUNDED: "the invoice was refunded",
    Refusal.PREFLIGHT_MISSING: "the card's orders at the gateway have to be read first",
    Refusal.PREFLIGHT_FOUND_MONEY: "the gateway shows unexplained money",
    Refusal.LISTS_MAY_LAG: "the gateway's lists may not show yet what the last attempt did",
    Refusal.CARD_UNREADABLE: "the orders of one of the customer's cards could not be read for long, and a person has "
    "to decide whether to go on without them",
    Refusal.REQUEST_IMPOSSIBLE: "no valid request could be made",
    Refusal.CONSTRAINT: "a database constraint forbade it",
    Refusal.GATEWAY_UNAVAILABLE: "the gateway could not be reached",
    Refusal.FIRST_CHARGE_DECLINED: "the first charge was declined, and waits for another card or a retry",
    Refusal.CARD_FROZEN: "the card's bank approves nothing more, and another card is needed",
    Refusal.CARD_RESTS: "the card was declined too often lately, and is not tried again before its time",
    Refusal.ACCOUNT_PAUSED: "charging of the account is paused; its page says why",
    # Cards.
    Reason.BINDING_STARTED: "saving the card was started",
    Reason.BOUND: "the customer saved the card",
    Reason.UNEXPLAINED_ORDER: "the gateway shows an unexplained order",
    Reason.PAYMENT_IN_REPORTS: "the gateway's reports list a payment that may be for an open invoice",
    Reason.ITS_ORDERS_ARE_EXPLAINED: "its orders are explained now",
    # Databases.
    Doubt.DATABASE_DIFFERS: "PostgreSQL is a different server: a restored backup, a copy or a promoted standby",
    Doubt.ATTEMPTS_FORGOTTEN: "charges that left this machine are missing from the database: it is older than they are",
    Doubt.WITNESS_DIFFERS: "this machine last charged with another database",
    Doubt.HOST_UNKNOWN: "this machine is new, and no machine that charged before has a heartbeat",
    Doubt.ORDER_OF_ANOTHER: "the gateway shows a charge that was made by Kitaran, but not by this database",
}
_BY_VALUE: Mapping[str, str] = {reason.value: words for reason, words in WORDS.items()}


def reason_words(reason: str) -> str:
    """Why, as a part of a sentence. Codes without a meaning, and what people wrote, stand as they are."""
    if reason in _BY_VALUE:
        return _BY_VALUE[reason]
    if staff := decline_of(reason).staff:
        return f"{staff}, code {reason}"
    if reason.isdigit() or reason.isupper():
        return f"code {reason}"
    return (reason if " " in reason else reason.replace("_", " ")) or "no reason was given"
