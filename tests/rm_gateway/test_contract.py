"""The client against the simulator in both profiles: every outcome of a charge, every class of error, whole lives.

What the client says is compared with the simulator's ledger, which is the truth. Every switch: ``test_switches``.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from rm_gateway import errors
from rm_gateway.client import (
    ChargePath,
    Client,
    NewRecurringCustomer,
    PreparedRequest,
    RecurringInterval,
    RefundKind,
)
from rm_gateway.errors import Declined, GatewayError, NotFound, Rejected, Throttled, Unknown
from rm_gateway.models import Transaction, TransactionStatus
from rm_gateway.simulator.outcomes import OUTCOMES
from rm_gateway.simulator.process import SimulatorProcess
from tests.rm_gateway.relay import Relay
from tests.rm_gateway.sandbox import NEW, bound, charge_of, client_of, posts

HASTY = {"read_timeout_seconds": 0.4, "total_timeout_seconds": 0.4}
PATHS = {"default": ChargePath.CUSTOMER_ORDER, "hostile": ChargePath.RECURRING_CHARGE}
Make = Callable[..., Client]


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
def make(simulator: SimulatorProcess) -> Iterator[Make]:
    clients: list[Client] = []

    def of(**changes: Any) -> Client:
        clients.append(client_of(simulator, **changes))
        clients[-1].ensure_token()
        return clients[-1]

    yield of
    for client in clients:
        client.close()


@pytest.fixture(scope="module")
def relay(running: SimulatorProcess) -> Iterator[Relay]:
    made = Relay(running.port)
    yield made
    made.close()


@pytest.mark.parametrize("name", sorted(OUTCOMES))
def test_charge_is_sent_once_and_its_result_matches_the_ledger(
    simulator: SimulatorProcess, make: Make, relay: Relay, name: str
) -> None:
    customer = bound(make(), simulator)
    patience = HASTY if name.startswith(("hang", "trickle")) else {}
    client = make(api_url=f"http://127.0.0.1:{relay.port}/v3", **patience)
    simulator.set(outcome=[name])
    before = posts(simulator)
    prepared = charge_of(client, customer, charge_path=PATHS[simulator.profile])  # type: ignore[attr-defined]
    relay.clear()
    started = time.monotonic()
    try:
        result: Transaction | GatewayError = client.send(prepared)
    except GatewayError as error:
        result = error
    assert time.monotonic() - started < 2.5
    check_bytes(relay, prepared)
    assert posts(simulator) - before == 1
    charges = simulator.charges()
    if isinstance(result, Transaction):
        told = {charge["transaction_id"]: charge for charge in charges}
        assert result.transaction_id in told
    elif not result.may_have_acted:
        assert charges == []
    if charges and not isinstance(result, Transaction):
        assert result.may_have_acted


def check_bytes(relay: Relay, prepared: PreparedRequest) -> None:
    """What the client put on the wire is this one request and no byte more."""
    head, _, body = bytes(relay.seen).partition(b"\r\n\r\n")
    line, *rest = head.decode().split("\r\n")
    address = f"http://127.0.0.1:{relay.port}"
    headers = dict(entry.split(": ", 1) for entry in rest)
    assert line == f"POST {prepared.url.removeprefix(address)} HTTP/1.1"
    assert body == prepared.body
    assert headers.pop("Authorization").startswith("Bearer ")
    assert headers.pop("User-Agent") == "rm-gateway-python"
    assert headers == {
        "Host": address.removeprefix("http://"),
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Content-Length": str(len(prepared.body)),
        "Content-Type": "application/json",
        "X-Nonce-Str": prepared.nonce,
        "X-Timestamp": str(prepared.timestamp),
        "X-Signature": f"sha256 {prepared.signature}",
    }


def send_under(outcome: str, **settings: Any) -> Callable[[SimulatorProcess, Make, Relay], object]:
    """A way to send one charge that has this outcome."""

    def act(simulator: SimulatorProcess, make: Make, relay: Relay) -> object:
        client = make(**settings)
        customer = bound(client, simulator)
        simulator.set(outcome=[outcome])
        return client.send(charge_of(client, customer))

    return act


def send_to_a_closed_port(simulator: SimulatorProcess, make: Make, relay: Relay) -> object:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = make(api_url=f"http://127.0.0.1:{port}/v3")
    return client.send(charge_of(client, bound(make(), simulator)))


def send_too_late(simulator: SimulatorProcess, make: Make, relay: Relay) -> object:
    client = make()
    return client.send(charge_of(client, bound(client, simulator), timestamp=int(time.time()) - 30))


def reverse_too_late(simulator: SimulatorProcess, make: Make, relay: Relay) -> object:
    client = make()
    paid = client.send(charge_of(client, bound(client, simulator)))
    simulator.set(reverse_window=0)
    return client.send_reverse(client.prepare_reverse(order_id=paid.order_id, timestamp=int(time.time())))


def lose_the_second_page(simulator: SimulatorProcess, make: Make, relay: Relay) -> object:
    client = make(api_url=f"http://127.0.0.1:{relay.port}/v3")
    customer = bound(make(), simulator)
    for _ in range(2):
        client.send(charge_of(client, customer))
    simulator.set(orders_visible_after=0, page_size=1)
    relay.clear()
    relay.let_through = 1
    return client.list_orders(customer.customer_id)


WAYS: dict[type[GatewayError], dict[str, Callable[[SimulatorProcess, Make, Relay], object]]] = {
    errors.NotSent: {"connect": send_to_a_closed_port},
    errors.RequestExpired: {"expired": send_too_late},
    errors.TokenUnavailable: {"token": lambda _, make, __: make(client_secret="wrong")},
    errors.Rejected: {
        "token": send_under("token_dead"),
        "signature": send_under("signature_error"),
        "validation": send_under("validation_error"),
        "path": send_under("endpoint_not_found"),
    },
    errors.Throttled: {"throttled": send_under("throttled")},
    errors.Declined: {"": reverse_too_late},
    errors.NotFound: {"": lambda _, make, __: make().get_transaction("261121013914600430011967")},
    errors.IncompleteRead: {"connection": lose_the_second_page},
    errors.Unknown: {
        "answer": send_under("system_error_after"),
        "connection": send_under("lost_after"),
        "timeout": send_under("hangs_after", **HASTY),
    },
}


@pytest.mark.parametrize(("kind_of_error", "kind"), [(error, kind) for error, kinds in WAYS.items() for kind in kinds])
def test_each_class_of_error_is_reached(
    simulator: SimulatorProcess, make: Make, relay: Relay, kind_of_error: type[GatewayError], kind: str
) -> None:
    with pytest.raises(GatewayError) as caught:
        WAYS[kind_of_error][kind](simulator, make, relay)
    assert (type(caught.value), caught.value.kind) == (kind_of_error, kind)


def test_no_class_of_error_is_left_out() -> None:
    classes, found = [GatewayError], set()
    while classes:
        found |= set(below := classes.pop().__subclasses__())
        classes += below
    assert set(WAYS) == {error for error in found if error.__module__ == errors.__name__}


STATUSES = {
    "success": TransactionStatus.SUCCESS,
    "decline_9010": TransactionStatus.FAILED,
    "in_process_forever": TransactionStatus.IN_PROCESS,
    "reversed": TransactionStatus.REVERSED,
    "odd_status": TransactionStatus.UNRECOGNISED,
}


@pytest.mark.parametrize("name", STATUSES)
def test_each_status_of_a_charge_is_returned(simulator: SimulatorProcess, make: Make, relay: Relay, name: str) -> None:
    transaction = send_under(name)(simulator, make, relay)
    assert isinstance(transaction, Transaction)
    assert transaction.status is STATUSES[name]


def test_a_whole_life_of_a_card(simulator: SimulatorProcess, make: Make) -> None:
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


def test_a_recurring_customer_is_known_as_one(simulator: SimulatorProcess, make: Make) -> None:
    client = make()
    new = NewRecurringCustomer(NEW, 120, RecurringInterval.MONTHLY, "-1", 12, "https://shop.example/notify")
    made = client.create_recurring_customer(new)
    assert made.is_recurring
    assert made.recurring is not None
    assert (made.recurring.interval, made.recurring.target, made.recurring.repetitions) == ("MONTHLY", "-1", 12)
    assert made.raw["name"] == NEW.name


def test_what_does_not_exist_is_not_found(simulator: SimulatorProcess, make: Make) -> None:
    client = make()
    with pytest.raises(NotFound):
        client.get_transaction("261121013914600430011967")
    with pytest.raises((NotFound, Unknown)):
        client.get_customer("1795225154273723505")


def test_dead_tokens_are_replaced_for_reads_and_fail_charges(simulator: SimulatorProcess, make: Make) -> None:
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


def test_key_that_rm_does_not_know_is_a_signature_rejection(simulator: SimulatorProcess, make: Make) -> None:
    from tests.rm_gateway.conftest import PRIVATE_PEM

    simulator.set(error_signature=[400, "INVALID_REQUEST_SIGNATURE"])
    with pytest.raises(Rejected) as caught:
        make(private_key_pem=PRIVATE_PEM).create_tokenized_customer(NEW)
    assert caught.value.kind == "signature"


def test_a_nonce_used_twice_is_unknown(simulator: SimulatorProcess, make: Make) -> None:
    simulator.set(nonce_window=120, error_nonce=[400, "REQUEST_DUPLICATE"])
    client = make()
    prepared = charge_of(client, bound(client, simulator))
    client.send(prepared)
    with pytest.raises(Unknown):
        client.send(prepared)
    assert len(simulator.charges()) == 1


def test_the_limit_of_queries_by_order_is_throttling(simulator: SimulatorProcess, make: Make) -> None:
    simulator.set(order_query_limit=3)
    client = make()
    paid = client.send(charge_of(client, bound(client, simulator)))
    for _ in range(3):
        client.get_transaction_by_order(paid.order_id)
    with pytest.raises(Throttled):
        client.get_transaction_by_order(paid.order_id)


@pytest.mark.parametrize("path", ["customer", "recurring"])
def test_the_path_that_rm_does_not_have_is_a_configuration_error(
    simulator: SimulatorProcess, make: Make, path: str
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
