"""What happened: append-only, and no foreign key points into these tables, so that they can be partitioned."""

from django.db import models
from django.db.models import Q


class Transition(models.Model):
    """One change of state of anything: from, to, why, on what evidence, by whom, when."""

    account_id = models.BigIntegerField()
    subject_type = models.TextField()
    subject_id = models.BigIntegerField()
    from_state = models.TextField(blank=True)
    to_state = models.TextField()
    reason = models.TextField(blank=True)
    evidence_id = models.BigIntegerField(null=True)
    actor = models.TextField()
    at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=("subject_type", "subject_id", "id"), name="transition_of_subject"),)


class Event(models.Model):
    """What a merchant's system may want to know. One per kind, subject and occasion.

    It is written with its cause, and published afterwards (`billing/notifying/publish.py`): that numbers it among the
    events of its account and of its object, 1, 2, 3, …, and freezes what is delivered as `body`."""

    public_id = models.TextField(unique=True)
    account_id = models.BigIntegerField()
    kind = models.TextField()
    subject_type = models.TextField()
    subject_id = models.BigIntegerField()
    occasion = models.TextField(blank=True)
    payload = models.JSONField()
    created_at = models.DateTimeField()
    sequence = models.BigIntegerField(null=True)
    object_sequence = models.BigIntegerField(null=True)
    published_at = models.DateTimeField(null=True)
    body = models.JSONField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("kind", "subject_type", "subject_id", "occasion"), name="an_event_is_told_once"
            ),
            models.UniqueConstraint(
                fields=("account_id", "sequence"),
                condition=Q(sequence__isnull=False),
                name="one_event_per_place_in_the_feed",
            ),
            models.UniqueConstraint(
                fields=("subject_type", "subject_id", "object_sequence"),
                condition=Q(sequence__isnull=False),
                name="one_event_per_place_of_its_object",
            ),
            models.CheckConstraint(
                condition=Q(
                    sequence__isnull=True, object_sequence__isnull=True, published_at__isnull=True, body__isnull=True
                )
                | Q(
                    sequence__isnull=False,
                    object_sequence__isnull=False,
                    published_at__isnull=False,
                    body__isnull=False,
                )
                & Q(sequence__gte=1, object_sequence__gte=1),
                name="a_published_event_is_whole",
            ),
        )
        indexes = (
            models.Index(fields=("account_id", "id"), condition=Q(sequence__isnull=True), name="event_not_published"),
        )
