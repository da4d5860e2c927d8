"""The gateway's words into ours: answers and errors of `rm_gateway` become findings."""

from typing import Any, assert_never

from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.matching import carries, marker_in
from billing.domain.reasons import Reason
from billing.domain.refunds import RefundFinding, RefundSource, RefundVerdict, SeenMoney
from rm_gateway.errors import Declined, GatewayError, NotSent, Rejected, Throttled
from rm_gateway.models import Transaction, TransactionStatus

# What of a transaction is kept as evidence: nothing that names a person or a card.
_KEPT = (
    "transactionId",
    "referenceId",
    "status",
    "type",
    "method",
    "createdAt",
    "updatedAt",
    "transactionAt",
    "balanceAmount",
)
_KEPT_OF_ORDER = ("id", "title", "detail", "additionalData", "currencyType", "amount")
_LONGEST_TEXT = 2000


def finding_from_transaction(transaction: Transaction, *, marker: str, source: Source) -> Finding:
    """What a transaction says about the attempt that carries `marker`."""
    words = f"{transaction.order_detail} {transaction.order_title}"
    return Finding(
        verdict=_verdict(transaction, source),
        source=source,
        reason=storable(_reason(transaction)),
        amount_minor=transaction.amount_minor,
        currency=transaction.currency,
        store_id=storable(transaction.store_id),
        marker=marker if carries(words, marker) else marker_in(words),
        transaction_id=storable(transaction.transaction_id) or None,
        order_id=storable(transaction.order_additional_data) or None,
        detail=redacted(transaction.raw),
    )


def finding_from_error(error: GatewayError, *, source: Source = Source.ANSWER) -> Finding:
    """What a charge that raised says: provably nothing happened, or we do not know."""
    code = storable(error.code)
    detail = {"error": type(error).__name__, "kind": error.kind, "code": code, "http_status": error.http_status}
    if not isinstance(error, (NotSent, Rejected)):
        return Finding(
            Verdict.UNCLEAR,
            source,
            reason=code or error.kind or Reason.UNCLEAR,
            kind=storable(error.kind),
            detail=detail,
        )
    return Finding(
        Verdict.NOT_SENT,
        source,
        reason=code or error.kind or Reason.NOT_SENT,
        retry_after_seconds=error.retry_after_seconds if isinstance(error, Throttled) else None,
        kind=storable(error.kind),
        nothing_left=isinstance(error, NotSent),
        detail=detail,
    )


def finding_from_refund_error(error: GatewayError) -> RefundFinding:
    """What a refund or reversal that raised says: refused, provably nothing happened, or we do not know.

    A published refusal says that this request moved nothing; codes that speak of an earlier request
    (PAYMENT_FULLY_REFUNDED, PAYMENT_REFUNDING) may speak of this one, so that only the transaction shows it."""
    code = storable(error.code)
    detail = {"error": type(error).__name__, "kind": error.kind, "code": code, "http_status": error.http_status}
    if isinstance(error, Declined):
        verdict = RefundVerdict.REFUSED
    elif isinstance(error, (NotSent, Rejected)):
        verdict = RefundVerdict.NOT_SENT
    else:
        verdict = RefundVerdict.UNCLEAR
    return RefundFinding(verdict, RefundSource.ANSWER, reason=code or error.kind or verdict.value, detail=detail)


def money_seen(transaction: Transaction) -> SeenMoney:
    """How much of a payment was given back. `balanceAmount` is what can still be refunded (GATEWAY notes, 4.4);
    whether a payment that nobody touched carries all of it or none is not published, so both mean nothing."""
    whole, balance = transaction.amount_minor, transaction.balance_minor
    lower = balance is not None and 0 < balance < whole
    refunded: int | None
    match transaction.status:
        case TransactionStatus.FULL_REFUNDED:
            refunded = whole
        case TransactionStatus.PARTIAL_REFUNDED:
            refunded = whole - balance if lower and balance is not None else None
        case TransactionStatus.SUCCESS:
            refunded = whole - balance if lower and balance is not None else 0
        case (
            TransactionStatus.FAILED
            | TransactionStatus.IN_PROCESS
            | TransactionStatus.REVERSED
            | TransactionStatus.UNRECOGNISED
        ):
            refunded = None
        case _:
            assert_never(transaction.status)
    reversed_there = transaction.status is TransactionStatus.REVERSED
    return SeenMoney(transaction.transaction_id, refunded, reversed_there)


def redacted(raw: Any) -> dict[str, Any]:
    """The parts of a transaction that are kept."""
    kept = {name: raw[name] for name in _KEPT if name in raw}
    order = raw.get("order")
    if isinstance(order, dict):
        kept["order"] = {name: order[name] for name in _KEPT_OF_ORDER if name in order}
    error = raw.get("error")
    if isinstance(error, dict):
        kept["error"] = {name: error[name] for name in ("code", "message") if name in error}
    return {name: storable(value) for name, value in kept.items()}


def storable(value: Any) -> Any:
    """`value` as PostgreSQL can keep it: no NUL, no half of a surrogate pair, no endless text."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()[:_LONGEST_TEXT]
    if isinstance(value, dict):
        return {storable(name): storable(member) for name, member in value.items()}
    if isinstance(value, list):
        return [storable(member) for member in value]
    return value


def _verdict(transaction: Transaction, source: Source) -> Verdict:
    match transaction.status:
        case TransactionStatus.SUCCESS:
            return Verdict.PAID
        case TransactionStatus.FAILED:
            return Verdict.DECLINED
        case TransactionStatus.IN_PROCESS:
            return Verdict.IN_PROCESS
        case TransactionStatus.REVERSED:
            return Verdict.REVERSED
        case TransactionStatus.FULL_REFUNDED | TransactionStatus.PARTIAL_REFUNDED:
            # Taken and given back before we ever saw it: not for a program to call.
            return Verdict.UNCLEAR if source is Source.ANSWER else Verdict.CONTRADICTION
        case TransactionStatus.UNRECOGNISED:
            return Verdict.UNCLEAR
        case _:
            assert_never(transaction.status)


def _reason(transaction: Transaction) -> str:
    match transaction.status:
        case TransactionStatus.FAILED:
            return transaction.error_code or Reason.DECLINED
        case TransactionStatus.UNRECOGNISED:
            return Reason.STATUS_NOT_RECOGNISED
        case _:
            return Reason(transaction.status.value.lower())
