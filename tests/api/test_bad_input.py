"""Bad input as a table: what is sent, and the status, code, field and rule that it gets. Nothing is written."""

import json
from typing import Any

import pytest

from billing.models import GatewayAccount
from billing.models.encryption import encrypt
from tests.api.calls import api_for, problem, snapshot
from tests.api.conftest import Merchant
from tests.conftest import Shop
from tests.factories import make_card, make_customer, private_key_pem

pytestmark = pytest.mark.django_db

CUSTOMER = {"reference": "c-1", "name": "Aminah", "email": "aminah@example.com", "phone_number": "123456789"}
PLAN = {"code": "club", "name": "Club", "amount_minor": 1990, "currency": "MYR", "interval": "MONTHLY", "target": "-1"}
SUBSCRIPTION = {"reference": "s-1", "customer": "{customer}", "plan": "{plan}"}
INVOICE = {"customer": "{customer}", "amount_minor": 1990, "currency": "MYR", "description": "A grinder"}
CARD = {"customer": "{customer}"}
INVALID = (400, "invalid_request")
ABSENT = "(left out)"
UNKNOWN_CUSTOMER = "cus_00000000000000000000000000"

# what is changed of a good body -> field, rule
CUSTOMERS = [
    ({"reference": ABSENT}, "reference", "required"),
    ({"reference": None}, "reference", "null"),
    ({"reference": ""}, "reference", "blank"),
    ({"reference": "   "}, "reference", "blank"),
    ({"reference": 7}, "reference", "invalid"),
    ({"reference": ["c"]}, "reference", "invalid"),
    ({"reference": "x" * 101}, "reference", "max_length"),
    ({"reference": "a\nb"}, "reference", "characters"),
    ({"name": "A\x00"}, "name", "characters"),
    ({"name": "\ud800"}, "name", "characters"),
    ({"name": "n" * 10_000}, "name", "max_length"),
    ({"email": "nobody"}, "email", "email"),
    ({"email": "a@b"}, "email", "email"),
    ({"email": "a b@example.com"}, "email", "email"),
    ({"email": f"{'a' * 260}@example.com"}, "email", "max_length"),
    ({"email": 1}, "email", "invalid"),
    ({"phone_number": "+60123456789"}, "phone_number", "pattern"),
    ({"phone_number": "1234"}, "phone_number", "pattern"),
    ({"phone_number": "0123456789"}, "phone_number", "pattern"),
    ({"phone_number": "\u0661\u0662\u0663\u0664\u0665\u0666"}, "phone_number", "pattern"),
    ({"phone_number": 123456789}, "phone_number", "invalid"),
    ({"country_code": "060"}, "country_code", "pattern"),
    ({"metadata": []}, "metadata", "invalid"),
    ({"metadata": None}, "metadata", "null"),
    ({"metadata": {f"k{n}": n for n in range(51)}}, "metadata", "too_many"),
    ({"metadata": {"": 1}}, "metadata", "name"),
    ({"metadata": {"k" * 65: 1}}, "metadata", "name"),
    ({"metadata": {"a": {"b": {"c": {"d": {}}}}}}, "metadata", "too_deep"),
    ({"metadata": {"a": "x" * 8200}}, "metadata", "too_large"),
    ({"metadata": {"a": ["\x00"]}}, "metadata.a.0", "characters"),
    ({"metadata": {"a\x00": 1}}, "metadata", "characters"),
    ({"emial": "typo@example.com"}, "emial", "unknown"),
    ({"id": "cus_mine"}, "id", "unknown"),
]
PLANS = [
    ({"amount_minor": 0}, "amount_minor", "min_value"),
    ({"amount_minor": 9}, "amount_minor", "min_value"),
    ({"amount_minor": -1990}, "amount_minor", "min_value"),
    ({"amount_minor": 1_000_000_001}, "amount_minor", "max_value"),
    ({"amount_minor": 10**30}, "amount_minor", "max_value"),
    ({"amount_minor": 19.9}, "amount_minor", "invalid"),
    ({"amount_minor": 1990.0}, "amount_minor", "invalid"),
    ({"amount_minor": "1990"}, "amount_minor", "invalid"),
    ({"amount_minor": True}, "amount_minor", "invalid"),
    ({"amount_minor": None}, "amount_minor", "null"),
    ({"currency": "USD"}, "currency", "invalid_choice"),
    ({"currency": "myr"}, "currency", "invalid_choice"),
    ({"currency": ABSENT}, "currency", "required"),
    ({"interval": "YEARLY"}, "interval", "invalid_choice"),
    ({"interval": "monthly"}, "interval", "invalid_choice"),
    ({"interval": ["MONTHLY"]}, "interval", "invalid_choice"),
    ({"target": 29}, "target", "target_of_interval"),
    ({"target": "31"}, "target", "target_of_interval"),
    ({"target": "-2"}, "target", "target_of_interval"),
    ({"target": "01"}, "target", "target_of_interval"),
    ({"target": "first"}, "target", "target_of_interval"),
    ({"target": None}, "target", "target_of_interval"),
    ({"target": 1.0}, "target", "invalid"),
    ({"target": True}, "target", "invalid"),
    ({"interval": "WEEKLY", "target": 7}, "target", "target_of_interval"),
    ({"interval": "DAILY", "target": 3}, "target", "target_of_interval"),
    ({"every": 0}, "every", "min_value"),
    ({"every": 1201}, "every", "max_value"),
    ({"every": "2"}, "every", "invalid"),
    ({"charge_time": "25:00"}, "charge_time", "time_of_day"),
    ({"charge_time": "9:00"}, "charge_time", "time_of_day"),
    ({"charge_time": 9}, "charge_time", "time_of_day"),
    ({"time_zone": "Mars/Olympus"}, "time_zone", "unknown_time_zone"),
    ({"time_zone": "../../etc/passwd"}, "time_zone", "unknown_time_zone"),
    ({"time_zone": "localtime"}, "time_zone", "unknown_time_zone"),
    ({"time_zone": "Z" * 65}, "time_zone", "max_length"),
    ({"trial_days": -1}, "trial_days", "min_value"),
    ({"trial_days": 10**9}, "trial_days", "max_value"),
    ({"repetitions": 0}, "repetitions", "min_value"),
    ({"repetitions": 1.5}, "repetitions", "invalid"),
    ({"code": "a b"}, "code", "pattern"),
    ({"code": "c" * 65}, "code", "max_length"),
    ({"name": ABSENT}, "name", "required"),
]
SUBSCRIPTIONS = [
    ({"customer": "cus_nobody"}, "customer", "not_found"),
    ({"customer": UNKNOWN_CUSTOMER}, "customer", "not_found"),
    ({"customer": "{plan}"}, "customer", "not_found"),
    ({"customer": "{foreign_customer}"}, "customer", "not_found"),
    ({"customer": 1}, "customer", "invalid"),
    ({"plan": "{foreign_plan}"}, "plan", "not_found"),
    ({"plan": ABSENT}, "plan", "required"),
    ({"payment_method": "{foreign_card}"}, "payment_method", "not_found"),
    ({"payment_method": "{card_of_another}"}, "payment_method", "not_usable"),
    ({"charge_at_start": "true"}, "charge_at_start", "invalid"),
    ({"charge_at_start": 1}, "charge_at_start", "invalid"),
    ({"catch_up": "sometimes"}, "catch_up", "invalid_choice"),
    ({"amount_minor": 1}, "amount_minor", "unknown"),
    ({"reference": "r" * 101}, "reference", "max_length"),
]
INVOICES = [
    ({"amount_minor": 0}, "amount_minor", "min_value"),
    ({"amount_minor": 9}, "amount_minor", "min_value"),
    ({"amount_minor": 1_000_000_001}, "amount_minor", "max_value"),
    ({"amount_minor": 12.5}, "amount_minor", "invalid"),
    ({"amount_minor": "1990"}, "amount_minor", "invalid"),
    ({"currency": "SGD"}, "currency", "invalid_choice"),
    ({"description": "  "}, "description", "blank"),
    ({"description": "d" * 201}, "description", "max_length"),
    ({"customer": "{foreign_customer}"}, "customer", "not_found"),
    ({"customer": UNKNOWN_CUSTOMER}, "customer", "not_found"),
    ({"customer": "{cardless}"}, "payment_method", "not_usable"),
    ({"payment_method": "{unbound_card}"}, "payment_method", "not_usable"),
    ({"payment_method": "{card_of_another}"}, "payment_method", "not_usable"),
    ({"payment_method": "{foreign_card}"}, "payment_method", "not_found"),
]
CARDS = [
    ({"customer": "{foreign_customer}"}, "customer", "not_found"),
    ({"customer": ABSENT}, "customer", "required"),
    ({"return_url": "shop.example/done"}, "return_url", "web_address"),
    ({"return_url": "javascript:alert(1)"}, "return_url", "web_address"),
    ({"return_url": "//shop.example/done"}, "return_url", "web_address"),
    ({"return_url": "ftp://shop.example/"}, "return_url", "web_address"),
    ({"return_url": "https://user:word@shop.example/"}, "return_url", "web_address"),
    ({"return_url": "https://shop.example\\@evil.example/"}, "return_url", "web_address"),
    ({"return_url": "https:///done"}, "return_url", "web_address"),
    ({"return_url": "https://shop.example:99999/"}, "return_url", "web_address"),
    ({"return_url": "https://shop.example/a b"}, "return_url", "web_address"),
    ({"return_url": f"https://shop.example/{'x' * 2000}"}, "return_url", "web_address"),
    ({"return_url": ""}, "return_url", "web_address"),
    ({"return_url": None}, "return_url", "null"),
]
TABLE = [
    ("/customers/", CUSTOMER, CUSTOMERS),
    ("/plans/", PLAN, PLANS),
    ("/subscriptions/", SUBSCRIPTION, SUBSCRIPTIONS),
    ("/invoices/", INVOICE, INVOICES),
    ("/payment-methods/", CARD, CARDS),
]


