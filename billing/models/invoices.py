"""What is owed for one period, or once."""

from django.db import models
from django.db.models import F, Q

from billing.domain.arming import Refusal
from billing.domain.money import CURRENCIES
from billing.domain.subscriptions import Hold, InvoiceState
from billing.models.accounts import GatewayAccount
from billing.models.choices import any_of, choices, only_if
from billing.models.customers import Customer, PaymentMethod
from billing.models.subscriptions import Subscription


class Invoice(models.Model):
    """What is owed. Open invoices whose `next_attempt_at` has come are the work list.

    `next_attempt_at` is empty while an attempt is unresolved and while `hold` waits for a person. `tries` counts the
    tries of its retry days: declined ones, and `tries_avoided` of them that were not made because of the card.
    `asked_for`: somebody wants the next try, so that our own limits for a card do not put it off. `lease_until` and
    `lease_token` belong to the reader that preflights the invoice; `preflight_at` is when it began to read. A look that
    began before `look_from_at` does not
    show what an earlier attempt did."""

    public_id = models.TextField(unique=True)
    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT)
    subscription = models.ForeignKey(
        Subscription, on_delete=models.PROTECT, null=True, blank=True, related_name="invoices"
    )
    period_index = models.IntegerField(null=True, blank=True)
    payment_method = models.ForeignKey(PaymentMethod, on_delete=models.PROTECT, null=True, blank=True)
    state = models.TextField(choices=choices(InvoiceState))
    state_reason = models.TextField(blank=True, db_default="")
    description = models.TextField()
    lines = models.JSONField()
    amount_minor = models.BigIntegerField()
    currency = models.TextField()
    amount_refunded_minor = models.BigIntegerField(db_default=0)
    due_at = models.DateTimeField()
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    hold = models.TextField(choices=choices(Hold), null=True, blank=True)
    # A person decided to collect it although its subscription does not run.
    collect_regardless = models.BooleanField(db_default=False)
    attempt_count = models.IntegerField(db_default=0)
    tries = models.IntegerField(db_default=0)
    tries_avoided = models.IntegerField(db_default=0)
    asked_for = models.BooleanField(db_default=False)
    first_tried_at = models.DateTimeField(null=True, blank=True)
    not_sent_in_a_row = models.IntegerField(db_default=0)
    refusal = models.TextField(choices=choices(Refusal), null=True, blank=True)
    refused_at = models.DateTimeField(null=True, blank=True)
    preflight_at = models.DateTimeField(null=True, blank=True)
    look_from_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    lease_token = models.BigIntegerField(db_default=0)
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            any_of("state", InvoiceState, name="invoice_state_known"),
            models.UniqueConstraint(fields=("subscription", "period_index"), name="one_invoice_per_period"),
            # Also when a clock stepped back and the schedule was started again: void and skipped ones count too.
            models.UniqueConstraint(fields=("subscription", "due_at"), name="one_invoice_per_due_date"),
            models.CheckConstraint(
                condition=Q(subscription__isnull=True, period_index__isnull=True)
                | Q(subscription__isnull=False, period_index__isnull=False, period_index__gte=0),
                name="subscription_invoice_has_its_period",
            ),
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="invoice_amount_positive"),
            models.CheckConstraint(condition=Q(currency__in=sorted(CURRENCIES)), name="invoice_currency_known"),
            models.CheckConstraint(
                condition=Q(amount_refunded_minor__gte=0, amount_refunded_minor__lte=F("amount_minor")),
                name="refunds_never_exceed_the_invoice",
            ),
            models.CheckConstraint(
                condition=Q(tries_avoided__gte=0, tries_avoided__lte=F("tries")), name="avoided_tries_are_tries"
            ),
            only_if("hold", Q(hold__in=[hold.value for hold in Hold]), name="invoice_hold_known"),
            only_if("refusal", Q(refusal__in=[reason.value for reason in Refusal]), name="invoice_refusal_known"),
            only_if(
                "next_attempt_at",
                Q(state=InvoiceState.OPEN.value, hold__isnull=True),
                name="only_open_unheld_invoices_are_collected",
            ),
            models.CheckConstraint(
                condition=Q(state=InvoiceState.OPEN.value, closed_at__isnull=True)
                | ~Q(state=InvoiceState.OPEN.value) & Q(closed_at__isnull=False),
                name="closed_invoice_says_when",
            ),
        )
        indexes = (
            models.Index(
                fields=("account", "next_attempt_at", "id"),
                condition=Q(next_attempt_at__isnull=False),
                name="invoice_work_list",
            ),
            models.Index(fields=("customer",), condition=Q(refusal__isnull=False), name="invoice_refused"),
            models.Index(fields=("hold", "due_at"), condition=Q(hold__isnull=False), name="invoice_held"),
        )

    def __str__(self) -> str:
        return self.public_id
