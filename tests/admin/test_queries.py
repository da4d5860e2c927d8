"""Lists and pages ask the database as often for many rows as for one, and never count a table."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing.models import (
    Customer,
    GatewayAccount,
    Invoice,
    PaymentAttempt,
    PaymentMethod,
    Plan,
    Subscription,
)
from tests.admin.conftest import World, make_world
from tests.admin.test_pages import NOUNS, url
from tests.factories import (
    make_attempt,
    make_card,
    make_evidence,
    make_invoice,
    make_subscription,
    make_unpaid,
    move_attempt,
)

pytestmark = pytest.mark.django_db

LOGIN = 2  # session and user
# Beside those two. Lists ask for their rows, and for accounts where there is a filter of accounts.
OF_A_LIST = {
    "ApiKey": 2,
    "Checkout": 2,
    "Customer": 2,
    "DeclineRuling": 2,
    "FoundPayment": 2,
    "GatewayOrder": 2,
    "GatewayTransaction": 2,
    "IdempotencyRecord": 2,
    "DunningPolicy": 4,  # and what each is used for
    "FailedPayment": 2,
    "Invoice": 2,
    "PaymentAttempt": 2,
    "PaymentMethod": 2,
    "Message": 2,
    "Plan": 2,
    "Refund": 2,
    "OrphanAnswer": 1,
    "Proposal": 2,
    "ReportDay": 2,
    "Subscription": 2,
    "WebhookDelivery": 3,  # and the endpoints of its filter
    "WebhookEndpoint": 2,
    # Lists without accounts.
    "ChargeRun": 1,
    "Event": 2,  # the accounts of its filter
    "Evidence": 1,
    "GatewayAccount": 1,
    "Heartbeat": 1,
    "RefundEvidence": 1,
    "Transition": 1,
}
OF_A_PAGE = {
    "OrphanAnswer": 1,
    "ApiKey": 2,  # the key, timeline
    "ChargeRun": 1,
    "Checkout": 3,  # the page, its payments, timeline
    "Customer": 7,  # the customer, cards, subscriptions, invoices, their attempts, messages, timeline
    # the policy, what it is used for as the first and as the second, clock, timeline
    "DunningPolicy": 5,
    "Event": 1,
    "Evidence": 1,
    "FailedPayment": 19,  # as an invoice; and its policy
    "FoundPayment": 1,
    # the account, troubles, pace (asked for three times while there is none), runs, mail, clock, keys, timeline,
    # declines (two), dunning policies
    "GatewayAccount": 11,
    "DeclineRuling": 4,  # the code, clock, declines (two)
    "GatewayOrder": 1,
    "GatewayTransaction": 1,
    "Heartbeat": 1,
    "IdempotencyRecord": 1,
    "Installation": 3,  # the switch, accounts, timeline
    # the invoice, attempts, proposal, timeline; clock, attempts, changes, evidence, refunds, payments from elsewhere,
    # switches and payment pages of its explanation, payment pages, and what can be done, by page too
    "Invoice": 16,
    "Message": 1,
    "PaymentAttempt": 4,  # the attempt, evidence, orders, timeline
    "PaymentMethod": 3,  # the card, attempts, timeline
    "Plan": 3,  # the plan, subscriptions, timeline
    "Refund": 3,  # the refund, evidence, timeline
    "RefundEvidence": 1,
    "ReportDay": 1,
    "Proposal": 1,
    "Subscription": 5,  # the subscription, invoices, their attempts, default card, timeline
    "Transition": 1,
    "WebhookDelivery": 4,  # the delivery, its event, what it waits for, tries
    "WebhookEndpoint": 3,  # the endpoint, deliveries, timeline
}
LISTED = [model for model in NOUNS if model.__name__ != "Installation"]


def asked(client: Client, address: str) -> list[str]:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert client.get(address).status_code == 200
    return [query["sql"] for query in queries]


def test_a_list_asks_the_same_whatever_it_shows(boss: Client) -> None:
    account = make_world().account
    for _ in range(4):
        make_world(account)
    for model in LISTED:
        queries = asked(boss, url(model, "changelist"))
        assert len(queries) == LOGIN + OF_A_LIST[model.__name__], "\n".join(queries)


def test_no_list_counts_its_table(boss: Client, world: World) -> None:
    for model in LISTED:
        for address in (url(model, "changelist"), url(model, "changelist") + "?p=2"):
            assert [sql for sql in asked(boss, address) if "COUNT(" in sql] == []


def test_a_page_asks_the_same_however_long_its_story(boss: Client, world: World) -> None:
    lengthen(world)
    for model in NOUNS:
        queries = asked(boss, url(model, "change", world.rows[model].pk))
        assert len(queries) == LOGIN + OF_A_PAGE[model.__name__], "\n".join(queries)


def lengthen(world: World) -> None:
    """More of everything around the rows of the world."""
    customer, subscription = world.rows[Customer], world.rows[Subscription]
    for index in range(1, 5):
        card = make_card(customer, is_default=False, activated_at=customer.created_at)
        make_subscription(card, world.rows[Plan])
        invoice = make_invoice(card, subscription, period_index=index)
        for _ in range(2):
            move_attempt(make_attempt(invoice, card), "declined")
    make_evidence(world.rows[PaymentAttempt])


def test_list_page_shows_its_rows_and_whether_there_are_more(boss: Client, world: World) -> None:
    for _ in range(60):
        make_invoice(world.rows[PaymentMethod])
    total = Invoice.objects.count()
    first = boss.get(url(Invoice, "changelist")).content.decode()
    second = boss.get(url(Invoice, "changelist") + "?p=2").content.decode()
    assert first.count('class="data-row') == 50
    assert second.count('class="data-row') == total - 50
    assert ">Older<" in first
    assert ">Newer<" not in first
    assert ">Older<" not in second
    assert ">Newer<" in second


def test_the_start_page_asks_the_same_however_much_there_is(boss: Client, world: World) -> None:
    for _ in range(3):
        other = make_world()  # accounts of their own
        move_attempt(other.rows[PaymentAttempt], "needs_review")
        make_unpaid()
    queries = asked(boss, reverse("admin:index"))
    assert len(queries) == LOGIN + START_PAGE, "\n".join(queries)


# clock, accounts, installation, 18 of health, webhook endpoints, unresolved, due subscriptions, due invoices, settled
# today, unresolved rows, money to give back, proposals, refunds with a person, found payments, held invoices, held
# cards, unreadable cards, first payments, next due, pulses
START_PAGE = 36


def planned(address: Callable[[], None]) -> list[str]:
    """The plans of what is asked, when whole tables are not to be read if there is another way."""
    with CaptureQueriesContext(connection) as queries:
        address()
    plans = []
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for query in queries:
            if query["sql"].startswith("SELECT") and "billing_" in query["sql"]:
                cursor.execute(f"EXPLAIN {query['sql']}")
                plans.append(query["sql"] + "\n" + "\n".join(row[0] for row in cursor.fetchall()))
    return plans


BIG = (
    "paymentattempt",
    "invoice",
    "subscription",
    "transition",
    "evidence",
    "event",
    "gatewayorder",
    "paymentmethod",
    "refund",
)


def read_whole(plans: list[str]) -> list[str]:
    return [plan for plan in plans if any(f"Seq Scan on billing_{table} " in plan for table in BIG)]


def test_the_start_page_reads_no_big_table_whole(boss: Client, world: World) -> None:
    assert read_whole(planned(lambda: boss.get(reverse("admin:index")))) == []


@pytest.mark.parametrize(
    ("model", "term"),
    [
        (Invoice, "inv_01k9zzzzzzzzzzzzzzzzzzzzzz"),
        (Invoice, "customer-1"),
        (PaymentAttempt, "ABCDEFGHIJKL"),
        (PaymentAttempt, "180701025439234567"),
        (Subscription, "subscription-1"),
        (Subscription, "179522484470200001"),
    ],
)
def test_a_search_reads_no_big_table_whole(model: type[Model], term: str, boss: Client, world: World) -> None:
    plans = planned(lambda: boss.get(url(model, "changelist"), {"q": term}))
    assert read_whole(plans) == []


def test_accounts_are_not_asked_for_once_a_row(boss: Client, world: World) -> None:
    make_world()
    assert GatewayAccount.objects.count() == 2
    assert len(asked(boss, url(Invoice, "changelist"))) == LOGIN + OF_A_LIST["Invoice"]