@pytest.fixture
def names(merchant: Merchant, stranger: Merchant) -> dict[str, str]:
    other = make_customer(merchant.account)
    return {
        "{customer}": merchant.customer.public_id,
        "{plan}": merchant.plan.public_id,
        "{foreign_customer}": stranger.customer.public_id,
        "{foreign_plan}": stranger.plan.public_id,
        "{foreign_card}": stranger.card.public_id,
        "{card_of_another}": make_card(other).public_id,
        "{unbound_card}": make_card(merchant.customer, state="pending", is_default=False).public_id,
        "{cardless}": make_customer(merchant.account).public_id,
    }


@pytest.mark.parametrize(("path", "good", "rows"), TABLE, ids=[path for path, _, _ in TABLE])
def test_invalid_body_names_the_rule_and_writes_nothing(
    path: str,
    good: dict[str, Any],
    rows: list[tuple[dict[str, Any], str, str]],
    merchant: Merchant,
    names: dict[str, str],
) -> None:
    before = snapshot()
    for change, field, rule in rows:
        body = {name: value for name, value in (good | change).items() if value is not ABSENT}
        body = {name: names.get(value, value) if isinstance(value, str) else value for name, value in body.items()}
        answer = merchant.api.post(path, body, Idempotency_Key="one")
        assert problem(answer) == (*INVALID, [(field, rule)]), change
        assert snapshot() == before, change


