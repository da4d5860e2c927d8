"""Settlement does what the policy of the invoice says, and as the preview showed it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from billing.accounts.dunning_policies import assign_policy, change_policy, create_policy, unassign_policy
from billing.audit.invariants import violations
from billing.charging.cases.retry_now import RetryError, retry_now
from billing.charging.cases.ways_out import reject_closing, void
from billing.charging.collecting import grace
from billing.domain.decisions import Decision
from billing.domain.dunning import DunningError, Scope, lot_of, preview
from billing.domain.subscriptions import InvoiceState
from billing.explaining.dunning import sentences
from billing.explaining.explain import explain
from billing.models import (
    DunningAssignment,
    DunningPolicy,
    Event,
    GatewayAccount,
    Invoice,
    PaymentAttempt,
    Subscription,
    Transition,
)
from billing.models.bulk.dunning import policies_of_invoices, policy_value
from billing.subscriptions.cards import make_default
from billing.subscriptions.lifecycle import pause
from tests.charging.days import DAY, NOON, Days
from tests.charging.test_ways_out import person
from tests.conftest import Shop
from tests.factories import (
    make_account,
    make_attempt,
    make_card,
    make_checkout,
    make_customer,
    make_invoice,
    make_plan,
    make_policy,
    make_subscription,
    set_dunning,
)

pytestmark = pytest.mark.django_db(transaction=True)
BY: dict[str, Any] = {"actor": "mei", "now": NOON}
WHY = Decision("mei", "the customer asked")
KUALA_LUMPUR = "Asia/Kuala_Lumpur"


@pytest.fixture
def days(shop: Shop) -> Iterator[Days]:
    shop.tuning = replace(shop.tuning, total=timedelta(seconds=100))
    found = Days(shop)
    found.go_to(NOON)
    yield found
    shop.simulator.clock(real=True, skew=0)


def decline_always(days: Days, **policy: Any) -> Subscription:
    set_dunning(days.shop.account, **policy)
    subscription = days.subscribe(card=days.shop.card("4000000000000002"))
    days.run()
    return subscription


def state_of(subscription: Subscription) -> str:
    return str(Subscription.objects.values_list("state", flat=True).get(pk=subscription.pk))


def sentence(days: Days, subscription: Subscription) -> str:
    invoice = days.invoice_of(subscription)
    return sentences(invoice, policies_of_invoices([invoice.pk])[invoice.pk].policy, KUALA_LUMPUR)


# --- the ladder -------------------------------------------------------------------------------------------


def test_tries_are_made_when_the_preview_says(days: Days) -> None:
    policy = {"retry_days": [3, 10, 20], "retry_hour": 9, "prefer_days": [5, 13, 25], "grace_days": 2}
    subscription = decline_always(days, final_action="pause", **policy)
    row = DunningPolicy.objects.select_related("account").get(account=days.shop.account, code="default")
    shown = preview(policy_value(row), NOON)
    for _ in range(29 * 4):
        days.wait(0.25)
    tried = PaymentAttempt.objects.filter(invoice__subscription=subscription).order_by("number")
    planned = [one.at for one in shown.tries]
    assert [f"{at:%d %H}" for at in planned] == ["02 04", "05 01", "13 01", "25 01"]
    assert len(tried) == len(planned)
    assert all(timedelta(0) <= one.armed_at - at < DAY / 4 for one, at in zip(tried, planned, strict=True))
    ended = Transition.objects.get(subject_type="subscription", subject_id=subscription.pk, to_state="paused")
    assert timedelta(0) <= ended.at - shown.ends_at < DAY / 4
    assert violations(now=days.now, tuning=days.shop.tuning) == []


def test_a_quiet_decline_says_so_in_its_event(days: Days) -> None:
    decline_always(days, quiet_tries=[1])
    failed = Event.objects.get(kind="invoice.payment_failed")
    assert failed.payload["quiet"] is True
    days.wait(3)
    assert "quiet" not in Event.objects.filter(kind="invoice.payment_failed").latest("pk").payload


def test_a_change_counts_from_the_next_decline_on(days: Days) -> None:
    subscription = decline_always(days, retry_days=[3, 7])
    policy = DunningPolicy.objects.get(account=days.shop.account, code="default")
    assert change_policy(policy=policy, changes={"retry_days": [20]}, reason="pay day", **BY) == ["retry_days"]
    assert days.invoice_of(subscription).next_attempt_at == NOON + 3 * DAY
    days.wait(3)
    assert days.invoice_of(subscription).next_attempt_at == NOON + 20 * DAY
    assert violations(now=days.now, tuning=days.shop.tuning) == []


def test_an_invoice_keeps_the_policy_of_its_first_decline(days: Days) -> None:
    subscription = decline_always(days, retry_days=[3, 7])
    never = make_policy(days.shop.account, retry_days=[])
    assign_policy(policy=never, scope=Scope.SUBSCRIPTIONS, reason="an experiment", **BY)
    days.wait(3)
    invoice = days.invoice_of(subscription)
    assert (invoice.state, invoice.next_attempt_at) == ("open", NOON + 7 * DAY)
    assert invoice.dunning_policy is not None
    assert invoice.dunning_policy.code == "default"
    assert invoice.decline_code == "9010"


@pytest.mark.parametrize(
    ("action", "after"), [("cancel", "canceled"), ("pause", "paused"), ("keep", "past_due")], ids=str
)
def test_the_final_action_follows_the_grace(action: str, after: str, days: Days) -> None:
    subscription = decline_always(days, retry_days=[3], final_action=action, grace_days=4)
    days.wait(3)
    invoice = days.invoice_of(subscription)
    assert (invoice.state, invoice.next_attempt_at, invoice.grace_ends_at) == ("open", None, NOON + 7 * DAY)
    assert state_of(subscription) == "past_due"
    assert violations(now=days.now, tuning=days.shop.tuning) == []
    days.wait(3.9)
    assert days.invoice_of(subscription).state == "open"
    days.wait(0.1)
    invoice = days.invoice_of(subscription)
    assert (invoice.state, invoice.state_reason) == ("uncollectible", "tries_exhausted")
    assert invoice.grace_ends_at is None
    assert state_of(subscription) == after
    assert violations(now=days.now, tuning=days.shop.tuning) == []


def test_a_grace_that_nobody_ends_is_a_violation(days: Days) -> None:
    decline_always(days, retry_days=[], grace_days=1)
    late = days.now + DAY + timedelta(hours=1)
    assert {one.invariant for one in violations(now=late, tuning=days.shop.tuning)} == {"L6"}


def in_grace(days: Days) -> Invoice:
    """Declined once, with three days to go."""
    return days.invoice_of(decline_always(days, retry_days=[], grace_days=3))


def test_new_card_in_the_grace_pays_at_once(days: Days) -> None:
    invoice = in_grace(days)
    days.wait(1)
    make_default(card=days.shop.card(customer=invoice.customer), now=days.now)
    days.run()
    invoice.refresh_from_db()
    assert invoice.state == "paid"
    assert state_of(invoice.subscription) == "active"  # type: ignore[arg-type]


def test_person_tries_in_the_grace_and_the_end_stays_where_it_was(days: Days) -> None:
    invoice = in_grace(days)
    days.wait(1)
    retry_now(invoice=invoice, decision=WHY, now=days.now)
    days.run()
    invoice.refresh_from_db()
    assert (invoice.tries, invoice.state, invoice.grace_ends_at) == (2, "open", NOON + 3 * DAY)
    days.wait(2)
    invoice.refresh_from_db()
    assert invoice.state == "uncollectible"


def test_try_under_way_when_the_grace_ends_is_waited_for(days: Days) -> None:
    invoice = in_grace(days)
    assert invoice.subscription is not None
    days.wait(2.99)
    card = invoice.customer.payment_methods.get()
    days.charges_will(card, "in_process_success")
    retry_now(invoice=invoice, decision=WHY, now=days.now)
    days.run()
    days.wait(1)
    invoice.refresh_from_db()
    assert invoice.state == "open"
    assert state_of(invoice.subscription) == "past_due"
    with pytest.raises(RetryError, match="an attempt is under way"):
        retry_now(invoice=invoice, decision=WHY, now=days.now)


@pytest.mark.parametrize("change", ["paid", "longer", "planned", "held", "tried", "page", "stopped"])
def test_grace_that_was_found_too_late_is_left_alone(change: str, days: Days) -> None:
    """Something happened between looking for what is over and locking it."""
    invoice = in_grace(days)
    days.go_to(days.now + 4 * DAY)
    rows, card = Invoice.objects.filter(pk=invoice.pk), invoice.customer.payment_methods.get()
    match change:
        case "paid":
            rows.update(state="paid", closed_at=days.now)
        case "longer":
            rows.update(grace_ends_at=days.now + DAY)
        case "planned":
            rows.update(next_attempt_at=days.now)
        case "held":
            rows.update(hold="proposal")
        case "tried":
            make_attempt(invoice, card)
        case "page":
            make_checkout(invoice)
        case "stopped":
            GatewayAccount.objects.filter(pk=invoice.account_id).update(stopped_at=NOON)
    before = rows.values().get()
    assert grace._end(invoice, days.now) == 0
    assert rows.values().get() == before


@pytest.mark.parametrize("stop", ["stopped_at", "quarantined_at", "hold", "pause"])
def test_grace_ends_only_while_the_account_charges_and_nothing_is_to_decide(stop: str, days: Days) -> None:
    invoice = in_grace(days)
    assert invoice.subscription is not None
    if stop == "hold":
        Invoice.objects.filter(pk=invoice.pk).update(hold="proposal")
    elif stop == "pause":
        pause(subscription=invoice.subscription, reason="holiday", actor="mei", now=days.now)
    else:
        why = {"quarantine_reason": "database_differs"} if stop == "quarantined_at" else {}
        GatewayAccount.objects.filter(pk=days.shop.account.pk).update(**{stop: NOON}, **why)
    days.wait(4)
    invoice.refresh_from_db()
    assert invoice.state == ("uncollectible" if stop == "pause" else "open")
    assert state_of(invoice.subscription) == ("paused" if stop == "pause" else "past_due")


def test_rejected_proposal_leaves_the_grace_as_it_was(days: Days) -> None:
    GatewayAccount.objects.filter(pk=days.shop.account.pk).update(second_person_above_minor=0)
    person("siti"), person("mei")
    invoice = in_grace(days)
    closing = void(invoice=invoice, decision=WHY, now=days.now)
    assert closing.proposal is not None
    reject_closing(proposal=closing.proposal, decision=WHY, now=days.now)
    invoice.refresh_from_db()
    assert (invoice.state, invoice.hold, invoice.next_attempt_at) == (InvoiceState.OPEN, None, None)
    assert invoice.grace_ends_at == NOON + 3 * DAY


# --- the words --------------------------------------------------------------------------------------------


def test_the_page_says_what_follows(days: Days) -> None:
    subscription = decline_always(days, retry_days=[3, 7], grace_days=2)
    assert sentence(days, subscription) == (
        "Declined 1 of 3 tries: no known reason (9010). Next try Thu 5 Mar 2026, 12:00. If the last try, on Mon 9 Mar "
        "2026, 12:00, is declined too, it can be paid until Wed 11 Mar 2026, 12:00; then the subscription is cancelled."
    )
    days.wait(3)
    assert "Declined 2 of 3 tries" in sentence(days, subscription)
    assert "If it is declined too, it can be paid until" in sentence(days, subscription)
    days.wait(4)
    assert sentence(days, subscription) == (
        "Declined 3 times: no known reason (9010). No try is left. If it is not paid by Wed 11 Mar 2026, 12:00, the "
        "subscription is cancelled."
    )
    days.wait(2)
    assert sentence(days, subscription) == (
        "Declined 3 times: no known reason (9010). No try is left, and it is uncollectible."
    )


# --- which policy -----------------------------------------------------------------------------------------


def code_of(invoice: Invoice) -> str:
    found = policies_of_invoices([invoice.pk])[invoice.pk].id
    return DunningPolicy.objects.get(pk=found).code


def test_a_plan_has_its_own_policy_in_all_versions() -> None:
    account = make_account()
    plan = make_plan(account, code="club")
    policy = make_policy(account, code="pay-days")
    assign_policy(policy=policy, scope=Scope.PLAN, plan_code="club", reason="pay days", **BY)

    def invoice(**plan_columns: Any) -> Invoice:
        one = make_plan(account, **plan_columns) if plan_columns else plan
        return make_invoice(subscription=make_subscription(make_card(make_customer(account)), one))

    assert code_of(invoice()) == "pay-days"
    assert code_of(invoice(code="club", version=2)) == "pay-days"
    assert code_of(invoice(code="other")) == "default"
    unassign_policy(policy=policy, plan_code="club", reason="over", **BY)
    assert code_of(invoice()) == "default"


def test_one_offs_have_their_own_policy() -> None:
    invoice = make_invoice()
    assert code_of(invoice) == "one-offs"
    policy = make_policy(invoice.account, code="tried-again")
    assign_policy(policy=policy, scope=Scope.ONE_OFFS, reason="worth it", **BY)
    assert code_of(invoice) == "tried-again"


def test_a_share_of_the_subscriptions_gets_the_second_policy_by_lot() -> None:
    account = make_account()
    plan = make_plan(account, code="club")
    first, second = make_policy(account, code="a"), make_policy(account, code="b")
    assign_policy(
        policy=first, scope=Scope.PLAN, plan_code="club", second=second, second_percent=30, reason="compare", **BY
    )
    invoices = [
        make_invoice(subscription=make_subscription(make_card(make_customer(account)), plan)) for _ in range(12)
    ]
    for one in invoices:
        assert one.subscription is not None
        assert code_of(one) == ("b" if lot_of(one.subscription.public_id) < 30 else "a")


# --- use cases --------------------------------------------------------------------------------------------


def test_new_policy_counts_for_nothing_until_it_is_assigned() -> None:
    account = make_account()
    row = create_policy(account=account, code="later", values={"name": "Later", "retry_days": [5]}, **BY)
    assert (row.retry_days, row.final_action, list(row.assignments.all())) == ([5], "cancel", [])
    line = Transition.objects.get(subject_type="dunning_policy", subject_id=row.pk)
    assert (line.to_state, line.actor) == ("created", "mei")


def test_change_leaves_a_line_with_the_values_before_and_after() -> None:
    row = make_policy(grace_days=0)
    assert change_policy(policy=row, changes={"grace_days": 0}, reason="nothing", **BY) == []
    assert change_policy(policy=row, changes={"grace_days": 5}, reason="patience", **BY) == ["grace_days"]
    assert Transition.objects.get(subject_type="dunning_policy").reason == "grace_days: 0 → 5: patience"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"retry_days": [1, 2, 3, 4]}, "retry_days: must be at most 3 retries"),
    ({"final_action": "sue"}, "final_action: must be one of"),
    ({"name": " "}, "name: must have 1 to 100 characters"),
    ({"account_id": 3}, "account_id: cannot be changed"),
    ({"grace_days": 40}, "grace_days: must be from 0 to 30"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_what_a_policy_may_not_say_is_refused_and_changes_nothing(changes: dict[str, Any], message: str) -> None:
    row = make_policy()
    with pytest.raises(DunningError, match=message):
        change_policy(policy=row, changes=changes, reason="x", **BY)
    assert DunningPolicy.objects.get(pk=row.pk).retry_days == row.retry_days
    assert not Transition.objects.exists()


def test_a_code_is_used_once() -> None:
    row = make_policy()
    with pytest.raises(DunningError, match="code: must be unique"):
        create_policy(account=row.account, code=row.code, values={"name": "Again"}, **BY)
    with pytest.raises(DunningError, match="code: must be at most 64 letters"):
        create_policy(account=row.account, code="pay days", values={"name": "Again"}, **BY)


def test_assignments_are_refused_by_field() -> None:
    row, foreign = make_policy(), make_policy()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"scope": Scope.PLAN, "plan_code": "nothing"}, "plan_code: must be the code of a plan"),
        ({"scope": Scope.ONE_OFFS, "plan_code": "club"}, "plan_code: must be left out"),
        ({"scope": Scope.ONE_OFFS, "second": foreign, "second_percent": 5}, "second_policy: must be another policy"),
        ({"scope": Scope.ONE_OFFS, "second": row, "second_percent": 5}, "second_policy: must be another policy"),
        ({"scope": Scope.ONE_OFFS, "second_percent": 5}, "second_percent: must be left out"),
        (
            {"scope": Scope.ONE_OFFS, "second": make_policy(row.account), "second_percent": 100},
            "second_percent: must be from 1 to 99",
        ),
    ]
    for values, message in wrong:
        with pytest.raises(DunningError, match=message):
            assign_policy(policy=row, reason="x", **values, **BY)
    with pytest.raises(DunningError, match="plan_code: must be a plan that has this policy"):
        unassign_policy(policy=row, plan_code="club", reason="x", **BY)
    assert not DunningAssignment.objects.filter(policy=row).exists()


def test_the_explanation_of_an_invoice_in_its_grace_says_until_when(days: Days) -> None:
    story = explain(invoice=in_grace(days), now=days.now, to_staff=True)
    assert "it was declined, and no try is left" in story.summary
    assert story.lines[-1].text.startswith("No try is left. It can be paid until")
