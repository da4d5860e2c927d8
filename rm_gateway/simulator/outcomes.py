"""What can become of a charge: named outcomes, and the table of amounts that ask for them.

An outcome says two things that are independent of each other: what happens to the money, and what the caller
gets to read. Everything hard about this gateway lies between the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Money(StrEnum):
    """What the gateway does with the card."""

    UNTOUCHED = "UNTOUCHED"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    IN_PROCESS = "IN_PROCESS"
    REVERSED = "REVERSED"
    ODD_STATUS = "ON_HOLD"  # a status that nobody published


class Answer(StrEnum):
    """What the caller gets to read."""

    TRANSACTION = "transaction"
    ERROR = "error"
    HTML = "html"
    TEXT = "text"
    NOT_UTF8 = "not_utf8"
    EMPTY = "empty"
    TRUNCATED = "truncated"  # a complete HTTP answer whose JSON ends early
    CUT = "cut"  # the connection ends in the middle of the body
    DROPPED = "dropped"  # the connection ends without an answer
    HUGE = "huge"
    DEEP = "deep"
    HANGS = "hangs"
    TRICKLES_HEADERS = "trickles_headers"
    TRICKLES_BODY = "trickles_body"
    REDIRECT = "redirect"


class Twist(StrEnum):
    """A lie in an answer that is otherwise a transaction."""

    NONE = "none"
    AMOUNT = "amount"
    CURRENCY = "currency"
    NO_ORDER = "no_order"
    NULL_ITEM = "null_item"
    NUMERIC_IDS = "numeric_ids"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One fate of a charge.

    ``error`` is the acquirer's code of a FAILED transaction or the API code of an error answer, which the switch
    ``error_charge`` gives when it is empty; ``later`` is the
    status that the transaction takes ``settle_after`` seconds afterwards (a FAILED one that becomes SUCCESS does so
    as a new transaction of the same order); ``deactivates`` turns the card off after the charge.
    """

    name: str
    says: str
    money: Money
    answer: Answer = Answer.TRANSACTION
    error: str = ""
    http_status: int = 200
    later: Money | None = None
    twist: Twist = Twist.NONE
    retry_after_seconds: int | None = None
    deactivates: bool = False


