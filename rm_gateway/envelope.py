"""From an HTTP answer to its item, or to the class of error that says whether the request may have acted.

The envelope's ``code: SUCCESS`` only says that the request was processed [D]; the status inside the item decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

from rm_gateway.errors import Declined, GatewayError, NotFound, Rejected, Throttled, Unknown
from rm_gateway.parsing import JSONObject, ParseError
from rm_gateway.transport import Answer

Value = TypeVar("Value")

MAX_DEPTH: Final = 32

# Rejected before anything happened [I]. Not here, on purpose: INVALID_TIMESTAMP, every ..._DUPLICATE, OVERLOAD,
# EXCEEDED_LIMIT, INVALID_REQUEST, SYSTEM_ERROR, PAYMENT_TIMEOUT, BANK_ERROR.
KIND_OF_REJECTION: Final = {
    "TOO_MANY_REQUEST_PER_SECOND": "throttled",
    "INVALID_REQUEST_SIGNATURE": "signature",
    "INVALID_SIGNATURE": "signature",
    "SIGNATURE_INVALID": "signature",
    "TOKEN_EXPIRED": "token",
    "TOKEN_INVALID": "token",
    "TOKEN_SUSPENDED": "token",
    "CLIENT_NO_PERMISSION": "permission",
    "VALIDATION_ERROR": "validation",
    "API_ENDPOINT_NOT_FOUND": "path",
}
KIND_OF_STATUS: Final = {401: "token", 429: "throttled"}

# Refusals of refunds and reversals [D]. PAYMENT_FULLY_REFUNDED and PAYMENT_REFUNDING speak of an earlier request
# that may be this one, so they stay unknown.
REFUSALS: Final = frozenset(
    {
        "EXCEED_TIME_FOR_REVERSE_TRANSACTION",
        "INSUFFICIENT_MERCHANT_BALANCE",
        "INSUFFICIENT_REFUND_AMOUNT",
        "NOT_ALLOW_REFUND",
        "PAYMENT_REFUND_AMOUNT_EXCEED_PER_DAY",
        "REFUND_AMT_NOT_SAME_AS_TRANSACTION",
        "UNSUPPORTED_REFUND",
    }
)
NOT_FOUND: Final = frozenset({"TRANSACTION_NOT_FOUND", "CUSTOMER_NOT_FOUND"})

_CODE: Final = re.compile(r"[0-9A-Za-z_]{1,64}", re.ASCII)
_SECONDS: Final = re.compile(r"[0-9]{1,6}", re.ASCII)


def envelope_of(answer: Answer, *, read: bool = False, refusals: frozenset[str] = frozenset()) -> JSONObject:
    """The JSON object of a processed request. Raises the GatewayError that any other answer amounts to.

    ``read``: the request moves nothing, so that something missing is NotFound. ``refusals``: codes that are Declined.
    """
    envelope = _parsed(answer)
    error = envelope.get("error") if envelope is not None else None
    if error is not None or answer.status in KIND_OF_STATUS:
        _raise_error(answer, envelope or {}, error, read=read, refusals=refusals)
    if envelope is None:
        raise _unknown(answer, "the answer is no JSON object")
    if not 200 <= answer.status < 300:
        raise _unknown(answer, "the status is no success and there is no error object")
    if envelope.get("code") != "SUCCESS":
        raise _unknown(answer, "the envelope's code is not SUCCESS", code=_code(envelope.get("code")))
    return envelope


def item_of(answer: Answer, parse: Callable[[Any], Value], envelope: JSONObject) -> Value:
    """The envelope's item, read by ``parse``. Raises Unknown when it is missing or odd."""
    try:
        return parse(envelope.get("item"))
    except ParseError as error:
        raise _unknown(answer, f"the item is not understood: {error}") from None


def _raise_error(answer: Answer, envelope: JSONObject, error: Any, *, read: bool, refusals: frozenset[str]) -> NoReturn:
    code = _code(error.get("code")) if isinstance(error, dict) else None
    detail = error.get("message") if isinstance(error, dict) else None
    facts: dict[str, Any] = {
        "code": code,
        "http_status": answer.status,
        "detail": detail[:500] if isinstance(detail, str) else None,
    }
    if envelope.get("item") or envelope.get("items"):
        raise Unknown("an error and an item came together", kind="answer", **facts)
    kind = KIND_OF_REJECTION.get(code or "") or KIND_OF_STATUS.get(answer.status)
    if kind == "throttled":
        raise _throttled(answer, facts)
    if kind is not None:
        raise Rejected(f"RM rejected the request: {kind}", kind=kind, **facts)
    if code in refusals:
        raise Declined("RM refused", **facts)
    if read and (code in NOT_FOUND or (answer.status == 404 and code is not None)):
        raise NotFound("RM knows nothing under this id", **facts)
    raise Unknown("RM answered with an error that may follow an action", kind="answer", **facts)


def _throttled(answer: Answer, facts: dict[str, Any]) -> GatewayError:
    error = Throttled("RM takes no more requests for now", kind="throttled", **facts)
    header = answer.headers.get("Retry-After", "").strip()
    error.retry_after_seconds = int(header) if _SECONDS.fullmatch(header) else None
    return error


def _unknown(answer: Answer, message: str, *, code: str | None = None) -> Unknown:
    return Unknown(message, kind="answer", code=code, http_status=answer.status)


def _code(value: Any) -> str | None:
    """A code that looks like one; anything else could be a sentence with somebody's data in it."""
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


def _parsed(answer: Answer) -> JSONObject | None:
    """The body as a JSON object, None for anything else: HTML, cut off, too deep, NaN, not UTF-8."""
    try:
        value = _DECODER.decode(answer.body.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not _is_shallow(answer.body, value):
        return None
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def _is_shallow(body: bytes, value: Any) -> bool:
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return True
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [member for parent in level for member in _members(parent)]
        if not level:
            return True
    return False


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [member for member in value.values() if isinstance(member, dict | list)]
    if isinstance(value, list):
        return [member for member in value if isinstance(member, dict | list)]
    return []
