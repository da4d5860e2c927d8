"""When a page is opened, looked at and over."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.attempts import HOLDS_PLACE, AttemptState
from billing.domain.checkouts import (
    CREATING_FOR,
    EXCLUDES_FOR,
    GRACE,
    LIVE,
    LOOKS_AFTER,
    PAGE_FOR,
    CheckoutState,
    OpeningFacts,
    Shown,
    is_over,
    look_after_failure,
    next_look,
    refuse_opening,
)
from billing.domain.late_money import READ_REPORT_AFTER
from billing.domain.subscriptions import Hold, InvoiceState

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
FINE = OpeningFacts(
    invoice_state=InvoiceState.OPEN,
    hold=None,
    account_stopped=False,
    collected_by_gateway=False,
    amount_refunded_minor=0,
    attempts=(),
    surplus=False,
    card_held=False,
    look_from_at=None,
    live_until=None,
)


def over(state: CheckoutState, shown: Shown | None, after: timedelta, *, page_over: bool = False) -> bool:
    """Whether a look that began so long after the page was made ends it."""
    return is_over(
        state,
        shown,
        page_over=page_over,
        created_at=NOW,
        expires_at=NOW + PAGE_FOR,
        excludes_until=NOW + EXCLUDES_FOR,
        read_at=NOW + after,
    )


@pytest.mark.parametrize("shown", [Shown.NOTHING, Shown.FAILED])
@pytest.mark.parametrize(
    ("state", "ends"), [(CheckoutState.OPEN, PAGE_FOR + GRACE), (CheckoutState.CREATING, CREATING_FOR)]
)
def test_page_on_which_nothing_was_paid_ends_by_its_time(state: CheckoutState, ends: timedelta, shown: Shown) -> None:
    assert not over(state, shown, ends - timedelta(microseconds=1))
    assert over(state, shown, ends)
    assert over(state, shown, timedelta(0), page_over=True)


@pytest.mark.parametrize("shown", [Shown.UNDER_WAY, Shown.UNCLEAR, Shown.PAID, None])
@pytest.mark.parametrize("page_over", [True, False])
def test_page_that_may_be_being_paid_ends_after_a_day_alone(shown: Shown | None, page_over: bool) -> None:
    assert not over(CheckoutState.OPEN, shown, EXCLUDES_FOR - timedelta(microseconds=1), page_over=page_over)
    assert over(CheckoutState.OPEN, shown, EXCLUDES_FOR, page_over=page_over)


@pytest.mark.parametrize("state", sorted(set(CheckoutState) - LIVE))
def test_what_is_over_does_not_end_again(state: CheckoutState) -> None:
    assert not any(over(state, shown, EXCLUDES_FOR, page_over=True) for shown in (*Shown, None))


def test_last_look_is_later_than_what_daily_reports_add() -> None:
    assert LOOKS_AFTER[-1] > max(READ_REPORT_AFTER) + timedelta(days=1)
    assert PAGE_FOR + GRACE in LOOKS_AFTER
    assert list(LOOKS_AFTER) == sorted(set(LOOKS_AFTER))


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=10)), st.booleans())
def test_next_look_is_a_later_step(after: timedelta, paid: bool) -> None:
    at = next_look(NOW, NOW + after, paid=paid)
    if at is None:
        assert after >= (timedelta(hours=24) if paid else LOOKS_AFTER[-1])
    else:
        assert at > NOW + after
        assert at - NOW in LOOKS_AFTER


@given(st.integers(min_value=1, max_value=40), st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=10)))
def test_failed_look_is_repeated_no_later_than_planned(failures: int, after: timedelta) -> None:
    now = NOW + after
    again = look_after_failure(NOW, failures, now)
    planned = next_look(NOW, now)
    assert again > now
    assert planned is None or again <= planned


@pytest.mark.parametrize("state", InvoiceState)
def test_page_is_opened_for_what_is_owed(state: InvoiceState) -> None:
    owed = state in (InvoiceState.OPEN, InvoiceState.UNCOLLECTIBLE)
    assert (refuse_opening(replace(FINE, invoice_state=state), NOW) is None) is owed


@pytest.mark.parametrize("state", AttemptState)
def test_page_is_not_opened_beside_a_charge_that_may_have_the_money(state: AttemptState) -> None:
    refused = refuse_opening(replace(FINE, attempts=(("att_1", state),)), NOW)
    assert (refused is not None) is (state in HOLDS_PLACE)


@pytest.mark.parametrize("hold", Hold)
def test_page_waits_for_a_person_where_the_invoice_does(hold: Hold) -> None:
    payable = hold in (Hold.SUBSCRIPTION_CANCELED, Hold.ALWAYS_REFUSED)
    assert (refuse_opening(replace(FINE, hold=hold), NOW) is None) is payable


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"account_stopped": True}, "stopped or in quarantine"),
        ({"live_until": NOW + timedelta(hours=1)}, "ask again after 2026-03-02T02:00:00Z"),
        ({"collected_by_gateway": True}, "own schedule"),
        ({"surplus": True}, "overpayment"),
        ({"amount_refunded_minor": 1}, "was refunded"),
        ({"card_held": True}, "unexplained payment"),
        ({"look_from_at": NOW + timedelta(minutes=1)}, "ask again after 2026-03-02T01:01:00Z"),
    ],
)
def test_each_fact_alone_refuses_a_page(changes: dict[str, Any], words: str) -> None:
    refused = refuse_opening(replace(FINE, **changes), NOW)
    assert refused is not None
    assert refused.rule == "state"
    assert words in refused.message


def test_page_is_opened_once_the_lists_show_the_last_charge() -> None:
    assert refuse_opening(replace(FINE, look_from_at=NOW), NOW) is None
