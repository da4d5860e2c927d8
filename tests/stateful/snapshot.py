"""What is compared after each step: our books, and the gateway's."""

from dataclasses import dataclass
from typing import Any

from billing.models import Invoice, PaymentAttempt, PaymentMethod, Proposal, Refund, Subscription


@dataclass(slots=True)
class Snapshot:
    """The books and the simulator's ledger at one instant."""

    attempts: list[PaymentAttempt]
    invoices: list[Invoice]
    cards: list[PaymentMethod]
    subscriptions: list[Subscription]
    refunds: list[Refund]
    proposals: list[Proposal]
    charges: list[dict[str, Any]]
    posts: dict[str, int]
    refund_posts: dict[str, int]

    def of_marker(self, marker: str) -> list[dict[str, Any]]:
        return [charge for charge in self.charges if marker_of(charge) == marker]

    def in_state(self, *states: str) -> list[PaymentAttempt]:
        return [attempt for attempt in self.attempts if attempt.state in states]


def marker_of(charge: dict[str, Any]) -> str:
    return (str(charge["title"]).split() or [""])[-1]
