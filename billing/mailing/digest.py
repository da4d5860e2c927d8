"""digest: the staff learn what is new, all of it in one mail, at most one mail every `KITARAN_STAFF_MAIL_SECONDS`."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import connection
from django.urls import reverse

from billing.domain.messages import STAFF_NEWS, MessageKind, MessageState
from billing.domain.plurals import counted
from billing.mailing.transport import AddressRefusedError, NotSentError, Transport
from billing.models.bulk import mailing
from billing.models.bulk.mailing import News, Outcome
from billing.models.bulk.sql import durable

MOST_NEWS = 200
AGAIN_AFTER = timedelta(minutes=5)
# Where the admin shows what history calls so; anything else has its place on the dashboard.
_PAGES = {
    "attempt": "paymentattempt",
    "invoice": "invoice",
    "subscription": "subscription",
    "card": "paymentmethod",
    "refund": "refund",
    "checkout": "checkout",
    "proposal": "proposal",
    "account": "gatewayaccount",
    "orphan": "orphananswer",
}


def news_for_staff(*, event: str, account_id: int | None, occasion: str, now: datetime) -> None:
    """What no event of an account says; once for each occasion. Nothing where nobody is to be written to."""
    if not settings.KITARAN_STAFF_MAIL:
        return
    one = mailing.NewMessage(
        account_id=account_id,
        kind=MessageKind.STAFF,
        occasion=occasion,
        subject_type="installation",
        subject_id=1,
        details=json.dumps({"event": event}),
        not_before=now,
    )
    mailing.write([one], now=now)


def send_digest(*, clock: Callable[[], datetime]) -> int:
    """Sends what the staff do not know yet; how many news. Raises NotSentError; then it is tried again later."""
    if not settings.KITARAN_STAFF_MAIL or not settings.KITARAN_SENDS_MAIL:
        return 0
    now = clock()
    quiet_since = now - timedelta(seconds=settings.KITARAN_STAFF_MAIL_SECONDS)
    with durable():
        news = mailing.claim_news(now=now, quiet_since=quiet_since, limit=MOST_NEWS)
    if not news:
        return 0
    if not connection.in_atomic_block:
        connection.close()
    subject, text = digest_of(news)
    mail = EmailMessage(subject, text, settings.DEFAULT_FROM_EMAIL, settings.KITARAN_STAFF_MAIL)
    ids = [one.id for one in news]
    try:
        with Transport() as transport:
            transport.send(mail)
    except (AddressRefusedError, NotSentError) as error:
        mailing.finish_news(ids, Outcome(state=MessageState.PENDING, again_at=clock() + AGAIN_AFTER))
        raise NotSentError(str(error)) from None
    mailing.finish_news(ids, Outcome(state=MessageState.SENT, sent_at=clock(), subject=subject, text=text))
    return len(news)


def digest_of(news: Sequence[News]) -> tuple[str, str]:
    """Subject and text. They name no customer."""
    lines = [_line(one) for one in sorted(news, key=lambda one: one.id)]
    subject = f"Kitaran: {counted(len(lines), 'thing')} to know" if len(lines) > 1 else f"Kitaran: {lines[0][0]}"
    parts = [f"{words}\n{address}" for words, address in lines]
    return subject, "\n\n".join([*parts, f"All that needs review: {_address('admin:index')}"]) + "\n"


def _line(one: News) -> tuple[str, str]:
    sentence = STAFF_NEWS[json.loads(one.details)["event"]]
    page = _PAGES.get(one.subject_type)
    address = _address(f"admin:billing_{page}_change", one.subject_id) if page else _address("admin:index")
    return " ".join(f"{one.account_name}: {sentence}".removeprefix(": ").split()), address


def _address(name: str, *args: int) -> str:
    return f"{settings.KITARAN_PUBLIC_URL}{reverse(name, args=args)}"
