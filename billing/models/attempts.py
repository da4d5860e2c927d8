"""Tries to collect an invoice, and the evidence about each."""

from django.db import models
from django.db.models import F, Q

from billing.domain.attempts import HAS_MONEY, HOLDS_PLACE, UNRESOLVED, AttemptState, Source
from billing.domain.money import CURRENCIES
from billing.models.accounts import GatewayAccount
from billing.models.checkouts import Checkout
from billing.models.choices import any_of, choices, only_if
from billing.models.customers import PaymentMethod
from billing.models.invoices import Invoice
from billing.models.runs import ChargeRun


def _values(states: frozenset[AttemptState]) -> list[str]:
    return sorted(state.value for state in states)


class PaymentAttempt(models.Model):
    """One try to collect an invoice with one card, born *sending* with its request frozen beside it; or a payment that
    was made on the page of a `checkout`, written down when the gateway shows it.

    `request_*` and the amount never change (trigger). `window_ends_at` is when the request may no longer be
    sent, `deadline_at` when its sender must have given up, `next_check_at` when the reconciler reads the card.
    `checks_done` complete reads counted towards absence, the last of which began at `rung_at`; `looked_at` is when
    the reconciler last began to read the card for it, counted or not."""

    public_id = models.TextField(unique=True)
    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="attempts")
    payment_method = models.ForeignKey(PaymentMethod, on_delete=models.PROTECT, null=True, blank=True)
    checkout = models.ForeignKey(Checkout, on_delete=models.PROTECT, null=True, blank=True, related_name="attempts")
    run = models.ForeignKey(ChargeRun, on_delete=models.PROTECT, null=True, db_index=False)
    number = models.IntegerField()
    state = models.TextField(choices=choices(AttemptState))
    state_reason = models.TextField(blank=True, db_default="")
    marker = models.TextField(unique=True)
    amount_minor = models.BigIntegerField()
    currency = models.TextField()
    gateway_customer_id = models.TextField()
    charge_path = models.TextField()
    title = models.TextField()
    description = models.TextField()
    request_method = models.TextField()
    request_url = models.TextField()
    request_body = models.BinaryField()
    request_nonce = models.TextField(unique=True)
    request_timestamp = models.BigIntegerField()
    request_signature = models.TextField()
    request_hash = models.TextField()
    gateway_transaction_id = models.TextField(null=True, blank=True)
    gateway_order_id = models.TextField(null=True, blank=True)
    amount_refunded_minor = models.BigIntegerField(db_default=0)
    armed_at = models.DateTimeField()
    window_ends_at = models.DateTimeField()
    deadline_at = models.DateTimeField()
    next_check_at = models.DateTimeField(null=True, blank=True)
    checks_done = models.IntegerField(db_default=0)
    checks_failed = models.IntegerField(db_default=0)
    rung_at = models.DateTimeField(null=True, blank=True)
    looked_at = models.DateTimeField(null=True, blank=True)
    last_evidence_id = models.BigIntegerField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    released_at = models.DateTimeField(null=True, blank=True)
    released_by = models.TextField(blank=True, db_default="")
    released_reason = models.TextField(blank=True, db_default="")
    # Written down from the gateway's records because this database had lost it; `request_*` is then reconstructed.
    recovered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            any_of("state", AttemptState, name="attempt_state_known"),
            models.UniqueConstraint(fields=("invoice", "number"), name="attempts_are_numbered"),
            models.UniqueConstraint(
                fields=("invoice",),
                condition=Q(state__in=_values(HOLDS_PLACE)),
                name="one_attempt_holds_the_place",
            ),
            models.UniqueConstraint(
                fields=("payment_method",),
                condition=Q(state__in=_values(UNRESOLVED), released_at__isnull=True),
                name="one_unresolved_attempt_per_card",
            ),
            models.UniqueConstraint(
                fields=("account", "gateway_transaction_id"), name="a_transaction_explains_one_attempt"
            ),
            models.UniqueConstraint(fields=("account", "gateway_order_id"), name="an_order_explains_one_attempt"),
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="attempt_amount_positive"),
            models.CheckConstraint(
                condition=Q(amount_refunded_minor__gte=0, amount_refunded_minor__lte=F("amount_minor")),
                name="refunds_never_exceed_the_attempt",
            ),
            models.CheckConstraint(condition=Q(currency__in=sorted(CURRENCIES)), name="attempt_currency_known"),
            models.CheckConstraint(condition=Q(marker__regex=r"^[0-9A-Z]{12}$"), name="marker_is_well_formed"),
            models.CheckConstraint(
                condition=~Q(state__in=_values(HAS_MONEY | {AttemptState.REVERSED}))
                | Q(gateway_transaction_id__isnull=False),
                name="money_names_its_transaction",
            ),
            models.CheckConstraint(
                condition=Q(charge_path__in=["customer_order", "recurring_charge", "checkout"]),
                name="attempt_charge_path_known",
            ),
            models.CheckConstraint(
                condition=Q(payment_method__isnull=False, checkout__isnull=True)
                | Q(payment_method__isnull=True, checkout__isnull=False, charge_path="checkout"),
                name="an_attempt_is_of_a_card_or_a_checkout",
            ),
            only_if(
                "released_at",
                Q(state=AttemptState.NEEDS_REVIEW.value) & ~Q(released_reason="") & ~Q(released_by="")
                | ~Q(state__in=_values(UNRESOLVED)),
                name="only_a_card_behind_a_person_is_released",
            ),
            only_if(
                "next_check_at",
                Q(state__in=[AttemptState.UNKNOWN.value, AttemptState.IN_PROCESS.value]),
                name="only_unknown_attempts_are_checked",
            ),
        )
        indexes = (
            models.Index(
                fields=("armed_at",),
                condition=Q(state=AttemptState.NEEDS_REVIEW.value),
                name="attempt_with_a_person",
            ),
            models.Index(
                fields=("account", "armed_at"),
                condition=Q(state=AttemptState.DECLINED.value),
                name="attempt_declined",
            ),
            models.Index(
                fields=("deadline_at",), condition=Q(state=AttemptState.SENDING.value), name="attempt_sending"
            ),
            models.Index(
                fields=("next_check_at", "id"), condition=Q(next_check_at__isnull=False), name="attempt_to_check"
            ),
            models.Index(
                fields=("id",),
                condition=Q(state=AttemptState.SURPLUS.value, amount_refunded_minor__lt=F("amount_minor")),
                name="attempt_to_give_back",
            ),
        )

    def __str__(self) -> str:
        return self.public_id

    @property
    def card(self) -> PaymentMethod:
        """The card that was charged. Raises ValueError for a payment on a page: it has none, and never needs review."""
        if self.payment_method is None:
            raise ValueError(f"{self.public_id} was paid on a page: it has no card")
        return self.payment_method

    @property
    def card_id(self) -> int:
        if self.payment_method_id is None:
            raise ValueError(f"{self.public_id} was paid on a page: it has no card")
        return self.payment_method_id


class Evidence(models.Model):
    """One finding about an attempt: its source, when, verbatim but redacted. Append-only."""

    account_id = models.BigIntegerField()
    attempt_id = models.BigIntegerField()
    source = models.TextField(choices=choices(Source))
    verdict = models.TextField()
    reason = models.TextField(blank=True)
    digest = models.TextField()
    content = models.JSONField()
    recorded_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("attempt_id", "source", "digest"), name="evidence_is_told_once"),
            any_of("source", Source, name="evidence_source_known"),
        )
