"""Notifies: what RM tells the merchant's server when a charge of a customer with a notifyUrl succeeded.

The encoding is undocumented, so each that is thinkable can be chosen (switch ``notify``), and each fault that a
receiver must bear (switch ``notify_faults``). Nothing is retried; what was sent is listed by the control interface.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import aiohttp

from rm_gateway.signing import canonical_json, load_private_key, sign, signing_plaintext
from rm_gateway.simulator.clock import Clock, exact, rfc3339
from rm_gateway.simulator.ledger import Ledger
from rm_gateway.simulator.records import CHECKOUT, SUCCESS, Charge
from rm_gateway.simulator.switches import Switches
from rm_gateway.simulator.wire import transaction_item

EVENT: Final = "RECURRING_PAYMENT"
CHECKOUT_EVENT: Final = "PAYMENT_WEB_ONLINE"
TIMEOUT_SECONDS: Final = 10
KEPT: Final = 10_000

_Notify = tuple[str, str, dict[str, Any], Switches]  # address, order id, data, switches


class Notifier:
    """Sends notifies in the background."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: list[Charge] = []
        self._held: list[_Notify] = []
        self.sent: deque[dict[str, Any]] = deque(maxlen=KEPT)

    async def charged(self, charge: Charge, switches: Switches) -> None:
        """A charge was made: notify when it succeeded, or once it has."""
        if not charge.order.customer.notify_url:
            return
        now = self._clock.now()
        if charge.status_at(now) == SUCCESS:
            await self._notify(charge, switches)
            return
        hopeful = [later for later in charge.order.charges if later.settles_to == SUCCESS or later.created_at > now]
        self._waiting += [later for later in hopeful if later not in self._waiting]

    def settled(self) -> None:
        """Tell of charges that have become a success since."""
        now = self._clock.now()
        ready = [charge for charge in self._waiting if charge.created_at <= now and charge.status_at(now) == SUCCESS]
        if ready:
            self._waiting = [charge for charge in self._waiting if charge not in ready]
        for charge in ready:
            self._spawn(self._notify(charge, self._ledger.switches_for(charge.order.customer.id)))

    async def _notify(self, charge: Charge, switches: Switches) -> None:
        notify = (charge.order.customer.notify_url, charge.order.id, self._data(charge, switches), switches)
        faults = switches.notify_faults
        if "lost" in faults:
            return
        batch = [notify] * (2 if "duplicate" in faults else 1)
        if "out_of_order" in faults:
            batch, self._held = [*batch, *self._held] if self._held else [], [] if self._held else batch
            if self._held:
                self._spawn(self._release(switches.notify_delay))
        if "before_response" in faults:
            await self._send_all(batch)
        elif batch:
            self._spawn(self._send_all(batch, switches.notify_delay if "late" in faults else 0))

    async def _release(self, delay: float) -> None:
        await asyncio.sleep(delay)
        batch, self._held = self._held, []
        await self._send_all(batch)

    async def _send_all(self, batch: list[_Notify], delay: float = 0) -> None:
        await asyncio.sleep(delay)
        for url, order_id, data, switches in batch:
            # The notify of a checkout is published: a signed POST, and nothing else.
            of_checkout = data.get("type") == "WEB_PAYMENT"
            event, encodings = (CHECKOUT_EVENT, ("post_json",)) if of_checkout else (EVENT, switches.notify)
            for encoding in encodings:
                await self._send(url, order_id, encoding, data, switches.notify_faults, event)

    async def _send(
        self, url: str, order_id: str, encoding: str, data: dict[str, Any], faults: tuple[str, ...], event: str
    ) -> None:
        row: dict[str, Any] = {"encoding": encoding, "order_id": order_id, "at": exact(self._clock.now())}
        try:
            if encoding == "post_json":
                body = canonical_json({"eventType": event, "data": data})
                headers = {"Content-Type": "application/json"} | self._signature(body, faults)
                row["status"] = await self._request("POST", url, body.encode(), headers)
            else:
                row["status"] = await self._request("GET", append_query(url, query_of(encoding, data)), None, {})
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            row["error"] = type(error).__name__
        self.sent.append(row)

    async def _request(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> int:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS))
        async with self._session.request(method, url, data=body, headers=headers, allow_redirects=False) as response:
            return response.status

    def _signature(self, body: str, faults: tuple[str, ...]) -> dict[str, str]:
        if "unsigned" in faults:
            return {}
        nonce, timestamp = secrets.token_hex(16), str(int(self._clock.wall()))
        signed = {} if "bad_signature" in faults else json.loads(body)
        plaintext = signing_plaintext(method="post", url=None, nonce=nonce, timestamp=timestamp, body=signed)
        signature = sign(plaintext, load_private_key(self._ledger.server_key))
        return {"X-Nonce-Str": nonce, "X-Timestamp": timestamp, "X-Signature": f"sha256 {signature}"}

    def _data(self, charge: Charge, switches: Switches) -> dict[str, Any]:
        order = charge.order
        if order.path == CHECKOUT:
            shown = transaction_item(charge, self._clock.now(), switches)
            return {name: value for name, value in shown.items() if name not in ("extraInfo", "extendInfo", "source")}
        customer = order.customer
        suffix = f"R{order.charges.index(charge)}" if switches.notify_order_suffix else ""
        return {
            "amount": order.amount,
            "currency": order.currency,
            "countryCode": customer.country_code,
            "phoneNumber": customer.phone_number,
            "customerId": customer.id,
            "email": customer.email,
            "name": customer.name,
            "merchantId": customer.merchant_id,
            "storeId": customer.store_id,
            "orderId": order.id + suffix,
            "status": SUCCESS,
            "createdAt": rfc3339(order.created_at),
            "updatedAt": rfc3339(charge.updated_at(self._clock.now()), nanoseconds=switches.nanoseconds),
        }

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self) -> None:
        """Drop what waits and what was listed."""
        self._waiting.clear()
        self._held.clear()
        self.sent.clear()

    async def close(self) -> None:
        """Drop what is under way."""
        for task in list(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._session is not None:
            await self._session.close()


def append_query(url: str, query: str) -> str:
    """An address with more query after what it had."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=f"{parts.query}&{query}" if parts.query else query))


def query_of(encoding: str, data: dict[str, Any]) -> str:
    """The query of a notify by GET: ``get_flat``, ``get_json`` or ``get_brackets``."""
    if encoding == "get_json":
        return urlencode({"eventType": EVENT, "data": canonical_json(data)})
    form = "data[{}]" if encoding == "get_brackets" else "data.{}"
    return urlencode({"eventType": EVENT} | {form.format(name): value for name, value in data.items()})
