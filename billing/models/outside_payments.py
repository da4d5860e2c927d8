"""How invoices were paid without an attempt of ours: in cash, by transfer, or by a charge that our books had lost."""

from django.db import models
from django.db.models import Q

from billing.domain.closing import PaidBy
from billing.models.accounts import GatewayAccount
from billing.models.choices import any_of, choices
from billing.models.invoices import Invoice


class OutsidePayment(models.Model):
    """One payment of one invoice, as a person recorded it. Append-only.

    `gateway_transaction_id` is set for *gateway* only; `paid_date` is by the account's clocks; `confirmed_by` is the
    second person, where there was one."""

    public_id = models.TextField(unique=True)
    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="outside_payments")
    method = models.TextField(choices=choices(PaidBy))
    reference = models.TextField(blank=True, db_default="")
    gateway_transaction_id = models.TextField(null=True, blank=True)
    amount_minor = models.BigIntegerField()
    currency = models.TextField()
    paid_date = models.DateField()
    reason = models.TextField()
    recorded_by = models.TextField()
    confirmed_by = models.TextField(blank=True, db_default="")
    recorded_at = models.DateTimeField()

    class Meta:
        constraints = (
            any_of("method", PaidBy, name="outside_payment_method_known"),
            models.UniqueConstraint(fields=("invoice",), name="one_outside_payment_per_invoice"),
            models.UniqueConstraint(
                fields=("account", "gateway_transaction_id"), name="a_found_transaction_pays_one_invoice"
            ),
            models.CheckConstraint(
                condition=Q(method=PaidBy.GATEWAY.value, gateway_transaction_id__isnull=False)
                | ~Q(method=PaidBy.GATEWAY.value) & Q(gateway_transaction_id__isnull=True) & ~Q(reference=""),
                name="an_outside_payment_names_where_it_is_found",
            ),
            models.CheckConstraint(
                condition=~Q(recorded_by="") & ~Q(reason=""), name="an_outside_payment_says_who_and_why"
            ),
        )

    def __str__(self) -> str:
        return self.public_id
