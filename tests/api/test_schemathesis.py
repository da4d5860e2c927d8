"""schemathesis over the whole schema: bodies and parameters that fit it and that do not, with a key and without."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from billing.charging.attempts.charge_now import charge_now
from billing.charging.refunds.ask import request_refund
from billing.domain.decisions import Decision
from billing.models import Event, PaymentAttempt, PaymentMethod
from billing.models.clock import database_now
from billing.notifying.publish import publish
from config.wsgi import application
from tests.api.calls import api_for, snapshot
from tests.conftest import Shop
from tests.factories import make_checkout, make_message, make_plan, make_subscription, move_checkout
from tests.house.source import ROOT
from tests.notifying.rows import make_delivery, make_endpoint


def labels() -> list[str]:
    """`GET /api/v1/account/` and so on, from the document: every run would pay the second that the schema takes."""
    found, path = [], ""
    for line in (ROOT / "docs/openapi.yaml").read_text().splitlines():
        match re.fullmatch(r"  (/\S+):|    (get|post|put|patch|delete):", line):
            case None:
                pass
            case matched if matched[1]:
                path = matched[1]
            case matched:
                found.append(f"{matched[2].upper()} {path}")
    return found


@cache
def operations() -> dict[str, Any]:
    schema = schemathesis.openapi.from_wsgi("/api/schema/", application)
    return {operation.ok().label: operation.ok() for operation in schema.get_all_operations()}


LABELS = labels()
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
DOCUMENTED = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
PREFIXES = {
    "customers": "cus",
    "payment-methods": "pm",
    "plans": "plan",
    "dunning-policies": "dpol",
    "subscriptions": "sub",
    "invoices": "inv",
    "attempts": "att",
    "refunds": "ref",
    "webhook-endpoints": "whe",
    "webhook-deliveries": "whd",
    "events": "evt",
    "messages": "msg",
    "checkouts": "chk",
}
pytestmark = pytest.mark.slow
BOUNDED = settings(
    max_examples=20,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True)
def _connection_stays() -> Iterator[None]:
    """As Django's own test client does: a request leaves the test's connection, and its transaction, alone."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def known(shop: Shop) -> dict[str, str]:
    """Ids of objects that exist, by prefix, with an attempt that was made and a part of it asked back."""
    card: PaymentMethod = shop.card()
    subscription = make_subscription(card, make_plan(shop.account))
    invoice = charge_now(
        customer=card.customer, amount_minor=1990, currency="MYR", description="x", actor="test", now=database_now()
    )
    page = move_checkout(make_checkout(invoice), "closed")
    shop.collect()
    attempt = PaymentAttempt.objects.get(invoice=invoice)
    refund = request_refund(attempt=attempt, amount_minor=500, decision=Decision("test", "x"), now=database_now())
    publish(now=database_now())
    event = Event.objects.earliest("sequence")
    delivery = make_delivery(make_endpoint(shop.account), event)
    rows = (
        *(card, card.customer, subscription, subscription.plan, invoice, attempt, refund, event),
        *(delivery, delivery.endpoint, make_message(invoice), page),
        shop.account.dunning_policies.get(code="default"),
    )
    return {row.public_id.partition("_")[0]: row.public_id for row in rows}


def with_known_ids(case: Any, known: dict[str, str]) -> None:
    """Has the case speak of objects that exist, so that more than refusals is tried."""
    if "id" in (case.path_parameters or {}):
        case.path_parameters["id"] = known[PREFIXES[case.path.split("/")[3]]]
    if isinstance(case.body, dict):
        for member, prefix in (("customer", "cus"), ("plan", "plan"), ("payment_method", "pm"), ("attempt", "att")):
            if case.body.get(member):
                case.body[member] = known[prefix]


def test_every_operation_is_tried() -> None:
    assert list(operations()) == LABELS


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.django_db
def test_with_a_key_nothing_breaks_and_nothing_is_undocumented(label: str, shop: Shop, known: dict[str, str]) -> None:
    key = api_for(shop.account).key
    strategies = {mode: operations()[label].as_strategy(generation_mode=mode) for mode in MODES}

    @given(data=st.data(), mode=st.sampled_from(MODES), real=st.booleans())
    @BOUNDED
    def attack(data: st.DataObject, mode: Any, real: bool) -> None:
        case = data.draw(strategies[mode])
        for name in [one for one in case.headers or {} if one.lower() == "host"]:
            del case.headers[name]  # a host that is not ours never reaches the API
        if real:
            with_known_ids(case, known)
        case.call_and_validate(headers={"Authorization": f"Bearer {key}"}, checks=DOCUMENTED)

    attack()


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.django_db
def test_without_a_key_nothing_succeeds_and_nothing_changes(label: str, shop: Shop, known: dict[str, str]) -> None:
    before = snapshot()
    addressed = operations()[label].as_strategy()

    @given(data=st.data(), header=st.sampled_from(["", "Bearer kit_00000000_x", "Basic eDp5"]))
    @settings(BOUNDED, max_examples=5)
    def attack(data: st.DataObject, header: str) -> None:
        case = data.draw(addressed)
        with_known_ids(case, known)
        headers = {"Authorization": header} if header else {}
        answer = case.call_and_validate(headers=headers, checks=DOCUMENTED)
        assert answer.status_code == 401

    attack()
    assert snapshot() == before
