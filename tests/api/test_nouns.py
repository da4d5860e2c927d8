"""What each address does when all is well."""

from datetime import timedelta
from typing import Any

import pytest

from billing.models import ApiKey, Customer, Invoice, Plan, Subscription, Transition
from tests.api.calls import api_for
from tests.api.conftest import Merchant
from tests.conftest import Shop
from tests.factories import (
    NOW,
    make_account,
    make_attempt,
    make_card,
    make_customer,
    make_invoice,
    make_subscription,
    make_unpaid,
    move_attempt,
)

pytestmark = pytest.mark.django_db

CUSTOMER = {"reference": "c-1", "name": "Aminah", "email": "aminah@example.com", "phone_number": "123456789"}
PLAN = {"code": "club", "name": "Club", "amount_minor": 1990, "currency": "MYR", "interval": "MONTHLY", "target": "-1"}


def test_a_customer_is_created_read_and_changed(merchant: Merchant) -> None:
    made = merchant.api.post("/customers/", CUSTOMER | {"metadata": {"vip": True}})
    assert (made.status_code, made["Cache-Control"]) == (201, "no-store")
    customer = made.json()
    assert customer["id"].startswith("cus_")
    assert customer["created_at"].endswith("Z")
    assert (customer["country_code"], customer["metadata"]) == ("60", {"vip": True})
    path = f"/customers/{customer['id']}/"
    assert merchant.api.get(path).json() == customer

    changed = merchant.api.patch(path, {"email": "new@example.com", "metadata": {}}).json()
    assert changed == customer | {"email": "new@example.com", "metadata": {}}
    assert merchant.api.patch(path, {}).json() == changed
    refused = merchant.api.patch(path, {"reference": "c-2"})
    assert (refused.status_code, refused.json()["errors"][0]["rule"]) == (400, "unknown")


def test_a_changed_plan_is_a_new_version(merchant: Merchant) -> None:
    first, second = (merchant.api.post("/plans/", PLAN | {"amount_minor": amount}).json() for amount in (1990, 2490))
    assert (first["version"], second["version"]) == (1, 2)
    assert first["schedule"] == "every month on the last day at 09:00, Asia/Kuala_Lumpur"
    assert (first["target"], first["charge_time"], first["repetitions"]) == (-1, "09:00", None)
    assert merchant.api.get(f"/plans/{first['id']}/").json()["amount_minor"] == 1990


@pytest.mark.parametrize(
    ("interval", "target", "kept"),
    [
        ("MONTHLY", 28, 28),
        ("MONTHLY", "0", 0),
        ("WEEKLY", "6", 6),
        ("WEEKLY", 0, 0),
        ("DAILY", None, None),
        ("DAILY", "", None),
    ],
)
def test_targets_come_as_text_or_numbers(interval: str, target: Any, kept: int | None, merchant: Merchant) -> None:
    plan = merchant.api.post("/plans/", PLAN | {"interval": interval, "target": target}).json()
    assert (plan["interval"], plan["target"]) == (interval, kept)


def test_a_plan_without_a_zone_takes_the_accounts() -> None:
    api = api_for(make_account(time_zone="Asia/Tokyo"))
    assert api.post("/plans/", PLAN).json()["time_zone"] == "Asia/Tokyo"
    assert api.post("/plans/", PLAN | {"charge_time": "23:59:30"}).json()["charge_time"] == "23:59:30"


