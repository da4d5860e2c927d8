"""Every address, walked with the keys of two accounts, with no key, and with too small a key."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import transaction

from billing.accounts.api_keys import revoke_api_key
from billing.api import urls
from billing.models import ApiKey
from tests.api.calls import Api, api_for, problem, snapshot
from tests.api.conftest import Merchant
from tests.factories import NOW

pytestmark = pytest.mark.django_db

# (method, address, scope). `{…}` is the id of an object of that kind.
ROUTES = [
    ("GET", "/customers/", "read"),
    ("POST", "/customers/", "write"),
    ("GET", "/customers/{customer}/", "read"),
    ("PATCH", "/customers/{customer}/", "write"),
    ("POST", "/customers/{customer}/payment-link/", "write"),
    ("POST", "/customers/{customer}/payment-link/end/", "write"),
    ("GET", "/payment-methods/", "read"),
    ("POST", "/payment-methods/", "write"),
    ("GET", "/payment-methods/{card}/", "read"),
    ("POST", "/payment-methods/{card}/make-default/", "write"),
    ("POST", "/payment-methods/{card}/revoke/", "write"),
    ("POST", "/payment-methods/{card}/refresh/", "write"),
    ("GET", "/payment-methods/{card}/hold/", "read"),
    ("POST", "/payment-methods/{card}/clear-hold/", "charge"),
    ("GET", "/plans/", "read"),
    ("POST", "/plans/", "write"),
    ("GET", "/plans/{plan}/", "read"),
    ("GET", "/dunning-policies/", "read"),
    ("POST", "/dunning-policies/", "write"),
    ("GET", "/dunning-policies/{policy}/", "read"),
    ("PATCH", "/dunning-policies/{policy}/", "write"),
    ("GET", "/dunning-policies/{policy}/preview/", "read"),
    ("POST", "/dunning-policies/{policy}/assign/", "write"),
    ("POST", "/dunning-policies/{policy}/unassign/", "write"),
    ("GET", "/subscriptions/", "read"),
    ("POST", "/subscriptions/", "write"),
    ("GET", "/subscriptions/{subscription}/", "read"),
    ("PATCH", "/subscriptions/{subscription}/", "write"),
    ("POST", "/subscriptions/{subscription}/pause/", "write"),
    ("POST", "/subscriptions/{subscription}/resume/", "write"),
    ("POST", "/subscriptions/{subscription}/cancel/", "write"),
    ("GET", "/subscriptions/{subscription}/next-dates/", "read"),
    ("GET", "/invoices/", "read"),
    ("POST", "/invoices/", "charge"),
    ("GET", "/invoices/{invoice}/", "read"),
    ("GET", "/invoices/{invoice}/explanation/", "read"),
    ("POST", "/invoices/{invoice}/refresh/", "write"),
    ("POST", "/invoices/{invoice}/paid-elsewhere/", "charge"),
    ("POST", "/invoices/{invoice}/found-payment/", "charge"),
    ("POST", "/invoices/{invoice}/void/", "charge"),
    ("POST", "/invoices/{invoice}/write-off/", "charge"),
    ("POST", "/invoices/{invoice}/collect/", "charge"),
    ("POST", "/invoices/{invoice}/checkout/", "write"),
    ("GET", "/checkouts/{checkout}/", "read"),
    ("GET", "/attempts/", "read"),
    ("GET", "/attempts/{attempt}/", "read"),
    ("GET", "/events/", "read"),
    ("GET", "/events/{event}/", "read"),
    ("GET", "/messages/", "read"),
    ("GET", "/messages/{message}/", "read"),
    ("GET", "/refunds/", "read"),
    ("POST", "/refunds/", "charge"),
    ("GET", "/refunds/{refund}/", "read"),
    ("POST", "/refunds/{refund}/withdraw/", "charge"),
    ("POST", "/refunds/{refund}/resolve/", "charge"),
    ("GET", "/attempts/{attempt}/case/", "read"),
    ("POST", "/attempts/{attempt}/resolve/", "charge"),
    ("POST", "/attempts/{attempt}/release/", "charge"),
    ("POST", "/attempts/resolve/", "charge"),
    ("POST", "/attempts/release/", "charge"),
    ("GET", "/webhook-endpoints/", "read"),
    ("POST", "/webhook-endpoints/", "write"),
    ("GET", "/webhook-endpoints/{endpoint}/", "read"),
    ("PATCH", "/webhook-endpoints/{endpoint}/", "write"),
    ("POST", "/webhook-endpoints/{endpoint}/pause/", "write"),
    ("POST", "/webhook-endpoints/{endpoint}/resume/", "write"),
    ("POST", "/webhook-endpoints/{endpoint}/delete/", "write"),
    ("POST", "/webhook-endpoints/{endpoint}/rotate-secret/", "write"),
    ("POST", "/webhook-endpoints/{endpoint}/end-old-secret/", "write"),
    ("POST", "/webhook-endpoints/{endpoint}/test/", "write"),
    ("POST", "/webhook-endpoints/{endpoint}/resend/", "write"),
    ("GET", "/webhook-deliveries/", "read"),
    ("GET", "/webhook-deliveries/{delivery}/", "read"),
    ("POST", "/webhook-deliveries/{delivery}/resend/", "write"),
    ("GET", "/account/", "read"),
    ("GET", "/account/recovery/", "read"),
    ("POST", "/account/stop/", "write"),
    ("POST", "/account/start/", "charge"),
]
LISTS = [path for method, path, _ in ROUTES if method == "GET" and path.count("/") == 2 and path != "/account/"]
BODIES = {"/refunds/{refund}/resolve/": {"resolution": "refunded", "reason": "looked at the portal"}}
WITH_ID = [(method, path) for method, path, _ in ROUTES if "{" in path]


def views() -> Iterator[tuple[str, type]]:
    for pattern in urls.urlpatterns:
        route = str(pattern.pattern)
        if route.startswith("v1/"):
            yield route.removeprefix("v1"), pattern.callback.view_class


def named(path: str, merchant: Merchant) -> str:
    return path.format(
        customer=merchant.customer.public_id,
        card=merchant.card.public_id,
        plan=merchant.plan.public_id,
        policy=merchant.policy.public_id,
        subscription=merchant.subscription.public_id,
        invoice=merchant.invoice.public_id,
        attempt=merchant.attempt.public_id,
        refund=merchant.refund.public_id,
        endpoint=merchant.endpoint.public_id,
        delivery=merchant.delivery.public_id,
        event=merchant.event.public_id,
        message=merchant.message.public_id,
        checkout=merchant.checkout.public_id,
    )


@contextmanager
def undone() -> Iterator[None]:
    """What is written within is rolled back afterwards, so that the next address finds everything as it was."""
    here = transaction.savepoint()
    yield
    transaction.savepoint_rollback(here)


def test_the_walk_below_visits_every_address_and_method() -> None:
    served = {
        (method.upper(), route)
        for route, view in views()
        for method in ("get", "post", "put", "patch", "delete")
        if hasattr(view, method)
    }
    walked = {(method, path.partition("{")[0] + "<str:id>" + path.partition("}")[2] if "{" in path else path)
              for method, path, _ in ROUTES}  # fmt: skip
    assert served == walked


def test_every_post_honours_the_idempotency_key() -> None:
    assert [
        route for route, view in views() if hasattr(view, "post") and not hasattr(view.post, "honours_idempotency_key")
    ] == []


def test_other_accounts_objects_are_not_found_and_not_changed(merchant: Merchant, stranger: Merchant) -> None:
    before = snapshot()
    for method, path in WITH_ID:
        foreign = merchant.api.call(method, named(path, stranger), {} if method != "GET" else None)
        assert problem(foreign) == (404, "not_found", []), (method, path)
        assert snapshot() == before, (method, path)
        body = BODIES.get(path, {})
        with undone():
            own = merchant.api.call(method, named(path, merchant), body if method != "GET" else None)
        # there, whatever came of it
        assert own.status_code in (200, 400, 409, 502), (method, path, own.content)


def test_a_list_shows_the_own_rows_only(merchant: Merchant, stranger: Merchant) -> None:
    for path in LISTS:
        told = merchant.api.get(path).json()["data"]
        assert len(told) == (2 if path == "/dunning-policies/" else 1), path
        assert stranger.api.get(path).json()["data"][0]["id"] != told[0]["id"], path


FILTERS = [
    ("/payment-methods/", "customer"),
    ("/subscriptions/", "customer"),
    ("/subscriptions/", "plan"),
    ("/invoices/", "customer"),
    ("/invoices/", "subscription"),
    ("/attempts/", "invoice"),
    ("/attempts/", "customer"),
    ("/events/?object", "invoice"),
    ("/events/?object", "account"),
    ("/refunds/", "attempt"),
    ("/refunds/", "invoice"),
    ("/refunds/", "customer"),
    ("/webhook-deliveries/", "endpoint"),
    ("/messages/", "customer"),
]


def test_filters_reach_no_other_account(merchant: Merchant, stranger: Merchant) -> None:
    for path, filter_by in FILTERS:
        foreign = getattr(stranger, filter_by).public_id
        address = f"{path}={foreign}" if "?" in path else f"{path}?{filter_by}={foreign}"
        assert merchant.api.get(address).json()["data"] == [], address


def test_a_cursor_of_another_account_is_refused(merchant: Merchant, stranger: Merchant) -> None:
    answer = merchant.api.get(f"/customers/?cursor={stranger.customer.public_id}")
    assert problem(answer) == (400, "invalid_request", [("cursor", "unknown_cursor")])


def test_each_address_asks_for_a_key_and_its_scope(merchant: Merchant) -> None:
    scopes = ("read", "write", "charge")
    enough = {scope: api_for(merchant.account, scope) for scope in scopes}
    small = {scope: api_for(merchant.account, *(other for other in scopes if other != scope)) for scope in scopes}
    before = snapshot()
    for method, path, scope in ROUTES:
        address = named(path, merchant)
        missing = Api(None).call(method, address, {})
        assert problem(missing) == (401, "key_missing", []), (method, path)
        assert missing["WWW-Authenticate"] == 'Bearer realm="kitaran"'
        wrong = Api("kit_00000000_wrong").call(method, address, {})
        assert problem(wrong) == (401, "key_invalid", []), (method, path)
        assert wrong["WWW-Authenticate"] == 'Bearer realm="kitaran"'
        refused = small[scope].call(method, address, {})
        assert problem(refused) == (403, "scope_missing", []), (method, path)
        assert refused.json()["scope"] == scope
        assert scope in refused.json()["detail"]
        assert snapshot() == before, (method, path)
        with undone():
            answer = enough[scope].call(method, address, {} if method != "GET" else None)
        assert answer.status_code not in (401, 403), (method, path)


@pytest.mark.parametrize(
    "header",
    ["Basic a2l0OmtpdA==", "Bearer", "Bearer a b", "kit_1", f"Bearer {'x' * 5000}", "Bearer \u00fc", "Bearer kit_\x7f"],
)
def test_an_authorization_header_that_is_none_is_refused(header: str, merchant: Merchant) -> None:
    assert problem(merchant.api.get("/account/", Authorization=header)) == (401, "key_invalid", [])


def test_a_revoked_key_opens_nothing(merchant: Merchant) -> None:
    assert merchant.api.get("/account/").status_code == 200
    key = ApiKey.objects.get(account=merchant.account)
    assert key.last_used_at is not None
    assert revoke_api_key(api_key=key, now=NOW)
    assert problem(merchant.api.get("/account/")) == (401, "key_invalid", [])


def test_methods_and_addresses_that_there_are_not(merchant: Merchant) -> None:
    refused = merchant.api.call("DELETE", f"/customers/{merchant.customer.public_id}/", None)
    assert problem(refused) == (405, "method_not_allowed", [])
    assert set(refused["Allow"].split(", ")) == {"GET", "PATCH", "HEAD"}
    assert problem(merchant.api.call("OPTIONS", "/customers/", None))[0] == 405
    for method in ("TRACE", "PUT", "PATCH"):
        for address in ("/customers/", "/customers/?a=1"):
            refused = merchant.api.call(method, address, None)
            assert problem(refused) == (405, "method_not_allowed", []), (method, address)
    assert merchant.api.call("HEAD", "/customers/", None).status_code == 200
    for path in ("/customers", "/nothing/", "/", f"/customers/{merchant.customer.pk}/", "/customers/a%00b/"):
        assert problem(merchant.api.get(path)) == (404, "not_found", []), path


def test_no_answer_shows_a_primary_key_a_token_or_a_secret(merchant: Merchant) -> None:
    for method, path, _ in ROUTES:
        if method == "GET":
            text = merchant.api.get(named(path, merchant)).content.decode()
            assert merchant.card.return_token not in text
            assert '"pk"' not in text
            assert '"account_id"' not in text
            assert "encrypted" not in text
            assert "client_id" not in text
