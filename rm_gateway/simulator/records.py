"""What the ledger holds: customers, their orders, and the charges of an order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

SUCCESS = "SUCCESS"
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
    reference: str  # YYYYMMDD of the scheduled day
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
