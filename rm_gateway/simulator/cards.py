"""The test cards that the bind page takes. No other number is accepted, and none is ever kept.

What is kept of a bound card is its ``key`` and its label: the first six and the last four digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Card:
    """A published test number. ``outcomes`` holds one outcome per charge; the last one repeats for ever."""

    key: str
    number: str
    says: str
    outcomes: tuple[str, ...] = ("success",)
    bind_refusal: str = ""

    @property
    def label(self) -> str:
        """What RM keeps of a card: the first six and the last four digits; the form is a guess."""
        return f"{self.number[:6]}******{self.number[-4:]}"

    @property
    def provider(self) -> str:
        """The card scheme."""
        return "MASTERCARD" if self.number.startswith("5") else "VISA"

    @property
    def spaced(self) -> str:
        """The number as it is printed on a card."""
        return " ".join(self.number[i : i + 4] for i in range(0, 16, 4))

    def outcome(self, charges_before: int) -> str:
        """The name of the outcome of the next charge after so many."""
        return self.outcomes[min(charges_before, len(self.outcomes) - 1)]


_ALL: Final = (
    Card("good", "4111111111111111", "every charge succeeds"),
    Card("good_mastercard", "5555555555554444", "every charge succeeds"),
    Card("declines", "4000000000000002", "declines every charge with 9010", ("decline_9010",)),
    Card("stolen", "4000000000000192", "declines every charge with 43, stolen", ("decline_43",)),
    Card("cannot_bind", "4000000000000101", "cannot be bound", bind_refusal="CARD_NOT_SUPPORTED"),
    Card("loses_answers", "4000000000000119", "every charge is taken, then the answer is lost", ("lost_after",)),
    Card(
        "loses_one_answer", "4000000000000127", "the first answer is lost, then all is well", ("lost_after", "success")
    ),
    Card("drops", "4000000000000259", "every connection is dropped before anything is done", ("dropped_before",)),
    Card(
        "drops_once",
        "4000000000000267",
        "the first connection is dropped before anything is done, then all is well",
        ("dropped_before", "success"),
    ),
    Card("slow_success", "4000000000000341", "IN_PROCESS, later SUCCESS", ("in_process_success",)),
    Card("slow_failure", "4000000000000358", "IN_PROCESS, later FAILED", ("in_process_failed",)),
    Card("declines_once", "4000000000000366", "declines once, then succeeds", ("decline_9010", "success")),
    Card(
        "declines_twice",
        "4000000000000374",
        "declines twice, then succeeds",
        ("decline_9010", "decline_9010", "success"),
    ),
    Card("declines_later", "4000000000000382", "succeeds once, then declines", ("success", "decline_51")),
    Card("hangs", "4000000000000408", "every charge is taken and never answered", ("hangs_after",)),
    Card("bad_gateway", "4000000000000416", "every charge is taken and answered with an HTML 502", ("html_502_after",)),
    Card(
        "late_success",
        "4000000000000424",
        "FAILED, later SUCCESS under a new transaction",
        ("failed_then_success",),
    ),
    Card("late_reversal", "4000000000000432", "SUCCESS, later REVERSED", ("success_then_reversed",)),
    Card("expires", "4000000000000440", "succeeds once, then the card is inactive", ("last_success",)),
)

CARDS: Final[dict[str, Card]] = {card.key: card for card in _ALL}
BY_NUMBER: Final[dict[str, Card]] = {card.number: card for card in _ALL}
