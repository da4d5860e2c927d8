"""Every call of the client under every value of every switch of the simulator, in both profiles.

``USUAL`` is what the calls come to under a profile; a ``Case`` names one value of a switch and the calls that come to
something else under it. The registry of switches says which cases there must be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import pytest

from rm_gateway.client import Transport
from rm_gateway.simulator.outcomes import OUTCOMES, OUTCOMES_OF_REFUNDS, Money
from rm_gateway.simulator.process import SimulatorProcess
from rm_gateway.simulator.switches import PROFILES, SwitchError, Switches
from tests.rm_gateway.journey import Journey, World
from tests.rm_gateway.sandbox import Inbox, client_of, receiving

UNKNOWN, DECLINED = "Unknown answer", "Declined"
PATH, SIGNATURE, THROTTLED = "Rejected path", "Rejected signature", "Throttled throttled"
NO_MORE = f"SUCCESS|{THROTTLED}"  # whether the second has passed

USUAL_BY_DEFAULT = {
    "token": "5 posts",
    "charge_customer_order": "SUCCESS",
    "charge_recurring_charge": "SUCCESS",
    "charge": "SUCCESS",
    "charge_same_nonce": UNKNOWN,
    "charge_stale": UNKNOWN,
    "create_tokenized": "made",
    "create_recurring": "made",
    "get_unbound": UNKNOWN,
    "charge_unbound": UNKNOWN,
    "bind": "SUCCESS",
    "bind_recurring": "SUCCESS",
    "charge_notified": "SUCCESS",
    "get_customer": "active",
    "get_unknown": "NotFound",
    "wrong_key": SIGNATURE,
    "get_transaction": "SUCCESS echoed",
    "get_by_order": "SUCCESS",
    "get_by_order_again": "SUCCESS",
    "list_transactions": "all",
    "list_orders": "all",
    "report": "all",
    "refund_full": "FULL_REFUNDED",
    "refund_partial": "PARTIAL_REFUNDED",
    "reverse": "REVERSED",
    "deactivate": "inactive",
    "charge_inactive": UNKNOWN,
    "activate": "active",
    "checkout": "made",
    "checkout_cancel": "CANCELLED",
    "checkout_pay": "over",
    "checkout_again": UNKNOWN,
    "notify": "absent valid",
}
USUAL = {
    "default": USUAL_BY_DEFAULT,
    "hostile": USUAL_BY_DEFAULT
    | {
        "charge_same_nonce": "SUCCESS",
        "charge_stale": "SUCCESS",
        "get_unknown": UNKNOWN,
        "wrong_key": UNKNOWN,
        "get_transaction": "SUCCESS silent",
        "list_orders": "none",
        "refund_partial": DECLINED,
        "checkout_pay": "SUCCESS",
        "notify": "absent absent valid valid",
    },
}


@dataclass(frozen=True)
class Case:
    """One value of a switch; ``also`` are switches without which it would say nothing."""

    value: Any
    words: dict[str, str] = field(default_factory=dict)
    also: dict[str, Any] = field(default_factory=dict)


def case(value: Any, also: dict[str, Any] | None = None, **words: str) -> Case:
    return Case(value, words, also or {})


def every_charge(word: str, notify: str = "none") -> dict[str, str]:
    names = "charge_customer_order charge_recurring_charge charge charge_same_nonce charge_stale charge_notified"
    return dict.fromkeys(names.split(), word) | {"notify": notify}


UNENFORCED: dict[str, Any] = {"nonce_window": 0, "timestamp_window": 0}
PROMPT: dict[str, Any] = {"notify_faults": []}
ALL_DECLINE = {"outcome": {"decline_9010": 1}, **UNENFORCED}

# Any status and code: the pair, what a read makes of it, what anything else makes of it.
REFUSALS = [
    ([400, "INVALID_REQUEST"], UNKNOWN, UNKNOWN),
    ([404, "CUSTOMER_NOT_FOUND"], "NotFound", UNKNOWN),
    ([401, "TOKEN_EXPIRED"], "Rejected token", "Rejected token"),
    ([403, "CLIENT_NO_PERMISSION"], "Rejected permission", "Rejected permission"),
    ([429, "OVERLOAD"], THROTTLED, THROTTLED),
    ([200, "VALIDATION_ERROR"], "Rejected validation", "Rejected validation"),
    ([503, "BANK_ERROR"], UNKNOWN, UNKNOWN),
]


def refusals(*calls: str, reads: str = "", also: dict[str, Any] | None = None) -> list[Case]:
    return [
        Case(pair, dict.fromkeys(calls, act) | dict.fromkeys(reads.split(), read), also or {})
        for pair, read, act in REFUSALS
    ]


NOT_SEEN = {"get_transaction": "NotFound", "get_by_order": "NotFound", "get_by_order_again": "NotFound"}
NOT_SEEN |= {"list_transactions": "none", "report": "none"}
NOT_SEEN |= {"refund_full": UNKNOWN, "refund_partial": UNKNOWN, "reverse": UNKNOWN}

MONEY_BACK = ["refund_full", "refund_partial", "reverse"]
SMALL: dict[str, Any] = {"trickle_interval": 0, "huge_bytes": 1_100_000}
QUICK: dict[str, Any] = {"refund_partial": True, **SMALL}
# Of an answer that never comes only patience can be told: test_an_answer_that_does_not_end in tests/charging.
ENDLESS = {"hangs_before", "hangs_after"}
SLOWLY_ANSWERED = {"trickles_body", "trickles_headers"}
REFUND_OUTCOMES = {name: UNKNOWN for name in OUTCOMES_OF_REFUNDS if name not in ENDLESS | SLOWLY_ANSWERED} | {
    "lost_after": "Unknown connection",
    "dropped_before": "Unknown connection",
    "cut": "Unknown connection",
    "throttled": THROTTLED,
    "validation_error": "Rejected validation",
    "signature_error": SIGNATURE,
    "endpoint_not_found": PATH,
}

NO_PAGE = dict.fromkeys(["checkout_cancel", "checkout_pay"], "none")
CHECKOUT_OUTCOMES = {
    name: {"checkout": word} | (NO_PAGE | {"checkout_again": word} if OUTCOMES[name].money is Money.UNTOUCHED else {})
    for name, word in REFUND_OUTCOMES.items()
}

CASES: dict[str, list[Case]] = {
    "charge_path": [
        case("both"),
        case("customer", charge_recurring_charge=PATH),
        Case(
            "recurring",
            every_charge(PATH)
            | {"charge_recurring_charge": "SUCCESS", "charge_unbound": PATH, "charge_inactive": PATH},
        ),
    ],
    "timestamp_window": [
        case(0, charge_stale="SUCCESS"),
        case(120, charge_stale=UNKNOWN),
        case(86400, charge_stale="SUCCESS"),
    ],
    "timestamp_format": [case("seconds"), case("any")],
    "nonce_window": [
        case(0, charge_same_nonce="SUCCESS"),
        case(120, charge_same_nonce=UNKNOWN),
        case(3600, charge_same_nonce=UNKNOWN),
    ],
    "body_check": [case("recanonicalise"), case("exact")],
    "signature_check": [
        case(True),
        case(False, wrong_key="made", charge_same_nonce="SUCCESS", charge_stale="SUCCESS"),
    ],
    "token_lifetime": [case(60), case(7199), case(2591999)],
    "refresh_rotation": [case(True), case(False)],
    "error_signature": [*refusals("wrong_key"), case([400, "INVALID_REQUEST_SIGNATURE"], wrong_key=SIGNATURE)],
    "error_timestamp": [
        *refusals("charge_stale", also={"timestamp_window": 120}),
        case([400, "INVALID_TIMESTAMP"]),
    ],
    "error_nonce": [*refusals("charge_same_nonce", also={"nonce_window": 120}), case([400, "REQUEST_DUPLICATE"])],
    "error_unbound": [*refusals("charge_unbound", reads="get_unbound"), case(None, get_unbound="inactive")],
    "error_inactive": refusals("charge_inactive"),
    "error_unknown": [*refusals(reads="get_unknown"), case([404, "INVALID_REQUEST"], get_unknown="NotFound")],
    "outcome": [
        case("auto"),
        case(["success", "decline_9010", "reversed"], charge_recurring_charge="FAILED", charge="REVERSED"),
        Case({"auto": 0, "lost_after": 1}, every_charge("Unknown connection", "absent valid"), UNENFORCED | PROMPT),
        Case("throttled", every_charge(THROTTLED), UNENFORCED),
    ],
    "latency": [case(0), case(0.02), case([0.0, 0.01])],
    "execute": [case("start", {"latency": 0.01}), case("end", {"latency": 0.01})],
    "settle_after": [
        Case(0, every_charge("SUCCESS", "absent valid"), UNENFORCED | PROMPT | {"outcome": {"in_process_success": 1}}),
        Case(5, every_charge("IN_PROCESS"), UNENFORCED | {"outcome": {"in_process_success": 1}}),
    ],
    "failed_envelope": [
        Case("success", every_charge("FAILED"), ALL_DECLINE),
        Case("error", every_charge(UNKNOWN), ALL_DECLINE),
    ],
    "error_failed": [
        *[Case(pair, every_charge(act), ALL_DECLINE | {"failed_envelope": "error"}) for pair, _, act in REFUSALS],
        case([400, "PAYMENT_FAIL"]),
    ],
    "error_charge": [
        *[Case(pair, every_charge(act), UNENFORCED | {"outcome": {"error_before": 1}}) for pair, _, act in REFUSALS],
        Case(
            [400, "BANK_ERROR"],
            every_charge(UNKNOWN, "absent valid"),
            UNENFORCED | PROMPT | {"outcome": {"error_after": 1}},
        ),
    ],
    "failed_becomes_success": [
        Case(False, every_charge("FAILED"), ALL_DECLINE),
        Case(True, every_charge("FAILED"), ALL_DECLINE),
    ],
    "long_title": [case("refuse"), case("truncate")],
    "echo": [case(True, get_transaction="SUCCESS echoed"), case(False, get_transaction="SUCCESS silent")],
    "order_currency": [case(True), case(False)],
    "nanoseconds": [case(True), case(False)],
    "trickle_interval": [
        case(1),
        Case(0, every_charge("SUCCESS", "absent valid"), UNENFORCED | PROMPT | {"outcome": {"trickles_body": 1}}),
    ],
    "huge_bytes": [
        case(32 * 1024 * 1024),
        Case(1000, every_charge(UNKNOWN, "absent valid"), UNENFORCED | PROMPT | {"outcome": {"huge": 1}}),
        Case(1_100_000, every_charge(UNKNOWN, "absent valid"), UNENFORCED | PROMPT | {"outcome": {"huge": 1}}),
    ],
    "charge_limit": [
        case(0),
        Case(
            1,
            every_charge(NO_MORE)
            | {"charge_customer_order": "SUCCESS", "charge_recurring_charge": THROTTLED}
            | dict.fromkeys(["charge_unbound", "charge_inactive"], f"{UNKNOWN}|{THROTTLED}"),
            UNENFORCED | {"notify": []},
        ),
    ],
    "orders_visible_after": [
        case(0, list_orders="all"),
        case(1800, list_orders="none"),
        case("never", list_orders="none"),
    ],
    "page_size": [case(1), case(2), case(100)],
    "query_delay": [case(0), Case(60, NOT_SEEN)],
    "order_query_limit": [case(0), case(1, get_by_order_again=THROTTLED), case(3)],
    "order_query_window": [
        case(0, {"order_query_limit": 1}),
        case(5, {"order_query_limit": 1}, get_by_order_again=THROTTLED),
    ],
    "redirect": [
        case("as_chosen"),
        case(
            "failed",
            bind="FAILED CARD_DECLINED",
            bind_recurring="FAILED CARD_DECLINED",
            charge_notified=UNKNOWN,
            notify="none",
        ),
        case("cancelled", bind="CANCELLED", bind_recurring="CANCELLED", charge_notified=UNKNOWN, notify="none"),
        Case(
            "never",
            {"bind": "nowhere", "bind_recurring": "nowhere", "checkout_cancel": "nowhere", "checkout_pay": "nowhere"},
            {"checkout_pays_late": True},
        ),
    ],
    "redirect_reason": [
        case("CARD_DECLINED"),
        case(
            "3DS & more",
            {"redirect": "failed"},
            bind="FAILED 3DS & more",
            bind_recurring="FAILED 3DS & more",
            charge_notified=UNKNOWN,
            notify="none",
        ),
    ],
    "checkout_outcome": [
        case("auto"),
        *[Case(name, CHECKOUT_OUTCOMES[name], SMALL) for name in sorted(CHECKOUT_OUTCOMES)],
        *[Case(name, {}, SMALL) for name in sorted(SLOWLY_ANSWERED)],
    ],
    "checkout_lifetime": [
        case(600),
        case(0, {"checkout_pays_late": False}, checkout_cancel="over", checkout_pay="over"),
    ],
    "checkout_pays_late": [case(True, checkout_pay="SUCCESS"), case(False, checkout_pay="over")],
    "error_order_duplicate": [*refusals("checkout_again"), case([400, "ORDER_ID_DUPLICATE"])],
    "refund_outcome": [
        case("auto"),
        *[Case(name, dict.fromkeys(MONEY_BACK, word), QUICK) for name, word in REFUND_OUTCOMES.items()],
        *[Case(name, {"refund_partial": "PARTIAL_REFUNDED"}, QUICK) for name in sorted(SLOWLY_ANSWERED)],
    ],
    "refund_partial": [case(True, refund_partial="PARTIAL_REFUNDED"), case(False, refund_partial=DECLINED)],
    "reverse_window": [case(900), case(0, reverse=DECLINED)],
    "first_charge": [case("next_target"), case("at_bind", PROMPT, notify="absent absent valid valid")],
    "failed_retries": [case(0), case(3)],
    "recurring_runs": [case(True), case(False)],
    "notify": [
        case("post_json", PROMPT, notify="valid"),
        case("get_flat", PROMPT, notify="absent"),
        case(["get_json"], PROMPT, notify="absent"),
        case(["get_brackets"], PROMPT, notify="absent"),
        case(["post_json", "get_flat"], PROMPT, notify="absent valid"),
        case([], PROMPT, notify="none"),
    ],
    "notify_faults": [
        case([], notify="absent valid"),
        case("duplicate", notify="absent absent valid valid"),
        case("late", notify="absent valid"),
        case("lost", notify="none"),
        case("before_response", notify="absent valid"),
        case("out_of_order", notify="absent valid"),
        case("bad_signature", notify="absent invalid"),
        case("unsigned", notify="absent absent"),
        case(["duplicate", "late"], notify="absent absent valid valid"),
    ],
    "notify_delay": [case(0), case(0.02), case(3, PROMPT, notify="absent valid")],
    "notify_order_suffix": [case(True), case(False)],
}


def closed_set(name: str) -> list[Any] | None:
    """Every value of a switch that takes a few only, as the registry's reader names them; None for the others."""
    with pytest.raises(SwitchError) as caught:
        Switches().changed({name: {"no": "value"}})
    if "true or false is needed" in str(caught.value):
        return [True, False]
    words = re.search(r": one of (.+) is needed", str(caught.value))
    return words[1].split(", ") if words else None


