"""The client against the simulator: every outcome of a charge and every switch, in both profiles.

What the client says is compared with the simulator's ledger, which is the truth.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from rm_gateway.client import (
    ChargePath,
    Client,
    NewCustomer,
    NewRecurringCustomer,
    PreparedRequest,
    RecurringInterval,
    RefundKind,
    Settings,
)
from rm_gateway.errors import (
    Declined,
    GatewayError,
    NotFound,
    Rejected,
    Throttled,
    Unknown,
)
from rm_gateway.models import CustomerInfo, Transaction, TransactionStatus
from rm_gateway.notifications import BindOutcome, parse_redirect
from rm_gateway.simulator.outcomes import OUTCOMES
from rm_gateway.simulator.process import SimulatorProcess

NEW = NewCustomer("siti@example.com", " Siti & <co>", "60", "123456789", "Gym", "Monthly", "https://shop.example/?a=1")
HASTY = {"read_timeout_seconds": 0.5, "total_timeout_seconds": 0.5}


@pytest.fixture(scope="module", params=["default", "hostile"])
def running(request: pytest.FixtureRequest) -> Iterator[SimulatorProcess]:
    with SimulatorProcess(profile=request.param, seed=1) as simulator:
        simulator.profile = request.param  # type: ignore[attr-defined]
        yield simulator


@pytest.fixture
def simulator(running: SimulatorProcess) -> SimulatorProcess:
    running.reset()
    running.set(error_unbound=None, order_query_limit=0, trickle_interval=0.1)
    return running


@pytest.fixture
def make(simulator: SimulatorProcess) -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def of(**changes: Any) -> Client:
        account = simulator.credentials
        values: dict[str, Any] = {
            "oauth_url": account.oauth_url,
            "api_url": account.api_url,
            "client_id": account.client_id,
            "client_secret": account.client_secret,
            "private_key_pem": account.private_key,
            "store_id": account.store_id,
            "read_timeout_seconds": 10,
            "total_timeout_seconds": 10,
        }
        clients.append(Client(Settings(**(values | changes))))
        clients[-1].ensure_token()
        return clients[-1]

    yield of
    for client in clients:
        client.close()


def bound(client: Client, simulator: SimulatorProcess) -> CustomerInfo:
    customer = client.create_tokenized_customer(NEW)
    location = simulator.bind(customer.payment_url)
    hint = parse_redirect(location.partition("?")[2])
    assert (hint.customer_id, hint.claimed_outcome) == (customer.customer_id, BindOutcome.SUCCESS)
    info = client.get_customer(customer.customer_id)
    assert info.is_active
    return info


def charge_of(client: Client, customer: CustomerInfo, **changes: Any) -> PreparedRequest:
    values: dict[str, Any] = {
        "customer_id": customer.customer_id,
        "amount_minor": 4990,
        "currency": "MYR",
        "title": "Gym fee AB12CD34EF56",
        "description": "AB12CD34EF56 June",
        "timestamp": int(time.time()),
    }
    return client.prepare_charge(**(values | changes))


def posts(simulator: SimulatorProcess) -> int:
    return sum(simulator.requests()["posts"].values())


@pytest.mark.parametrize("name", sorted(OUTCOMES))
def test_what_the_client_says_of_a_charge_is_true_in_the_ledger(
    simulator: SimulatorProcess, make: Callable[..., Client], name: str
) -> None:
    customer = bound(make(), simulator)
    client = make(**HASTY) if name.startswith(("hang", "trickle")) else make()
    simulator.set(outcome=[name])
    before = posts(simulator)
    prepared = charge_of(client, customer)
    started = time.monotonic()
    try:
        result: Transaction | GatewayError = client.send(prepared)
    except GatewayError as error:
        result = error
    assert time.monotonic() - started < 2.5
    assert posts(simulator) - before == 1
    charges = simulator.charges()
    if isinstance(result, Transaction):
        told = {charge["transaction_id"]: charge for charge in charges}
        assert result.transaction_id in told or name == "last_success"
    elif not result.may_have_acted:
        assert charges == []
    if charges and not isinstance(result, Transaction):
        assert result.may_have_acted


def test_every_class_of_error_is_reached(simulator: SimulatorProcess, make: Callable[..., Client]) -> None:
    patient, hasty = make(), make(**HASTY)
    reached = set()
    for name in sorted(set(OUTCOMES) - {"hangs_before", "trickles_body", "trickles_headers"}):
        client = hasty if name == "hangs_after" else patient
        client.ensure_token()
        customer = bound(client, simulator)
        simulator.set(outcome=[name])
        try:
            reached.add(str(client.send(charge_of(client, customer)).status))
        except GatewayError as error:
            reached.add(type(error).__name__ + error.kind)
    assert {"Rejectedtoken", "Rejectedsignature", "Rejectedvalidation", "Rejectedpath", "Throttledthrottled"} <= reached
    assert {"Unknownanswer", "Unknownconnection", "Unknowntimeout"} <= reached
    assert {"SUCCESS", "FAILED", "IN_PROCESS", "REVERSED", "UNRECOGNISED"} <= reached


def test_a_whole_life_of_a_card(simulator: SimulatorProcess, make: Callable[..., Client]) -> None:
    client = make()
    simulator.set(orders_visible_after=0, refund_partial=True, page_size=2)
    customer = bound(client, simulator)
    paid = [client.send(charge_of(client, customer, charge_path=path)) for path in [*ChargePath, *ChargePath, None]]
    assert {(t.status, t.amount_minor, t.currency) for t in paid} == {(TransactionStatus.SUCCESS, 4990, "MYR")}
    orders = client.list_orders(customer.customer_id)
    assert [order.transaction_id for order in orders] == [t.transaction_id for t in paid]
    assert [order.order_id for order in orders] == [t.order_additional_data for t in paid]
    first, second, third, *_ = paid
    assert client.get_transaction(first.transaction_id).order_id == first.order_id
    assert client.get_transaction_by_order(first.order_id).transaction_id == first.transaction_id
    listed = client.list_transactions(limit=3)
    assert len(listed.transactions) == 3
    assert len(client.list_transactions(limit=3, cursor=listed.next_cursor).transactions) == 2

    def refund(transaction: Transaction, kind: RefundKind, amount_minor: int) -> Transaction:
        prepared = client.prepare_refund(
            transaction_id=transaction.transaction_id,
            kind=kind,
            amount_minor=amount_minor,
            currency="MYR",
            reason="test",
            timestamp=int(time.time()),
        )
        return client.send_refund(prepared)

    part = refund(first, RefundKind.PARTIAL, 990)
    assert (part.status, part.balance_minor) == (TransactionStatus.PARTIAL_REFUNDED, 4000)
    assert refund(second, RefundKind.FULL, 4990).status is TransactionStatus.FULL_REFUNDED
    with pytest.raises(Unknown) as caught:
        refund(second, RefundKind.FULL, 4990)
    assert caught.value.code == "PAYMENT_FULLY_REFUNDED"
    simulator.set(refund_partial=False)
    with pytest.raises(Declined):
        refund(third, RefundKind.PARTIAL, 10)
    reverse = client.prepare_reverse(order_id=third.order_id, timestamp=int(time.time()))
    assert client.send_reverse(reverse).status is TransactionStatus.REVERSED
    report = client.reconciliation_report(datetime.now(timezone(timedelta(hours=8))).date())
    assert {line.transaction_id for line in report} >= {paid[3].transaction_id, paid[4].transaction_id}
    assert {line.gross_minor for line in report} == {4990}
    assert not client.set_active(customer.customer_id, active=False).is_active
    assert client.set_active(customer.customer_id, active=True).is_active


def test_a_recurring_customer_is_known_as_one(simulator: SimulatorProcess, make: Callable[..., Client]) -> None:
    client = make()
    new = NewRecurringCustomer(NEW, 120, RecurringInterval.MONTHLY, "-1", 12, "https://shop.example/notify")
    made = client.create_recurring_customer(new)
    assert made.is_recurring
    assert made.recurring is not None
    assert (made.recurring.interval, made.recurring.target, made.recurring.repetitions) == ("MONTHLY", "-1", 12)
    assert made.raw["name"] == NEW.name


def test_what_does_not_exist_is_not_found(simulator: SimulatorProcess, make: Callable[..., Client]) -> None:
    client = make()
    with pytest.raises(NotFound):
        client.get_transaction("261121013914600430011967")
    with pytest.raises((NotFound, Unknown)):
        client.get_customer("1795225154273723505")


def test_dead_tokens_are_replaced_for_reads_and_told_for_charges(
    simulator: SimulatorProcess, make: Callable[..., Client]
) -> None:
    client = make()
    customer = bound(client, simulator)
    simulator.expire_tokens()
    assert client.get_customer(customer.customer_id).is_active
    simulator.expire_tokens()
    prepared = charge_of(client, customer)
    with pytest.raises(Rejected) as caught:
        client.send(prepared)
    assert caught.value.kind == "token"
    assert not client.has_token()
    client.ensure_token()
    assert client.send(charge_of(client, customer)).status is TransactionStatus.SUCCESS


def test_a_key_that_rm_does_not_know_is_told_as_such(simulator: SimulatorProcess, make: Callable[..., Client]) -> None:
    from tests.rm_gateway.conftest import PRIVATE_PEM

    simulator.set(error_signature=[400, "INVALID_REQUEST_SIGNATURE"])
    with pytest.raises(Rejected) as caught:
        make(private_key_pem=PRIVATE_PEM).create_tokenized_customer(NEW)
    assert caught.value.kind == "signature"


def test_a_nonce_used_twice_is_unknown(simulator: SimulatorProcess, make: Callable[..., Client]) -> None:
    simulator.set(nonce_window=120, error_nonce=[400, "REQUEST_DUPLICATE"])
    client = make()
    prepared = charge_of(client, bound(client, simulator))
    client.send(prepared)
    with pytest.raises(Unknown):
        client.send(prepared)
    assert len(simulator.charges()) == 1


def test_the_limit_of_queries_by_order_is_throttling(simulator: SimulatorProcess, make: Callable[..., Client]) -> None:
    simulator.set(order_query_limit=3)
    client = make()
    paid = client.send(charge_of(client, bound(client, simulator)))
    for _ in range(3):
        client.get_transaction_by_order(paid.order_id)
    with pytest.raises(Throttled):
        client.get_transaction_by_order(paid.order_id)


SWITCHES: list[dict[str, Any]] = [
    {"timestamp_format": "any"},
    {"body_check": "exact"},
    {"nonce_window": 0, "timestamp_window": 0},
    {"refresh_rotation": False},
    {"token_lifetime": 60},
    {"echo": False},
    {"order_currency": False},
    {"nanoseconds": True},
    {"nanoseconds": False},
    {"page_size": 1},
    {"latency": 0.2},
    {"latency": [0.05, 0.1]},
    {"execute": "end"},
    {"redirect": "never", "error_unbound": [400, "INVALID_REQUEST"]},
    {"redirect": "failed"},
    {"redirect": "cancelled"},
]


@pytest.mark.parametrize("switches", SWITCHES, ids=repr)
def test_charges_work_under_every_switch(
    simulator: SimulatorProcess, make: Callable[..., Client], switches: dict[str, Any]
) -> None:
    client = make()
    customer = bound(client, simulator) if "redirect" not in switches else client.create_tokenized_customer(NEW)
    simulator.set(orders_visible_after=0, **switches)
    if "redirect" in switches:
        location = simulator.bind(customer.payment_url)
        outcome = parse_redirect(location.partition("?")[2]).claimed_outcome if location else None
        expected = {"never": None, "failed": BindOutcome.FAILED, "cancelled": BindOutcome.CANCELLED}
        assert outcome == expected[switches["redirect"]]
    if not client.get_customer(customer.customer_id).is_active:
        with pytest.raises(Unknown):
            client.send(charge_of(client, customer))
        assert simulator.charges() == []
        return
    texts = {"title": "Tom's <b> & é AB12CD34EF56", "description": "a/b & ü"}
    paid = client.send(charge_of(client, customer, **texts))
    assert paid.status is TransactionStatus.SUCCESS
    client.send(charge_of(client, customer))
    assert len(client.list_orders(customer.customer_id)) == 2


@pytest.mark.parametrize("path", ["customer", "recurring"])
def test_the_path_that_rm_does_not_have_is_a_configuration_error(
    simulator: SimulatorProcess, make: Callable[..., Client], path: str
) -> None:
    simulator.set(charge_path=path)
    client = make()
    customer = bound(client, simulator)
    right, wrong = list(ChargePath) if path == "customer" else list(reversed(ChargePath))
    assert client.send(charge_of(client, customer, charge_path=right)).status is TransactionStatus.SUCCESS
    with pytest.raises(Rejected) as caught:
        client.send(charge_of(client, customer, charge_path=wrong))
    assert caught.value.kind == "path"
    assert len(simulator.charges()) == 1
