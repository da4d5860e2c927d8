"""What must always be true, by name, and what it looks like when one of it is not."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

INVARIANTS: Mapping[str, str] = MappingProxyType(
    {
        "S1": "Money is taken at the gateway at most once for an invoice, surplus that was not given back included; "
        "and no more is given back than was taken.",
        "S2": "A succeeded attempt has exactly one success at the gateway, of the same amount, and pays its invoice.",
        "S3": "A request leaves only for an attempt or refund that was armed and not closed, and at most once.",
        "S4": "Nothing is armed while another attempt of the invoice took its money or still may, nor after its "
        "payment was given back; and a payment has at most one refund whose outcome is open.",
        "S5": "A card has at most one attempt whose outcome is open, unless a person released it.",
        "S6": "A transaction of the gateway explains at most one attempt.",
        "S7": "Nothing leads out of succeeded but reversed, and money is recorded whatever state it finds, also when "
        "it goes back.",
        "S8": "What was armed stays as it was sent.",
        "S9": "Nothing is armed while the stop switch is thrown.",
        "S10": "Our books say what the gateway's say.",
        "L1": "Every period that was due has its invoice, a skipped one included.",
        "L2": "Every attempt and refund leaves sending once its deadline and the sweep are over.",
        "L3": "Every attempt and refund whose outcome is not known is asked about until it closes or reaches a person.",
        "L4": "Each attempt and refund that needs a person raised exactly one alert.",
        "L5": "The next due date follows from the anchor and moves on with each invoice.",
        "L6": "A decline has a next try or an end, and what is due and not charged says why.",
    }
)
# Beside the invariants: what keeps them in PostgreSQL must be there. A restored database may lack it.
CATALOGUE = "catalogue"
CATALOGUE_SENTENCE = "Every constraint and trigger that the code lists is in the database and switched on."


@dataclass(frozen=True, slots=True)
class Violation:
    """One row that breaks an invariant. `subject` is its public id (the name, in the catalogue)."""

    invariant: str
    subject: str
    text: str
