"""Deciding about cases over the API: read, resolve, release, one and many, and what a key may not do."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from billing.charging.cases.case import read_card_now
from billing.models import GatewayAccount, PaymentAttempt, Proposal, Transition
from billing.models.clock import database_now
from tests.api.calls import Api, api_for, problem, snapshot
from tests.api.conftest import Merchant, attempt_in_review
from tests.charging.test_resolve import a_case, foreign_charge, taken
from tests.conftest import Shop
from tests.factories import make_attempt, make_card, make_invoice, make_proposal, move_attempt

pytestmark = pytest.mark.django_db
WHY = {"reason": "nothing in the portal"}


@pytest.fixture
def api(shop: Shop) -> Api:
    return api_for(shop.account)


def path(attempt: PaymentAttempt, action: str) -> str:
    return f"/attempts/{attempt.public_id}/{action}/"


def test_a_case_shows_everything_that_a_decision_rests_on(shop: Shop, api: Api) -> None:
    attempt = a_case(shop)
    foreign_charge(shop, attempt.payment_method)
    read_card_now(attempt, tuning=shop.tuning, now=database_now())
    held = make_invoice(attempt.payment_method, next_attempt_at=database_now())
    told = api.get(path(attempt, "case")).json()

    assert told["attempt"]["id"] == attempt.public_id
    assert told["invoice"]["id"] == attempt.invoice.public_id
    assert told["payment_method"]["id"] == attempt.payment_method.public_id
    assert [(one["source"], one["verdict"]) for one in told["evidence"]] == [
        ("answer", "unclear"),
        ("order_list", "absent_at_last"),
    ]
    assert {one["explained"] for one in told["orders"]} == {"unexplained", "no_order_seen"}
    assert [one["invoice"] for one in told["holds_up"]] == [held.public_id]
    assert [one["decision"] for one in told["choices"]] == [
        "charged", "charged_and_given_back", "declined", "not_charged", "release",
    ]  # fmt: skip
    assert (told["proposals"], told["second_person"]) == ([], False)
    customer = attempt.payment_method.customer
    text = str(told)
    assert not [one for one in (customer.email, customer.phone_number, customer.name) if one in text]


def test_a_case_that_was_decided_has_nothing_to_choose(shop: Shop, api: Api) -> None:
    attempt = a_case(shop)
    assert api.post(path(attempt, "resolve"), WHY | {"resolution": "declined"}).json()["state"] == "declined"
    told = api.get(path(attempt, "case")).json()
    assert (told["choices"], told["attempt"]["state"]) == ([], "declined")
    assert told["evidence"][-1]["source"] == "operator"


def test_a_decision_acts_once_however_often_it_is_sent(shop: Shop, api: Api) -> None:
    attempt = a_case(shop, "lost_after")
    body = {"resolution": "charged", "transaction_id": taken(shop, attempt), "reason": "seen in the portal"}
    first = api.post(path(attempt, "resolve"), body, Idempotency_Key="k")
    after = snapshot()
    again = api.post(path(attempt, "resolve"), body, Idempotency_Key="k")
    assert (first.status_code, first.json()["state"]) == (200, "succeeded")
    assert again.json() == first.json()
    assert again["Idempotent-Replayed"] == "true"
    assert snapshot() == after
    assert problem(api.post(path(attempt, "resolve"), body)) == (409, "state_conflict", [])
    decided = Transition.objects.get(subject_type="attempt", to_state="succeeded")
    assert decided.actor.startswith("api:key_")


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({}, "resolution", "required"),
    ({"resolution": "forgotten"}, "resolution", "invalid_choice"),
    ({"resolution": "declined"}, "reason", "required"),
    ({"resolution": "declined", "reason": "  "}, "reason", "blank"),
    ({"resolution": "declined", "reason": "x" * 501}, "reason", "max_length"),
    ({**WHY, "resolution": "charged"}, "transaction_id", "required"),
    ({**WHY, "resolution": "charged", "transaction_id": "180701025439234567"}, "transaction_id", "unknown"),
    ({**WHY, "resolution": "charged", "transaction_id": "../../x"}, "transaction_id", "unknown"),
    ({**WHY, "resolution": "declined", "transaction_id": "1"}, "transaction_id", "not_here"),
    ({**WHY, "resolution": "declined", "despite_orders": "all"}, "despite_orders", "not_a_list"),
    ({**WHY, "resolution": "declined", "despite": True}, "despite", "unknown"),
]


def test_invalid_body_names_field_and_rule_and_changes_nothing(shop: Shop, api: Api) -> None:
    attempt = a_case(shop)
    before = snapshot()
    for body, field, rule in WRONG:
        status, code, errors = problem(api.post(path(attempt, "resolve"), body, Idempotency_Key="k"))
        assert (status, code) == (400, "invalid_request"), body
        assert (field, rule) in errors, body
    assert snapshot() == before


def test_an_order_that_nothing_explains_is_named_in_the_refusal(shop: Shop, api: Api) -> None:
    attempt = a_case(shop)
    foreign_charge(shop, attempt.payment_method)
    refused = api.post(path(attempt, "resolve"), WHY | {"resolution": "not_charged"})
    assert problem(refused) == (400, "invalid_request", [("despite_orders", "unexplained_orders")])
    order = refused.json()["detail"].partition("this card: ")[2].partition(" ")[0]
    body = WHY | {"resolution": "not_charged", "despite_orders": [order]}
    assert api.post(path(attempt, "resolve"), body).json()["state"] == "not_charged"


def test_a_gateway_that_is_away_leaves_everything_as_it_was(shop: Shop, api: Api) -> None:
    attempt = a_case(shop)
    GatewayAccount.objects.update(api_url="http://127.0.0.1:1/v3", oauth_url="http://127.0.0.1:1/v1")
    before = snapshot()
    answer = api.post(path(attempt, "resolve"), WHY | {"resolution": "not_charged"}, Idempotency_Key="k")
    assert problem(answer) == (502, "gateway_unavailable", [])
    assert snapshot() == before


def test_a_key_proposes_and_never_confirms(shop: Shop, api: Api) -> None:
    for name in ("siti", "mei"):
        User.objects.create(username=name, is_staff=True, is_superuser=True, password="!")
    GatewayAccount.objects.update(second_person_above_minor=1000)
    assert api.get("/account/").json()["second_person_above_minor"] == 1000
    attempt = a_case(shop)
    told = api.post(path(attempt, "resolve"), WHY | {"resolution": "not_charged"}).json()
    assert (told["state"], told["proposal"]["decision"], told["proposal"]["outcome"]) == (
        "needs_review",
        "not_charged",
        "open",
    )
    assert told["proposal"]["proposed_by"].startswith("api:key_")
    assert api.get(f"/attempts/{attempt.public_id}/").json() == told
    assert api.get("/attempts/").json()["data"][0] == told
    other = api_for(shop.account)
    for body in (WHY | {"resolution": "not_charged"}, WHY | {"resolution": "declined"}):
        assert problem(other.post(path(attempt, "resolve"), body)) == (409, "state_conflict", [])
    assert problem(other.post(path(attempt, "release"), WHY)) == (409, "state_conflict", [])
    case = api.get(path(attempt, "case")).json()
    assert (case["second_person"], case["proposals"][0]["id"]) == (True, told["proposal"]["id"])
    assert Proposal.objects.get().outcome == "open"


def test_a_card_is_released(merchant: Merchant) -> None:
    attempt = attempt_in_review(merchant)
    assert merchant.api.post(path(attempt, "release"), WHY).status_code == 200
    attempt.refresh_from_db()
    assert attempt.released_reason == WHY["reason"]
    assert problem(merchant.api.post(path(attempt, "release"), WHY)) == (409, "state_conflict", [])


def test_several_are_decided_and_each_is_reported(shop: Shop, api: Api) -> None:
    good, closed, doubtful = a_case(shop), a_case(shop), a_case(shop)
    api.post(path(closed, "resolve"), WHY | {"resolution": "declined"})
    foreign_charge(shop, doubtful.payment_method)
    ids = [one.public_id for one in (good, closed, doubtful)]
    body = WHY | {"attempts": ids, "resolution": "not_charged"}
    first = api.post("/attempts/resolve/", body, Idempotency_Key="k")
    results = first.json()["results"]
    assert [one["attempt"] for one in results] == ids
    assert [(one["outcome"], one["state"]) for one in results] == [
        ("done", "not_charged"),
        ("refused", "declined"),
        ("refused", "needs_review"),
    ]
    assert results[0]["error"] is None
    assert [one["error"]["rule"] for one in results[1:]] == ["state", "unexplained_orders"]
    after = snapshot()
    assert api.post("/attempts/resolve/", body, Idempotency_Key="k").json() == first.json()
    assert snapshot() == after


def test_several_cards_are_released(merchant: Merchant) -> None:
    attempt = attempt_in_review(merchant)
    second = make_card(merchant.customer, is_default=False)
    other = move_attempt(make_attempt(make_invoice(second), second), "declined")
    body = WHY | {"attempts": [attempt.public_id, other.public_id]}
    results = merchant.api.post("/attempts/release/", body).json()["results"]
    assert [(one["outcome"], one["state"]) for one in results] == [("done", "needs_review"), ("refused", "declined")]


@pytest.mark.parametrize(
    ("changes", "field", "rule"),
    [
        ({"attempts": []}, "attempts", "min_length"),
        ({"attempts": ["att_1"] * 101}, "attempts", "max_length"),
        ({"attempts": "att_1"}, "attempts", "not_a_list"),
        ({"attempts": ["att_1"]}, "attempts.0", "not_found"),
        ({"resolution": "charged"}, "resolution", "invalid_choice"),
        ({"transaction_id": "1"}, "transaction_id", "unknown"),
    ],
)
def test_a_wrong_request_for_several_is_refused_as_a_whole(
    changes: dict[str, Any], field: str, rule: str, merchant: Merchant
) -> None:
    attempt = attempt_in_review(merchant)
    body = WHY | {"attempts": [attempt.public_id], "resolution": "declined"} | changes
    before = snapshot()
    assert problem(merchant.api.post("/attempts/resolve/", body)) == (400, "invalid_request", [(field, rule)])
    assert snapshot() == before


def test_attempts_of_another_account_are_not_there(merchant: Merchant, stranger: Merchant) -> None:
    own, foreign = attempt_in_review(merchant), attempt_in_review(stranger)
    make_proposal(foreign)
    before = snapshot()
    for address, more in (("/attempts/resolve/", {"resolution": "declined"}), ("/attempts/release/", {})):
        body = WHY | more | {"attempts": [own.public_id, foreign.public_id]}
        refused = merchant.api.post(address, body)
        assert problem(refused) == (400, "invalid_request", [("attempts.1", "not_found")])
    assert snapshot() == before
