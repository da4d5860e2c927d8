"""The page of an account in quarantine: staff see what happened, what was found, and lift it with a reason."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from billing.admin.toolkit.formats import moment_text
from billing.models import GatewayAccount, Invoice, PaymentAttempt, PaymentMethod, Transition
from billing.models.clock import database_now
from billing.operating import quarantine
from tests.factories import make_account, make_attempt, make_card, make_customer, move_attempt
from tests.promises.attacks import make_gateway_order

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> GatewayAccount:
    account, now = make_account(list_lag_seconds=3600), database_now()
    card = make_card(make_customer(account))
    found = make_attempt(card=card, recovered_at=now)
    move_attempt(found, "succeeded")
    stray = make_card(make_customer(account, name="Siti"), held_at=now, held_reason="unexplained_order")
    make_gateway_order(
        found, gateway_order_id="77", attempt=None, payment_method=stray, last_seen_at=now, first_seen_at=now
    )
    GatewayAccount.objects.filter(pk=account.pk).update(
        quarantined_at=now - timedelta(seconds=1),
        quarantine_reason="attempts_forgotten",
        quarantine_detail="1 not in the database",
        quarantine_point_at=now - timedelta(days=1),
    )
    return GatewayAccount.objects.get(pk=account.pk)


def page(client: Client, account: GatewayAccount) -> str:
    answer = client.get(f"/admin/billing/gatewayaccount/{account.pk}/change/quarantine/")
    assert answer.status_code == 200
    return answer.content.decode()


def test_page_shows_the_cause_what_was_found_and_what_is_left(admin_client: Client, account: GatewayAccount) -> None:
    text = page(admin_client, account)
    assert "charges that left this machine are missing from the database" in text
    at = quarantine.status(account, now=database_now()).complete_from + timedelta(seconds=59)
    local = moment_text(at, "Asia/Kuala_Lumpur")
    assert f"The quarantine cannot be lifted yet: the gateway&#x27;s lists may be late; lift it after {local}" in text
    refused = admin_client.post(
        f"/admin/billing/gatewayaccount/{account.pk}/change/quarantine/", {"reason": "looked", "token": "once"}
    ).content.decode()
    assert f"lists may be late; lift it after {local}" in refused
    assert " UTC." not in refused
    assert "1 charge, RM 19.90 paid" in text
    assert "Aminah binti Ali" in text
    assert "Siti" in text
    assert "check each one in the Revenue Monster portal" in text
    assert "only if no other installation charges with the same credentials" in text


def test_the_start_page_and_the_account_lead_to_it(admin_client: Client, account: GatewayAccount) -> None:
    address = f"/admin/billing/gatewayaccount/{account.pk}/change/quarantine/"
    for start in ("/admin/", f"/admin/billing/gatewayaccount/{account.pk}/change/"):
        text = admin_client.get(start).content.decode()
        assert "charges may be missing from this database" in text
        assert text.count("in quarantine since") == 1
        assert address in text


def lift(client: Client, account: GatewayAccount, reason: str = "all cards were read") -> Any:
    address = f"/admin/billing/gatewayaccount/{account.pk}/change/quarantine/"
    return client.post(address, {"reason": reason, "token": "once"})


def test_quarantine_is_lifted_with_a_reason_once_all_was_read(admin_client: Client, account: GatewayAccount) -> None:
    assert lift(admin_client, account).status_code == 422
    GatewayAccount.objects.filter(pk=account.pk).update(quarantined_at=database_now() - timedelta(hours=2))
    refused = lift(admin_client, account)
    assert "2 cards were not read completely" in refused.content.decode()
    PaymentMethod.objects.update(quarantine_read_at=database_now())
    assert lift(admin_client, account, reason="").status_code == 422
    assert lift(admin_client, account).status_code == 302
    account.refresh_from_db()
    assert account.quarantined_at is None
    line = Transition.objects.get(subject_type="quarantine")
    assert (line.to_state, line.reason, line.actor) == ("lifted", "all cards were read", "admin")


def test_an_account_that_is_in_none_offers_nothing(admin_client: Client) -> None:
    account = make_account()
    assert "quarantine/" not in admin_client.get(f"/admin/billing/gatewayaccount/{account.pk}/change/").content.decode()
    assert not PaymentAttempt.objects.exists()
    assert not Invoice.objects.exists()
