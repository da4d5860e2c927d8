"""One account's connection to the gateway, in the project's own words.

Nothing here runs inside a transaction, and nothing here retries a charge: one `send`, one POST.
"""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeVar

from django.conf import settings

from billing.domain.attempts import Finding, Source
from billing.domain.clocks import Reading
from billing.domain.refunds import RefundFinding, RefundKind, SeenMoney
from billing.gateway.findings import (
    finding_from_error,
    finding_from_refund_error,
    finding_from_transaction,
    money_seen,
    redacted,
    storable,
)
from billing.gateway.sending_clock import AlignedClock, clock, reading_of, uptime
from billing.models import GatewayAccount
from billing.models.encryption import SecretUnreadableError, decrypt
from rm_gateway.checkouts import CheckoutStatus, NewCheckout
from rm_gateway.client import ChargePath, Client, NewCustomer, PreparedRequest, Settings
from rm_gateway.client import RefundKind as GatewayRefundKind
from rm_gateway.errors import GatewayError, NotFound
from rm_gateway.models import OddOrder, Order, Transaction, TransactionStatus

T = TypeVar("T")

__all__ = [
    "AlignedClock",
    "CardNotKnownError",
    "Charge",
    "Gateway",
    "GatewayUnavailableError",
    "GiveBack",
    "PageWanted",
    "PayPage",
    "PreparedRequest",
    "TransactionNotKnownError",
    "UnusableCredentialsError",
    "clock",
    "gateway_for",
]


class GatewayUnavailableError(Exception):
    """A read or a binding got no usable answer; nothing is known from it. The message is safe for logs."""


class TransactionNotKnownError(GatewayUnavailableError):
    """The gateway answered that it knows no such transaction. Right after a payment that may change."""


class CardNotKnownError(GatewayUnavailableError):
    """The gateway answered that it knows no such card."""


class UnusableCredentialsError(GatewayUnavailableError):
    """The account's secrets cannot be read or cannot sign: nothing can be asked. The message is safe for logs."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What is to be charged, before it is frozen."""

    gateway_customer_id: str
    amount_minor: int
    currency: str
    title: str
    description: str


@dataclass(frozen=True, slots=True)
class GiveBack:
    """What is to be given back, before it is frozen. `order_id` is needed to reverse; `reason` the gateway may show."""

    kind: RefundKind
    transaction_id: str
    order_id: str
    amount_minor: int
    currency: str
    reason: str


@dataclass(frozen=True, slots=True)
class PageWanted:
    """What is to be paid on a page of the gateway's; `order_id` is ours, and serves once."""

    order_id: str
    amount_minor: int
    currency: str
    title: str
    description: str
    redirect_url: str
    notify_url: str


@dataclass(frozen=True, slots=True)
class PayPage:
    """A page that can be paid on; `url` is where the browser goes."""

    checkout_id: str
    url: str


@dataclass(frozen=True, slots=True)
class CardInfo:
    gateway_customer_id: str
    is_active: bool
    is_recurring: bool
    label: str
    payment_url: str


# The status of an order of which we understand nothing but that it is there.
NOT_UNDERSTOOD = "NOT_UNDERSTOOD"


@dataclass(frozen=True, slots=True)
class ListedOrder:
    """One record of a card's complete order list; `created_at` is UTC, or None when the gateway gave none.

    A record that is not understood has the status NOT_UNDERSTOOD, no amount and no currency: it may be anything."""

    order_id: str
    transaction_id: str
    status: str
    amount_minor: int
    currency: str
    recurring_reference: str
    created_at: datetime | None

    @property
    def is_understood(self) -> bool:
        return self.status != NOT_UNDERSTOOD


@dataclass(frozen=True, slots=True)
class ReportedPayment:
    """One payment in the report of a day; `transaction_at` is UTC, or None when the gateway gave none."""

    transaction_id: str
    amount_minor: int
    currency: str
    transaction_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReadTransaction:
    """A transaction read from the gateway; `words` are what it echoed of title and description."""

    transaction: Transaction
    words: str
    content: dict[str, object]

    def finding(self, marker: str, source: Source = Source.ORDER_LIST) -> Finding:
        return finding_from_transaction(self.transaction, marker=marker, source=source)

    @property
    def money(self) -> SeenMoney:
        return money_seen(self.transaction)

    @property
    def says_refunded(self) -> bool:
        """Whether the gateway's own word for it is refunded, wholly or in part."""
        return self.transaction.status in (TransactionStatus.FULL_REFUNDED, TransactionStatus.PARTIAL_REFUNDED)

    @property
    def went_back_minor(self) -> int:
        """How much of the payment was refunded or reversed, in minor units; all of it where that is not shown."""
        seen = self.money
        if seen.reversed or (seen.refunded_minor is None and self.says_refunded):
            return self.transaction.amount_minor
        return seen.refunded_minor or 0


