"""What we know of the gateway's side of a card: every order and transaction that we were shown."""

from django.db import models
from django.db.models import Q

from billing.models.accounts import GatewayAccount
from billing.models.attempts import PaymentAttempt
from billing.models.customers import PaymentMethod


class GatewayOrder(models.Model):
    """An order seen in a complete list read, and what explains it: an attempt, or the baseline."""

    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT)
    payment_method = models.ForeignKey(PaymentMethod, on_delete=models.PROTECT, related_name="gateway_orders")
    gateway_order_id = models.TextField()
    gateway_transaction_id = models.TextField(blank=True, db_default="")
    status = models.TextField()
    amount_minor = models.BigIntegerField()
    currency = models.TextField()
    recurring_reference = models.TextField(blank=True, db_default="")
    ordered_at = models.DateTimeField(null=True)
    in_baseline = models.BooleanField(db_default=False)
    attempt = models.ForeignKey(PaymentAttempt, on_delete=models.PROTECT, null=True, related_name="gateway_orders")
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("account", "gateway_order_id"), name="one_row_per_gateway_order"),
            models.CheckConstraint(
                condition=~Q(in_baseline=True, attempt__isnull=False),
                name="baseline_orders_explain_no_attempt",
            ),
        )


class GatewayTransaction(models.Model):
    """A transaction that we asked the gateway about. `content` is its answer without personal data."""

    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT)
    gateway_transaction_id = models.TextField()
    gateway_order_id = models.TextField(blank=True)
    status = models.TextField()
    amount_minor = models.BigIntegerField()
    currency = models.TextField()
    words = models.TextField(blank=True)
    content = models.JSONField()
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("account", "gateway_transaction_id"), name="one_row_per_gateway_transaction"
            ),
        )
