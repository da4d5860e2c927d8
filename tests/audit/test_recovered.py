"""Recovery figures are what the rows say, and no more is claimed of two policies than their numbers bear."""

from datetime import timedelta
from typing import Any

import pytest

from billing.explaining.intervals import Share
from billing.explaining.recovered import Figures, figures_of
from billing.models import DunningAssignment, DunningPolicy, GatewayAccount, Invoice
from tests.factories import (
    NOW,
    make_account,
    make_assignment,
    make_attempt,
    make_card,
    make_customer,
    make_invoice,
    make_plan,
    make_policy,
    make_subscription,
    move_attempt,
)

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
LATER = NOW + 80 * DAY


@pytest.fixture
def account(db: None) -> GatewayAccount:
    return make_account()


def declined(
    account: GatewayAccount, codes: tuple[str, ...], end: str, *, paid_after: int | None = None, **columns: Any
) -> Invoice:
    """Tried once a day from NOW, or from `first_tried_at`, on: declined with each of the codes, and then paid if it is
    `paid_after` so many days."""
    first = columns.setdefault("first_tried_at", NOW)
    card = make_card(make_customer(account))
    invoice = make_invoice(card, columns.pop("subscription", None), amount_minor=columns.pop("amount_minor", 1000))
    for number, code in enumerate(codes):
        move_attempt(make_attempt(invoice, card, armed_at=first + number * DAY), "declined", state_reason=code)
    if paid_after is not None:
        move_attempt(make_attempt(invoice, card, armed_at=first + paid_after * DAY), "succeeded")
    closed = None if end == "open" else first + (paid_after or 20) * DAY
    changes = {"tries": len(codes), "decline_code": codes[-1], "next_attempt_at": None, **columns}
    Invoice.objects.filter(pk=invoice.pk).update(state=end, closed_at=closed, **changes)
    return invoice


def figures(account: GatewayAccount, **span: Any) -> Figures:
    return figures_of(account, **{"since": NOW - DAY, "until": LATER, "now": LATER, **span})


def test_figures_of_nothing_are_zero(account: GatewayAccount) -> None:
    found = figures(account)
    assert (found.total.declined, found.total.recovered_minor, found.total.days) == (0, 0, None)
    assert (found.by_reason, found.by_policy, found.by_try, found.by_day) == ([], [], [], [])


def test_each_invoice_counts_once_and_by_its_first_reason(account: GatewayAccount) -> None:
    declined(account, ("51",), "paid", paid_after=3)
    declined(account, ("51", "54"), "paid", paid_after=5, amount_minor=500)
    declined(account, ("43",), "uncollectible", tries=3, tries_avoided=2)
    declined(account, ("51",), "void")
    declined(account, ("9010",), "open")
    declined(make_account(), ("51",), "paid", paid_after=1)
    found = figures(account)
    total = found.total
    assert (total.declined, total.recovered, total.lost) == (5, 2, 2)
    assert (total.declined_minor, total.recovered_minor, total.lost_minor) == (4500, 1500, 2000)
    assert total.days == 4 * DAY
    assert (total.tries_avoided, {one.code: one.tries_avoided for one in found.by_reason}["43"]) == (2, 2)
    assert {one.code: (one.declined, one.recovered, one.lost) for one in found.by_reason} == {
        "51": (3, 2, 1),
        "43": (1, 0, 1),
        "9010": (1, 0, 0),
    }


def test_only_invoices_first_declined_in_the_span_count(account: GatewayAccount) -> None:
    declined(account, ("51",), "paid", paid_after=3)
    assert figures(account, since=NOW).total.declined == 1
    assert figures(account, until=NOW).total.declined == 0
    assert figures(account, since=NOW + timedelta(seconds=1)).total.declined == 0


def test_retries_count_by_number_and_by_local_day(account: GatewayAccount) -> None:
    evening = NOW.replace(hour=17)  # 01:00 of the next day in Kuala Lumpur
    declined(account, ("51", "51"), "paid", paid_after=2, first_tried_at=evening)
    declined(account, ("51",), "paid", paid_after=1, first_tried_at=evening, amount_minor=700)
    found = figures(account)
    assert [(one.number, one.tried, one.paid, one.paid_minor) for one in found.by_try] == [
        (2, 2, 1, 700),
        (3, 1, 1, 1000),
    ]
    assert [(one.day, one.tried, one.paid) for one in found.by_day] == [(4, 2, 1), (5, 1, 1)]