class Gateway:
    """The calls of one account. Safe to share between threads."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def has_token(self) -> bool:
        """Whether money may be asked for without a call before: there is a token, and the gateway's clock was seen."""
        return self._client.has_token() and not self._must_ask_the_time()

    def ensure_token(self) -> None:
        """A token in memory, and the gateway's clock seen lately, by network only where one is missing.

        Raises GatewayUnavailableError when the gateway gives no token or does not answer."""
        _read(self._client.ensure_token)
        if self._must_ask_the_time():
            _read(self._client.ask_server_time)

    def _must_ask_the_time(self) -> bool:
        if not settings.KITARAN_CLOCK_TOLERANCE_SECONDS:
            return False
        reading = self.clock_reading
        return reading is None or uptime() - reading.uptime > clock.reading_serves_for()

    @property
    def clock_reading(self) -> Reading | None:
        """The gateway's clock by the answers of this process; no network."""
        shown = self._client.server_time
        return None if shown is None else reading_of(shown)

    def freeze(self, charge: Charge, *, timestamp: int, charge_path: str) -> PreparedRequest:
        """The signed request for `charge`; no network. `timestamp` is in Unix seconds."""
        return self._client.prepare_charge(
            customer_id=charge.gateway_customer_id,
            amount_minor=charge.amount_minor,
            currency=charge.currency,
            title=charge.title,
            description=charge.description,
            timestamp=timestamp,
            charge_path=ChargePath(charge_path),
        )

    def send(self, prepared: PreparedRequest, *, marker: str) -> Finding:
        """Sends the frozen request once and says what came of it; never raises for the gateway's sake."""
        try:
            transaction = self._client.send(prepared)
        except GatewayError as error:
            return finding_from_error(error)
        return finding_from_transaction(transaction, marker=marker, source=Source.ANSWER)

    def freeze_refund(self, wanted: GiveBack, *, timestamp: int) -> PreparedRequest:
        """The signed request for a refund or reversal; no network. Raises ValueError naming the field."""
        if wanted.kind is RefundKind.REVERSE:
            return self._client.prepare_reverse(order_id=wanted.order_id, timestamp=timestamp)
        return self._client.prepare_refund(
            transaction_id=wanted.transaction_id,
            kind=GatewayRefundKind.FULL if wanted.kind is RefundKind.FULL else GatewayRefundKind.PARTIAL,
            amount_minor=wanted.amount_minor,
            currency=wanted.currency,
            reason=wanted.reason,
            timestamp=timestamp,
        )

    def send_refund(self, prepared: PreparedRequest, *, kind: RefundKind) -> "ReadTransaction | RefundFinding":
        """Sends the frozen refund once: the transaction as it is afterwards, or what else came of it. Never raises
        for the gateway's sake."""
        send = self._client.send_reverse if kind is RefundKind.REVERSE else self._client.send_refund
        try:
            return _as_read(send(prepared))
        except GatewayError as error:
            return finding_from_refund_error(error)

    def create_tokenized_card(
        self,
        *,
        email: str,
        name: str,
        country_code: str,
        phone_number: str,
        product_name: str,
        product_description: str,
        redirect_url: str,
    ) -> CardInfo:
        """A new card holder at the gateway, with the page where the card is bound. Takes no money."""
        new = NewCustomer(
            email=email,
            name=name,
            country_code=country_code,
            phone_number=phone_number,
            product_name=product_name,
            product_description=product_description,
            redirect_url=redirect_url,
        )
        info = _read(lambda: self._client.create_tokenized_customer(new))
        return CardInfo(info.customer_id, info.is_active, info.is_recurring, info.label, info.payment_url)

    def read_card(self, gateway_customer_id: str) -> CardInfo:
        info = _read(lambda: self._client.get_customer(gateway_customer_id), CardNotKnownError)
        return CardInfo(info.customer_id, info.is_active, info.is_recurring, info.label, info.payment_url)

    def read_orders(self, gateway_customer_id: str) -> list[ListedOrder]:
        """All orders of the card. A list that cannot be read to its end raises: a partial read is no read. One that
        the gateway does not have raises CardNotKnownError."""
        records = _read(lambda: self._client.list_records(gateway_customer_id), CardNotKnownError)
        return [_as_listed(record) for record in records]

    def read_transaction(self, transaction_id: str) -> ReadTransaction:
        """Raises TransactionNotKnownError for one that the gateway does not have, or does not show yet."""
        try:
            return _as_read(_read(lambda: self._client.get_transaction(transaction_id), TransactionNotKnownError))
        except ValueError:  # the id is none that can be asked about
            raise TransactionNotKnownError("no transaction has such an id") from None

    def create_page(self, wanted: PageWanted) -> PayPage:
        """A page on which `wanted` is paid. It moves no money. Raises ValueError for what no page can ask for, and
        GatewayUnavailableError; then there may be a page that nobody was shown."""
        new = NewCheckout(
            order_id=wanted.order_id,
            amount_minor=wanted.amount_minor,
            currency=wanted.currency,
            title=wanted.title,
            detail=wanted.description,
            additional_data=wanted.order_id,
            redirect_url=wanted.redirect_url,
            notify_url=wanted.notify_url,
        )
        made = _read(lambda: self._client.create_checkout(new))
        return PayPage(made.checkout_id, made.url)

    def page_is_over(self, checkout_id: str) -> bool:
        """Whether the gateway says that the page was cancelled or has expired. It says nothing about money."""
        info = _read(lambda: self._client.get_checkout(checkout_id))
        return info.status in (CheckoutStatus.CANCELLED, CheckoutStatus.EXPIRED)

    def read_payment_of_order(self, order_id: str) -> ReadTransaction:
        """The payment of an order whose id is ours. Raises TransactionNotKnownError while there is none."""
        return _as_read(_read(lambda: self._client.get_transaction_by_order(order_id), TransactionNotKnownError))

    def read_report(self, day: date) -> list[ReportedPayment]:
        """All payments of a day in Malaysia, as far as the gateway has reported them yet."""
        return [
            ReportedPayment(line.transaction_id, line.gross_minor, line.currency, line.transaction_at)
            for line in _read(lambda: self._client.reconciliation_report(day))
        ]