class TestSubscriptions:
    def body(self, merchant: Merchant, **more: Any) -> dict[str, Any]:
        return {
            "reference": "s-1",
            "customer": merchant.customer.public_id,
            "plan": merchant.plan.public_id,
            **more,
        }

    def test_one_begins_at_once_with_a_card_and_waits_without(self, merchant: Merchant) -> None:
        begun = merchant.api.post("/subscriptions/", self.body(merchant, metadata={"seat": 4})).json()
        assert (begun["state"], begun["metadata"], begun["payment_method"]) == ("active", {"seat": 4}, None)
        assert begun["next_due_at"].endswith("01:00:00Z")
        cardless = make_customer(merchant.account)
        waits = merchant.api.post(
            "/subscriptions/", self.body(merchant, reference="s-2", customer=cardless.public_id)
        ).json()
        assert (waits["state"], waits["next_due_at"]) == ("incomplete", None)
        key = ApiKey.objects.get(account=merchant.account)
        actors = set(Transition.objects.filter(subject_type="subscription").values_list("actor", flat=True))
        assert actors == {f"api:{key.public_id}"}

    def test_charged_at_its_start_it_is_due_now(self, merchant: Merchant) -> None:
        told = merchant.api.post("/subscriptions/", self.body(merchant, charge_at_start=True)).json()
        assert (told["charge_at_start"], told["next_due_at"]) == (True, told["activated_at"])

    def test_charged_at_its_start_it_waits_for_that_payment(self, merchant: Merchant) -> None:
        plan = merchant.api.post("/plans/", PLAN | {"code": "paid-first"}).json()
        assert plan["activates_on"] == "payment"
        told = merchant.api.post(
            "/subscriptions/", self.body(merchant, plan=plan["id"], charge_at_start=True, reference="first")
        ).json()
        assert (told["state"], told["next_due_at"], told["activated_at"]) == ("incomplete", None, None)
        assert (told["activates_on"], told["first_payment_ends_at"][:10] > told["created_at"][:10]) == ("payment", True)
        (invoice,) = merchant.api.get(f"/invoices/?subscription={told['id']}").json()["data"]
        assert (invoice["state"], invoice["period_index"]) == ("open", 0)
        assert merchant.api.get("/account/").json()["first_payment_hours"] == 23

    def test_a_declined_first_charge_is_collected_on_request(self, merchant: Merchant) -> None:
        invoice = make_unpaid(merchant.card)
        Invoice.objects.filter(pk=invoice.pk).update(
            next_attempt_at=None, refusal="first_charge_declined", refused_at=NOW, tries=1
        )
        path = f"/invoices/{invoice.public_id}/"
        assert merchant.api.get(path).json()["refusal"] == "first_charge_declined"
        told = merchant.api.post(f"{path}collect/", {"reason": "the customer asks for it"}).json()
        assert (told["refusal"], told["next_attempt_at"] is not None) == (None, True)

    def test_it_is_paused_resumed_and_cancelled(self, merchant: Merchant) -> None:
        path = f"/subscriptions/{merchant.subscription.public_id}"
        states = [
            merchant.api.post(f"{path}/{action}/", {"reason": f"{action} it"}).json()["state"]
            for action in ("pause", "resume", "cancel")
        ]
        assert states == ["paused", "active", "canceled"]
        reasons = Transition.objects.filter(subject_type="subscription", subject_id=merchant.subscription.pk)
        assert list(reasons.order_by("id").values_list("reason", flat=True)) == ["pause it", "resume it", "cancel it"]

    def test_its_next_dates_follow_the_schedule_and_end_with_it(self, merchant: Merchant) -> None:
        path = f"/subscriptions/{merchant.subscription.public_id}/next-dates/"
        dates = merchant.api.get(path).json()["dates"]
        assert dates == [f"2026-03-0{day}T01:00:00Z" for day in range(2, 7)]
        assert len(merchant.api.get(f"{path}?count=50").json()["dates"]) == 50
        Subscription.objects.filter(pk=merchant.subscription.pk).update(
            repetitions=4, periods_charged=2, period_index=2
        )
        assert merchant.api.get(path).json()["dates"] == dates[:2]
        merchant.api.post(f"/subscriptions/{merchant.subscription.public_id}/pause/")
        assert merchant.api.get(path).json()["dates"] == []

    def test_its_card_policy_and_metadata_are_changed(self, merchant: Merchant) -> None:
        path = f"/subscriptions/{merchant.subscription.public_id}/"
        second = make_card(merchant.customer, is_default=False)
        told = merchant.api.patch(path, {"payment_method": second.public_id, "catch_up": "ask", "metadata": {"a": 1}})
        assert told.json()["payment_method"] == second.public_id
        assert (told.json()["catch_up"], told.json()["metadata"]) == ("ask", {"a": 1})
        assert merchant.api.patch(path, {"payment_method": None}).json()["payment_method"] is None
        assert Transition.objects.filter(subject_type="subscription", reason__startswith="charged on").count() == 2

    def test_one_that_waited_for_its_card_begins_with_another(self, merchant: Merchant) -> None:
        pending = make_card(merchant.customer, state="pending", is_default=False, baseline_read_at=None)
        told = merchant.api.post("/subscriptions/", self.body(merchant, payment_method=pending.public_id)).json()
        assert told["state"] == "incomplete"
        path = f"/subscriptions/{told['id']}/"
        assert merchant.api.patch(path, {"payment_method": merchant.card.public_id}).json()["state"] == "active"

    def test_a_new_card_has_refused_invoices_tried_again_now(self, merchant: Merchant) -> None:
        subscription = make_subscription(merchant.card, merchant.plan)
        invoice = Invoice.objects.create(
            public_id="inv_refused", account=merchant.account, customer=merchant.customer, subscription=subscription,
            period_index=0, state="open", description="x", lines=[], amount_minor=1990, currency="MYR", due_at=NOW,
            next_attempt_at=NOW + timedelta(days=36_500), refusal="card_not_active", created_at=NOW,
        )  # fmt: skip
        second = make_card(merchant.customer, is_default=False)
        merchant.api.patch(f"/subscriptions/{subscription.public_id}/", {"payment_method": second.public_id})
        invoice.refresh_from_db()
        assert invoice.next_attempt_at is not None
        assert invoice.next_attempt_at < NOW + timedelta(days=36_000)

    def test_an_ended_one_keeps_everything_but_its_metadata(self, merchant: Merchant) -> None:
        path = f"/subscriptions/{merchant.subscription.public_id}/"
        merchant.api.post(f"{path}cancel/")
        assert merchant.api.patch(path, {"metadata": {"why": "moved"}}).json()["metadata"] == {"why": "moved"}


