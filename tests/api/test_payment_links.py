"""Payment links over the API: one that works, ended with all others, and kept nowhere."""

import json

import pytest
from django.test import Client

from billing.models import IdempotencyRecord, Transition
from tests.api.calls import api_for, problem, snapshot
from tests.api.conftest import Merchant

pytestmark = pytest.mark.django_db


def path(merchant: Merchant, end: bool = False) -> str:
    return f"/customers/{merchant.customer.public_id}/payment-link/{'end/' if end else ''}"


def opens(url: str) -> int:
    return Client().get(url.removeprefix("http://127.0.0.1:8000")).status_code


def test_a_link_opens_the_page_until_the_links_are_ended(merchant: Merchant) -> None:
    answer = merchant.api.post(path(merchant))
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    link = answer.json()
    assert set(link) == {"url", "expires_at"}
    assert opens(link["url"]) == 200
    ended = merchant.api.post(path(merchant, end=True), {"reason": "sent to a wrong number"})
    assert (ended.status_code, ended.json()["id"]) == (200, merchant.customer.public_id)
    assert opens(link["url"]) == 404
    assert opens(merchant.api.post(path(merchant)).json()["url"]) == 200
    line = Transition.objects.get(subject_type="customer")
    assert line.actor.startswith("api:")
    assert line.reason == "all payment links ended: sent to a wrong number"


def test_making_a_link_writes_nothing(merchant: Merchant) -> None:
    before = snapshot()
    merchant.api.post(path(merchant))
    assert snapshot() == before


def test_a_replayed_request_does_not_hold_the_link(merchant: Merchant) -> None:
    first = merchant.api.post(path(merchant), Idempotency_Key="k1").json()
    again = merchant.api.post(path(merchant), Idempotency_Key="k1").json()
    assert first["url"]
    assert again == {"url": None, "expires_at": first["expires_at"]}
    assert first["url"] not in json.dumps(list(IdempotencyRecord.objects.values_list("response_body", flat=True)))


def test_a_link_is_made_with_a_key_of_the_account_that_may_write(merchant: Merchant, stranger: Merchant) -> None:
    for address in (path(merchant), path(merchant, end=True)):
        assert problem(stranger.api.post(address))[0] == 404
        assert problem(api_for(merchant.account, "read").post(address))[:2] == (403, "scope_missing")