_ALL: Final = (
    Outcome("success", "the money is taken", Money.SUCCESS),
    Outcome("decline_9010", "declined, acquirer code 9010", Money.FAILED, error="9010"),
    Outcome("decline_43", "declined for good, acquirer code 43 (stolen)", Money.FAILED, error="43"),
    Outcome("decline_51", "declined, acquirer code 51", Money.FAILED, error="51"),
    Outcome(
        "lost_after",
        "the money is taken, then the connection is dropped without an answer",
        Money.SUCCESS,
        Answer.DROPPED,
    ),
    Outcome("dropped_before", "the connection is dropped, nothing is done", Money.UNTOUCHED, Answer.DROPPED),
    Outcome("in_process_success", "IN_PROCESS, later SUCCESS", Money.IN_PROCESS, later=Money.SUCCESS),
    Outcome("in_process_failed", "IN_PROCESS, later FAILED", Money.IN_PROCESS, later=Money.FAILED, error="9010"),
    Outcome("in_process_forever", "IN_PROCESS for ever", Money.IN_PROCESS),
    Outcome(
        "http_500_before",
        "HTTP 500 with an error, nothing is done",
        Money.UNTOUCHED,
        Answer.ERROR,
        error="INTERNAL_ERROR",
        http_status=500,
    ),
    Outcome(
        "http_500_after",
        "HTTP 500 with an error, the money is taken",
        Money.SUCCESS,
        Answer.ERROR,
        error="INTERNAL_ERROR",
        http_status=500,
    ),
    Outcome("html_502", "a proxy's HTML 502, nothing is done", Money.UNTOUCHED, Answer.HTML, http_status=502),
    Outcome("html_502_after", "a proxy's HTML 502, the money is taken", Money.SUCCESS, Answer.HTML, http_status=502),
    Outcome("html_200_after", "HTTP 200 with HTML, the money is taken", Money.SUCCESS, Answer.HTML, http_status=200),
    Outcome(
        "throttled",
        "HTTP 429 with Retry-After, nothing is done",
        Money.UNTOUCHED,
        Answer.ERROR,
        error="TOO_MANY_REQUEST_PER_SECOND",
        http_status=429,
        retry_after_seconds=2,
    ),
    Outcome(
        "unavailable_503",
        "HTTP 503 with Retry-After, nothing is done",
        Money.UNTOUCHED,
        Answer.ERROR,
        error="OVERLOAD",
        http_status=503,
        retry_after_seconds=2,
    ),
    Outcome(
        "system_error_before",
        "SYSTEM_ERROR, nothing is done",
        Money.UNTOUCHED,
        Answer.ERROR,
        error="SYSTEM_ERROR",
        http_status=400,
    ),
    Outcome(
        "system_error_after",
        "SYSTEM_ERROR, the money is taken",
        Money.SUCCESS,
        Answer.ERROR,
        error="SYSTEM_ERROR",
        http_status=400,
    ),
    Outcome(
        "timeout_reversed",
        "PAYMENT_TIMEOUT, the money is taken and reversed later",
        Money.SUCCESS,
        Answer.ERROR,
        error="PAYMENT_TIMEOUT",
        http_status=400,
        later=Money.REVERSED,
    ),
    Outcome(
        "duplicate_after",
        "an error that says duplicate, the money is taken",
        Money.SUCCESS,
        Answer.ERROR,
        error="TRANSACTION_DUPLICATE",
        http_status=400,
    ),
    Outcome(
        "validation_error",
        "VALIDATION_ERROR with HTTP 200, nothing is done",
        Money.UNTOUCHED,
        Answer.ERROR,
        error="VALIDATION_ERROR",
    ),
    Outcome(
        "token_dead",
        "HTTP 401, the access token has died; nothing is done",
        Money.UNTOUCHED,
        Answer.ERROR,
        error="TOKEN_INVALID",
        http_status=401,
    ),
    Outcome(
        "signature_error",
        "INVALID_REQUEST_SIGNATURE although it was right; nothing is done",
        Money.UNTOUCHED,
        Answer.ERROR,
        error="INVALID_REQUEST_SIGNATURE",
        http_status=400,
    ),
    Outcome(
        "endpoint_not_found",
        "HTTP 404 API_ENDPOINT_NOT_FOUND, nothing is done",
        Money.UNTOUCHED,
        Answer.ERROR,
        error="API_ENDPOINT_NOT_FOUND",
        http_status=404,
    ),
    Outcome(
        "unpublished_error",
        "an error code that nobody published, the money is taken",
        Money.SUCCESS,
        Answer.ERROR,
        error="GATEWAY_MOON_PHASE",
        http_status=400,
    ),
    Outcome(
        "failed_as_error",
        "declined, answered with an error object",
        Money.FAILED,
        Answer.ERROR,
        error="PAYMENT_FAIL",
        http_status=400,
    ),
    Outcome("truncated", "JSON that ends early, the money is taken", Money.SUCCESS, Answer.TRUNCATED),
    Outcome("cut", "the connection ends in the middle of the answer, the money is taken", Money.SUCCESS, Answer.CUT),
    Outcome(
        "error_before",
        "the error of the switch `error_charge`, nothing is done",
        Money.UNTOUCHED,
        Answer.ERROR,
    ),
    Outcome(
        "error_after",
        "the error of the switch `error_charge`, the money is taken",
        Money.SUCCESS,
        Answer.ERROR,
    ),
    Outcome("empty", "HTTP 200 with an empty body, the money is taken", Money.SUCCESS, Answer.EMPTY),
    Outcome("text", "HTTP 200 with plain text, the money is taken", Money.SUCCESS, Answer.TEXT),
    Outcome("not_utf8", "bytes that are not UTF-8, the money is taken", Money.SUCCESS, Answer.NOT_UTF8),
    Outcome("huge", "an answer of many megabytes, the money is taken", Money.SUCCESS, Answer.HUGE),
    Outcome("deep", "JSON nested 100,000 deep, the money is taken", Money.SUCCESS, Answer.DEEP),
    Outcome("hangs_after", "never answers, the money is taken", Money.SUCCESS, Answer.HANGS),
    Outcome("hangs_before", "never answers, nothing is done", Money.UNTOUCHED, Answer.HANGS),
    Outcome("trickles_body", "the body comes byte by byte, the money is taken", Money.SUCCESS, Answer.TRICKLES_BODY),
    Outcome(
        "trickles_headers",
        "the headers come byte by byte, the money is taken",
        Money.SUCCESS,
        Answer.TRICKLES_HEADERS,
    ),
    Outcome(
        "redirect_307",
        "HTTP 307 to the same address (following it would send twice), nothing is done",
        Money.UNTOUCHED,
        Answer.REDIRECT,
        http_status=307,
    ),
    Outcome("reversed", "status REVERSED in the answer, no money is kept", Money.REVERSED),
    Outcome("success_then_reversed", "SUCCESS, later REVERSED", Money.SUCCESS, later=Money.REVERSED),
    Outcome(
        "failed_then_success",
        "FAILED 9010, later SUCCESS under a new transaction",
        Money.FAILED,
        error="9010",
        later=Money.SUCCESS,
    ),
    Outcome("odd_status", "a status that nobody published, later SUCCESS", Money.ODD_STATUS, later=Money.SUCCESS),
    Outcome("wrong_amount", "the money is taken, the answer names another amount", Money.SUCCESS, twist=Twist.AMOUNT),
    Outcome(
        "wrong_currency",
        "the money is taken, the answer names another currency",
        Money.SUCCESS,
        twist=Twist.CURRENCY,
    ),
    Outcome("no_order", "the money is taken, the answer has no order", Money.SUCCESS, twist=Twist.NO_ORDER),
    Outcome("null_item", "the money is taken, the answer's item is null", Money.SUCCESS, twist=Twist.NULL_ITEM),
    Outcome("numeric_ids", "the money is taken, ids come as JSON numbers", Money.SUCCESS, twist=Twist.NUMERIC_IDS),
    Outcome("last_success", "the money is taken, then the card becomes inactive", Money.SUCCESS, deactivates=True),
)

