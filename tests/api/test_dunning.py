"""Dunning policies by the API: made, changed, assigned, and previewed."""

from datetime import UTC, datetime
from typing import Any

import pytest

from billing.domain.dunning import preview
from billing.models import DunningAssignment, DunningPolicy, Invoice
from billing.models.bulk.dunning import policy_value
from tests.api.calls import problem
from tests.api.conftest import Merchant
from tests.factories import NOW

pytestmark = pytest.mark.django_db
PATH = "/dunning-policies/"
POLICY: dict[str, Any] = {
    "code": "pay-days",
    "name": "Around pay days",
    "retry_days": [3, 10, 20],
    "retry_hour": 9,
    "prefer_days": [25, 1],
    "grace_days": 5,
    "final_action": "pause",
}


def made(merchant: Merchant, **changes: Any) -> dict[str, Any]:
    answer = merchant.api.post(PATH, POLICY | changes)
    assert answer.status_code == 201, answer.content
    body: dict[str, Any] = answer.json()
    return body


def test_a_policy_is_created_read_and_changed(merchant: Merchant) -> None:
    policy = made(merchant)
    assert policy["id"].startswith("dpol_")
    assert (policy["retry_days"], policy["prefer_days"], policy["used_for"]) == ([3, 10, 20], [1, 25], [])
    path = f"{PATH}{policy['id']}/"
    assert merchant.api.get(path).json() == policy
    changed = merchant.api.patch(path, {"grace_days": 0, "retry_hour": None}).json()
    assert changed == policy | {"grace_days": 0, "retry_hour": None}
    listed = merchant.api.get(f"{PATH}?code=pay-days").json()["data"]
    assert [one["id"] for one in listed] == [policy["id"]]


def test_left_out_members_have_defaults(merchant: Merchant) -> None:
    policy = merchant.api.post(PATH, {"code": "plain", "name": "Plain"}).json()
    assert (policy["retry_days"], policy["grace_days"], policy["final_action"]) == ([3, 7, 14], 0, "cancel")


def test_the_preview_is_what_the_domain_says(merchant: Merchant) -> None:
    policy = made(merchant)
    at = "2026-03-02T09:00:00%2B08:00"
    shown = merchant.api.get(f"{PATH}{policy['id']}/preview/?declined_at={at}").json()
    wanted = preview(
        policy_value(DunningPolicy.objects.get(public_id=policy["id"])), datetime(2026, 3, 2, 1, tzinfo=UTC)
    )
    assert [one["at"] for one in shown["tries"]] == [f"{one.at:%Y-%m-%dT%H:%M:%SZ}" for one in wanted.tries]
    assert [one["message"] for one in shown["tries"]] == [one.message for one in wanted.tries]
    assert shown["ends_at"] == f"{wanted.ends_at:%Y-%m-%dT%H:%M:%SZ}"
    assert shown["final_action"] == "pause"
    assert merchant.api.get(f"{PATH}{policy['id']}/preview/").status_code == 200


def test_a_policy_is_assigned_to_a_plan_and_taken_from_it(merchant: Merchant) -> None:
    policy, code = made(merchant), merchant.plan.code
    path = f"{PATH}{policy['id']}/"
    answer = merchant.api.post(f"{path}assign/", {"scope": "plan", "plan_code": code})
    assert answer.json()["used_for"] == [{"scope": "plan", "plan_code": code, "percent": 100}]
    other = made(merchant, code="other")
    split = {"scope": "plan", "plan_code": code, "second_policy": other["id"], "second_percent": 20}
    answer = merchant.api.post(f"{path}assign/", split)
    assert answer.json()["used_for"] == [{"scope": "plan", "plan_code": code, "percent": 80}]
    seen = merchant.api.get(f"{PATH}{other['id']}/").json()
    assert seen["used_for"] == [{"scope": "plan", "plan_code": code, "percent": 20}]
    assert merchant.api.post(f"{path}unassign/", {"plan_code": code}).json()["used_for"] == []


REFUSED: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    ("", {"retry_days": [1, 2, 3, 4]}, [("retry_days", "max_length")]),
    ("", {"retry_days": [7, 3]}, [("retry_days", "invalid")]),
    ("", {"avoid_weekdays": [0, 1, 2, 3, 4, 5, 6]}, [("avoid_weekdays", "contradiction")]),
    ("", {"prefer_days": [5], "avoid_days": [5]}, [("prefer_days", "contradiction")]),
    ("", {"code": "default"}, [("code", "unique")]),
    ("", {"retry_hour": 24}, [("retry_hour", "max_value")]),
]


@pytest.mark.parametrize(("_", "changes", "errors"), REFUSED)
def test_a_policy_is_refused_by_field_and_rule(
    _: str, changes: dict[str, Any], errors: list[tuple[str, str]], merchant: Merchant
) -> None:
    assert problem(merchant.api.post(PATH, POLICY | changes)) == (400, "invalid_request", errors)


def test_another_accounts_policy_is_no_second_one(merchant: Merchant, stranger: Merchant) -> None:
    path = f"{PATH}{merchant.policy.public_id}/assign/"
    body = {"scope": "one_offs", "second_policy": stranger.policy.public_id, "second_percent": 10}
    assert problem(merchant.api.post(path, body)) == (400, "invalid_request", [("second_policy", "not_found")])
    plan = {"scope": "plan", "plan_code": stranger.plan.code}
    assert problem(merchant.api.post(path, plan)) == (400, "invalid_request", [("plan_code", "not_found")])
    assert not DunningAssignment.objects.filter(scope="plan").exists()


def test_an_instant_without_an_offset_is_refused(merchant: Merchant) -> None:
    path = f"{PATH}{merchant.policy.public_id}/preview/?declined_at=2026-03-02T09:00:00"
    assert problem(merchant.api.get(path)) == (400, "invalid_request", [("declined_at", "instant")])


def test_figures_are_of_the_own_account_and_the_span(merchant: Merchant, stranger: Merchant) -> None:
    for one in (merchant, stranger):
        changes = {"tries": 1, "first_tried_at": NOW, "decline_code": "51", "dunning_policy": one.policy}
        Invoice.objects.filter(pk=one.invoice.pk).update(**changes)
    seen = merchant.api.get("/account/recovery/?since=2026-03-01T00:00:00Z&until=2026-04-01T00:00:00Z").json()
    assert (seen["total"]["declined"], seen["total"]["declined_minor"]) == (1, merchant.invoice.amount_minor)
    assert [(one["code"], one["kind"], one["declined"]) for one in seen["by_reason"]] == [("51", "soft", 1)]
    assert [one["policy"] for one in seen["by_policy"]] == [merchant.policy.public_id]
    assert seen["comparisons"] == []
    assert merchant.api.get("/account/recovery/").json()["total"]["declined"] == 0


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("since=2026-04-01T00:00:00Z&until=2026-03-01T00:00:00Z", ("since", "out_of_range")),
        ("since=2024-04-01T00:00:00Z&until=2026-03-01T00:00:00Z", ("since", "out_of_range")),
        ("until=yesterday", ("until", "instant")),
    ],
)
def test_a_span_that_is_none_is_refused(query: str, error: tuple[str, str], merchant: Merchant) -> None:
    answer = merchant.api.get(f"/account/recovery/?{query}")
    assert problem(answer) == (400, "invalid_request", [error])
