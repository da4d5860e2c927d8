"""What a provider of django-anymail reports afterwards: a mail that it accepted came back."""

from typing import Any

from billing.models.bulk import mailing

CAME_BACK = frozenset({"bounced", "rejected", "failed"})


def connect() -> None:
    """Listens to the provider's webhooks, which django-anymail proves by their secret."""
    from anymail.signals import tracking

    tracking.connect(note, dispatch_uid="kitaran.bounces")


def note(*, event: Any, **_: Any) -> None:
    """`event` is one of django-anymail's tracking events."""
    if event.event_type in CAME_BACK and event.message_id:
        reason = event.description or event.reject_reason or event.event_type
        mailing.note_bounce(event.message_id, reason=str(reason))
