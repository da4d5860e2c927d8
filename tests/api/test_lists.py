"""Pages, filters, and how many queries they take."""

from datetime import timedelta
from urllib.parse import quote

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.api.calls import api_for
from tests.api.conftest import Merchant
from tests.factories import (
    NOW,
    make_account,
    make_attempt,
    make_card,
    make_customer,
    make_invoice,
    make_plan,
    make_subscription,
    move_attempt,
)

pytestmark = pytest.mark.django_db

# The key with its account, the clock, the rows; a page that goes on looks its cursor up.
QUERIES = 3
LISTS = ["/customers/", "/payment-methods/", "/plans/", "/subscriptions/", "/invoices/", "/attempts/"]


def iso(moment) -> str:  # type: ignore[no-untyped-def]
    return quote(moment.isoformat())


def test_pages_have_no_gaps_or_repeats_while_rows_are_added() -> None:
    account = make_account()
    api = api_for(account)
    expected = [make_customer(account).public_id for _ in range(7)][::-1]
    seen, cursor = [], ""
    for _ in range(4):
        page = api.get(f"/customers/?limit=2{cursor}").json()
        seen += [row["id"] for row in page["data"]]
        make_customer(account)  # newest first, so what comes later is before the first page
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == expected
    assert page["next_cursor"] is None


def test_a_page_that_is_just_full_has_no_next() -> None:
    account = make_account()
    for _ in range(2):
        make_customer(account)
    assert api_for(account).get("/customers/?limit=2").json()["next_cursor"] is None
    assert api_for(make_account()).get("/customers/").json() == {"data": [], "next_cursor": None}


def test_a_filtered_list_pages_within_its_filter(merchant: Merchant) -> None:
    for state in ("active", "revoked", "active", "revoked", "active"):
        make_card(make_customer(merchant.account), state=state, is_default=False)
    first = merchant.api.get("/payment-methods/?state=revoked&limit=1").json()
    second = merchant.api.get(f"/payment-methods/?state=revoked&limit=1&cursor={first['next_cursor']}").json()
    assert [row["state"] for page in (first, second) for row in page["data"]] == ["revoked", "revoked"]
    assert second["next_cursor"] is None


def test_filters_narrow_the_list(merchant: Merchant) -> None:
    api, account = merchant.api, merchant.account
    other = make_card(
        make_customer(account, reference="other", email="o@example.com", created_at=NOW + timedelta(days=2))
    )
    late = make_subscription(other, make_plan(account), next_due_at=NOW + timedelta(days=5), reference="late")
    due = make_invoice(other, due_at=NOW + timedelta(days=5), state="void", closed_at=NOW, next_attempt_at=None)
    for path, found in (
        ("/customers/?reference=other", other.customer),
        ("/customers/?email=o@example.com", other.customer),
        (f"/customers/?created_from={iso(NOW + timedelta(days=1))}", other.customer),
        (f"/customers/?created_before={iso(NOW + timedelta(days=1))}", merchant.customer),
        (f"/payment-methods/?customer={other.customer.public_id}", other),
        (f"/plans/?code={merchant.plan.code}", merchant.plan),
        ("/subscriptions/?reference=late", late),
        (f"/subscriptions/?plan={late.plan.public_id}", late),
        (f"/subscriptions/?next_due_from={iso(NOW + timedelta(days=1))}", late),
        (f"/subscriptions/?next_due_before={iso(NOW + timedelta(days=1))}", merchant.subscription),
        ("/invoices/?state=void", due),
        (f"/invoices/?due_from={iso(NOW + timedelta(days=1))}", due),
        (
            f"/invoices/?due_before={iso(NOW + timedelta(days=1))}&customer={merchant.customer.public_id}",
            merchant.invoice,
        ),
        (f"/attempts/?invoice={merchant.invoice.public_id}&state=succeeded", merchant.attempt),
    ):
        assert [row["id"] for row in api.get(path).json()["data"]] == [found.public_id], path


# More queries, each for all rows at once: open proposals; payments from elsewhere.
OF_ALL_ROWS = {"attempts": 1, "payment-methods": 1, "invoices": 2}


@pytest.mark.parametrize("path", LISTS)
def test_a_list_takes_the_same_few_queries_however_long_it_is(path: str, merchant: Merchant) -> None:
    merchant.api.get("/account/")  # notes that the key is used
    for _ in range(3):
        card = make_card(make_customer(merchant.account))
        subscription = make_subscription(card, make_plan(merchant.account), payment_method=card)
        invoice = make_invoice(card, subscription, payment_method=card)
        move_attempt(make_attempt(invoice, card), "unknown")
    with CaptureQueriesContext(
        connection,
    ) as queries:
        page = merchant.api.get(f"{path}?limit=2").json()
    assert len(page["data"]) == 2
    proposals = OF_ALL_ROWS.get(path.strip("/"), 0)
    assert len(queries) == QUERIES + proposals, [query["sql"] for query in queries]
    said = " ".join(query["sql"].upper() for query in queries)
    assert "COUNT(" not in said
    assert "OFFSET" not in said
    with CaptureQueriesContext(connection) as queries:
        merchant.api.get(f"{path}?limit=2&cursor={page['next_cursor']}")
    assert len(queries) == QUERIES + proposals + 1


@pytest.mark.parametrize(
    "noun", ["customers/{customer}", "payment-methods/{card}", "subscriptions/{subscription}", "invoices/{invoice}"]
)
def test_one_object_takes_one_query_more_than_the_key(noun: str, merchant: Merchant) -> None:
    merchant.api.get("/account/")
    path = noun.format(
        customer=merchant.customer.public_id,
        card=merchant.card.public_id,
        subscription=merchant.subscription.public_id,
        invoice=merchant.invoice.public_id,
    )
    with CaptureQueriesContext(connection) as queries:
        assert merchant.api.get(f"/{path}/").status_code == 200
    assert len(queries) == QUERIES + OF_ALL_ROWS.get(noun.split("/")[0], 0)


def test_filter_by_a_state_of_before_names_those_there_are(merchant: Merchant) -> None:
    (error,) = merchant.api.get("/attempts/?state=needs_human").json()["errors"]
    assert error["message"].startswith("must be one of sending, succeeded, declined,")
    assert error["message"].endswith("; got needs_human")
    assert "needs_review" in error["message"]
