"""Everything about the gateway that is known to vary, or is not known at all, can be chosen.

A row per fact: what is usual, and what else must be possible. A choice is a dict of switches, the name of an outcome of
a charge, or a change of the clock. Switches beyond these are named in ``OURS``, so that none is without a reason.
"""

from __future__ import annotations

from typing import Any

import pytest

from rm_gateway.simulator.outcomes import AMOUNTS, OUTCOMES, OUTCOMES_OF_REFUNDS, Answer, Money
from rm_gateway.simulator.process import SimulatorProcess
from rm_gateway.simulator.switches import Switches

Choice = dict[str, Any] | str

USUAL: dict[str, dict[str, Any]] = {
    "which paths charge": {"charge_path": "both"},
    "freshness of a request": {"timestamp_window": 120, "nonce_window": 120, "timestamp_format": "seconds"},
    "what the body's signature is checked against": {"body_check": "recanonicalise"},
    "life of a token": {"token_lifetime": 2591999, "refresh_rotation": True},
    "what becomes of a charge": {"outcome": "auto"},
    "how long a charge takes": {"latency": [0, 0]},
    "whether its answer arrives": {"outcome": "auto"},
    "what the list of orders shows": {"orders_visible_after": 0, "page_size": 100},
    "how a failed charge is wrapped": {"failed_envelope": "success"},
    "customers that cannot be charged": {
        "error_unbound": [400, "INVALID_REQUEST"],
        "error_inactive": [400, "INVALID_REQUEST"],
        "error_unknown": [404, "INVALID_REQUEST"],
    },
    "notifies": {"notify": ["post_json", "get_flat"], "notify_faults": []},
    "the way back from the page": {"redirect": "as_chosen"},
    "runs of the gateway's own": {"recurring_runs": True, "first_charge": "next_target", "failed_retries": 3},
    "refunds of a part": {"refund_partial": True},
    "what becomes of a refund or reversal, and whether its answer arrives": {"refund_outcome": "auto"},
    "what becomes of the call for a checkout, and whether its answer arrives": {"checkout_outcome": "auto"},
    "how long a checkout can be paid": {"checkout_lifetime": 600, "checkout_pays_late": False},
    "how long a payment can be reversed": {"reverse_window": 900},
    "limits of rate": {"order_query_limit": 3, "order_query_window": 5, "charge_limit": 0},
    "when a payment can be queried": {"query_delay": 0},
    "the clock": {},
}
OTHERS: dict[str, list[Choice]] = {
    "which paths charge": [{"charge_path": "customer"}, {"charge_path": "recurring"}],
    "freshness of a request": [{"timestamp_window": 0}, {"nonce_window": 0}, {"timestamp_format": "any"}],
    "what the body's signature is checked against": [{"body_check": "exact"}],
    "life of a token": [{"token_lifetime": 1}, {"token_lifetime": 7199}, {"refresh_rotation": False}],
    "what becomes of a charge": [
        *["success", "decline_9010", "decline_51", "in_process_success", "in_process_failed", "throttled"],
        *["http_500_before", "http_500_after", "unavailable_503", "html_502", "html_502_after", "html_200_after"],
        *["truncated", "empty", "huge", "error_before", "error_after"],
        {"error_charge": [418, "ANY_CODE"]},
    ],
    "how long a charge takes": [
        *[{"latency": 1.5}, {"latency": "22-62"}],  # type: ignore[list-item]
        *["hangs_before", "hangs_after", "trickles_body", "trickles_headers"],
    ],
    "whether its answer arrives": ["dropped_before", "lost_after", "cut"],
    "what the list of orders shows": [
        *[{"orders_visible_after": 1800}, {"orders_visible_after": "never"}, {"page_size": 1}],  # type: ignore[list-item]
        *[{"failed_becomes_success": True, "settle_after": 60}, "failed_then_success"],  # type: ignore[list-item]
    ],
    "how a failed charge is wrapped": [
        {"failed_envelope": "error", "error_failed": [500, "ANY_CODE"]},
        "failed_as_error",
    ],
    "customers that cannot be charged": [
        {"error_unbound": [404, "ANY_CODE"], "error_inactive": [403, "ANY_CODE"], "error_unknown": [500, "ANY_CODE"]},
        {"error_unbound": None},
    ],
    "notifies": [
        *[{"notify": [encoding]} for encoding in ("post_json", "get_flat", "get_json", "get_brackets")],
        *[{"notify_faults": [fault]} for fault in ("duplicate", "late", "lost", "before_response", "out_of_order")],
        *[{"notify_faults": ["bad_signature"]}, {"notify_faults": ["unsigned"]}],
    ],
    "the way back from the page": [
        {"redirect": "failed", "redirect_reason": "ANY_REASON"},
        *[{"redirect": "cancelled"}, {"redirect": "never"}],
    ],
    "runs of the gateway's own": [{"first_charge": "at_bind"}, {"failed_retries": 0}, {"recurring_runs": False}],
    "refunds of a part": [{"refund_partial": False}],
    "what becomes of a refund or reversal, and whether its answer arrives": [
        {"refund_outcome": name} for name in OUTCOMES_OF_REFUNDS
    ],
    "what becomes of the call for a checkout, and whether its answer arrives": [
        {"checkout_outcome": name} for name in OUTCOMES_OF_REFUNDS
    ],
    "how long a checkout can be paid": [{"checkout_lifetime": 0}, {"checkout_pays_late": True}],
    "how long a payment can be reversed": [{"reverse_window": 0}, {"reverse_window": 86400}],
    "limits of rate": [{"order_query_limit": 0}, {"charge_limit": 10}],
    "when a payment can be queried": [{"query_delay": 30}],
    "the clock": [],
}
OURS = {
    "signature_check": "a test of something else may leave signatures out",
    "error_signature": "its status is not documented",
    "error_timestamp": "whether it is enforced, and how it is refused, is not proven",
    "error_nonce": "its code is not documented",
    "execute": "when, within the latency, the money moves",
    "long_title": "what becomes of one is not documented",
    "error_order_duplicate": "its status is not documented",
    "echo": "that titles come back is presumed",
    "order_currency": "the published example has none",
    "nanoseconds": "both forms were seen",
    "trickle_interval": "so that a test can be quick",
    "huge_bytes": "so that a test can be small",
    "notify_delay": "how late is late",
    "notify_order_suffix": "both forms are plausible",
}


