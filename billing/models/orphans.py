"""Answers to requests that no attempt or refund in the database accounts for."""

from django.db import models
from django.db.models import Q

from billing.domain.orphans import OrphanKind, OrphanMatch
from billing.models.choices import any_of, choices


class OrphanAnswer(models.Model):
    """What came of a request whose row was gone, or was another's, when it was to be settled.

    `marker` names a charge for ever (of a refund it is the public id); what was asked is kept as it was sent. Only the
    match may be added, once (trigger)."""

    account_id = models.BigIntegerField()
    kind = models.TextField(choices=choices(OrphanKind))
    marker = models.TextField()
    nonce = models.TextField()
    gateway_customer_id = models.TextField(blank=True)
    amount_minor = models.BigIntegerField()
    currency = models.TextField()
    title = models.TextField(blank=True)
    description = models.TextField(blank=True)
    source = models.TextField()
    verdict = models.TextField()
    reason = models.TextField(blank=True)
    transaction_id = models.TextField(blank=True)
    order_id = models.TextField(blank=True)
    content = models.JSONField()
    digest = models.TextField()
    recorded_at = models.DateTimeField()
    matched_at = models.DateTimeField(null=True, blank=True)
    matched_how = models.TextField(choices=choices(OrphanMatch), null=True, blank=True)
    matched_id = models.BigIntegerField(null=True, blank=True)
    matched_by = models.TextField(blank=True, db_default="")
    matched_note = models.TextField(blank=True, db_default="")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("account_id", "nonce", "digest"), name="an_orphan_answer_is_recorded_once"),
            any_of("kind", OrphanKind, name="orphan_answer_kind_known"),
            models.CheckConstraint(
                condition=Q(matched_at__isnull=True, matched_how__isnull=True)
                | Q(
                    matched_at__isnull=False,
                    matched_how__isnull=False,
                    matched_how__in=sorted(how.value for how in OrphanMatch),
                ),
                name="a_matched_orphan_answer_says_how",
            ),
        )
        indexes = (models.Index(fields=("id",), condition=Q(matched_at__isnull=True), name="orphan_answer_unmatched"),)

    def __str__(self) -> str:
        return self.marker