def hashable(value: Any) -> Any:
    return (
        tuple(map(hashable, value))
        if isinstance(value, (list, tuple))
        else value
        if not isinstance(value, dict)
        else str(value)
    )


@pytest.mark.parametrize("name", [entry.name for entry in fields(Switches)])
def test_every_switch_of_the_registry_has_its_cases(name: str) -> None:
    reader = next(entry.metadata["reader"] for entry in fields(Switches) if entry.name == name)
    tried = {hashable(reader(one.value)) for one in CASES[name]}
    assert len(tried) == len(CASES[name]) > 1
    for profile in PROFILES.values():
        assert hashable(reader(profile.get(name, getattr(Switches(), name)))) in tried
    words = OUTCOMES if name == "outcome" else closed_set(name) if name != "redirect_reason" else None
    if name != "outcome":  # each of them is a test of test_contract
        assert {hashable(reader(word)) for word in words or () if word not in ENDLESS} <= tried


def test_there_are_no_cases_of_switches_that_are_gone() -> None:
    assert set(CASES) == {entry.name for entry in fields(Switches)}


@pytest.fixture(scope="module")
def running() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(seed=1) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def transport() -> Iterator[Transport]:
    made = Transport(connect_timeout=5, read_timeout=10, total_timeout=10, max_response_bytes=1_000_000)
    yield made
    made.close()


