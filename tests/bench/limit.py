"""The bare limit program: what a charge costs at least with threads and `requests`, and nothing else.

One thread owns the database: it commits a batch of intents, hands them to the senders, and commits their results in
batches. A sender signs (RSA-2048), posts, and reads the JSON. No locks, no states, no checks, no history.
"""

import base64
import json
import queue
import secrets
import sys
import threading
import time
from typing import Any

import psycopg
import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.bench.worker import run_on_command

SCHEMA = """
CREATE TABLE IF NOT EXISTS bench_limit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, marker text NOT NULL UNIQUE, customer text NOT NULL,
    amount_minor bigint NOT NULL, state text NOT NULL, armed_at timestamptz NOT NULL DEFAULT now(),
    transaction_id text, settled_at timestamptz)
"""
_ARM = """INSERT INTO bench_limit (marker, customer, amount_minor, state)
          SELECT m, c, 1990, 'sending' FROM unnest(%s::text[], %s::text[]) AS n(m, c)"""
_SETTLE = """UPDATE bench_limit l SET state = n.state, transaction_id = n.transaction, settled_at = now()
             FROM unnest(%s::text[], %s::text[], %s::text[]) AS n(marker, state, transaction)
             WHERE l.marker = n.marker"""
_PADDING = padding.PKCS1v15()
_HASH = hashes.SHA256()

Result = tuple[str, str, str]  # marker, state, transaction


class Sender(threading.Thread):
    """One of the concurrent senders, with a session of its own. Ends when it is handed None."""

    def __init__(self, work: "queue.SimpleQueue[Any]", results: "queue.SimpleQueue[Result]", gateway: Any) -> None:
        super().__init__(daemon=True)
        self._work, self._results = work, results
        self._url, self._key, self._token = gateway
        self._session = requests.Session()
        self._session.trust_env = False

    def run(self) -> None:
        while (charge := self._work.get()) is not None:
            self._results.put(self._charge(*charge))

    def _charge(self, marker: str, customer: str) -> Result:
        url = f"{self._url}/v3/customer/{customer}/order"
        charge = {"amount": 1990, "currency": "MYR", "description": marker, "title": f"Coffee club {marker}"}
        body = json.dumps(charge, separators=(",", ":")).encode()
        nonce, timestamp = secrets.token_hex(16), int(time.time())
        data = base64.b64encode(body).decode()
        text = f"data={data}&method=post&nonceStr={nonce}&requestUrl={url}&signType=sha256&timestamp={timestamp}"
        signature = base64.b64encode(self._key.sign(text.encode(), _PADDING, _HASH)).decode()
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/json",
            "X-Nonce-Str": nonce,
            "X-Timestamp": str(timestamp),
            "X-Signature": f"sha256 {signature}",
        }
        answer = self._session.post(url, data=body, headers=headers, timeout=30).json()
        return marker, "succeeded" if answer["code"] == "SUCCESS" else "unknown", answer["item"]["transactionId"]


class Limit:
    def __init__(self, arguments: dict[str, Any]) -> None:
        self._customers: list[str] = arguments["customers"]
        self._senders: int = arguments["senders"]
        self._gather_seconds: float = arguments["gather_seconds"]
        key = load_pem_private_key(arguments["private_key"].encode(), None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError("the private key is no RSA key")
        self._gateway = (arguments["url"], key, _token(arguments))
        self._database = psycopg.connect(arguments["database_url"], autocommit=True)
        self._work: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._in_flight = 0

    def run(self) -> int:
        threads = [Sender(self._work, self._results, self._gateway) for _ in range(self._senders)]
        for thread in threads:
            thread.start()
        done = at = 0
        while at < len(self._customers) or self._in_flight:
            batch = self._customers[at : at + self._senders - self._in_flight]
            self._arm(batch)
            at += len(batch)
            done += self._settle()
        for _ in threads:
            self._work.put(None)
        for thread in threads:
            thread.join()
        return done

    def _arm(self, customers: list[str]) -> None:
        if customers:
            markers = [secrets.token_hex(6).upper() for _ in customers]
            self._database.execute(_ARM, [markers, customers])
            for charge in zip(markers, customers, strict=True):
                self._work.put(charge)
            self._in_flight += len(customers)

    def _settle(self) -> int:
        results = [self._results.get()]
        until = time.monotonic() + self._gather_seconds
        try:
            while len(results) <= self._in_flight // 2:
                results.append(self._results.get(timeout=max(until - time.monotonic(), 0)))
        except queue.Empty:
            pass
        self._database.execute(_SETTLE, [list(column) for column in zip(*results, strict=True)])
        self._in_flight -= len(results)
        return len(results)


def _token(arguments: dict[str, Any]) -> str:
    pair = (arguments["client_id"], arguments["client_secret"])
    url = f"{arguments['url']}/v1/token"
    answer = requests.post(url, json={"grantType": "client_credentials"}, auth=pair, timeout=10)
    token: str = answer.json()["accessToken"]
    return token


if __name__ == "__main__":
    run_on_command(Limit(json.loads(sys.argv[1])).run)
