"""Where the browser comes back after binding: what is shown, where it is sent on, and what is believed."""

from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from billing.models import PaymentMethod, Transition
from billing.models.clock import database_now
from billing.subscriptions.cards import start_binding
from tests.api.calls import api_for, snapshot
from tests.conftest import Shop
from tests.factories import make_card

pytestmark = pytest.mark.django_db


def start(shop: Shop, merchant_return_url: str = "") -> PaymentMethod:
    return start_binding(
        customer=shop.customer(),
        return_url="http://testserver/bind",
        merchant_return_url=merchant_return_url,
        now=database_now(),
    )


def come_back(location: str):  # type: ignore[no-untyped-def]
    """The browser follows the gateway's redirect to us."""
    parts = urlsplit(location)
    return Client().get(f"{parts.path}?{parts.query}")


def state(card: PaymentMethod) -> tuple[str, str, str]:
    card.refresh_from_db()
    return card.state, card.bind_outcome, card.bind_reason


class TestOurOwnPage:
    def test_a_bound_card_is_taken_into_use(self, shop: Shop) -> None:
        card = start(shop)
        page = come_back(shop.simulator.bind(card.payment_url))
        assert (page.status_code, "Your card is saved" in page.content.decode()) == (200, True)
        assert page["Referrer-Policy"] == "no-referrer"
        assert state(card) == ("active", "", "")

    @pytest.mark.parametrize("profile_of_unbound", [None, [400, "INVALID_REQUEST"], [404, "CUSTOMER_NOT_FOUND"]])
    def test_a_failed_binding_is_shown_with_its_reason_and_recorded(
        self, profile_of_unbound: list[object] | None, shop: Shop
    ) -> None:
        shop.simulator.set(error_unbound=profile_of_unbound)
        card = start(shop)
        page = come_back(shop.simulator.bind(card.payment_url, card="4000000000000101"))
        text = page.content.decode()
        assert "Your card was not saved" in text
        assert "Try again" in text
        now_state, outcome, reason = state(card)
        assert (now_state, outcome) == ("pending", "failed")
        assert reason
        assert reason in text
        moves = Transition.objects.filter(subject_type="card", actor="browser")
        assert [move.reason for move in moves] == [f"binding_failed: {reason}"]

    def test_canceled_binding_is_recorded_and_can_be_retried(self, shop: Shop) -> None:
        card = start(shop)
        location = shop.simulator.bind(card.payment_url, action="cancel")
        assert "You did not save a card" in come_back(location).content.decode()
        come_back(location)
        assert state(card) == ("pending", "cancelled", "")
        assert Transition.objects.filter(subject_type="card", actor="browser").count() == 1, "told twice, kept once"
        assert "Your card is saved" in come_back(shop.simulator.bind(card.payment_url)).content.decode()
        assert state(card)[0] == "active"

    def test_a_reason_is_text_and_never_markup(self, shop: Shop) -> None:
        card = start(shop)
        query = f"status=FAILED&customerId={card.gateway_customer_id}&reason=%3Cscript%3Ealert(1)%3C/script%3E"
        text = Client().get(f"/bind/{card.return_token}/?{query}").content.decode()
        assert "<script>" not in text
        assert "&lt;script&gt;" in text


