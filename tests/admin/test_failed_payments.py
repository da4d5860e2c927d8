"""The list of failed payments, the panel that says what follows, and the pages of dunning policies and figures."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.urls import reverse

from billing.models import DunningPolicy, FailedPayment, GatewayAccount, Invoice, Message, Plan
from tests.admin.conftest import _logged_in, _person, make_declined
from tests.admin.test_actions import send
from tests.factories import NOW, make_account, make_invoice, make_mail, make_plan, make_policy

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
LIST = "admin:billing_failedpayment_changelist"


@pytest.fixture
def account(db: None) -> GatewayAccount:
    return make_account()


def listed(client: Client, query: str = "") -> str:
    response = client.get(f"{reverse(LIST)}?{query}")
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def ids(client: Client, query: str = "") -> set[int]:
    response = client.get(f"{reverse(LIST)}?{query}")
    return {row.pk for row in response.context["cl"].result_list}


def test_only_declined_invoices_that_are_owed_are_listed(account: GatewayAccount, boss: Client) -> None:
    open_one = make_declined(account)
    gone = make_declined(account, state="uncollectible", closed_at=NOW, next_attempt_at=None)
    make_declined(account, state="paid", closed_at=NOW, next_attempt_at=None)
    make_invoice()
    assert ids(boss) == {open_one.pk, gone.pk}
    text = listed(boss)
    assert "1 of 4" in text
    assert "not enough money (51)" in text
    assert "cancel the subscription" in text
    assert f"{reverse('admin:billing_invoice_change', args=[open_one.pk])}retry-now/" in text
    assert f"{reverse('admin:billing_invoice_change', args=[gone.pk])}collect-again/" in text


def test_the_list_is_narrowed_by_reason_policy_and_next_try(account: GatewayAccount, boss: Client) -> None:
    policy = make_policy(account)
    soft = make_declined(account, next_attempt_at=NOW)
    hard = make_declined(account, decline_code="54", dunning_policy=policy, next_attempt_at=NOW + 9_000 * DAY)
    odd = make_declined(account, decline_code="9010", next_attempt_at=None, grace_ends_at=NOW + 9_000 * DAY)
    lost = make_declined(account, state="uncollectible", closed_at=NOW, next_attempt_at=None)
    assert ids(boss, "reason_kind=soft") == {soft.pk, lost.pk}
    assert ids(boss, "reason_kind=hard") == {hard.pk}
    assert ids(boss, "reason_kind=unknown") == {odd.pk}
    assert ids(boss, f"dunning_policy__id__exact={policy.pk}") == {hard.pk}
    assert ids(boss, "next_try=day") == {soft.pk}
    assert ids(boss, "next_try=later") == {hard.pk}
    assert ids(boss, "next_try=grace") == {odd.pk}
    assert ids(boss, "next_try=none") == {lost.pk}


def test_who_may_only_look_has_no_links_to_act(account: GatewayAccount) -> None:
    make_declined(account)
    user = _person("mei")
    user.user_permissions.set(Permission.objects.filter(codename="view_invoice"))
    text = listed(_logged_in(user))
    assert "Coffee club" in text
    assert "send-link" not in text
    assert "Retry now" not in text


def test_the_list_is_read_by_its_index(account: GatewayAccount) -> None:
    rows = FailedPayment.objects.filter(tries__gt=0, state__in=("open", "uncollectible")).order_by("-pk")[:51]
    sql, parameters = rows.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        cursor.execute(f"EXPLAIN {sql}", parameters)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "invoice_failed" in plan


def page_of(client: Client, row: Any, model: str) -> str:
    response = client.get(reverse(f"admin:billing_{model}_change", args=[row.pk]))
    return " ".join(response.content.decode().split())


def test_the_pages_of_invoice_and_subscription_say_what_follows(account: GatewayAccount, boss: Client) -> None:
    invoice = make_declined(account)
    said = (
        "Declined 1 of 4 tries: not enough money (51). Next try Thu 5 Mar 2026, 09:00. If the last try, on Mon 16 Mar "
        "2026, 09:00, is declined too, the subscription is cancelled."
    )
    assert said in page_of(boss, invoice, "invoice")
    page = page_of(boss, invoice.subscription, "subscription")
    assert f"Coffee club, RM 19.90. {said}" in page
    assert "next tries are below" not in page


def test_link_is_sent_from_the_invoices_page(account: GatewayAccount, boss: Client) -> None:
    make_mail(account)
    invoice = make_declined(account)
    address = f"{reverse('admin:billing_invoice_change', args=[invoice.pk])}send-link/"
    assert send(boss, address, {"reason": "asked by phone"}).status_code == 302
    assert Message.objects.get(subject_id=invoice.pk).kind == "payment_failed"


# --- policies ---------------------------------------------------------------------------------------------


def test_policy_is_added_changed_assigned_and_taken_away(account: GatewayAccount, boss: Client) -> None:
    plan = make_plan(account, code="club")
    address = reverse("admin:billing_dunningpolicy_add")
    values = {
        "account": account.pk,
        "code": "pay-days",
        "name": "Around pay days",
        "retry_days": "3, 10, 20",
        "retry_hour": "9",
        "prefer_days": "25-31, 1-7",
        "avoid_weekdays": ["0"],
        "quiet_tries": ["1"],
        "grace_days": "5",
        "final_action": "pause",
    }
    assert send(boss, address, values).status_code == 302
    policy = DunningPolicy.objects.get(code="pay-days")
    assert policy.prefer_days == [*range(1, 8), *range(25, 32)]
    assert (policy.avoid_weekdays, policy.quiet_tries, policy.retry_hour) == ([0], [1], 9)
    own = reverse("admin:billing_dunningpolicy_change", args=[policy.pk])
    kept = {name: value for name, value in values.items() if name not in ("account", "code")}
    assert send(boss, f"{own}change-policy/", kept | {"retry_hour": "", "reason": "any time"}).status_code == 302
    policy.refresh_from_db()
    assert (policy.retry_hour, policy.retry_days) == (None, [3, 10, 20])
    assert send(boss, f"{own}assign/", {"to": "plan club", "reason": "wages"}).status_code == 302
    assert "plan club" in page_of(boss, policy, "dunningpolicy")
    assert Plan.objects.filter(pk=plan.pk).exists()
    assert send(boss, f"{own}unassign/", {"plan_code": "club", "reason": "over"}).status_code == 302
    assert not policy.assignments.exists()


def test_the_form_shows_the_days_as_ranges(account: GatewayAccount, boss: Client) -> None:
    policy = make_policy(account, prefer_days=[1, 2, 3, 25, 26], avoid_days=[13])
    form = boss.get(f"{reverse('admin:billing_dunningpolicy_change', args=[policy.pk])}change-policy/").context["form"]
    assert (form.initial["prefer_days"], form.initial["avoid_days"]) == ("1-3, 25-26", "13")


def test_what_is_no_day_is_refused_by_the_form(account: GatewayAccount, boss: Client) -> None:
    policy = make_policy(account)
    address = f"{reverse('admin:billing_dunningpolicy_change', args=[policy.pk])}change-policy/"
    for days in ("soon", "1-1000000"):
        response = send(boss, address, {"name": "x", "retry_days": days, "grace_days": "0", "final_action": "cancel"})
        assert response.status_code == 422
        assert "retry_days" in response.context["form"].errors


# --- figures ----------------------------------------------------------------------------------------------


def test_the_page_of_figures_counts_and_compares(account: GatewayAccount, boss: Client) -> None:
    Invoice.objects.filter(pk=make_declined(account).pk).update(state="paid", closed_at=NOW, next_attempt_at=None)
    page = reverse("admin:billing_dunningpolicy_recovery")
    response = boss.get(f"{page}?account={account.pk}&days=365")
    assert response.status_code == 200
    text = response.content.decode()
    assert "1 (100%)" in text
    assert "not enough money (51), soft" in text
    assert boss.get(f"{page}?days=7").status_code == 404
    assert boss.get(f"{page}?account=0").status_code == 404


def test_figures_are_for_who_sees_policies(account: GatewayAccount, stranger: Client, viewer: Client) -> None:
    page = reverse("admin:billing_dunningpolicy_recovery")
    assert stranger.get(page).status_code == 403
    assert viewer.get(page).status_code == 200
