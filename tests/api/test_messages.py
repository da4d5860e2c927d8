"""Messages: the e-mails to an account's own customers, and what came of them."""

import pytest

from tests.api.conftest import Merchant
from tests.factories import NOW, make_message

pytestmark = pytest.mark.django_db


def test_messages_are_listed_with_their_outcome(merchant: Merchant) -> None:
    (shown,) = merchant.api.get("/messages/").json()["data"]
    assert shown == merchant.api.get(f"/messages/{merchant.message.public_id}/").json()
    assert (shown["kind"], shown["state"], shown["language"]) == ("receipt", "sent", "en")
    assert shown["customer"] == merchant.customer.public_id
    assert set(shown) == {
        "id", "customer", "kind", "language", "state", "state_reason", "subject", "text", "created_at", "sent_at",
        "sent_again_at",
    }  # fmt: skip


def test_messages_are_filtered_by_state_and_customer(merchant: Merchant) -> None:
    refused = make_message(merchant.invoice, state="refused", next_try_at=None, state_reason="550 no such user")
    (shown,) = merchant.api.get(f"/messages/?state=refused&customer={merchant.customer.public_id}").json()["data"]
    assert (shown["id"], shown["state_reason"]) == (refused.public_id, "550 no such user")


def test_news_for_the_staff_are_not_shown(merchant: Merchant) -> None:
    staff = make_message(merchant.invoice, kind="staff", customer=None, state="sent", next_try_at=None, sent_at=NOW)
    assert len(merchant.api.get("/messages/").json()["data"]) == 1
    assert merchant.api.get(f"/messages/{staff.public_id}/").status_code == 404


def test_a_customer_has_a_language_and_may_be_silenced(merchant: Merchant) -> None:
    address = f"/customers/{merchant.customer.public_id}/"
    before = merchant.api.get(address).json()
    assert (before["language"], before["silenced"]) == (None, False)
    changed = merchant.api.patch(address, {"language": "ms", "silenced": True}).json()
    assert (changed["language"], changed["silenced"]) == ("ms", True)
    assert merchant.api.patch(address, {"language": None}).json()["language"] is None
    assert merchant.api.patch(address, {"language": "tlh"}).status_code == 400
    assert merchant.api.patch(address, {"silenced": "yes"}).status_code == 400
