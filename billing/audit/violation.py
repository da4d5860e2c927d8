"""What must always be true, by code and name, and what it looks like when one of it is not."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Invariant:
    name: str
    sentence: str


# By code: S for money that must not be taken, L for what must not be forgotten, T for what hides the others.
INVARIANTS: Mapping[str, Invariant] = MappingProxyType(
    {
        "S1": Invariant(
            "Money once per invoice",
            "Money is taken at the gateway at most once for an invoice, overpayments that were not refunded included; "
            "and no more is refunded than was taken.",
        ),
        "S2": Invariant(
            "Paid means paid at the gateway",
            "A succeeded attempt has exactly one success at the gateway, of the same amount, and pays its invoice; "
            "a paid invoice has exactly one such attempt, or one payment from elsewhere.",
        ),
        "S3": Invariant(
            "Sent once, and only when armed",
            "A request leaves only for an attempt or refund that was armed and not closed, and at most once.",
        ),
        "S4": Invariant(
            "One open charge per invoice",
            "Nothing is armed while another attempt of the invoice took its money or still may, nor after its "
            "payment was refunded; and a payment has at most one refund whose outcome is open.",
        ),
        "S5": Invariant(
            "One open charge per card",
            "A card has at most one attempt whose outcome is open, unless a person released it.",
        ),
        "S6": Invariant("One attempt per transaction", "A transaction of the gateway explains at most one attempt."),
        "S7": Invariant(
            "Success is final",
            "Nothing leads out of succeeded but reversed, and money is recorded whatever state it finds, also when "
            "it is refunded.",
        ),
        "S8": Invariant("Requests never change", "What was armed stays as it was sent."),
        "S9": Invariant("Stopped means stopped", "Nothing is armed while the stop switch is on, or in quarantine."),
        "S10": Invariant("Books agree with the gateway", "Our books say what the gateway's say."),
        "L1": Invariant(
            "Every period has its invoice", "Every period that was due has its invoice, a skipped one included."
        ),
        "L2": Invariant(
            "Nothing stays in sending",
            "Every attempt and refund leaves sending once its deadline and the sweep are over.",
        ),
        "L3": Invariant(
            "Every unknown is followed up",
            "Every attempt and refund whose outcome is not known is checked until it closes or needs review.",
        ),
        "L4": Invariant("One alert per review", "Each attempt and refund that needs review raised exactly one alert."),
        "L5": Invariant(
            "Due dates follow the anchor", "The next due date follows from the anchor and moves on with each invoice."
        ),
        "L6": Invariant(
            "Every decline has a next step",
            "A decline has a next try or an end, and what is due and not charged says why.",
        ),
        "L7": Invariant(
            "A first payment decides",
            "A subscription that waits for its first payment starts when it is paid and expires when it is not, and "
            "never while its outcome is open.",
        ),
        "L8": Invariant(
            "Every page ends",
            "A payment page that may be being paid is checked until it is paid or over, within a day; a paid one has "
            "the attempt that took its money, and only such an attempt has no card.",
        ),
        "E1": Invariant(
            "The feed is whole",
            "The events of an account, and those of each object, are numbered 1, 2, 3, … in the order in which they "
            "happened, and each has its own body.",
        ),
        "T1": Invariant(
            "No work keeps failing", "No account's work keeps failing, and the clock agrees with the gateway's."
        ),
    }
)
# Beside the invariants: what keeps them in PostgreSQL must be there. A restored database may lack it.
CATALOGUE = "catalogue"
CATALOGUE_INVARIANT = Invariant(
    "Promises are in the database",
    "Every constraint and trigger that the code lists is in the database and switched on.",
)


@dataclass(frozen=True, slots=True)
class Violation:
    """One row that breaks an invariant. `subject` is its public id (the name, in the catalogue)."""

    invariant: str
    subject: str
    text: str
