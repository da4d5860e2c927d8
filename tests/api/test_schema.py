"""The OpenAPI document: complete, committed, and served without outside requests."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.test import Client
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator

from billing.api import examples
from billing.api.problems import CODES
from billing.api.serializers.account import AccountSerializer
from billing.api.serializers.cases import CaseSerializer, OutcomeSerializer, OutcomesSerializer
from billing.api.serializers.customers import CustomerSerializer
from billing.api.serializers.invoices import (
    AttemptSerializer,
    ExplanationSerializer,
    InvoiceSerializer,
    ProposalSerializer,
)
from billing.api.serializers.payment_methods import PaymentMethodSerializer
from billing.api.serializers.plans import PlanSerializer
from billing.api.serializers.refunds import RefundSerializer
from billing.api.serializers.subscriptions import SubscriptionSerializer
from billing.api.urls import urlpatterns
from billing.api.views.base import ListView

ROOT = Path(__file__).resolve().parents[2]
METHODS = {"get", "post", "patch"}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call, no-any-return]


def test_committed_schema_matches_the_generated_one(tmp_path: Path) -> None:
    fresh = tmp_path / "openapi.yaml"
    GENERATOR_STATS.reset()
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(fresh))
    committed = (ROOT / "docs/openapi.yaml").read_text(encoding="utf-8")
    assert committed == fresh.read_text(encoding="utf-8"), (
        "run `manage.py spectacular --file docs/openapi.yaml` and look at the difference"
    )


def test_operations_are_described_and_bodies_have_examples(schema: dict[str, Any]) -> None:
    ids = []
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            assert method in METHODS
            ids.append(operation["operationId"])
            assert operation["summary"], path
            assert operation["description"], path
            assert operation["security"] == [{"apiKey": []}]
            for parameter in operation.get("parameters", []):
                assert parameter["description"], (path, parameter["name"])
            for body in operation.get("requestBody", {}).get("content", {}).values():
                name = body["schema"]["$ref"].rpartition("/")[2]
                required = schema["components"]["schemas"][name].get("required")
                assert "examples" in body or not required, f"{path}: no example of its body"
    assert len(ids) == len(set(ids)) > 25


def test_every_parameter_that_a_view_reads_is_in_the_document(schema: dict[str, Any]) -> None:
    read = {
        "/api/" + str(one.pattern).replace("<str:id>", "{id}"): _parameters(one.callback.view_class)
        for one in urlpatterns
        if str(one.pattern).startswith("v1/")
    }
    told = {
        path: {one["name"] for one in operations["get"].get("parameters", []) if one["in"] == "query"}
        for path, operations in schema["paths"].items()
        if "get" in operations
    }
    assert told == {path: read[path] for path in told}
    assert told["/api/v1/customers/"] >= {"limit", "cursor", "reference"}


def _parameters(view: Any) -> set[str]:
    if not issubclass(view, ListView):
        return set(view.parameters)
    return {*view.filterset_class.base_filters, *view.pagination_class.parameters, *view.parameters}


def test_every_member_of_every_object_is_described(schema: dict[str, Any]) -> None:
    silent = [
        f"{name}.{member}"
        for name, component in schema["components"]["schemas"].items()
        for member, content in component.get("properties", {}).items()
        if not content.get("description")
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("serializer", "example"),
    [
        (CustomerSerializer, examples.A_CUSTOMER),
        (PaymentMethodSerializer, examples.A_CARD),
        (PlanSerializer, examples.A_PLAN),
        (SubscriptionSerializer, examples.A_SUBSCRIPTION),
        (InvoiceSerializer, examples.AN_INVOICE),
        (AttemptSerializer, examples.AN_ATTEMPT),
        (ExplanationSerializer, examples.AN_EXPLANATION),
        (RefundSerializer, examples.A_REFUND),
        (AccountSerializer, examples.AN_ACCOUNT),
        (ProposalSerializer, examples.A_PROPOSAL),
        (CaseSerializer, examples.A_CASE),
        (OutcomesSerializer, examples.OUTCOMES),
        (OutcomeSerializer, examples.OUTCOMES["results"][0]),
    ],
)
def test_the_example_of_an_object_has_its_members(serializer: Any, example: dict[str, Any]) -> None:
    assert set(example) == set(serializer().fields)


def test_every_answer_has_an_example(schema: dict[str, Any]) -> None:
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            (answer,) = [body for status, body in operation["responses"].items() if status in ("200", "201")]
            assert answer["content"]["application/json"]["examples"], path


def test_bodies_are_closed(schema: dict[str, Any]) -> None:
    bodies = {name: c for name, c in schema["components"]["schemas"].items() if name.endswith("Request")}
    assert bodies
    assert all(component["additionalProperties"] is False for component in bodies.values())


def test_every_code_of_a_problem_is_documented(schema: dict[str, Any]) -> None:
    words = " ".join(response["description"] for response in schema["components"]["responses"].values())
    assert {code for code in CODES if f"`{code}`" not in words} == {"method_not_allowed"}


@pytest.mark.django_db
def test_the_pages_of_the_documentation_ask_nobody_outside() -> None:
    client = Client()
    page = client.get("/api/docs/")
    assert page.status_code == 200
    assert "script-src" not in page["Content-Security-Policy"], "default-src 'self' is enough"
    html = page.content.decode()
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)""", html)
    assert addresses
    assert all(address.startswith("/") for address in addresses), addresses
    assert not re.search(r"<script>[^<]", html), "an inline script would be stopped by the policy"
    for address in addresses:
        asset = client.get(address.replace("&amp;", "&"))
        assert asset.status_code == 200, address
        asset.close()


@pytest.mark.django_db
def test_the_document_is_served() -> None:
    served = Client().get("/api/schema/")
    assert served.status_code == 200
    assert yaml.safe_load(served.content)["info"]["title"] == "Kitaran API"
