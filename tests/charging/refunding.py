"""Steps that many tests of refunds share."""

from datetime import datetime, timedelta
from typing import Any

from billing.charging.refunds.ask import request_refund, request_reverse
from billing.domain.decisions import Decision
from billing.domain.refunds import RefundKind
from billing.gateway.connection import GiveBack, gateway_for
from billing.models import Event, PaymentAttempt, Refund
from billing.models.clock import database_now
from tests.conftest import Shop
from tests.factories import make_invoice

REFUND = "POST /v3/payment/refund"
REVERSE = "POST /v3/payment/reverse"
LAST = timedelta(seconds=5)  # later than the last look of the tests' ladder


def paid(shop: Shop, **columns: Any) -> PaymentAttempt:
    """An invoice that was charged, of RM 19.90 unless said otherwise."""
    invoice = make_invoice(shop.card(), next_attempt_at=database_now(), **columns)
    shop.collect()
    attempt = PaymentAttempt.objects.select_related("invoice", "account").get(invoice=invoice)
    assert attempt.state == "succeeded"
    return attempt


def ask(attempt: PaymentAttempt, amount: int | None = None, **changes: Any) -> Refund:
    given = {"decision": Decision("mei", "cancelled in time"), "now": database_now()}
    return request_refund(attempt=attempt, amount_minor=amount, **{**given, **changes})


def ask_reverse(attempt: PaymentAttempt, **changes: Any) -> Refund:
    given = {"decision": Decision("mei", "charged by mistake"), "now": database_now()}
    return request_reverse(attempt=attempt, **{**given, **changes})


def at_gateway(shop: Shop, attempt: PaymentAttempt) -> dict[str, Any]:
    (charge,) = [c for c in shop.simulator.charges() if c["transaction_id"] == attempt.gateway_transaction_id]
    return charge


def posts(shop: Shop, route: str = REFUND) -> int:
    return int(shop.simulator.requests()["posts"].get(route, 0))


def check_until_the_end(shop: Shop) -> None:
    """Every rung of the ladder, one after the other, however long that takes."""
    for rung in range(1, 8):
        shop.refund(database_now() + LAST * rung)


def events_of(refund: Refund) -> list[str]:
    rows = Event.objects.filter(subject_type="refund", subject_id=refund.pk).order_by("id")
    return list(rows.values_list("kind", flat=True))


def in_the_portal(
    shop: Shop,
    attempt: PaymentAttempt,
    amount: int | None = None,
    now: datetime | None = None,
    *,
    reverse: bool = False,
) -> None:
    """Somebody gives the money back, or reverses the payment, at the gateway, without us."""
    kind = RefundKind.REVERSE if reverse else RefundKind.FULL if amount is None else RefundKind.PARTIAL
    gateway = gateway_for(attempt.account)
    gateway.ensure_token()
    wanted = GiveBack(
        kind,
        attempt.gateway_transaction_id or "",
        attempt.gateway_order_id or "",
        amount or attempt.amount_minor,
        attempt.currency,
        "portal",
    )
    answer = gateway.send_refund(
        gateway.freeze_refund(wanted, timestamp=int((now or database_now()).timestamp())), kind=kind
    )
    assert not hasattr(answer, "verdict"), answer