@pytest.mark.parametrize(
    ("body", "status", "code", "errors"),
    [
        (b"{", 400, "malformed_json", []),
        (b"\xff\xfe", 400, "malformed_json", []),
        (b'{"reference": NaN}', 400, "malformed_json", []),
        (b'{"metadata": {"a": 1e999}}', 400, "malformed_json", []),
        (b'{"name": "a", "name": "b"}', 400, "malformed_json", []),
        (b"[" * 60_000, 400, "malformed_json", []),
        (b'{"metadata": ' + b'{"a": ' * 25 + b"1" + b"}" * 26, 400, "invalid_request", [("metadata", "too_deep")]),
        (b"[]", 400, "invalid_request", [("", "invalid")]),
        (b'"text"', 400, "invalid_request", [("", "invalid")]),
        (b"null", 400, "invalid_request", [("", "null")]),
        (b" " * 65_537, 413, "body_too_large", []),
        (json.dumps(CUSTOMER | {"name": "x" * 70_000}).encode(), 413, "body_too_large", []),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_body_that_is_no_body(
    body: bytes, status: int, code: str, errors: list[tuple[str, str]], merchant: Merchant
) -> None:
    before = snapshot()
    assert problem(merchant.api.post("/customers/", body)) == (status, code, errors)
    assert snapshot() == before


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml"]
)
def test_another_media_type_is_refused(kind: str, merchant: Merchant) -> None:
    answer = merchant.api.post("/customers/", b"reference=c", Content_Type=kind)
    assert problem(answer) == (415, "unsupported_media_type", [])


def test_json_is_json_whatever_charset_its_type_names(merchant: Merchant) -> None:
    answer = merchant.api.post("/customers/", CUSTOMER, Content_Type="application/json; charset=utf-99")
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("query", "code", "errors"),
    [
        ("/customers/?limit=0", "invalid_request", [("limit", "out_of_range")]),
        ("/customers/?limit=101", "invalid_request", [("limit", "out_of_range")]),
        ("/customers/?limit=ten", "invalid_request", [("limit", "out_of_range")]),
        ("/customers/?limit=\u0661", "invalid_request", [("limit", "out_of_range")]),
        ("/customers/?cursor=nowhere", "invalid_request", [("cursor", "unknown_cursor")]),
        ("/customers/?cursor=%00", "invalid_request", [("cursor", "unknown_cursor")]),
        ("/customers/?page=2", "unknown_parameter", [("page", "unknown")]),
        ("/customers/?Reference=x", "unknown_parameter", [("Reference", "unknown")]),
        ("/customers/?limit=1&limit=2", "unknown_parameter", [("limit", "repeated")]),
        ("/customers/?reference=%00", "invalid_request", [("reference", "null_characters_not_allowed")]),
        ("/customers/?created_from=yesterday", "invalid_request", [("created_from", "instant")]),
        ("/customers/?created_from=2026-01-31", "invalid_request", [("created_from", "instant")]),
        ("/customers/?created_from=2026-01-31T00:00:00", "invalid_request", [("created_from", "instant")]),
        ("/customers/?created_from=0001-01-01T00:00:00%2B14:00", "invalid_request", [("created_from", "instant")]),
        ("/customers/?created_from=2026-13-31T00:00:00Z", "invalid_request", [("created_from", "instant")]),
        ("/subscriptions/?state=asleep", "invalid_request", [("state", "invalid_choice")]),
        ("/invoices/?due_before=never", "invalid_request", [("due_before", "instant")]),
        ("/account/?verbose=1", "unknown_parameter", [("verbose", "unknown")]),
        ("/customers/{customer}/?format=html", "unknown_parameter", [("format", "unknown")]),
        ("/subscriptions/{subscription}/next-dates/?count=0", "invalid_request", [("count", "out_of_range")]),
        ("/subscriptions/{subscription}/next-dates/?count=51", "invalid_request", [("count", "out_of_range")]),
    ],
)
def test_a_query_that_breaks_a_rule(query: str, code: str, errors: list[tuple[str, str]], merchant: Merchant) -> None:
    path = query.format(customer=merchant.customer.public_id, subscription=merchant.subscription.public_id)
    assert problem(merchant.api.get(path)) == (400, code, errors)


