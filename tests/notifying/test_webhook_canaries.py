"""Webhooks at the highest log level: no secret, address, body, e-mail or answer is ever logged."""

import logging
import traceback
from datetime import timedelta
from typing import Any

import pytest

from billing.models import WebhookEndpoint
from billing.models.clock import database_now
from billing.models.encryption import decrypt
from billing.notifying.deliver import Delivering, deliver
from tests.api.calls import api_for
from tests.factories import make_account
from tests.notifying.receiver import ReceiverProcess

EMAIL = "canary-4c1d@shop.example"
TOKEN = "canarytoken8842"
HOW = Delivering(timedelta(seconds=1), at_once=8, of_one_endpoint=4, allow_private=True)


@pytest.mark.django_db(transaction=True)
def test_delivering_logs_nothing_that_is_secret_or_personal(
    receiver: ReceiverProcess, caplog: pytest.LogCaptureFixture, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.KITARAN_WEBHOOKS_ALLOW_PRIVATE = settings.KITARAN_SENDS_MAIL = True
    for name in ("", "billing", "django", "aiohttp", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    logging.getLogger("django.db.backends").setLevel(logging.INFO)
    account = make_account()
    api = api_for(account)
    secrets = []
    for path in ("/ok", "/status/410", "/status/500", "/hang", "/garbage", "/reset"):
        body = {"url": receiver.url(f"{path}?token={TOKEN}"), "email": EMAIL}
        made = api.post("/webhook-endpoints/", body, Idempotency_Key=path).json()
        secrets.append(made["secret"])
        rotated = api.post(f"/webhook-endpoints/{made['endpoint']['id']}/rotate-secret/", {}).json()
        secrets.append(rotated["secret"])
    api.post("/webhook-endpoints/", {"url": f"http://user:{TOKEN}@127.0.0.1/", "email": EMAIL})
    broken = WebhookEndpoint.objects.latest("pk")
    monkeypatch.setattr(
        "billing.notifying.deliver.decrypt", lambda text: "!" if text == broken.secret_encrypted else decrypt(text)
    )
    customer = {"reference": "c", "name": "Kenari", "email": EMAIL, "phone_number": "1987654321"}
    assert api.post("/customers/", customer).status_code == 201
    deliver(how=HOW, clock=database_now, should_stop=lambda: False)

    assert len(receiver.seen()) >= 5
    assert {"disabled", "active"} == set(WebhookEndpoint.objects.values_list("state", flat=True))
    said = "\n".join(_everything(record) for record in caplog.records)
    assert "cannot be written to" in said
    canaries = [EMAIL, TOKEN, "aminah@example.com", "4111111111111111", "1987654321", "Kenari", *secrets]
    assert [canary for canary in canaries if canary in said] == []


def _everything(record: logging.LogRecord) -> str:
    told = record.getMessage()
    if record.exc_info and record.exc_info[1]:
        told += "".join(traceback.format_exception(record.exc_info[1]))
    return told