@pytest.mark.parametrize("fact", OTHERS)
def test_what_is_usual_is_the_default_and_the_rest_can_be_chosen(fact: str) -> None:
    default = Switches()
    assert default.changed(USUAL[fact]) == default
    for choice in OTHERS[fact]:
        if isinstance(choice, str):
            assert choice in OUTCOMES
            assert choice in AMOUNTS.values() or choice == "success"
        else:
            assert default.changed(choice) != default


def test_the_clock_can_be_offset_virtual_and_advanced(simulator: SimulatorProcess) -> None:
    start = simulator.clock()
    assert (start["virtual"], start["skew"], start["advanced"]) == (None, 0, 0)
    assert simulator.clock(skew=-300)["skew"] == -300
    assert simulator.clock(virtual="2026-01-31T00:00:00Z")["now"].startswith("2026-01-31T00:00:00")
    assert simulator.clock(advance=86400)["now"].startswith("2026-02-01T00:00:00")
    assert simulator.clock(real=True)["virtual"] is None


def test_no_switch_is_without_a_reason() -> None:
    chosen = {name for choices in OTHERS.values() for choice in choices if isinstance(choice, dict) for name in choice}
    chosen |= {name for usual in USUAL.values() for name in usual}
    assert set(USUAL) == set(OTHERS)
    assert chosen & set(OURS) == set()
    assert chosen | set(OURS) == set(Switches().as_dict())


def test_each_way_to_answer_comes_with_the_money_taken() -> None:
    taken = {outcome.answer for outcome in OUTCOMES.values() if outcome.money is not Money.UNTOUCHED}
    assert taken == set(Answer) - {Answer.REDIRECT}  # a redirect to itself would not be one if it had acted
