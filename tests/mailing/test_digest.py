"""The staff learn what is new in one mail, and nothing twice."""

import contextlib
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.management import call_command

from billing.domain.events import BY_NAME
from billing.domain.messages import STAFF_NEWS
from billing.mailing.digest import send_digest
from billing.mailing.transport import NotSentError
from billing.models import Message
from billing.models.bulk.history import NewEvent, record_events
from tests.factories import NOW, make_attempt, make_mail
from tests.mailing.sink import Sink

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def staff(settings: Any) -> None:
    settings.KITARAN_STAFF_MAIL = ["mei@kedai.example", "tan@kedai.example"]


def happen(kind: str, attempt: Any, occasion: str = "1") -> None:
    event = NewEvent(
        account_id=attempt.account_id,
        kind=kind,
        subject_type="attempt",
        subject_id=attempt.pk,
        occasion=occasion,
        payload={},
    )
    record_events([event], now=NOW)


def send(now: datetime = NOW) -> int:
    return send_digest(clock=lambda: now)


def test_every_news_is_an_event_or_the_audit() -> None:
    assert set(STAFF_NEWS) - {"audit.failed"} <= set(BY_NAME)


def test_many_news_are_one_mail() -> None:
    attempt = make_attempt()
    for number in range(3):
        happen("attempt.needs_review", attempt, str(number))
    happen("attempt.alarm", attempt)
    happen("attempt.succeeded", attempt)
    assert send() == 4
    (sent,) = mail.outbox
    assert sent.to == ["mei@kedai.example", "tan@kedai.example"]
    assert sent.subject == "Kitaran: 4 things to know"
    assert sent.body.count("Kedai Kopi: A charge needs review.") == 3
    assert f"/admin/billing/paymentattempt/{attempt.pk}/change/" in sent.body
    assert "Aminah" not in sent.body
    assert attempt.invoice.customer.email not in sent.body
    assert send(NOW + timedelta(days=1)) == 0


def test_the_next_mail_waits() -> None:
    attempt = make_attempt()
    happen("attempt.needs_review", attempt)
    assert send() == 1
    happen("attempt.alarm", attempt)
    assert send(NOW + timedelta(seconds=899)) == 0
    assert send(NOW + timedelta(seconds=901)) == 1
    assert [sent.subject for sent in mail.outbox] == [
        "Kitaran: Kedai Kopi: A charge needs review.",
        "Kitaran: Kedai Kopi: The gateway contradicts a charge that had ended.",
    ]


def test_without_addresses_nothing_is_kept(settings: Any) -> None:
    settings.KITARAN_STAFF_MAIL = []
    happen("attempt.needs_review", make_attempt())
    assert not Message.objects.exists()


def test_news_wait_for_a_mail_server(sink: Sink) -> None:
    happen("attempt.needs_review", make_attempt())
    sink.stop()
    with pytest.raises(NotSentError):
        send()
    sink.start()
    assert send(NOW + timedelta(minutes=1)) == 0
    assert send(NOW + timedelta(minutes=5)) == 1
    assert len(sink.mails) == 1


def test_customers_mail_is_not_the_staffs() -> None:
    attempt = make_attempt()
    make_mail(attempt.account)
    happen("attempt.needs_review", attempt)
    assert Message.objects.get().kind == "staff"
    assert Message.objects.get().customer is None


def test_an_audit_that_fails_is_news_once_a_day(capsys: Any) -> None:
    make_attempt()  # armed long ago and never settled
    for _ in range(2):
        with contextlib.suppress(SystemExit):
            call_command("audit", "--mail")
    assert [message.occasion[:5] for message in Message.objects.all()] == ["audit"]
    assert send(Message.objects.get().created_at) == 1
    assert "The nightly audit found violations." in mail.outbox[0].body
