"""What happened: append-only, and no foreign key points into these tables, so that they can be partitioned."""

from django.db import models


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
    """What a merchant's system may want to know. One per kind, subject and occasion."""

    public_id = models.TextField(unique=True)
    account_id = models.BigIntegerField()
    kind = models.TextField()
    subject_type = models.TextField()
    subject_id = models.BigIntegerField()
    occasion = models.TextField(blank=True)
    payload = models.JSONField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("kind", "subject_type", "subject_id", "occasion"), name="an_event_is_told_once"
            ),
        )