def test_the_default_card_moves_and_a_card_is_revoked(merchant: Merchant) -> None:
    second = make_card(merchant.customer, is_default=False)
    path = f"/payment-methods/{second.public_id}"
    assert merchant.api.post(f"{path}/make-default/").json()["is_default"] is True
    assert merchant.api.get(f"/payment-methods/{merchant.card.public_id}/").json()["is_default"] is False
    revoked = merchant.api.post(f"{path}/revoke/", {"reason": "lost"}).json()
    assert (revoked["state"], revoked["is_default"]) == ("revoked", False)
    assert merchant.api.post(f"{path}/revoke/").json() == revoked


def test_card_is_saved_and_charged_once_without_a_subscription(shop: Shop) -> None:
    api, customer = api_for(shop.account), shop.customer()
    card = api.post("/payment-methods/", {"customer": customer.public_id}).json()
    assert (card["state"], card["is_default"], card["activated_at"]) == ("pending", False, None)
    shop.simulator.bind(card["payment_url"])
    bound = api.post(f"/payment-methods/{card['id']}/refresh/").json()
    assert (bound["state"], bound["is_default"], bound["label"]) == ("active", True, "411111******1111")
    assert bound["payment_url"] is None

    body = {"customer": customer.public_id, "amount_minor": 3500, "currency": "MYR", "description": "Grinder"}
    invoice = api.post("/invoices/", body).json()
    assert (invoice["state"], invoice["subscription"], invoice["period_index"]) == ("open", None, None)
    assert invoice["lines"] == [{"description": "Grinder", "quantity": 1, "amount_minor": 3500}]
    shop.collect()
    paid = api.get(f"/invoices/{invoice['id']}/").json()
    assert (paid["state"], paid["attempt_count"]) == ("paid", 1)
    (attempt,) = api.get(f"/attempts/?invoice={invoice['id']}").json()["data"]
    assert (attempt["state"], attempt["number"], attempt["payment_method"]) == ("succeeded", 1, card["id"])
    assert attempt["gateway_transaction_id"]
    assert api.get(f"/attempts/{attempt['id']}/").json() == attempt


def test_the_stop_switch_is_thrown_and_released(merchant: Merchant) -> None:
    stopped = merchant.api.post("/account/stop/", {"reason": "prices are wrong"}).json()
    assert (stopped["is_stopped"], stopped["stopped_reason"]) == (True, "prices are wrong")
    assert merchant.api.get("/account/").json() == stopped
    assert merchant.api.post("/account/stop/", {"reason": "again"}).json() == stopped
    started = merchant.api.post("/account/start/", {"reason": "prices are right"}).json()
    assert (started["is_stopped"], started["stopped_at"]) == (False, None)
    assert Transition.objects.filter(subject_type="account").count() == 2
    assert (Customer.objects.count(), Plan.objects.count()) == (1, 1)


@pytest.mark.parametrize(
    ("code", "kind", "meaning"), [("51", "soft", "not enough money"), ("43", "hard", "stolen"), ("9010", "unknown", "")]
)
def test_a_declined_attempt_says_what_its_code_means(merchant: Merchant, code: str, kind: str, meaning: str) -> None:
    attempt = make_attempt(make_invoice(merchant.card))
    path = f"/attempts/{attempt.public_id}/"
    assert merchant.api.get(path).json()["decline"] is None
    move_attempt(attempt, "declined", state_reason=code, settled_at=NOW)
    shown = merchant.api.get(path).json()["decline"]
    assert (shown["code"], shown["kind"]) == (code, kind)
    assert meaning in shown["meaning"]
    assert "stolen" not in shown["message"]
    assert shown["message"].endswith(".")
