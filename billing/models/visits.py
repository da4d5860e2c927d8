"""How often the customer pages were asked for lately."""

from django.db import models


class VisitCount(models.Model):
    """Requests by one visitor since `window_at`. `key` is a digest: neither an address nor a link is kept.

    The counters stand in PostgreSQL, without which no page is shown anyway: nothing else that is lost opens the door or
    closes it."""

    key = models.TextField(primary_key=True)
    window_at = models.DateTimeField()
    count = models.IntegerField()

    class Meta:
        indexes = (models.Index(fields=("window_at",), name="visits_by_age"),)
