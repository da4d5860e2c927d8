"""Running the worker of webhooks as if it were another time."""

from collections.abc import Callable
from datetime import datetime, timedelta

from billing.models import Event, WebhookDelivery, WebhookEndpoint
from billing.notifying.deliver import Delivered, Delivering, deliver_due
from tests.factories import NOW

HOW = Delivering(total=timedelta(seconds=2), at_once=16, of_one_endpoint=4, allow_private=True)


def run(now: datetime | Callable[[], datetime] = NOW, how: Delivering = HOW) -> Delivered:
    """Delivers what is due as if it were `now`; the clock stands still meanwhile."""
    clock = now if callable(now) else lambda: now
    return deliver_due(how=how, clock=clock, should_stop=lambda: False)


def states(endpoint: WebhookEndpoint) -> list[str]:
    rows = WebhookDelivery.objects.filter(endpoint=endpoint).order_by("sequence")
    return list(rows.values_list("state", flat=True))


def ids(events: list[Event]) -> list[str]:
    return [event.public_id for event in events]
