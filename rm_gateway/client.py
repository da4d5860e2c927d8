"""Revenue Monster's tokenization calls, for any number of threads.

Reads may be tried twice. What changes anything is sent once: an answer that was not read is ``Unknown``, never a
reason to send again. Logs name the method, the route without its ids, the status and the milliseconds, no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import date
from typing import TypeVar
from urllib.parse import quote, urlencode

from rm_gateway.auth import TokenSource
from rm_gateway.channel import Channel
from rm_gateway.checkouts import CheckoutInfo, CreatedCheckout, NewCheckout
from rm_gateway.elapsed import ServerTime
from rm_gateway.envelope import REFUSALS, item_of
from rm_gateway.errors import IncompleteRead, NotSent, RequestExpired, Unknown
from rm_gateway.models import (
    CustomerInfo,
    NewCustomer,
    NewRecurringCustomer,
    OddOrder,
    Order,
    RecurringInterval,
    Transaction,
)
from rm_gateway.paging import all_pages, cursor_of, items_of
from rm_gateway.parsing import JSONObject, ParseError
from rm_gateway.prepared import (
    PreparedRequest,
    RefundKind,
    charge_body,
    charge_route,
    checked_id,
    refund_body,
    safe_text,
)
from rm_gateway.reports import ReportLine, ReportType, TransactionPage
from rm_gateway.settings import ChargePath, Settings
from rm_gateway.signing import JSONValue, load_private_key
from rm_gateway.transport import Transport

__all__ = [
    "ChargePath",
    "Client",
    "NewCheckout",
    "NewCustomer",
    "NewRecurringCustomer",
    "PreparedRequest",
    "RecurringInterval",
    "RefundKind",
    "ReportType",
    "Settings",
    "TokenSource",
    "Transport",
    "safe_text",
]

Value = TypeVar("Value")


class Client:
    """One account at RM. Safe for threads: each has a session of its own, all share the token.

    ``clock`` gives Unix seconds. A ``transport`` may be shared by clients of several accounts, so that a thread
    keeps one connection a host rather than one an account. Raises ValueError when the private key is not usable.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        token_source: TokenSource | None = None,
        transport: Transport | None = None,
    ) -> None:
        try:
            private_key = load_private_key(settings.private_key_pem)
        except ValueError as error:
            raise ValueError(f"private_key_pem: {error}") from None
        transport = transport or Transport(
            connect_timeout=settings.connect_timeout_seconds,
            read_timeout=settings.read_timeout_seconds,
            total_timeout=settings.total_timeout_seconds,
            max_response_bytes=settings.max_response_bytes,
        )
        tokens = token_source or TokenSource(
            oauth_url=settings.oauth_url,
            client_id=settings.client_id,
            client_secret=settings.client_secret,
            transport=transport,
            clock=clock,
        )
        self._settings = settings
        self._clock = clock
        self._channel = Channel(
            api_url=settings.api_url, private_key=private_key, clock=clock, tokens=tokens, transport=transport
        )

    def __repr__(self) -> str:
        return f"<Client of {self._settings.client_id} at {self._settings.api_url}>"

    # Tokens

    def ensure_token(self) -> None:
        """Have a valid token in memory, by network only when there is none or it is old. Raises TokenUnavailable."""
        self._channel.tokens.get()

    def has_token(self) -> bool:
        """Whether a valid token is in memory. No network."""
        return self._channel.tokens.peek() is not None

    # The server's clock

    @property
    def server_time(self) -> ServerTime | None:
        """RM's clock by the ``Date`` of the newest answer that says it well; None before the first. No network."""
        return self._channel.transport.server_time

    def ask_server_time(self) -> ServerTime | None:
        """RM's clock now, by one request without token and signature. Raises GatewayError when no answer came."""
        self._channel.knock()
        return self.server_time

    # Customers

    def create_tokenized_customer(self, new: NewCustomer) -> CustomerInfo:
        """``POST /tokenized-payment`` [D]: a customer whom we charge, inactive until a card is bound.

        Not repeated: after Unknown there may be a customer that nobody knows of, which costs nothing.
        """
        answer, envelope = self._channel.act("POST", "/tokenized-payment", new.body(self._settings.store_id))
        return item_of(answer, CustomerInfo.parse, envelope)

    def create_recurring_customer(self, new: NewRecurringCustomer) -> CustomerInfo:
        """``POST /recurring-payment`` [D]: a customer whom RM charges by itself, once a card is bound. Not repeated."""
        answer, envelope = self._channel.act("POST", "/recurring-payment", new.body(self._settings.store_id))
        return item_of(answer, CustomerInfo.parse, envelope)

    def set_active(self, customer_id: str, active: bool) -> CustomerInfo:
        """Make a customer active or inactive: read, compare, flip, read again.

        ``PUT /customer/{id}/status`` flips [D], so it is sent at most once and only to a customer in the other state;
        two callers at once can still undo each other. Raises Unknown when the state is not as wished afterwards.
        """
        info = self.get_customer(customer_id)
        if info.is_active is active:
            return info
        try:
            self._channel.act("PUT", f"/customer/{customer_id}/status", None)
        except Unknown:
            if self.get_customer(customer_id).is_active is not active:
                raise
        info = self.get_customer(customer_id)
        if info.is_active is not active:
            raise Unknown("the customer's state did not become what was asked for", kind="answer")
        return info

    def get_customer(self, customer_id: str) -> CustomerInfo:
        """``GET /customer/{id}`` [D]. Works once a card was bound; the error before that is [U]."""
        answer, envelope = self._channel.read(f"/customer/{checked_id('customer_id', customer_id)}")
        info = item_of(answer, CustomerInfo.parse, envelope)
        if info.customer_id != customer_id:
            raise Unknown("RM answered with another customer", kind="answer", http_status=answer.status)
        return info

    def list_orders(self, customer_id: str) -> tuple[Order, ...]:
        """``GET /customer/{id}/orders`` [D] to its end, in RM's order (oldest first in its example).

        Raises IncompleteRead when any page or record is missing, odd or out of line; a part is never returned.
        """
        records = self.list_records(customer_id)
        for record in records:
            if isinstance(record, OddOrder):
                raise IncompleteRead(f"a record is not understood: {record.problem}", kind="answer")
        return tuple(record for record in records if isinstance(record, Order))

    def list_records(self, customer_id: str) -> tuple[Order | OddOrder, ...]:
        """The same list to its end, in which a record that is not understood stands as an ``OddOrder``.

        Raises IncompleteRead when any page is missing, odd or out of line, and when a record is another customer's.
        """
        path = f"/customer/{checked_id('customer_id', customer_id)}/orders"

        def page(cursor: str | None) -> JSONObject:
            query = "" if cursor is None else f"?cursor={quote(cursor, safe='')}"
            return self._channel.read(path + query)[1]

        orders: dict[str, Order | OddOrder] = {}
        for items in all_pages(page):
            for order in map(_order_or_odd, items):
                if isinstance(order, Order) and order.customer_id != customer_id:
                    raise IncompleteRead("the list holds another customer's order", kind="answer")
                orders[order.order_id] = order
        return tuple(orders.values())

    # Checkouts

    def create_checkout(self, new: NewCheckout) -> CreatedCheckout:
        """``POST /payment/online`` [D]: a page on which the order can be paid. It moves no money.

        Not repeated: after Unknown there may be a page that nobody was shown. An order id is used once: RM refuses a
        second page for it (ORDER_ID_DUPLICATE [D], as Unknown).
        """
        answer, envelope = self._channel.act("POST", "/payment/online", new.body(self._settings.store_id))
        return item_of(answer, CreatedCheckout.parse, envelope)

    def get_checkout(self, checkout_id: str) -> CheckoutInfo:
        """``GET /payment/online?checkoutId=`` [D]: what became of the page. It is no evidence of a payment."""
        answer, envelope = self._channel.read(f"/payment/online?checkoutId={checked_id('checkout_id', checkout_id)}")
        info = item_of(answer, CheckoutInfo.parse, envelope)
        if info.checkout_id != checkout_id:
            raise Unknown("RM answered with another checkout", kind="answer", http_status=answer.status)
        return info

    # Transactions

    def get_transaction(self, transaction_id: str) -> Transaction:
        """``GET /payment/transaction/{id}`` [D]. NotFound may only mean that RM does not see it yet [D]."""
        path = f"/payment/transaction/{checked_id('transaction_id', transaction_id)}"
        answer, envelope = self._channel.read(path)
        transaction = item_of(answer, Transaction.parse, envelope)
        if transaction.transaction_id != transaction_id:
            raise Unknown("RM answered with another transaction", kind="answer", http_status=answer.status)
        return transaction

    def get_transaction_by_order(self, order_id: str) -> Transaction:
        """``GET /payment/transaction/order/{id}`` [D]: RM allows 3 of these in 5 s per token, then Throttled [D].

        ``order_id`` is RM's, as in ``Transaction.order_id``, or ours, of a checkout. NotFound may only mean that
        nobody has paid, or that RM does not see it yet [S].
        """
        path = f"/payment/transaction/order/{checked_id('order_id', order_id)}"
        answer, envelope = self._channel.read(path)
        transaction = item_of(answer, Transaction.parse, envelope)
        if order_id not in {transaction.order_id, transaction.order_additional_data}:
            raise Unknown("RM answered with another order", kind="answer", http_status=answer.status)
        return transaction

    def list_transactions(self, *, limit: int | None = None, cursor: str | None = None) -> TransactionPage:
        """``GET /payment/transactions`` [D]: one page of the account's transactions. Raises IncompleteRead."""
        query = {"limit": str(limit)} if limit is not None else {}
        if cursor is not None:
            query["cursor"] = cursor
        _, envelope = self._channel.read("/payment/transactions" + (f"?{urlencode(query)}" if query else ""))
        return TransactionPage(_parsed(items_of(envelope), Transaction.parse), cursor_of(envelope))

    def reconciliation_report(
        self,
        day: date,
        *,
        report_type: ReportType = ReportType.PAYMENT,
        methods: Sequence[str] = (),
        regions: Sequence[str] = (),
    ) -> tuple[ReportLine, ...]:
        """``POST /payment/reconciliation`` [D]: the whole report of one day in Malaysia.

        It reads only, but as a POST it is not tried twice. Raises IncompleteRead when a page is missing or odd.
        """
        body: dict[str, JSONValue] = {
            "transactionType": ReportType(report_type).value,
            "date": day.isoformat(),
            "method": list(methods),
            "region": list(regions),
        }

        def page(cursor: str | None) -> JSONObject:
            return self._channel.act("POST", "/payment/reconciliation", body | {"cursor": cursor or ""})[1]

        return _parsed([item for items in all_pages(page) for item in items], ReportLine.parse)

    # Money

    def prepare_charge(
        self,
        *,
        customer_id: str,
        amount_minor: int,
        currency: str,
        title: str,
        description: str,
        timestamp: int,
        nonce: str | None = None,
        charge_path: ChargePath | None = None,
    ) -> PreparedRequest:
        """Sign a charge [D]: no network, no token. It can be stored, and sent within its window.

        ``amount_minor`` is whole sen, 10 or more; ``currency`` MYR; ``title`` at most 32 and ``description`` at most
        600 characters (``safe_text`` cuts); ``timestamp`` Unix seconds. Raises ValueError naming the field.
        """
        body = charge_body(amount_minor=amount_minor, currency=currency, title=title, description=description)
        route = charge_route(charge_path or self._settings.charge_path)
        path = route.replace("{id}", checked_id("customer_id", customer_id))
        return self._channel.prepare("POST", path, body, timestamp=timestamp, nonce=nonce)

    def send(self, prepared: PreparedRequest) -> Transaction:
        """Send a prepared charge, exactly its bytes, exactly once, with the token that is in memory.

        Paid means a returned transaction with status SUCCESS and the amount and currency that were asked for; a
        declined charge is returned too, with status FAILED. Raises NotSent (RequestExpired outside the window),
        Rejected, Throttled, or Unknown, after which the charge must not be sent again on a guess.
        """
        return self._send(prepared)

    def prepare_refund(
        self,
        *,
        transaction_id: str,
        kind: RefundKind,
        amount_minor: int,
        currency: str,
        reason: str,
        timestamp: int,
        nonce: str | None = None,
    ) -> PreparedRequest:
        """Sign a refund [D]: no network, no token. ``amount_minor`` is whole sen, for FULL the whole amount.

        Raises ValueError naming the field.
        """
        body = refund_body(
            transaction_id=transaction_id, kind=kind, amount_minor=amount_minor, currency=currency, reason=reason
        )
        return self._channel.prepare("POST", "/payment/refund", body, timestamp=timestamp, nonce=nonce)

    def send_refund(self, prepared: PreparedRequest) -> Transaction:
        """Send a prepared refund as ``send`` sends a charge; the transaction shows what is left of it.

        Raises what ``send`` raises, and Declined for RM's published refusals. No notify follows a refund [D]: query
        the transaction afterwards.
        """
        return self._send(prepared, refusals=REFUSALS)

    def prepare_reverse(self, *, order_id: str, timestamp: int, nonce: str | None = None) -> PreparedRequest:
        """Sign a reversal of a payment by RM's order id, possible for about 15 minutes [D]. Raises ValueError."""
        body: JSONValue = {"orderId": checked_id("order_id", order_id)}
        return self._channel.prepare("POST", "/payment/reverse", body, timestamp=timestamp, nonce=nonce)

    def send_reverse(self, prepared: PreparedRequest) -> Transaction:
        """Send a prepared reversal as ``send`` sends a charge. Raises Declined when RM's window has passed."""
        return self._send(prepared, refusals=REFUSALS)

    def _send(self, prepared: PreparedRequest, *, refusals: frozenset[str] = frozenset()) -> Transaction:
        token = self._channel.tokens.peek()
        if token is None:
            raise NotSent("there is no valid token in memory", kind="token")
        if prepared.method != "POST" or not self._channel.owns(prepared.url):
            raise NotSent("the request was prepared for another host or method", kind="environment")

        def check_window() -> None:
            age = self._clock() - prepared.timestamp
            if abs(age) > self._settings.window_seconds:
                raise RequestExpired("the request is outside its window", kind="expired")

        check_window()
        answer, envelope = self._channel.deliver(prepared, token, refusals=refusals, before_first_byte=check_window)
        return item_of(answer, Transaction.parse, envelope)

    def close(self) -> None:
        """Close all connections, those of other clients too when the transport is shared."""
        self._channel.transport.close()


def _order_or_odd(raw: object) -> Order | OddOrder:
    try:
        return Order.parse(raw)
    except ParseError as error:
        return OddOrder.of(raw, str(error))


def _parsed(items: list[object], parse: Callable[[object], Value]) -> tuple[Value, ...]:
    try:
        return tuple(map(parse, items))
    except ParseError as error:
        raise IncompleteRead(f"a record is not understood: {error}", kind="answer") from None
