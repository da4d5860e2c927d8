"""The rows. Field-level rules and constraints live with each table; triggers in the first migration."""

from billing.models.accounts import ApiKey, GatewayAccount, IdempotencyRecord, Installation
from billing.models.attempts import Evidence, PaymentAttempt
from billing.models.customers import Customer, PaymentMethod
from billing.models.gateway_records import GatewayOrder, GatewayTransaction
from billing.models.history import Event, Transition
from billing.models.invoices import Invoice
from billing.models.proposals import Proposal
from billing.models.refunds import Refund, RefundEvidence
from billing.models.runs import ChargeRun, Heartbeat
from billing.models.subscriptions import Plan, Subscription

__all__ = [
    "ApiKey",
    "ChargeRun",
    "Customer",
    "Event",
    "Evidence",
    "GatewayAccount",
    "GatewayOrder",
    "GatewayTransaction",
    "Heartbeat",
    "IdempotencyRecord",
    "Installation",
    "Invoice",
    "PaymentAttempt",
    "PaymentMethod",
    "Plan",
    "Proposal",
    "Refund",
    "RefundEvidence",
    "Subscription",
    "Transition",
]
