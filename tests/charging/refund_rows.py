"""Refunds without a gateway: a payment, a finding, and what the gateway would show."""

from typing import Any

import pytest

from billing.charging.refunds.settle import settle_refund
from billing.domain.refunds import RefundFinding, RefundSource, RefundVerdict
from billing.gateway.connection import Gateway, ReadTransaction
from billing.models import PaymentAttempt, Refund
from rm_gateway.models import Transaction
from tests.conftest import SHORT
from tests.factories import NOW, make_attempt, move_attempt


def captured(**columns: Any) -> PaymentAttempt:
    attempt = move_attempt(make_attempt(), "succeeded", gateway_transaction_id="2001", gateway_order_id="1001")
    PaymentAttempt.objects.filter(pk=attempt.pk).update(**columns)
    attempt.refresh_from_db()
    return attempt


def settled(
    refund: Refund, verdict: RefundVerdict, source: RefundSource = RefundSource.ANSWER, **changes: Any
) -> str | None:
    finding = RefundFinding(verdict, source, **{"reason": "because", **changes})
    came_to = settle_refund(refund.pk, finding, tuning=SHORT, now=NOW)
    refund.refresh_from_db()
    return came_to


def shown(status: str = "FULL_REFUNDED", transaction_id: str = "2001", balance: int | None = None) -> ReadTransaction:
    order = {"id": "1", "title": "", "detail": "", "currencyType": "MYR", "amount": 1990, "additionalData": "1001"}
    parsed = {"transactionId": transaction_id, "status": status, "currencyType": "MYR", "order": order}
    return ReadTransaction(Transaction.parse(parsed | ({} if balance is None else {"balanceAmount": balance})), "", {})


def gateway_shows(monkeypatch: pytest.MonkeyPatch, attempt: PaymentAttempt, status: str) -> None:
    """From now on, of the attempt's transaction."""
    read = shown(status, PaymentAttempt.objects.get(pk=attempt.pk).gateway_transaction_id or "")
    monkeypatch.setattr(Gateway, "read_transaction", lambda *_: read)
