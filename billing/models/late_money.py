"""What is read to find money that comes after the end, and payments that wait for a person's decision."""

from django.db import models
from django.db.models import Q

from billing.domain.late_money import FoundKind
from billing.models.accounts import GatewayAccount
from billing.models.attempts import PaymentAttempt
from billing.models.choices import any_of, choices
from billing.models.invoices import Invoice


class ReportDay(models.Model):
    """The gateway's report of one day in Malaysia, as it was read last.

    Of the `payments` in it `explained` belong to attempts, `unexplained` are listed as found payments, and the rest
    are of no concern: the merchant's other sales. `complete_at`: read to the end after the day was over."""

    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT, db_index=False)
    day = models.DateField()
    next_read_at = models.DateTimeField(null=True)
    read_at = models.DateTimeField(null=True)
    complete_at = models.DateTimeField(null=True)
    payments = models.IntegerField(db_default=0)
    explained = models.IntegerField(db_default=0)
    unexplained = models.IntegerField(db_default=0)
    failures = models.IntegerField(db_default=0)
    failure = models.TextField(blank=True, db_default="")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("account", "day"), name="one_row_per_report_day"),)
        indexes = (
            models.Index(
                fields=("account", "next_read_at"), condition=Q(next_read_at__isnull=False), name="report_day_to_read"
            ),
            models.Index(fields=("day",), condition=Q(complete_at__isnull=True), name="report_day_not_complete"),
        )

    def __str__(self) -> str:
        return f"{self.day}"


class FoundPayment(models.Model):
    """A payment that somebody has to decide about: give it back, or go on with the customer.

    `invoice` is the one that its words name, or that it had paid before its money went back. `amount_minor` is what was
    paid; of a payment that *went back*, what went back by then."""

    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT)
    gateway_transaction_id = models.TextField()
    gateway_order_id = models.TextField(blank=True, db_default="")
    kind = models.TextField(choices=choices(FoundKind))
    amount_minor = models.BigIntegerField()
    currency = models.TextField()
    marker = models.TextField(blank=True, db_default="")
    attempt = models.ForeignKey(PaymentAttempt, on_delete=models.PROTECT, null=True, related_name="found_payments")
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, null=True, related_name="found_payments")
    found_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)
    decided_by = models.TextField(blank=True, db_default="")
    decided_reason = models.TextField(blank=True, db_default="")

    class Meta:
        constraints = (
            any_of("kind", FoundKind, name="found_payment_kind_known"),
            models.UniqueConstraint(
                fields=("account", "gateway_transaction_id"),
                condition=~Q(kind=FoundKind.WENT_BACK.value),
                name="one_row_per_found_payment",
            ),
            models.UniqueConstraint(
                fields=("account", "gateway_transaction_id", "amount_minor"),
                condition=Q(kind=FoundKind.WENT_BACK.value),
                name="one_row_per_amount_that_went_back",
            ),
            models.CheckConstraint(
                condition=~Q(kind=FoundKind.WENT_BACK.value) | Q(invoice__isnull=False),
                name="money_that_went_back_had_paid_an_invoice",
            ),
            models.CheckConstraint(
                condition=Q(decided_at__isnull=True, decided_by="", decided_reason="")
                | Q(decided_at__isnull=False) & ~Q(decided_by="") & ~Q(decided_reason=""),
                name="a_decided_payment_says_by_whom_and_why",
            ),
        )
        indexes = (models.Index(fields=("id",), condition=Q(decided_at__isnull=True), name="found_payment_to_decide"),)

    def __str__(self) -> str:
        return self.gateway_transaction_id
