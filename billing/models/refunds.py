"""Refunds, and the evidence about each."""

from django.db import models
from django.db.models import Q

from billing.domain.money import CURRENCIES
from billing.domain.refunds import OPEN, WAITING, RefundKind, RefundOrigin, RefundSource, RefundState
from billing.models.accounts import GatewayAccount
from billing.models.attempts import PaymentAttempt
from billing.models.choices import any_of, choices, only_if
from billing.models.invoices import Invoice


def _values(states: frozenset[RefundState]) -> list[str]:
    return sorted(state.value for state in states)


class Refund(models.Model):
    """Money of one attempt given back: asked for here (born *requested*), or seen at the gateway (*succeeded*).

    `refunded_before_minor` is what our books counted as given back when it was asked for: a refund asks for so much
    more. What is asked for never changes, nor does `request_*` once it is armed (trigger); these are empty before and
    on refunds seen at the gateway. `window_ends_at`, `deadline_at` as with attempts; `next_check_at` is when a
    requested one is to be armed, and when the transaction of an unknown one is queried."""

    public_id = models.TextField(unique=True)
    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT)
    attempt = models.ForeignKey(PaymentAttempt, on_delete=models.PROTECT, related_name="refunds")
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="refunds")
    kind = models.TextField(choices=choices(RefundKind))
    origin = models.TextField(choices=choices(RefundOrigin))
    amount_minor = models.BigIntegerField()
    currency = models.TextField()
    refunded_before_minor = models.BigIntegerField(db_default=0)
    requested_by = models.TextField()
    requested_reason = models.TextField()
    state = models.TextField(choices=choices(RefundState))
    state_reason = models.TextField(blank=True, db_default="")
    request_method = models.TextField(blank=True, db_default="")
    request_url = models.TextField(blank=True, db_default="")
    request_body = models.BinaryField(null=True, blank=True)
    request_nonce = models.TextField(unique=True, null=True, blank=True)
    request_timestamp = models.BigIntegerField(null=True, blank=True)
    request_signature = models.TextField(blank=True, db_default="")
    request_hash = models.TextField(blank=True, db_default="")
    created_at = models.DateTimeField()
    armed_at = models.DateTimeField(null=True, blank=True)
    window_ends_at = models.DateTimeField(null=True, blank=True)
    deadline_at = models.DateTimeField(null=True, blank=True)
    next_check_at = models.DateTimeField(null=True, blank=True)
    checks_done = models.IntegerField(db_default=0)
    checks_failed = models.IntegerField(db_default=0)
    last_evidence_id = models.BigIntegerField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            any_of("state", RefundState, name="refund_state_known"),
            any_of("kind", RefundKind, name="refund_kind_known"),
            any_of("origin", RefundOrigin, name="refund_origin_known"),
            models.UniqueConstraint(
                fields=("attempt",), condition=Q(state__in=_values(OPEN)), name="one_open_refund_per_attempt"
            ),
            models.CheckConstraint(condition=Q(amount_minor__gt=0), name="refund_amount_positive"),
            models.CheckConstraint(condition=Q(currency__in=sorted(CURRENCIES)), name="refund_currency_known"),
            models.CheckConstraint(
                condition=~Q(requested_by="") & ~Q(requested_reason=""), name="a_refund_says_who_asked_and_why"
            ),
            models.CheckConstraint(
                condition=Q(
                    request_nonce__isnull=False,
                    request_body__isnull=False,
                    request_timestamp__isnull=False,
                    armed_at__isnull=False,
                    window_ends_at__isnull=False,
                    deadline_at__isnull=False,
                )
                & ~Q(request_url="")
                & ~Q(request_signature="")
                | Q(state__in=[RefundState.REQUESTED.value, RefundState.NOT_SENT.value], armed_at__isnull=True)
                | Q(origin=RefundOrigin.GATEWAY.value, armed_at__isnull=True),
                name="a_sent_refund_has_its_request",
            ),
            only_if("next_check_at", Q(state__in=_values(WAITING)), name="only_waiting_refunds_are_looked_at"),
        )
        indexes = (
            models.Index(
                fields=("next_check_at", "id"), condition=Q(next_check_at__isnull=False), name="refund_to_look_at"
            ),
            models.Index(fields=("deadline_at",), condition=Q(state=RefundState.SENDING.value), name="refund_sending"),
            models.Index(
                fields=("created_at",), condition=Q(state=RefundState.NEEDS_REVIEW.value), name="refund_with_a_person"
            ),
        )

    def __str__(self) -> str:
        return self.public_id


class RefundEvidence(models.Model):
    """One finding about a refund: its source, when, verbatim but redacted. Append-only."""

    account_id = models.BigIntegerField()
    refund_id = models.BigIntegerField()
    source = models.TextField(choices=choices(RefundSource))
    verdict = models.TextField()
    reason = models.TextField(blank=True)
    digest = models.TextField()
    content = models.JSONField()
    recorded_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("refund_id", "source", "digest"), name="refund_evidence_is_told_once"),
            any_of("source", RefundSource, name="refund_evidence_source_known"),
        )