@pytest.fixture(scope="module")
def letterbox() -> Iterator[tuple[str, Inbox]]:
    with receiving() as address_and_inbox:
        yield address_and_inbox


def is_tried(profile: str, one: Case) -> bool:
    """How a refusal looks says the same under both profiles: under the second, one of them is enough."""
    return profile == "default" or one.value not in [pair for pair, _, _ in REFUSALS[1:]]


EVERY_CASE = [
    pytest.param(profile, name, one, id=f"{profile}-{name}={one.value}")
    for profile in PROFILES
    for name, cases in CASES.items()
    for one in cases
    if is_tried(profile, one)
]


@pytest.mark.slow
@pytest.mark.parametrize(("profile", "name", "one"), EVERY_CASE)
def test_every_call_under_every_value_of_every_switch(
    running: SimulatorProcess, transport: Transport, letterbox: tuple[str, Inbox], profile: str, name: str, one: Case
) -> None:
    url, inbox = letterbox
    running.reset()
    running.use_profile(profile)
    inbox.clear()
    client = client_of(running, own={"transport": transport})
    client.ensure_token()
    world = World.make(client, running)
    switches = running.set(**({"notify_delay": 0} | one.also | {name: one.value}))
    expected = USUAL[profile] | one.words
    journey = Journey(running, transport, world, url, inbox, switches["token_lifetime"])
    journey.notifies = 0 if expected["notify"] == "none" else len(expected["notify"].split())
    words = journey.run()
    assert list(words) == list(expected)
    odd = {call: word for call, word in words.items() if word not in expected[call].split("|")}
    assert odd == {}, {call: expected[call] for call in odd}
    moved = {"SUCCESS", "IN_PROCESS", "REVERSED"}
    charged = [word for call, word in words.items() if call.startswith("charge")]
    told = sum(word in moved for word in charged)
    taken = sum(
        charge["status"] != "FAILED" and charge["path"] not in ("schedule", "checkout") for charge in running.charges()
    )
    assert told <= taken - len(world.paid) <= told + sum(word.startswith("Unknown") for word in charged)
