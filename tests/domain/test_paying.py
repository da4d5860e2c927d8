"""What a customer can do about an invoice: one decision, for the page and for the act."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.arming import Refusal
from billing.domain.attempts import UNRESOLVED, AttemptState
from billing.domain.paying import PayerFacts, Standing, standing
from billing.domain.subscriptions import CardState, Hold, InvoiceState

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=3)
DECLINED = PayerFacts(
    state=InvoiceState.OPEN,
    state_reason="",
    hold=None,
    proposed=False,
    amount_refunded_minor=0,
    attempts=[AttemptState.DECLINED],
    next_attempt_at=LATER,
    refusal=None,
    card_state=CardState.ACTIVE,
    card_held=False,
    card_is_busy=False,
    card_may_be_tried=True,
    charges_nothing=False,
    page_is_open=False,
)
S = Standing


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, S.PAYABLE),
        ({"state": InvoiceState.UNCOLLECTIBLE, "next_attempt_at": None}, S.PAYABLE),
        ({"state": InvoiceState.UNCOLLECTIBLE, "state_reason": "tries_exhausted"}, S.PAYABLE),
        ({"state": InvoiceState.UNCOLLECTIBLE, "state_reason": "written_off"}, S.NOT_OWED),
        ({"state": InvoiceState.PAID}, S.NOT_OWED),
        ({"state": InvoiceState.VOID}, S.NOT_OWED),
        ({"attempts": [AttemptState.SENDING]}, S.PROCESSING),
        ({"attempts": [AttemptState.DECLINED, AttemptState.UNKNOWN]}, S.BEING_CHECKED),
        ({"attempts": [AttemptState.IN_PROCESS]}, S.BEING_CHECKED),
        ({"attempts": [AttemptState.NEEDS_REVIEW]}, S.BEING_CHECKED),
        ({"attempts": [AttemptState.SURPLUS]}, S.IN_REVIEW),
        ({"hold": Hold.REVERSED}, S.IN_REVIEW),
        ({"hold": Hold.SUBSCRIPTION_CANCELED, "next_attempt_at": None}, S.PAYABLE),
        ({"hold": Hold.SUBSCRIPTION_CANCELED, "proposed": True}, S.IN_REVIEW),
        ({"amount_refunded_minor": 1}, S.IN_REVIEW),
        ({"card_held": True}, S.IN_REVIEW),
        ({"charges_nothing": True}, S.NOT_NOW),
        ({"charges_nothing": True, "next_attempt_at": NOW}, S.NOT_NOW),
        ({"card_is_busy": True}, S.BEHIND_ANOTHER),
        ({"next_attempt_at": NOW}, S.PROCESSING),
        ({"refusal": Refusal.LISTS_MAY_LAG}, S.PROCESSING),
        ({"refusal": Refusal.NO_CARD}, S.PAYABLE),
        ({"page_is_open": True}, S.ON_A_PAGE),
        ({"page_is_open": True, "next_attempt_at": NOW}, S.ON_A_PAGE),
        ({"card_state": None}, S.CARD_NEEDED),
        ({"card_state": CardState.INACTIVE}, S.CARD_NEEDED),
        ({"card_may_be_tried": False}, S.CARD_NEEDED),
    ],
)
def test_where_an_invoice_stands(changes: dict[str, Any], found: Standing) -> None:
    assert standing(replace(DECLINED, **changes), NOW) is found


@given(
    st.builds(
        PayerFacts,
        state=st.sampled_from(InvoiceState),
        state_reason=st.sampled_from(["", "written_off", "tries_exhausted"]),
        hold=st.none() | st.sampled_from(Hold),
        proposed=st.booleans(),
        amount_refunded_minor=st.integers(0, 2),
        attempts=st.lists(st.sampled_from(AttemptState), max_size=3),
        next_attempt_at=st.none() | st.sampled_from([NOW, LATER]),
        refusal=st.none() | st.sampled_from(Refusal),
        card_state=st.none() | st.sampled_from(CardState),
        card_held=st.booleans(),
        card_is_busy=st.booleans(),
        card_may_be_tried=st.booleans(),
        charges_nothing=st.booleans(),
        page_is_open=st.booleans(),
    )
)
def test_nothing_is_payable_that_may_be_paid_or_that_a_person_keeps(facts: PayerFacts) -> None:
    if standing(facts, NOW) is Standing.PAYABLE:
        assert facts.state in (InvoiceState.OPEN, InvoiceState.UNCOLLECTIBLE)
        assert facts.state_reason != "written_off"
        assert not set(facts.attempts) & (UNRESOLVED | {AttemptState.SURPLUS})
        assert facts.hold in (None, Hold.SUBSCRIPTION_CANCELED)
        assert [facts.proposed, facts.card_held, facts.card_is_busy, facts.charges_nothing] == [False] * 4
        assert facts.card_state is CardState.ACTIVE
        assert facts.card_may_be_tried
        assert not facts.page_is_open
