"""The client against a simulator: clients, customers and charges for contract tests, and a server for notifies."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rm_gateway.client import Client, NewCustomer, PreparedRequest, Settings
from rm_gateway.models import CustomerInfo
from rm_gateway.notifications import BindOutcome, parse_redirect
from rm_gateway.simulator.process import SimulatorProcess

NEW = NewCustomer("siti@example.com", " Siti & <co>", "60", "123456789", "Gym", "Monthly", "https://shop.example/?a=1")
AMOUNT_MINOR = 4990

Inbox = list[dict[str, Any]]


def client_of(simulator: SimulatorProcess, *, own: dict[str, Any] | None = None, **changes: Any) -> Client:
    """A client of the simulator's first merchant; ``own`` are the client's arguments beside its settings."""
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
    return Client(Settings(**(values | changes)), **(own or {}))


def bound(client: Client, simulator: SimulatorProcess) -> CustomerInfo:
    """A customer whose card succeeds."""
    customer = client.create_tokenized_customer(NEW)
    location = simulator.bind(customer.payment_url)
    hint = parse_redirect(location.partition("?")[2])
    assert (hint.customer_id, hint.claimed_outcome) == (customer.customer_id, BindOutcome.SUCCESS)
    info = client.get_customer(customer.customer_id)
    assert info.is_active
    return info


def charge_of(client: Client, customer: CustomerInfo, **changes: Any) -> PreparedRequest:
    """A charge, signed now, that was not sent."""
    values: dict[str, Any] = {
        "customer_id": customer.customer_id,
        "amount_minor": AMOUNT_MINOR,
        "currency": "MYR",
        "title": "Gym fee AB12CD34EF56",
        "description": "AB12CD34EF56 June",
        "timestamp": int(time.time()),
    }
    return client.prepare_charge(**(values | changes))


def posts(simulator: SimulatorProcess) -> int:
    """How many POSTs the simulator received, executed or not."""
    return sum(simulator.requests()["posts"].values())


@contextmanager
def receiving() -> Iterator[tuple[str, Inbox]]:
    """A merchant's server for notifies: its address and what came."""
    received: Inbox = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.take(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def do_GET(self) -> None:
            self.take(b"")

        def take(self, body: bytes) -> None:
            row = {"method": self.command, "path": self.path, "body": body, "headers": dict(self.headers)}
            received.append(row | {"at": time.monotonic()})
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/notify?key=1", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def until(received: Inbox, count: int, limit_seconds: float = 3) -> Inbox:
    """What came, once it is that many or the time is over."""
    end = time.monotonic() + limit_seconds
    while len(received) < count and time.monotonic() < end:
        time.sleep(0.005)
    return received
