"""Pages of the gateway's on which an invoice is paid."""

from django.db import models
from django.db.models import F, Q

from billing.domain.checkouts import LIVE, CheckoutState
from billing.domain.money import CURRENCIES
from billing.models.accounts import GatewayAccount
from billing.models.choices import any_of, choices
from billing.models.invoices import Invoice

_LIVE = sorted(state.value for state in LIVE)


class Checkout(models.Model):
    """One page for one invoice, on record before the gateway is asked for it. It moves no money itself: what is paid on
    it is an attempt.

    `order_id` is ours and used once; `marker` is in its title and detail. While it is creating or open, no card is
    charged for the invoice; the first look from `excludes_until` on ends it. `next_check_at` is when the gateway is
    asked about it, `looked_at` when that was last begun, `failures` how often in a row it gave no answer."""

    public_id = models.TextField(unique=True)
    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="checkouts")
    state = models.TextField(choices=choices(CheckoutState))
    state_reason = models.TextField(blank=True, db_default="")
    order_id = models.TextField()
    marker = models.TextField(unique=True)
    amount_minor = models.BigIntegerField()
    currency = models.TextField()
    title = models.TextField()
    description = models.TextField()
    return_url = models.TextField(blank=True, db_default="")
    gateway_checkout_id = models.TextField(blank=True, db_default="")
    url = models.TextField(blank=True, db_default="")
    requested_by = models.TextField()
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    excludes_until = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    next_check_at = models.DateTimeField(null=True, blank=True)
    looked_at = models.DateTimeField(null=True, blank=True)
    failures = models.IntegerField(db_default=0)

    class Meta:
        constraints = (
            any_of("state", CheckoutState, name="checkout_state_known"),
            models.UniqueConstraint(fields=("account", "order_id"), name="an_order_id_is_used_once"),
            models.UniqueConstraint(
                fields=("invoice",), condition=Q(state__in=_LIVE), name="one_open_checkout_per_invoice"
            ),
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="checkout_amount_positive"),
            models.CheckConstraint(condition=Q(currency__in=sorted(CURRENCIES)), name="checkout_currency_known"),
            models.CheckConstraint(condition=Q(order_id__regex=r"^[0-9A-Z]{1,24}$"), name="order_id_is_well_formed"),
            models.CheckConstraint(
                condition=~Q(state=CheckoutState.OPEN.value) | ~Q(url="") & ~Q(gateway_checkout_id=""),
                name="an_open_checkout_has_its_page",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=_LIVE) | Q(next_check_at__isnull=False), name="an_open_checkout_is_looked_at"
            ),
            models.CheckConstraint(
                condition=Q(state__in=_LIVE, closed_at__isnull=True) | ~Q(state__in=_LIVE) & Q(closed_at__isnull=False),
                name="a_closed_checkout_says_when",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("created_at"), excludes_until__gte=F("expires_at")),
                name="checkout_times_follow_each_other",
            ),
        )
        indexes = (
            models.Index(
                fields=("account", "next_check_at", "id"),
                condition=Q(next_check_at__isnull=False),
                name="checkout_to_look_at",
            ),
        )

    def __str__(self) -> str:
        return self.public_id
