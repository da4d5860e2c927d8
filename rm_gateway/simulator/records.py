"""What the ledger holds: customers, their orders, and the charges of an order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

SUCCESS = "SUCCESS"
CHECKOUT = "checkout"  # the path of an order that is paid on a page
FAILED = "FAILED"


@dataclass(slots=True, eq=False)
class Customer:
    """A recurring customer (``schedule`` is set) or a tokenized one. ``card`` is the key of a test card."""

    id: str
    merchant_id: str
    store_id: str
    email: str
    name: str
    country_code: str
    phone_number: str
    product_name: str
    product_description: str
    redirect_url: str
    notify_url: str
    client_key: str
    created_at: float
    updated_at: float
    schedule: dict[str, Any] | None = None
    label: str = ""
    card: str = ""
    is_active: bool = False
    bound_at: float = 0.0
    attempts: int = 0  # charges asked for with a valid request, executed or not
    orders: list[Order] = field(default_factory=list)
    runs_done: int = 0  # RM's own runs so far
    last_run_date: str = ""

    @property
    def is_bound(self) -> bool:
        """Whether a card was ever bound."""
        return bool(self.card)


@dataclass(slots=True, eq=False)
class Order:
    """One order at RM; ``id`` is the plain order id, ``R0`` is added where a transaction names it."""

    id: str
    customer: Customer
    amount: int
    currency: str
    title: str
    description: str
    path: str
    reference: str  # YYYYMMDD of the scheduled day; of a web checkout its additional data
    created_at: float
    charges: list[Charge] = field(default_factory=list)
    checkout_id: str = ""

    def latest(self, now: float) -> Charge | None:
        """The last charge that has started by now."""
        return next((charge for charge in reversed(self.charges) if charge.created_at <= now), None)


class GivenBack(NamedTuple):
    """A refund that was carried out: when (seconds), how much (sen), and why, in the caller's words."""

    at: float
    amount: int
    reason: str


@dataclass(slots=True, eq=False)
class Charge:
    """One try to take the money of an order: a transaction."""

    transaction_id: str
    order: Order
    status: str
    outcome: str
    error: str
    reference_id: str
    created_at: float
    executed_at: float
    settles_at: float = 0.0
    settles_to: str = ""
    refunded: int = 0
    refunds: list[GivenBack] = field(default_factory=list)
    changed_at: float = 0.0
    reversed: bool = False
    method: str = "GOBIZ"

    def status_at(self, now: float) -> str:
        """The status that RM reports at an instant."""
        status = self.settles_to if self.settles_to and now >= self.settles_at else self.status
        if self.reversed and status in (SUCCESS, "IN_PROCESS"):
            return "REVERSED"
        if status != SUCCESS:
            return status
        if self.refunded:
            return "FULL_REFUNDED" if self.refunded >= self.order.amount else "PARTIAL_REFUNDED"
        return status

    def updated_at(self, now: float) -> float:
        """When the charge last changed."""
        settled = self.settles_at if self.settles_to and now >= self.settles_at else 0.0
        return max(self.executed_at, settled, self.changed_at)


@dataclass(slots=True, eq=False)
class WebCheckout:
    """A page for one order of the merchant's. ``payer`` stands where other orders have their customer."""

    id: str
    merchant_id: str
    store_id: str
    order_id: str
    title: str
    detail: str
    additional_data: str
    amount: int
    currency: str
    redirect_url: str
    notify_url: str
    created_at: float
    ends_at: float
    cancelled: bool = False
    payer: Customer = field(init=False)
    order: Order = field(init=False)

    def __post_init__(self) -> None:
        self.payer = Customer(
            id=self.id,
            merchant_id=self.merchant_id,
            store_id=self.store_id,
            email="",
            name="",
            country_code="",
            phone_number="",
            product_name=self.title,
            product_description=self.detail,
            redirect_url=self.redirect_url,
            notify_url=self.notify_url,
            client_key="",
            created_at=self.created_at,
            updated_at=self.created_at,
        )
        self.order = Order(
            self.order_id,
            self.payer,
            self.amount,
            self.currency,
            self.title,
            self.detail,
            CHECKOUT,
            self.additional_data,
            self.created_at,
        )

    def status_at(self, now: float) -> str:
        """What RM calls the page at an instant; PENDING is ours, for a page that may still be used."""
        latest = self.order.latest(now)
        if any(charge.created_at <= now and charge.status_at(now) == SUCCESS for charge in self.order.charges):
            return SUCCESS
        if self.cancelled:
            return "CANCELLED"
        if now >= self.ends_at:
            return "EXPIRED"
        return FAILED if latest is not None and latest.status_at(now) == FAILED else "PENDING"