def _as_listed(order: Order | OddOrder) -> ListedOrder:
    if isinstance(order, OddOrder):
        return ListedOrder(order.order_id, order.transaction_id or "", NOT_UNDERSTOOD, 0, "", "", None)
    return ListedOrder(
        order.order_id,
        order.transaction_id or "",
        order.status_text,
        order.amount_minor,
        order.currency,
        order.recurring_reference or "",
        order.created_at,
    )


def _as_read(transaction: Transaction) -> ReadTransaction:
    words = storable(f"{transaction.order_detail} {transaction.order_title}")
    return ReadTransaction(transaction, words.strip(), redacted(transaction.raw))


def _read(call: Callable[[], T], not_found: type[GatewayUnavailableError] = GatewayUnavailableError) -> T:
    try:
        return call()
    except NotFound as error:
        raise not_found(f"not found: {error}") from error
    except GatewayError as error:
        raise GatewayUnavailableError(f"{type(error).__name__}: {error}") from error


_gateways: dict[int, tuple[str, Gateway]] = {}
_lock = threading.Lock()


def gateway_for(account: GatewayAccount) -> Gateway:
    """The account's gateway, one a process, so that its token and connections are used again.

    An account whose URLs or credentials changed gets a new one. Raises UnusableCredentialsError where its secrets
    cannot be decrypted or its key cannot sign."""
    fingerprint = _fingerprint(account)
    with _lock:
        known = _gateways.get(account.pk)
        if known is None or known[0] != fingerprint:
            try:
                known = (fingerprint, Gateway(Client(_client_settings(account), clock=clock)))
            except (SecretUnreadableError, ValueError) as error:
                raise UnusableCredentialsError(f"credentials: {error}") from None
            _gateways[account.pk] = known
        return known[1]


def _client_settings(account: GatewayAccount) -> Settings:
    total = settings.KITARAN_GATEWAY_TOTAL_SECONDS
    return Settings(
        oauth_url=account.oauth_url,
        api_url=account.api_url,
        client_id=account.client_id,
        client_secret=decrypt(account.client_secret_encrypted),
        private_key_pem=decrypt(account.private_key_encrypted),
        store_id=account.store_id,
        charge_path=ChargePath(account.charge_path),
        connect_timeout_seconds=min(5, total),
        read_timeout_seconds=min(90, total),
        total_timeout_seconds=total,
        window_seconds=settings.KITARAN_SEND_WINDOW_SECONDS,
    )


def _fingerprint(account: GatewayAccount) -> str:
    parts = (
        account.oauth_url,
        account.api_url,
        account.client_id,
        account.client_secret_encrypted,
        account.private_key_encrypted,
        account.store_id,
        account.charge_path,
    )
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()
