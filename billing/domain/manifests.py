"""Whether what is due is far above what an account, or a subscription, ever paid: that waits for a person."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from billing.domain.money import display
from billing.domain.pacing import Pace, was_let_run

RUN_TIMES = 10
RUN_FLOOR = 200
HISTORY_DAYS = 35
LEAST_HISTORY_DAYS = 7
PRICE_TIMES = 100


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is due when an account's run begins; sums in minor units, by currency."""

    charges: int
    sums_minor: Mapping[str, int]
    largest_minor: int


@dataclass(frozen=True, slots=True)
class History:
    """The account's own last days: how many had charges, the most charges and the highest sums of one."""

    days: int
    most_charges: int
    highest_sums_minor: Mapping[str, int]
    today: int = 0
    today_sums_minor: Mapping[str, int] = field(default_factory=dict)


def abnormal(pace: Pace, manifest: Manifest, history: History, now: datetime) -> str | None:
    """Why a run of this size waits for a person, or None."""
    charges = manifest.charges + history.today
    if was_let_run(pace, now) or history.days < LEAST_HISTORY_DAYS or charges <= RUN_FLOOR:
        return None
    if charges > RUN_TIMES * history.most_charges:
        busiest = f"the busiest of the last {HISTORY_DAYS} days had {history.most_charges}"
        return f"{manifest.charges} charges are due; {busiest}"
    for currency, due in sorted(manifest.sums_minor.items()):
        known = history.highest_sums_minor.get(currency, 0)
        if due + history.today_sums_minor.get(currency, 0) > RUN_TIMES * known:
            return (
                f"{display(due, currency)} are due; the highest sum of the last {HISTORY_DAYS} days is "
                f"{display(known, currency)}"
            )
    return None


def price_jumped(amount_minor: int, paid_before_minor: int | None) -> bool:
    """Whether an invoice asks for a hundred times what the same subscription paid before."""
    return bool(paid_before_minor) and amount_minor >= PRICE_TIMES * (paid_before_minor or 0)
