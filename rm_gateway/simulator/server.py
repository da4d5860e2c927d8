"""Routes: which handler serves which request."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from email.utils import format_datetime

from aiohttp import web

from rm_gateway.simulator import charging, checkouts, control, customers, pages, payments
from rm_gateway.simulator.core import Core
from rm_gateway.simulator.recurring import RecurringEngine
from rm_gateway.simulator.wire import RefusalError

logger = logging.getLogger(__name__)


class Server:
    """The request handler of the simulator."""

    def __init__(self, core: Core, engine: RecurringEngine) -> None:
        self._core = core
        self._engine = engine

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; what goes wrong inside is an HTTP 500 that says so."""
        try:
            answer = await self._route(request)
        except RefusalError as refusal:
            answer = refusal.response()
        except (ConnectionError, web.HTTPException):
            raise
        except Exception:
            logger.exception("the simulator failed at %s %s", request.method, request.path)
            answer = RefusalError(500, "SIMULATOR_BUG", "The simulator itself failed; see its log.").response()
        if not answer.prepared:
            answer.headers["Date"] = format_datetime(datetime.fromtimestamp(self._core.clock.wall(), UTC), usegmt=True)
        return answer

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        core = self._core
        method, path = request.method, request.path.split("/")[1:]
        match path:
            case ["v3", "customer", customer_id, "order"] if method == "POST":
                return await charging.charge(core, request, customer_id, "customer")
            case ["v3", "recurring-payment", customer_id, "charge"] if method == "POST":
                return await charging.charge(core, request, customer_id, "recurring")
            case ["_simulator", *rest]:
                return await control.serve(core, self._engine, request, rest)
            case ["v3", "payment", *rest]:
                return await self._payment(request, method, rest)
            case ["v3", "customer", customer_id, *rest]:
                return await self._customer(request, method, customer_id, rest)
            case ["v3", "recurring-payment", customer_id, *rest] if core.switches.charge_path != "customer":
                rewritten = ["status"] if rest == ["toggle"] else rest
                if rest != ["status"]:
                    method = "PUT" if (method, rest) == ("POST", ["toggle"]) else method
                    return await self._customer(request, method, customer_id, rewritten)
            case ["v3", "recurring-payment"] if method == "POST":
                return await customers.create_recurring(core, request)
            case ["v3", "tokenized-payment"] if method == "POST":
                return await customers.create_tokenized(core, request)
            case ["v1", "token"] if method == "POST":
                return await customers.token(core, request)
            case ["v1", "recurring"] if method in ("GET", "POST"):
                return await pages.bind(core, self._engine, request)
            case ["v3", "checkout"] if method in ("GET", "POST"):
                return await pages.pay(core, request)
            case ["v4", "checkout"] if method in ("GET", "POST"):
                return await checkouts.show(core, request)
        return await self._nowhere(request)

    async def _customer(
        self, request: web.BaseRequest, method: str, customer_id: str, rest: list[str]
    ) -> web.StreamResponse:
        match (method, rest):
            case ("GET", []):
                self._saw("GET /v3/customer/{id}")
                return await customers.read(self._core, request, customer_id)
            case ("GET", ["orders"]):
                self._saw("GET /v3/customer/{id}/orders")
                return await customers.orders(self._core, request, customer_id)
            case ("PUT", ["status"]):
                self._saw("PUT /v3/customer/{id}/status")
                return await customers.flip(self._core, request, customer_id)
        return await self._nowhere(request)

    async def _payment(self, request: web.BaseRequest, method: str, rest: list[str]) -> web.StreamResponse:
        core = self._core
        match (method, rest):
            case ("GET", ["transaction", transaction_id]):
                self._saw("GET /v3/payment/transaction/{id}")
                return await payments.by_transaction(core, request, transaction_id)
            case ("GET", ["transaction", "order", order_id]):
                self._saw("GET /v3/payment/transaction/order/{id}")
                return await payments.by_order(core, request, order_id)
            case ("GET", ["transactions"]):
                self._saw("GET /v3/payment/transactions")
                return await payments.listing(core, request)
            case ("POST", ["online"]):
                return await checkouts.create(core, request)
            case ("GET", ["online"]):
                self._saw("GET /v3/payment/online")
                return await checkouts.read(core, request)
            case ("POST", ["refund"]):
                return await payments.refund(core, request)
            case ("POST", ["reverse"]):
                return await payments.reverse(core, request)
            case ("POST", ["reconciliation"]):
                return await payments.reconciliation(core, request)
        return await self._nowhere(request)

    async def _nowhere(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "POST":
            self._core.ledger.record("post", route="POST elsewhere")
        raise RefusalError(404, "API_ENDPOINT_NOT_FOUND", "There is no such endpoint.")

    def _saw(self, route: str) -> None:
        self._core.seen[route] += 1
