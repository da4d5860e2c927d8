"""The mail to whoever looks after an endpoint that was disabled. Decided where it was disabled, sent here."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import connection

from billing.domain.webhooks import Disabled, EndpointState
from billing.models import WebhookEndpoint
from billing.models.bulk import delivering

logger = logging.getLogger(__name__)

TRIED_AGAIN_AFTER = timedelta(minutes=15)
WHY = {
    Disabled.GONE: "It answered 410 Gone, which means that it wants no more requests.",
    Disabled.FAILING: "No request to it has succeeded for five days.",
}


def send_notices(*, clock: Callable[[], datetime]) -> int:
    """Sends the mails that are due; how many. One that cannot be sent is tried again in a quarter of an hour.

    No connection to the database is held while one is sent. Without a mail server none is sent, and they stay due."""
    if not settings.KITARAN_SENDS_MAIL:
        return 0
    now, sent = clock(), 0
    for pk in delivering.claim_notices(now=now, again_at=now + TRIED_AGAIN_AFTER):
        endpoint = WebhookEndpoint.objects.select_related("account").get(pk=pk)
        if endpoint.state == EndpointState.DISABLED and endpoint.email and not _is_sent(_notice(endpoint)):
            continue
        sent += WebhookEndpoint.objects.filter(pk=pk, notice_due_at__isnull=False).update(notice_due_at=None)
    return sent


def _notice(endpoint: WebhookEndpoint) -> EmailMessage:
    why = WHY[Disabled(endpoint.disabled_reason)]
    text = (
        f"Kitaran has stopped sending webhooks of {endpoint.account.name} to the endpoint {endpoint.public_id}"
        f"{f' ({endpoint.description})' if endpoint.description else ''}.\n\n"
        f"{why}\n\n"
        "Events are kept. Once the endpoint works, resume it in the admin under Webhook endpoints, or with "
        f"POST /api/v1/webhook-endpoints/{endpoint.public_id}/resume/. What was missed is delivered then, in order.\n"
    )
    return EmailMessage(subject="A webhook endpoint was disabled", body=text, to=[endpoint.email])


def _is_sent(mail: EmailMessage) -> bool:
    if not connection.in_atomic_block:
        connection.close()
    try:
        mail.send()
    except (SMTPException, OSError) as error:  # their words may hold the address
        logger.warning("notices: a mail could not be sent: %s", type(error).__name__)
        return False
    return True