OUTCOMES: Final[dict[str, Outcome]] = {outcome.name: outcome for outcome in _ALL}

# What can become of a refund or reversal that is in order: carried out or not, and the answer lost or bent.
OUTCOMES_OF_REFUNDS: Final = tuple(
    outcome.name
    for outcome in _ALL
    if outcome.money in (Money.SUCCESS, Money.UNTOUCHED)
    and outcome.later is None
    and outcome.twist is Twist.NONE
    and not outcome.deactivates
    and outcome.name not in ("success", "token_dead")
)

AMOUNTS: Final[dict[int, str]] = {
    101: "decline_9010",
    102: "lost_after",
    103: "dropped_before",
    104: "in_process_success",
    105: "in_process_failed",
    106: "http_500_before",
    107: "http_500_after",
    108: "html_502",
    109: "throttled",
    110: "system_error_before",
    111: "system_error_after",
    112: "truncated",
    113: "empty",
    114: "huge",
    115: "hangs_after",
    116: "trickles_body",
    117: "reversed",
    118: "wrong_amount",
    119: "trickles_headers",
    120: "cut",
    121: "html_502_after",
    122: "odd_status",
    123: "wrong_currency",
    124: "no_order",
    125: "null_item",
    126: "failed_then_success",
    127: "success_then_reversed",
    128: "token_dead",
    129: "deep",
    130: "redirect_307",
    131: "hangs_before",
    132: "signature_error",
    133: "duplicate_after",
    134: "timeout_reversed",
    135: "in_process_forever",
    136: "failed_as_error",
    137: "text",
    138: "not_utf8",
    139: "unavailable_503",
    140: "validation_error",
    141: "decline_51",
    142: "endpoint_not_found",
    143: "unpublished_error",
    144: "html_200_after",
    145: "numeric_ids",
    146: "last_success",
    147: "error_before",
    148: "error_after",
    149: "decline_43",
}
