"""What the tests of pace share: a gateway's front that can be away, workers as processes, waiting for conditions."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from billing.gateway.connection import gateway_for
from billing.ids import new_id
from billing.models import AccountPace, Customer, GatewayAccount, Invoice, PaymentAttempt, PaymentMethod
from billing.models.clock import database_now
from tests.conftest import Shop
from tests.factories import make_customer
from tests.faults.recovery import ROOT, environment

WORKER = [sys.executable, "manage.py", "tick", "--loop", "--every", "1"]
SETTINGS = {
    "KITARAN_PAUSE_SECONDS": "1,1,2,2",
    "KITARAN_GATEWAY_TOTAL_SECONDS": "5",
    "KITARAN_SEND_WINDOW_SECONDS": "5",
    "KITARAN_SENDERS": "64",
}
BAD_GATEWAY = (
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 5\r\nConnection: close\r\n\r\n<p>502"
)


class Front:
    """A TCP front before the simulator: it passes bytes on, answers 502 to everything, never answers, or is away."""

    def __init__(self, target: str) -> None:
        self._target = (urlsplit(target).hostname or "", urlsplit(target).port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self.mode = "pass"
        self._accept(self._listener)

    def url(self, original: str) -> str:
        return f"http://127.0.0.1:{self.port}{urlsplit(original).path}"

    def close(self) -> None:
        """Connections are refused from now on, and those that stand end."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def reopen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._accept(self._listener)

    def _accept(self, listener: socket.socket) -> None:
        def run() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=self._serve, args=(client,), daemon=True).start()

        threading.Thread(target=run, daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        with client, suppress(OSError):
            if self.mode == "hang":
                while client.recv(1 << 16):
                    pass
                return
            if self.mode == "502":
                received = b""
                while b"\r\n\r\n" not in received:
                    received += client.recv(1 << 16) or b"\r\n\r\n"
                client.sendall(BAD_GATEWAY)
                return
            with socket.create_connection(self._target) as server:
                self._open.add(server)
                other = threading.Thread(target=_pump, args=(server, client), daemon=True)
                other.start()
                self._pass_requests(client, server)
                other.join()
        self._open.discard(client)

    def _pass_requests(self, client: socket.socket, server: socket.socket) -> None:
        """What was passed on before is answered; from then on a connection that stands has no gateway behind it."""
        while data := client.recv(1 << 16):
            if self.mode == "502":
                client.sendall(BAD_GATEWAY)
                client.shutdown(socket.SHUT_RDWR)
                break
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def front_of(shop: Shop) -> Iterator[Front]:
    """The shop's account speaks through it; cards are bound before."""
    known = shop.simulator.credentials
    front = Front(known.api_url)
    GatewayAccount.objects.filter(pk=shop.account.pk).update(
        api_url=front.url(known.api_url), oauth_url=front.url(known.oauth_url)
    )
    try:
        yield front
    finally:
        front.close()


def many_due(shop: Shop, count: int) -> list[Invoice]:
    """Invoices that are due, each on a card of its own that is bound at the simulator; written down all at once."""
    gateway, now = gateway_for(shop.account), database_now()
    known = make_customer(shop.account)

    def bind() -> str:
        info = gateway.create_tokenized_card(
            email=known.email,
            name=known.name,
            country_code=known.country_code,
            phone_number=known.phone_number,
            product_name="Coffee club",
            product_description="Card",
            redirect_url="http://127.0.0.1:9/bind",
        )
        shop.simulator.bind(info.payment_url)
        return info.gateway_customer_id

    bound = [bind() for _ in range(count)]
    columns = {"account": shop.account, "created_at": now}
    customers = Customer.objects.bulk_create(
        Customer(**columns, public_id=new_id("cus", now), reference=secrets.token_hex(8), name="Aminah")
        for _ in range(count)
    )
    cards = PaymentMethod.objects.bulk_create(
        PaymentMethod(
            **columns,
            public_id=new_id("pm", now),
            customer=customer,
            kind="tokenized",
            state="active",
            environment=shop.account.environment,
            gateway_customer_id=gateway_customer_id,
            return_token=secrets.token_urlsafe(24),
            is_default=True,
            baseline_read_at=now,
        )
        for customer, gateway_customer_id in zip(customers, bound, strict=True)
    )
    return Invoice.objects.bulk_create(
        Invoice(
            **columns,
            public_id=new_id("inv", now),
            customer=card.customer,
            payment_method=card,
            state="open",
            description="Coffee club",
            lines=[],
            amount_minor=1990,
            currency="MYR",
            due_at=now,
            next_attempt_at=now,
        )
        for card in cards
    )


@contextmanager
def worker(**settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """`manage.py tick --loop`, ended with its block."""
    process = subprocess.Popen(
        WORKER,
        cwd=ROOT,
        env={**environment(), **SETTINGS, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def wait_until(holds: Callable[[], bool], *, seconds: float, what: str) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"{what}: {states()}, {list(AccountPace.objects.values())}"
        time.sleep(0.1)


def states() -> dict[str, int]:
    found: dict[str, int] = {}
    for state in PaymentAttempt.objects.values_list("state", flat=True):
        found[state] = found.get(state, 0) + 1
    return found


def paid() -> int:
    return Invoice.objects.filter(state="paid").count()


def bring_forward() -> None:
    """The minutes that invoices wait after an attempt that was not sent pass at once."""
    now = database_now()
    Invoice.objects.filter(next_attempt_at__gt=now).update(next_attempt_at=now)


def times_taken(shop: Shop, invoices: list[Invoice]) -> list[int]:
    """How many times each invoice's gateway customer paid, by the simulator's own ledger, in order."""
    taken: dict[str, int] = {}
    for charge in shop.simulator.charges():
        if charge["status"] == "SUCCESS":
            taken[charge["customer_id"]] = taken.get(charge["customer_id"], 0) + 1
    cards = (invoice.payment_method for invoice in invoices)
    return [taken.get(str(card.gateway_customer_id), 0) for card in cards if card]
