"""Runs of the engine and the pulse of its workers."""

from django.db import models


class ChargeRun(models.Model):
    """One run of the collecting loop in one process, as counts."""

    worker = models.TextField()
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    armed = models.IntegerField(db_default=0)
    succeeded = models.IntegerField(db_default=0)
    declined = models.IntegerField(db_default=0)
    not_sent = models.IntegerField(db_default=0)
    in_process = models.IntegerField(db_default=0)
    unknown = models.IntegerField(db_default=0)
    needs_review = models.IntegerField(db_default=0)
    refused = models.IntegerField(db_default=0)


class Heartbeat(models.Model):
    """When a queue last ran a task, as a row that the watchdog reads."""

    queue = models.TextField(unique=True)
    worker = models.TextField()
    beat_at = models.DateTimeField()
