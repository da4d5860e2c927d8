"""The rows. Field-level rules and constraints live with each table; triggers in the first migration."""

from billing.models.accounts import ApiKey, GatewayAccount, Host, IdempotencyRecord, Installation
from billing.models.attempts import Evidence, PaymentAttempt
from billing.models.checkouts import Checkout
from billing.models.customers import Customer, PaymentMethod
from billing.models.declines import DeclineRuling
from billing.models.dunning import DunningAssignment, DunningPolicy
from billing.models.gateway_records import GatewayOrder, GatewayTransaction
from billing.models.history import Event, Transition
from billing.models.invoices import FailedPayment, Invoice
from billing.models.late_money import FoundPayment, ReportDay
from billing.models.messages import MailSettings, Message
from billing.models.orphans import OrphanAnswer
from billing.models.outside_payments import OutsidePayment
from billing.models.pace import AccountDay, AccountPace, RunManifest
from billing.models.proposals import Proposal, waiting_proposals
from billing.models.refunds import Refund, RefundEvidence
from billing.models.runs import ChargeRun, Heartbeat
from billing.models.subscriptions import Plan, Subscription
from billing.models.troubles import AccountTrouble, GatewayClock
from billing.models.visits import VisitCount
from billing.models.webhooks import WebhookDelivery, WebhookEndpoint, WebhookTry

__all__ = [
    "AccountDay",
    "AccountPace",
    "AccountTrouble",
    "ApiKey",
    "ChargeRun",
    "Checkout",
    "Customer",
    "DeclineRuling",
    "DunningAssignment",
    "DunningPolicy",
    "Event",
    "Evidence",
    "FailedPayment",
    "FoundPayment",
    "GatewayAccount",
    "GatewayClock",
    "GatewayOrder",
    "GatewayTransaction",
    "Heartbeat",
    "Host",
    "IdempotencyRecord",
    "Installation",
    "Invoice",
    "MailSettings",
    "Message",
    "OrphanAnswer",
    "OutsidePayment",
    "PaymentAttempt",
    "PaymentMethod",
    "Plan",
    "Proposal",
    "Refund",
    "RefundEvidence",
    "ReportDay",
    "RunManifest",
    "Subscription",
    "Transition",
    "VisitCount",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookTry",
    "waiting_proposals",
]