class TestForgeries:
    @pytest.mark.parametrize(
        "query",
        [
            "",
            "status=SUCCESS&customerId={id}",
            "status=FAILED&customerId=1234567890&reason=forged",
            "status=FAILED&reason=forged",
            "status=CANCELLED&customerId=1",
            "status=failed&customerId={id}",
            "status=BOUND&customerId={id}",
            "customerId=%00",
            "a=" + "x" * 20_000,
            "&".join(f"a{n}=1" for n in range(200)),
        ],
    )
    def test_they_change_nothing(self, query: str, shop: Shop) -> None:
        card = start(shop)
        before = snapshot()
        page = Client().get(f"/bind/{card.return_token}/?{query.format(id=card.gateway_customer_id)}")
        assert page.status_code == 200
        assert "Your card is saved" not in page.content.decode()
        assert "forged" not in page.content.decode()
        assert snapshot() == before

    def test_a_claim_about_a_card_in_use_is_dropped(self, shop: Shop) -> None:
        card = shop.card()
        before = snapshot()
        query = f"status=FAILED&customerId={card.gateway_customer_id}&reason=forged"
        page = Client().get(f"/bind/{card.return_token}/?{query}")
        assert "Your card is saved" in page.content.decode()
        assert snapshot() == before

    @pytest.mark.parametrize("token", ["guess", "%00", "..", "x" * 3000])
    def test_a_guessed_token_is_not_found(self, token: str, shop: Shop) -> None:
        start(shop)
        before = snapshot()
        assert Client().get(f"/bind/{token}/?status=SUCCESS").status_code == 404
        assert snapshot() == before

    def test_only_reading_methods_are_taken(self, shop: Shop) -> None:
        assert Client().post(f"/bind/{start(shop).return_token}/").status_code == 405

    def test_a_card_that_was_revoked_stays_revoked(self, shop: Shop) -> None:
        card = shop.card()
        api_for(shop.account).post(f"/payment-methods/{card.public_id}/revoke/")
        page = Client().get(f"/bind/{card.return_token}/?status=SUCCESS&customerId={card.gateway_customer_id}")
        assert "no longer in use" in page.content.decode()
        assert state(card)[0] == "revoked"


class TestTheMerchantsPage:
    def test_the_browser_is_sent_on_with_the_card_and_how_it_went(self, shop: Shop) -> None:
        for number, action, status in (
            ("4111111111111111", "bind", "active"),
            ("4000000000000101", "bind", "failed"),
            ("4111111111111111", "cancel", "cancelled"),
        ):
            card = start(shop, "https://shop.example/done?order=7&status=mine&x=%20y#top")
            answer = come_back(shop.simulator.bind(card.payment_url, card=number, action=action))
            assert answer.status_code == 303
            target = urlsplit(answer["Location"])
            assert (target.scheme, target.netloc, target.path, target.fragment) == (
                "https",
                "shop.example",
                "/done",
                "top",
            )
            assert target.query == f"order=7&x=%20y&payment_method={card.public_id}&status={status}"
            assert answer["Referrer-Policy"] == "no-referrer"

    def test_redirect_uses_the_stored_url_and_nothing_in_the_address(self, shop: Shop) -> None:
        card = start(shop, "https://shop.example/done")
        location = shop.simulator.bind(card.payment_url) + "&return_url=https://evil.example&next=//evil.example"
        assert urlsplit(come_back(location)["Location"]).netloc == "shop.example"

    def test_a_gateway_that_is_away_is_pending(self) -> None:
        card = make_card(state="pending", baseline_read_at=None, is_default=False)
        PaymentMethod.objects.filter(pk=card.pk).update(merchant_return_url="http://shop.example")
        answer = Client().get(f"/bind/{card.return_token}/?status=SUCCESS&customerId={card.gateway_customer_id}")
        assert parse_qs(urlsplit(answer["Location"]).query) == {
            "payment_method": [card.public_id],
            "status": ["pending"],
        }

    def test_api_shows_the_outcome_that_the_browser_claimed(self, shop: Shop) -> None:
        api = api_for(shop.account)
        body = {"customer": shop.customer().public_id, "return_url": "https://shop.example/done"}
        told = api.post("/payment-methods/", body).json()
        assert (told["return_url"], told["bind_outcome"]) == ("https://shop.example/done", None)
        come_back(shop.simulator.bind(told["payment_url"], action="cancel"))
        again = api.get(f"/payment-methods/{told['id']}/").json()
        assert (again["state"], again["bind_outcome"], again["bind_reason"]) == ("pending", "cancelled", "")
