"""Who answers the charges: the stub, or the real simulator. Each is a process of its own."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from rm_gateway.client import Client, NewCustomer, Settings
from rm_gateway.simulator.process import SimulatorProcess
from tests.bench.stub import STORE_ID
from tests.bench.worker import ROOT


@dataclass(frozen=True, slots=True)
class Account:
    """How to reach a gateway and as whom; `url` has /v1 (OAuth) and /v3 (API) below it."""

    url: str
    client_id: str
    client_secret: str
    private_key: str
    store_id: str


class StubGateway:
    def __init__(self, url: str, pid: int) -> None:
        self.pid = pid
        self.account = Account(url, "bench", "bench", _private_key(), STORE_ID)

    def customers(self, count: int, *, first: int) -> list[str]:
        """Ids of customers with a bound card: the stub takes any."""
        return [f"17952248447020{number:010}" for number in range(first, first + count)]

    def counts(self) -> tuple[int, int]:
        """How many charges were posted since the start, and with how many different markers."""
        with urllib.request.urlopen(f"{self.account.url}/counts", timeout=10) as answer:  # noqa: S310 - our own stub
            found = json.load(answer)
        return found["posts"], found["distinct"]


class SimulatorGateway:
    def __init__(self, simulator: SimulatorProcess) -> None:
        found = simulator.credentials
        self._simulator = simulator
        self.pid = found.pid
        self.account = Account(found.url, found.client_id, found.client_secret, found.private_key, found.store_id)

    def customers(self, count: int, *, first: int) -> list[str]:
        """Customers made and bound one by one, over the wire."""
        found = self._simulator.credentials
        client = Client(
            Settings(
                oauth_url=found.oauth_url,
                api_url=found.api_url,
                client_id=found.client_id,
                client_secret=found.client_secret,
                private_key_pem=found.private_key,
                store_id=found.store_id,
            )
        )
        return [self._customer(client, first + number) for number in range(count)]

    def _customer(self, client: Client, number: int) -> str:
        new = NewCustomer(
            email=f"bench{number}@example.com",
            name="Bench",
            country_code="60",
            phone_number="123456789",
            product_name="Coffee club",
            product_description="Coffee club",
            redirect_url="http://127.0.0.1:9/",
        )
        customer = client.create_tokenized_customer(new)
        self._simulator.bind(customer.payment_url)
        return customer.customer_id

    def counts(self) -> tuple[int, int]:
        return sum(self._simulator.requests()["by_marker"].values()), len(self._simulator.charges())


Gateway = StubGateway | SimulatorGateway


@contextmanager
def gateway(kind: str, *, latency_ms: int) -> Iterator[Gateway]:
    """A gateway that runs as long as the `with` block."""
    if kind == "simulator":
        with SimulatorProcess(latency=latency_ms / 1000) as simulator:
            yield SimulatorGateway(simulator)
        return
    command = [sys.executable, "-m", "tests.bench.stub", "--latency-ms", str(latency_ms)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        said: dict[str, Any] = json.loads(process.stdout.readline() if process.stdout else "")
        yield StubGateway(said["url"], process.pid)
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout:
            process.stdout.close()


def _private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(serialization.Encoding.PEM, *private).decode()
