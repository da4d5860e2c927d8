"""A person has a message sent once more whose worker died while it was sending: whether it arrived is not known."""

from datetime import datetime

from django.db import transaction

from billing.domain.errors import RefusedError
from billing.domain.messages import MessageState
from billing.models import Message
from billing.models.bulk.history import record_transition


class MessageError(RefusedError):
    """A message that cannot be sent again."""


def send_again(*, message: Message, reason: str, actor: str, now: datetime) -> Message:
    """Makes an *unknown* message due at once, with the same Message-ID, and leaves a line of history.

    Raises MessageError for one in another state, and for one that belongs to no account."""
    with transaction.atomic():
        locked = Message.objects.select_for_update(no_key=True).get(pk=message.pk)
        if locked.state != MessageState.UNKNOWN or locked.account_id is None:
            raise MessageError("state", "state", f"must be a message of unknown result; this one is {locked.state}")
        locked.state, locked.state_reason = MessageState.PENDING.value, ""
        locked.tries, locked.next_try_at, locked.sent_again_at = 0, now, now
        locked.save(update_fields=["state", "state_reason", "tries", "next_try_at", "sent_again_at"])
        record_transition(
            account_id=locked.account_id,
            subject_type="message",
            subject_id=locked.pk,
            from_state=MessageState.UNKNOWN.value,
            to_state=MessageState.PENDING.value,
            reason=reason,
            actor=actor,
            now=now,
        )
    return locked
