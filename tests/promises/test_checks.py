"""Check constraints: a row that must not exist is refused by the promise that it breaks."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import models

from tests.factories import (
    NOW,
    make_account,
    make_assignment,
    make_attempt,
    make_card,
    make_decline_ruling,
    make_invoice,
    make_plan,
    make_policy,
    make_proposal,
    make_subscription,
)
from tests.promises.attacks import (
    FRESH,
    attacks,
    insert_another,
    insert_copy,
    make_api_key,
    make_gateway_clock,
    make_gateway_order,
    make_idempotency_record,
    make_installation,
    make_orphan_answer,
    make_period_invoice,
    make_told_evidence,
    make_trouble,
    refused,
    run,
    update,
)

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(hours=1)
Case = tuple[str, Callable[[], models.Model], dict[str, Any]]


PAYS_FIRST = {"activates_on": "payment", "charge_at_start": True, "first_payment_ends_at": NOW, "period_index": 1}


def of_both(ending: str, **changes: Any) -> list[Case]:
    """The promises that plans and subscriptions share."""
    return [(f"plan_{ending}", make_plan, changes), (f"subscription_{ending}", make_subscription, changes)]


CASES: list[Case] = [
    ("one_installation", make_installation, {"id": 2}),
    ("account_environment_known", make_account, {"environment": "moon"}),
    ("policy_final_action_known", make_policy, {"final_action": "sue"}),
    ("account_marker_echo_known", make_account, {"marker_echo": "perhaps"}),
    ("account_charge_path_known", make_account, {"charge_path": "elsewhere"}),
    ("quarantined_account_says_why", make_account, {"quarantined_at": NOW}),
    ("quarantined_account_says_why", make_account, {"quarantined_at": NOW, "quarantine_reason": "perhaps"}),
    ("account_limit_positive", make_account, {"charge_limit_minor": 0}),
    ("account_payment_link_days_known", make_account, {"payment_link_days": 0}),
    ("account_payment_link_days_known", make_account, {"payment_link_days": 366}),
    ("account_first_payment_hours_known", make_account, {"first_payment_hours": 0}),
    ("account_first_payment_hours_known", make_account, {"first_payment_hours": 721}),
    ("account_rate_positive", make_account, {"charges_per_second": 0}),
    ("account_in_flight_positive", make_account, {"max_in_flight": 0}),
    ("absence_permits_only_after_long", make_account, {"retry_after_absence_hours": 23}),
    ("account_list_lag_known", make_account, {"list_lag_seconds": -1}),
    ("account_list_lag_known", make_account, {"list_lag_seconds": 172_801}),
    ("account_second_person_amount_not_negative", make_account, {"second_person_above_minor": -1}),
    ("proposal_kind_known", make_proposal, {"kind": "forget", "outcome": "open"}),
    ("a_proposed_charge_names_its_transaction", make_proposal, {"kind": "charged"}),
    ("a_proposed_charge_names_its_transaction", make_proposal, {"transaction_id": "2001"}),
    ("at_most_four_tries_in_thirty_days", make_policy, {"retry_days": [1, 2, 3, 4]}),
    ("at_most_four_tries_in_thirty_days", make_policy, {"retry_days": [0]}),
    ("at_most_four_tries_in_thirty_days", make_policy, {"retry_days": [31]}),
    ("at_most_four_tries_in_thirty_days", make_policy, {"retry_days": [None]}),
    ("unproved_credentials_stop_an_account", make_account, {"credentials_unproved_at": NOW}),
    ("a_trouble_happened", make_trouble, {"count": 0}),
    ("only_a_wrong_clock_agrees_again", make_gateway_clock, {"agrees_since": timedelta(seconds=1)}),
    ("api_key_scopes_known", make_api_key, {"scopes": ["read", "everything"]}),
    ("api_key_scopes_known", make_api_key, {"scopes": [None]}),
    ("finished_idempotency_record_has_its_answer", make_idempotency_record, {"finished_at": NOW}),
    ("finished_idempotency_record_has_its_answer", make_idempotency_record, {"response_status": 201}),
    (
        "finished_idempotency_record_has_its_answer",
        make_idempotency_record,
        {"finished_at": NOW - timedelta(seconds=1), "response_status": 201},
    ),
    ("card_kind_known", make_card, {"kind": "paper"}),
    ("card_state_known", make_card, {"state": "lost"}),
    ("card_environment_known", make_card, {"environment": "moon"}),
    ("active_card_has_its_baseline", make_card, {"baseline_read_at": None}),
    ("active_card_has_its_baseline", make_card, {"gateway_customer_id": None}),
    ("held_card_says_why", make_card, {"held_at": NOW, "held_reason": ""}),
    ("frozen_card_says_why", make_card, {"frozen_at": NOW, "frozen_by": ""}),
    ("frozen_card_says_why", make_card, {"frozen_by": "43"}),
    ("only_a_card_that_was_not_read_is_unreadable", make_card, {"unreadable_at": NOW}),
    ("only_an_unreadable_card_is_given_up", make_card, {"given_up_at": NOW}),
    ("only_an_unreadable_card_is_given_up", make_card, {"given_up_at": NOW, "unread_since": NOW}),
    ("plan_trial_not_negative", make_plan, {"trial_days": -1}),
    *of_both("target_fits_its_interval", interval="DAILY", target=1),
    *of_both("target_fits_its_interval", interval="WEEKLY", target=7),
    *of_both("target_fits_its_interval", interval="WEEKLY", target=-1),
    *of_both("target_fits_its_interval", interval="MONTHLY", target=29),
    *of_both("target_fits_its_interval", interval="MONTHLY", target=-2),
    *of_both("target_fits_its_interval", interval="YEARLY", target=1),
    *of_both("every_positive", every=0),
    *of_both("amount_at_least_the_minimum", amount_minor=9),
    *of_both("currency_known", currency="SGD"),
    *of_both("repetitions_positive", repetitions=0),
    *of_both("activates_on_known", activates_on="luck"),
    ("subscription_state_known", make_subscription, {"state": "asleep", "next_due_at": None}),
    ("subscription_collector_known", make_subscription, {"collector": "nobody", "next_due_at": None}),
    ("subscription_catch_up_known", make_subscription, {"catch_up": "double"}),
    ("subscription_counts_its_periods", make_subscription, {"period_index": 1, "periods_charged": 2}),
    ("subscription_counts_its_periods", make_subscription, {"periods_charged": -1}),
    ("what_could_not_be_opened_says_why", make_subscription, {"open_failed_at": NOW, "open_again_at": NOW}),
    ("what_could_not_be_opened_says_why", make_subscription, {"open_failed_at": NOW, "open_error": "why"}),
    ("what_could_not_be_opened_says_why", make_subscription, {"open_again_at": NOW}),
    ("what_could_not_be_opened_says_why", make_subscription, {"open_error": "why"}),
    ("orphan_answer_kind_known", make_orphan_answer, {"kind": "gift"}),
    ("a_matched_orphan_answer_says_how", make_orphan_answer, {"matched_at": NOW}),
    ("a_matched_orphan_answer_says_how", make_orphan_answer, {"matched_how": "row"}),
    ("a_matched_orphan_answer_says_how", make_orphan_answer, {"matched_at": NOW, "matched_how": "luck"}),
    *(
        ("only_running_engine_subscriptions_fall_due", make_subscription, {"state": state})
        for state in ("incomplete", "paused", "canceled", "completed")
    ),
    ("only_an_unpaid_start_expires", make_subscription, {"state": "expired", "next_due_at": None}),
    *(
        ("only_a_first_payment_runs_out", make_subscription, {**PAYS_FIRST, "next_due_at": None, **wrong})
        for wrong in (
            {"activates_on": "card"},
            {"charge_at_start": False},
            {"trial_ends_at": NOW},
            {"collector": "gateway"},
            {"anchor_date": None},
            {"occurrence": None},
            {"period_index": 0},
        )
    ),
    ("only_running_engine_subscriptions_fall_due", make_subscription, {"collector": "gateway"}),
    ("only_running_engine_subscriptions_fall_due", make_subscription, {"anchor_date": None}),
    ("only_running_engine_subscriptions_fall_due", make_subscription, {"occurrence": None}),
    ("invoice_state_known", make_invoice, {"state": "lost", "closed_at": NOW, "next_attempt_at": None}),
    ("avoided_tries_are_tries", make_invoice, {"tries": 1, "tries_avoided": 2}),
    ("avoided_tries_are_tries", make_invoice, {"tries": 1, "tries_avoided": -1}),
    ("decline_ruling_kind_known", make_decline_ruling, {"kind": "odd"}),
    ("decline_ruling_says_what_and_why", make_decline_ruling, {"reason": ""}),
    ("decline_ruling_says_what_and_why", make_decline_ruling, {"code": ""}),
    ("invoice_amount_positive", make_invoice, {"amount_minor": 0, "amount_refunded_minor": 0}),
    ("invoice_currency_known", make_invoice, {"currency": "SGD"}),
    ("refunds_never_exceed_the_invoice", make_invoice, {"amount_refunded_minor": 1991}),
    ("refunds_never_exceed_the_invoice", make_invoice, {"amount_refunded_minor": -1}),
    ("subscription_invoice_has_its_period", make_invoice, {"period_index": 0}),
    ("subscription_invoice_has_its_period", make_period_invoice, {"period_index": -1}),
    ("only_open_unheld_invoices_are_collected", make_invoice, {"hold": "reversed"}),
    *(
        ("only_open_unheld_invoices_are_collected", make_invoice, {"state": state, "closed_at": NOW})
        for state in ("paid", "uncollectible", "void")
    ),
    ("closed_invoice_says_when", make_invoice, {"state": "paid", "next_attempt_at": None}),
    ("closed_invoice_says_when", make_invoice, {"closed_at": NOW}),
    ("each_retry_day_is_later_than_the_last", make_policy, {"retry_days": [7, 3]}),
    ("policy_retry_hour_known", make_policy, {"retry_hour": 24}),
    ("policy_days_known", make_policy, {"prefer_days": [0]}),
    ("policy_days_known", make_policy, {"avoid_days": [32]}),
    ("policy_days_known", make_policy, {"avoid_weekdays": [7]}),
    ("policy_days_known", make_policy, {"quiet_tries": [5]}),
    ("policy_grace_at_most_thirty_days", make_policy, {"grace_days": 31}),
    ("policy_grace_at_most_thirty_days", make_policy, {"grace_days": -1}),
    ("policy_scope_known", make_assignment, {"scope": "everything", "plan_code": ""}),
    ("only_the_policy_of_a_plan_names_one", make_assignment, {"scope": "one_offs"}),
    ("only_the_policy_of_a_plan_names_one", make_assignment, {"plan_code": ""}),
    ("a_share_has_two_policies", make_assignment, {"second_percent": 50}),
    ("each_retry_day_is_later_than_the_last", make_policy, {"retry_days": [3, 7, 7]}),
    ("invoice_hold_known", make_invoice, {"hold": "a while", "next_attempt_at": None}),
    ("invoice_refusal_known", make_invoice, {"refusal": "bad mood"}),
    ("attempt_charge_path_known", make_attempt, {"charge_path": "elsewhere"}),
    ("marker_is_well_formed", make_attempt, {"marker": "ABC123"}),
    ("marker_is_well_formed", make_attempt, {"marker": "abcdefghijkl"}),
    ("marker_is_well_formed", make_attempt, {"marker": "ABCDEFGHIJK\n"}),
    ("only_unknown_attempts_are_checked", make_attempt, {"next_check_at": LATER}),
    (
        "only_a_card_behind_a_person_is_released",
        make_attempt,
        {"released_at": NOW, "released_by": "mei", "released_reason": "spoke to the bank"},
    ),
    ("evidence_source_known", make_told_evidence, {"source": "rumour"}),
    ("baseline_orders_explain_no_attempt", make_gateway_order, {"in_baseline": True}),
]


@attacks(*(name for name, _, _ in CASES))
@pytest.mark.parametrize(
    ("name", "make", "wrong"), CASES, ids=[f"{name}-{'-'.join(map(str, c.values()))}" for name, _, c in CASES]
)
def test_a_row_that_breaks_a_promise_is_refused(
    name: str, make: Callable[[], models.Model], wrong: dict[str, Any]
) -> None:
    row = make()
    with refused(name):
        insert_another(row, **wrong) if type(row) in FRESH else insert_copy(row, **wrong)


# A CHECK that comes to NULL lets the row in, so a missing value must be refused by name too.
MISSING: list[Case] = [
    *of_both("target_fits_its_interval", interval="WEEKLY", target=None),
    *of_both("target_fits_its_interval", interval="MONTHLY", target=None),
    ("subscription_invoice_has_its_period", make_period_invoice, {"period_index": None}),
]


@pytest.mark.parametrize(
    ("name", "make", "wrong"), MISSING, ids=[f"{name}-{'-'.join(map(str, c.values()))}" for name, _, c in MISSING]
)
def test_a_missing_value_does_not_slip_through_a_promise(
    name: str, make: Callable[[], models.Model], wrong: dict[str, Any]
) -> None:
    row = make()
    with refused(name):
        insert_another(row, **wrong)


@attacks("refunds_never_exceed_the_attempt")
@pytest.mark.parametrize("refunded", [-1, 1991])
def test_attempt_never_counts_more_refunded_than_it_took(refunded: int) -> None:
    with refused("refunds_never_exceed_the_attempt"):
        update(make_attempt(), amount_refunded_minor=refunded)


@attacks("attempt_amount_positive", "attempt_currency_known", "money_names_its_transaction")
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("attempt_amount_positive", {"amount_minor": 0}),
        ("attempt_currency_known", {"currency": "SGD"}),
        ("money_names_its_transaction", {"state": "succeeded"}),
        ("money_names_its_transaction", {"state": "surplus"}),
        ("money_names_its_transaction", {"state": "reversed"}),
    ],
)
def test_inconsistent_attempt_is_refused_even_without_triggers(name: str, wrong: dict[str, Any]) -> None:
    attempt = make_attempt()
    run("SET LOCAL session_replication_role = replica")
    with refused(name):
        update(attempt, **wrong)


@attacks("attempt_state_known")
def test_unknown_attempt_state_is_refused_even_without_triggers() -> None:
    attempt = make_attempt()
    run("SET LOCAL session_replication_role = replica")
    with refused("attempt_state_known"):
        update(attempt, state="lost")


@pytest.mark.parametrize("left_out", ["released_by", "released_reason"])
def test_released_card_records_who_released_it_and_why(left_out: str) -> None:
    attempt = make_attempt()
    run("SET LOCAL session_replication_role = replica")
    update(attempt, state="needs_review")
    told = {"released_at": NOW, "released_by": "mei", "released_reason": "spoke to the bank"}
    with refused("only_a_card_behind_a_person_is_released"):
        update(attempt, **{**told, left_out: ""})
    update(attempt, **told)