def test_invoices_count_by_the_policy_that_they_kept(account: GatewayAccount) -> None:
    policy = make_policy(account)
    declined(account, ("51",), "paid", paid_after=3, dunning_policy=policy)
    declined(account, ("51",), "uncollectible")
    found = figures(account)
    assert {one.policy_id: (one.declined, one.recovered) for one in found.by_policy} == {
        policy.pk: (1, 1),
        None: (1, 0),
    }


# --- two policies -----------------------------------------------------------------------------------------


def split(account: GatewayAccount, **columns: Any) -> DunningAssignment:
    first, second = make_policy(account, name="A"), make_policy(account, name="B")
    return make_assignment(first, plan_code="club", second_policy=second, second_percent=50, **columns)


def won_and_lost(account: GatewayAccount, policy: DunningPolicy, won: int, lost: int) -> None:
    plan = account.plan_set.filter(code="club").first() or make_plan(account, code="club")
    for number in range(won + lost):
        subscription = make_subscription(make_card(make_customer(account)), plan)
        state = "paid" if number < won else "uncollectible"
        invoice = make_invoice(subscription=subscription)
        Invoice.objects.filter(pk=invoice.pk).update(
            state=state, closed_at=NOW, first_tried_at=NOW, tries=1, next_attempt_at=None, dunning_policy=policy
        )


def test_a_clear_difference_names_the_better_policy(account: GatewayAccount) -> None:
    assignment = split(account)
    assert assignment.second_policy is not None
    won_and_lost(account, assignment.policy, 28, 4)
    won_and_lost(account, assignment.second_policy, 8, 24)
    (found,) = figures(account).comparisons
    assert (found.first, found.second) == (Share(28, 32), Share(8, 32))
    assert found.difference.low > 0
    assert found.verdict == "A recovers more"


@pytest.mark.parametrize(
    ("first", "second"), [((28, 4), (24, 8)), ((10, 0), (0, 10)), ((0, 0), (30, 10))], ids=["alike", "few", "none"]
)
def test_too_few_are_too_few_to_tell(first: tuple[int, int], second: tuple[int, int], account: GatewayAccount) -> None:
    assignment = split(account)
    assert assignment.second_policy is not None
    won_and_lost(account, assignment.policy, *first)
    won_and_lost(account, assignment.second_policy, *second)
    (found,) = figures(account).comparisons
    assert found.verdict == "too few to tell"


def test_a_customer_counts_once_with_the_first_decline(account: GatewayAccount) -> None:
    assignment = split(account)
    won_and_lost(account, assignment.policy, 1, 0)
    first = Invoice.objects.get()
    assert first.subscription is not None
    again = make_invoice(subscription=first.subscription, period_index=1)
    Invoice.objects.filter(pk=again.pk).update(
        state="uncollectible", closed_at=NOW, first_tried_at=NOW + DAY, tries=1, next_attempt_at=None,
        dunning_policy=assignment.policy,
    )  # fmt: skip
    (found,) = figures(account).comparisons
    assert found.first == Share(1, 1)


def test_only_whose_collection_is_over_and_who_is_in_the_experiment_counts(account: GatewayAccount) -> None:
    assignment = split(account, assigned_at=NOW)
    won_and_lost(account, assignment.policy, 1, 1)
    assert figures(account).comparisons[0].first == Share(1, 2)
    assert figures(account, now=NOW + 31 * DAY).comparisons[0].first == Share(0, 0), "it may be paid yet"
    DunningPolicy.objects.filter(pk=assignment.policy_id).update(grace_days=30)
    assert figures(account, now=NOW + 60 * DAY).comparisons[0].first == Share(0, 0), "a grace may run yet"
    DunningAssignment.objects.filter(pk=assignment.pk).update(assigned_at=NOW + DAY)
    assert figures(account).comparisons[0].first == Share(0, 0), "declined before the experiment"
