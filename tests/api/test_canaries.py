"""A whole pass at the highest log level: no secret, e-mail, phone, name, label or token is ever logged."""

import logging
import traceback
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client

from billing.models import ApiKey, PaymentMethod
from tests.api.calls import api_for
from tests.conftest import Shop

EMAIL, PHONE, NAME = "canary-7f3a@example.com", "1987654321", "Canary Binti Kenari"


@pytest.mark.django_db(transaction=True)
def test_a_whole_pass_logs_nothing_that_is_secret_or_personal(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("", "billing", "rm_gateway", "django", "celery"):
        caplog.set_level(logging.DEBUG, logger=name)
    logging.getLogger("django.db.backends").setLevel(logging.INFO)
    api = api_for(shop.account)
    body = {"reference": "canary", "name": NAME, "email": EMAIL, "phone_number": PHONE}
    customer = api.post("/customers/", body, Idempotency_Key="c").json()
    api.post("/customers/", body)  # the reference is taken
    api.post("/customers/", body | {"amount": EMAIL})
    api.post("/customers/", f'{{"email": "{EMAIL}"'.encode())
    card = api.post("/payment-methods/", {"customer": customer["id"]}, Idempotency_Key="p").json()
    row = PaymentMethod.objects.get(public_id=card["id"])
    location = shop.simulator.bind(card["payment_url"])
    Client().get(f"/bind/{row.return_token}/?{location.partition('?')[2]}")
    invoice = {"customer": customer["id"], "currency": "MYR", "description": "Coffee"}
    for amount in (1990, 102, 108, 101):  # taken; taken and lost; a proxy's HTML; declined
        api.post("/invoices/", invoice | {"amount_minor": amount})
        shop.collect()
        shop.sweep()
        shop.reconcile()
    Client().get(f"/callbacks/rm/notify/?data.customerId={row.gateway_customer_id}&data.email={EMAIL}&data.name={NAME}")
    for path in ("/customers/", "/payment-methods/", "/invoices/", "/attempts/", "/events/", "/account/"):
        assert api.get(path).status_code == 200
    for told in api.get("/invoices/").json()["data"]:
        explained = api.get(f"/invoices/{told['id']}/explanation/")
        assert explained.status_code == 200
        _shows_nothing_personal(explained.content.decode(), row.label)
        call_command("explain", told["id"], stdout=StringIO())
    call_command("audit", "--gateway", stdout=StringIO())
    for attempt in api.get("/attempts/").json()["data"]:
        case = api.get(f"/attempts/{attempt['id']}/case/")
        assert case.status_code == 200
        assert not [canary for canary in (EMAIL, PHONE, NAME) if canary in case.content.decode()]
        decision = {"resolution": "charged", "transaction_id": "1", "reason": NAME}
        assert api.post(f"/attempts/{attempt['id']}/resolve/", decision).status_code == 409
    row.refresh_from_db()
    assert row.state == "active"
    said = "\n".join(_everything(record) for record in caplog.records)
    canaries = {
        "e-mail": EMAIL,
        "phone": PHONE,
        "name": NAME,
        "label": row.label,
        "API key": api.key or "",
        "hash of the key": ApiKey.objects.get().key_hash,
        "client secret": shop.simulator.credentials.client_secret,
        "private key": shop.simulator.credentials.private_key.splitlines()[1],
        "return token": row.return_token,
    }
    assert all(len(canary) > 6 for canary in canaries.values())
    assert [what for what, canary in canaries.items() if canary in said] == []


def _shows_nothing_personal(text: str, label: str) -> None:
    assert [canary for canary in (EMAIL, PHONE, NAME, label) if canary and canary in text] == []


def _everything(record: logging.LogRecord) -> str:
    told = record.getMessage()
    if record.exc_info and record.exc_info[1]:
        told += "".join(traceback.format_exception(record.exc_info[1]))
    return told


@pytest.mark.django_db
def test_unexpected_error_is_logged_by_place_without_its_text(
    shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise ValueError(f"duplicate key (email)=({EMAIL})")

    monkeypatch.setattr("billing.api.views.customers.create_customer", fail)
    body = {"reference": "canary", "name": NAME, "email": EMAIL, "phone_number": PHONE}
    answer = api_for(shop.account).post("/customers/", body)
    assert answer.status_code == 500
    assert EMAIL not in answer.content.decode()
    said = "\n".join(_everything(record) for record in caplog.records)
    assert "ValueError" in said
    assert "views/customers.py" in said
    assert EMAIL not in said
