"""Why something is as it is: the words that the engine writes beside a state, a finding or a change.

A rule that has reasons of its own keeps them beside it: `arming.Refusal`, `subscriptions.Hold`, `refunds.RefundWait`
and `RefundEnd`, `doubts.Doubt`. What each of all these means, in words, is in `billing.domain.reason_words`. The
gateway's codes and what people write are not reasons of ours: they are kept as they came."""

from collections.abc import Mapping
from enum import StrEnum


class Reason(StrEnum):
    # A person's decision: who, when and in which words is in the evidence's detail.
    DECIDED_BY_PERSON = "decided_by_person"

    # What became of a request, by this machine.
    ARMED = "armed"
    SENDER_LOST = "sender_lost"  # its process ended before the answer was on record
    SENDER_FAILED = "sender_failed"
    NO_SENDER = "no_sender"  # no thread could be started
    NOT_RECORDABLE = "not_recordable"  # the answer could not be written down
    COMMIT_UNACKNOWLEDGED = "commit_unacknowledged"
    WITNESS_NOT_WRITTEN = "witness_not_written"
    ANOTHER_DATABASE_AT_WORK = "another_database_at_work"

    # What became of a request, by the gateway's client (`rm_gateway.errors`, `kind`).
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    EXPIRED = "expired"
    TOKEN = "token"  # noqa: S105
    ENVIRONMENT = "environment"
    REQUEST = "request"
    SIGNATURE = "signature"
    PERMISSION = "permission"
    VALIDATION = "validation"
    PATH = "path"
    THROTTLED = "throttled"
    CONNECTION = "connection"
    ANSWER = "answer"
    UNCLEAR = "unclear"
    NOT_SENT = "not_sent"
    REFUSED = "refused"

    # What a transaction's status says.
    SUCCESS = "success"
    DECLINED = "declined"
    IN_PROCESS = "in_process"
    REVERSED = "reversed"
    FULL_REFUNDED = "full_refunded"
    PARTIAL_REFUNDED = "partial_refunded"
    STATUS_NOT_RECOGNISED = "status_not_recognised"

    # What reading the gateway showed of an attempt.
    ABSENT = "absent"
    ABSENT_FOR_LONG = "absent_for_long"
    ABSENT_IN_REPORTS = "absent_in_reports"
    ABSENT_NO_REPORT = "absent_no_report"
    CARD_INACTIVE = "card_inactive"
    ORDERS_IN_DOUBT = "orders_in_doubt"
    TRANSACTION_NOT_SHOWN = "transaction_not_shown"
    READS_KEEP_FAILING = "reads_keep_failing"
    STILL_IN_PROCESS = "still_in_process"
    STILL_REVERSED = "still_reversed"
    STILL_UNCLEAR = "still_unclear"
    STILL_ORDERS_IN_DOUBT = "still_orders_in_doubt"
    STILL_TRANSACTION_NOT_SHOWN = "still_transaction_not_shown"
    STILL_STATUS_NOT_RECOGNISED = "still_status_not_recognised"
    ORDER_WITHOUT_MARKER = "order_without_marker"
    TWO_CANDIDATE_ORDERS = "two_candidate_orders"
    TWO_ORDERS_FOR_ONE_ATTEMPT = "two_orders_for_one_attempt"
    ORDER_WITH_TWO_POSSIBLE_MAKERS = "order_with_two_possible_makers"
    ORDER_AND_TRANSACTION_DISAGREE = "order_and_transaction_disagree"
    REPORTED_PAYMENT_WITHOUT_MARKER = "reported_payment_without_marker"
    FOUND_AT_THE_GATEWAY = "found_at_the_gateway"  # the database had lost it
    PAID_ON_A_PAGE = "paid_on_a_page"  # on the page of a checkout, without a card of ours

    # Why a finding does not fit what is recorded.
    AMOUNT_DIFFERS = "amount_differs"
    CURRENCY_DIFFERS = "currency_differs"
    STORE_DIFFERS = "store_differs"
    CARD_DIFFERS = "card_differs"
    MARKER_DIFFERS = "marker_differs"
    TRANSACTION_ID_MISSING = "transaction_id_missing"
    TRANSACTION_ID_CLAIMED = "transaction_id_claimed"
    DECLINED_AFTER_MONEY = "declined_after_money"
    SECOND_TRANSACTION = "second_transaction"
    PAID_AFTER_REVERSAL = "paid_after_reversal"
    REVERSAL_OF_ANOTHER_TRANSACTION = "reversal_of_another_transaction"
    EVIDENCE_WHILE_WITH_A_PERSON = "evidence_while_with_a_person"

    # What an attempt became, where the finding alone does not say why.
    PAID = "paid"
    LATE_MONEY = "late_money"  # it had ended without money
    MONEY_NOT_OWED = "money_not_owed"
    HOLDER_ENDED_WITHOUT_MONEY = "holder_ended_without_money"
    REVERSED_AT_FIRST = "reversed_at_first"  # by the answer to the charge itself
    REVERSED_AT_THE_GATEWAY = "reversed_at_the_gateway"  # its transaction had taken the money and given it back
    REVERSED_ON_REQUEST = "reversed_on_request"

    # What became of a refund.
    REFUNDED = "refunded"
    SEEN_AT_THE_GATEWAY = "seen_at_the_gateway"
    REFUNDED_AFTER_ALL = "refunded_after_all"
    REFUNDED_INSTEAD = "refunded_instead"
    REVERSED_INSTEAD = "reversed_instead"
    AMOUNT_UNKNOWN = "amount_unknown"
    ANOTHER_TRANSACTION = "another_transaction"
    NOT_SEEN_IN_THE_ANSWER = "not_seen_in_the_answer"
    UNCHANGED_AT_THE_GATEWAY = "unchanged_at_the_gateway"

    # Invoices and subscriptions.
    PERIOD_DUE = "period_due"
    SKIPPED = "skipped"
    PAYMENT_REVERSED = "payment_reversed"
    PAID_ELSEWHERE = "paid_elsewhere"
    VOIDED = "voided"
    WRITTEN_OFF = "written_off"
    CREATED = "created"
    ACTIVATED = "activated"
    TRY_AVOIDED = "try_avoided"  # it was due, and was not made: the bank would have declined it
    DECLINES_FORGIVEN = "declines_forgiven"  # a frozen card was paid with, or a person judged its decline otherwise
    ANOTHER_CARD = "another_card"  # it is tried at once, on a card on which it was never tried
    FIRST_PAYMENT_DUE = "first_payment_due"  # it has a card, and is active once its first charge is paid
    FIRST_PAYMENT_PAID = "first_payment_paid"
    FIRST_PAYMENT_OVERDUE = "first_payment_overdue"  # it was not paid in time
    ENDED_UNPAID = "ended_unpaid"  # the subscription ended before its first payment
    TRIAL_OVER = "trial_over"
    INVOICE_PAID = "invoice_paid"
    INVOICE_DECLINED = "invoice_declined"
    INVOICE_VOIDED = "invoice_voided"
    TRIES_EXHAUSTED = "tries_exhausted"
    REPETITIONS_OVER = "repetitions_over"

    # Cards.
    BINDING_STARTED = "binding_started"
    BOUND = "bound"
    UNEXPLAINED_ORDER = "unexplained_order"
    PAYMENT_IN_REPORTS = "payment_in_reports"
    ITS_ORDERS_ARE_EXPLAINED = "its_orders_are_explained"

    # Checkouts.
    PAGE_ASKED_FOR = "page_asked_for"
    PAGE_HANDED_OUT = "page_handed_out"
    PAGE_NOT_MADE = "page_not_made"  # the gateway gave no page that anybody could be shown
    PAGE_OVER = "page_over"  # it was cancelled or has expired, and nothing was paid on it
    PAGE_UNANSWERED = "page_unanswered"  # for a day it was not known whether somebody was paying

    # One-off charges.
    CHARGE_NOW = "charge_now"


# What the last counted read still shows of an attempt that the gateway has not decided.
STILL: Mapping[str, Reason] = {
    Reason.IN_PROCESS: Reason.STILL_IN_PROCESS,
    Reason.REVERSED: Reason.STILL_REVERSED,
    Reason.ORDERS_IN_DOUBT: Reason.STILL_ORDERS_IN_DOUBT,
    Reason.TRANSACTION_NOT_SHOWN: Reason.STILL_TRANSACTION_NOT_SHOWN,
    Reason.STATUS_NOT_RECOGNISED: Reason.STILL_STATUS_NOT_RECOGNISED,
}
