"""Money is a whole number of minor units beside its currency."""

from dataclasses import dataclass

from billing.domain.errors import RefusedError

LEAST_CHARGE_MINOR = 10  # the gateway's minimum: 10 sen
MOST_CHARGE_MINOR = 10_000_000_00  # far above any card; keeps a slip of the finger from becoming a charge
CURRENCIES = frozenset({"MYR"})


class MoneyError(RefusedError):
    """An amount or currency that cannot be charged."""


def check_charge(amount_minor: int, currency: str) -> None:
    """Refuses what could never be charged: other currencies than MYR, less than 10 sen, fractions."""
    if currency not in CURRENCIES:
        raise MoneyError("currency", "invalid", f"must be one of {', '.join(sorted(CURRENCIES))}")
    if type(amount_minor) is not int:
        raise MoneyError("amount_minor", "invalid", "must be a whole number of sen")
    if amount_minor < LEAST_CHARGE_MINOR:
        raise MoneyError("amount_minor", "invalid", f"must be at least {LEAST_CHARGE_MINOR} sen")
    if amount_minor > MOST_CHARGE_MINOR:
        raise MoneyError("amount_minor", "invalid", f"must be at most {MOST_CHARGE_MINOR} sen")


@dataclass(frozen=True, slots=True)
class Price:
    """An amount that can be charged. Raises MoneyError."""

    amount_minor: int
    currency: str = "MYR"

    def __post_init__(self) -> None:
        check_charge(self.amount_minor, self.currency)


def display(amount_minor: int, currency: str) -> str:
    """`RM 12.30` for 1230 sen."""
    sign = "-" if amount_minor < 0 else ""
    whole, sen = divmod(abs(amount_minor), 100)
    return f"{sign}{'RM' if currency == 'MYR' else currency} {whole:,}.{sen:02}"