def test_a_post_takes_no_query(merchant: Merchant) -> None:
    answer = merchant.api.post("/customers/?limit=1", CUSTOMER)
    assert problem(answer) == (400, "unknown_parameter", [("limit", "unknown")])


@pytest.mark.parametrize(
    ("change", "status", "code", "errors"),
    [
        ({"payment_method": "{unbound_card}"}, 400, "invalid_request", [("payment_method", "not_usable")]),
        ({"payment_method": "{card_of_another}"}, 400, "invalid_request", [("payment_method", "not_usable")]),
        ({"payment_method": "{foreign_card}"}, 400, "invalid_request", [("payment_method", "not_found")]),
        ({"catch_up": None}, 400, "invalid_request", [("catch_up", "null")]),
        ({"plan": "{plan}"}, 400, "invalid_request", [("plan", "unknown")]),
        ({"state": "active"}, 400, "invalid_request", [("state", "unknown")]),
    ],
)
def test_what_cannot_be_changed_of_a_subscription(
    change: dict[str, Any], status: int, code: str, errors: list[Any], merchant: Merchant, names: dict[str, str]
) -> None:
    before = snapshot()
    body = {name: names.get(value, value) if value else value for name, value in change.items()}
    answer = merchant.api.patch(f"/subscriptions/{merchant.subscription.public_id}/", body)
    assert problem(answer) == (status, code, errors)
    assert snapshot() == before


def test_actions_that_the_state_does_not_permit(merchant: Merchant) -> None:
    subscription = f"/subscriptions/{merchant.subscription.public_id}"
    assert problem(merchant.api.post(f"{subscription}/resume/")) == (409, "state_conflict", [])
    assert merchant.api.post(f"{subscription}/cancel/").status_code == 200
    before = snapshot()
    for path, body in (
        (f"{subscription}/cancel/", None),
        (f"{subscription}/pause/", None),
        (f"{subscription}/resume/", {"reason": "again"}),
    ):
        assert problem(merchant.api.post(path, body)) == (409, "state_conflict", [])
    assert problem(merchant.api.patch(f"{subscription}/", {"catch_up": "ask"})) == (409, "state_conflict", [])
    unbound = make_card(merchant.customer, state="pending", is_default=False)
    before = snapshot()
    assert problem(merchant.api.post(f"/payment-methods/{unbound.public_id}/make-default/"))[:2] == (
        409,
        "state_conflict",
    )
    assert snapshot() == before


def test_a_reference_in_use_names_its_object(merchant: Merchant) -> None:
    before = snapshot()
    again = merchant.api.post("/customers/", CUSTOMER | {"reference": merchant.customer.reference})
    assert problem(again) == (409, "reference_taken", [("reference", "unique")])
    assert again.json()["existing"] == merchant.customer.public_id
    body = {
        "reference": merchant.subscription.reference,
        "customer": merchant.customer.public_id,
        "plan": merchant.plan.public_id,
    }
    again = merchant.api.post("/subscriptions/", body)
    assert problem(again) == (409, "reference_taken", [("reference", "unique")])
    assert again.json()["existing"] == merchant.subscription.public_id
    assert snapshot() == before


class TestTheGateway:
    def test_one_that_is_away_is_a_502_and_nothing_is_kept(self, merchant: Merchant) -> None:
        before = snapshot()
        body = {"customer": merchant.customer.public_id}
        answer = merchant.api.post("/payment-methods/", body, Idempotency_Key="k")
        assert problem(answer) == (502, "gateway_unavailable", [])
        refresh = merchant.api.post(f"/payment-methods/{merchant.card.public_id}/refresh/")
        assert problem(refresh) == (502, "gateway_unavailable", [])
        assert snapshot() == before

    @pytest.mark.parametrize("wrong", ["private_key_encrypted", "client_secret_encrypted"])
    def test_wrong_key_or_secret_is_a_502_that_reveals_nothing(self, wrong: str, shop: Shop) -> None:
        secret = private_key_pem() if wrong == "private_key_encrypted" else "guess"
        GatewayAccount.objects.filter(pk=shop.account.pk).update(**{wrong: encrypt(secret)})
        customer = shop.customer()
        api = api_for(shop.account)
        before = snapshot()
        answer = api.post("/payment-methods/", {"customer": customer.public_id})
        assert problem(answer) == (502, "gateway_unavailable", [])
        assert "ignature" not in answer.content.decode()
        assert snapshot() == before

    def test_asking_about_a_card_that_is_not_bound_yet_is_no_error(self, shop: Shop) -> None:
        api = api_for(shop.account)
        card = api.post("/payment-methods/", {"customer": shop.customer().public_id}).json()
        again = api.post(f"/payment-methods/{card['id']}/refresh/")
        assert (again.status_code, again.json()["state"]) == (200, "pending")
