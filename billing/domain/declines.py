"""Why a bank declines a charge: one table of codes, with what to do and the words for staff and for the payer.

The gateway publishes no list. What it passes on are acquirer codes; two-character ones have the meanings of ISO 8583
that the card networks publish, and docs/declines.md names the sources. Every other code is unknown: it says nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from billing.domain.messages import Language


class DeclineKind(StrEnum):
    """What a decline says about another try with the same card."""

    HARD = "hard"  # the bank will never approve it: only another card helps
    SOFT = "soft"  # another day may help
    UNKNOWN = "unknown"  # the code says nothing


@dataclass(frozen=True, slots=True)
class Decline:
    """A code's meaning. `staff` is a part of a sentence; `payer` holds a sentence in each language, which never says
    that a card is thought to be stolen."""

    kind: DeclineKind
    staff: str
    payer: Mapping[Language, str]


def _words(english: str, malay: str) -> Mapping[Language, str]:
    return {Language.ENGLISH: english, Language.MALAY: malay}


_ASK_BANK = _words(
    "Your bank declined the payment. Please ask your bank, or save another card.",
    "Bank anda menolak bayaran ini. Sila hubungi bank anda, atau simpan kad lain.",
)
_OTHER_CARD = _words(
    "This card cannot be charged any more. Please save another card.",
    "Kad ini tidak boleh dicaj lagi. Sila simpan kad lain.",
)
_EXPIRED = _words(
    "Your card has expired. Please save your new card.", "Kad anda telah tamat tempoh. Sila simpan kad baharu."
)
_NO_FUNDS = _words(
    "There was not enough money on your card. Please top it up, or save another card.",
    "Baki kad anda tidak mencukupi. Sila tambah baki, atau simpan kad lain.",
)
_LIMIT = _words(
    "Your card's limit was reached. Please ask your bank to raise it, or save another card.",
    "Had kad anda telah dicapai. Sila minta bank anda menaikkannya, atau simpan kad lain.",
)
_REVOKED = _words(
    "Your bank says that you stopped these payments. If you want to go on, please save another card.",
    "Bank anda memaklumkan bahawa anda telah menghentikan bayaran ini. Untuk meneruskan, sila simpan kad lain.",
)
_BUSY = _words(
    "Your bank could not answer just then. There is nothing that you need to do.",
    "Bank anda tidak dapat memberi jawapan pada masa itu. Anda tidak perlu berbuat apa-apa.",
)
_BLOCKED = _words(
    "Your bank blocks online payments with this card. Please ask your bank to allow them, or save another card.",
    "Bank anda menyekat bayaran dalam talian dengan kad ini. Minta bank anda membenarkannya, atau simpan kad lain.",
)

_HARD, _SOFT = DeclineKind.HARD, DeclineKind.SOFT
_TABLE: Mapping[str, Decline] = {
    "01": Decline(_SOFT, "the bank wants to be asked", _ASK_BANK),
    "03": Decline(_SOFT, "the bank does not know the merchant", _ASK_BANK),
    "04": Decline(_HARD, "the card is to be retained", _OTHER_CARD),
    "05": Decline(_SOFT, "the bank gave no reason", _ASK_BANK),
    "07": Decline(_HARD, "the card is to be retained, fraud is suspected", _OTHER_CARD),
    "12": Decline(_HARD, "the bank does not allow the transaction", _OTHER_CARD),
    "13": Decline(_SOFT, "the bank does not accept the amount", _ASK_BANK),
    "14": Decline(_HARD, "the card number is not valid", _OTHER_CARD),
    "15": Decline(_HARD, "the card names no bank", _OTHER_CARD),
    "19": Decline(_SOFT, "the bank asks for it to be sent again", _BUSY),
    "41": Decline(_HARD, "the card was reported lost", _OTHER_CARD),
    "43": Decline(_HARD, "the card was reported stolen", _OTHER_CARD),
    "46": Decline(_HARD, "the account was closed", _OTHER_CARD),
    "51": Decline(_SOFT, "not enough money", _NO_FUNDS),
    "54": Decline(_HARD, "the card has expired", _EXPIRED),
    "57": Decline(_HARD, "the card may not be used for this", _BLOCKED),
    "58": Decline(_SOFT, "the merchant may not make this transaction", _ASK_BANK),
    "59": Decline(_SOFT, "the bank suspects fraud", _ASK_BANK),
    "61": Decline(_SOFT, "above the card's limit", _LIMIT),
    "62": Decline(_SOFT, "the card is restricted", _BLOCKED),
    "65": Decline(_SOFT, "used more often than the card allows", _LIMIT),
    "75": Decline(_SOFT, "the PIN was entered wrongly too often", _ASK_BANK),
    "78": Decline(_SOFT, "the card was not activated yet", _ASK_BANK),
    "91": Decline(_SOFT, "the bank cannot be reached", _BUSY),
    "93": Decline(_SOFT, "the bank cannot complete the transaction", _ASK_BANK),
    "96": Decline(_SOFT, "a system of the bank failed", _BUSY),
    "R0": Decline(_HARD, "the customer stopped this payment at the bank", _REVOKED),
    "R1": Decline(_HARD, "the customer revoked the authorisation at the bank", _REVOKED),
    "R3": Decline(_HARD, "the customer revoked all authorisations at the bank", _REVOKED),
}
_UNKNOWN = Decline(DeclineKind.UNKNOWN, "", _ASK_BANK)


def decline_of(code: str) -> Decline:
    """What the code means; a code without a meaning is of an unknown kind, and has no words for staff."""
    return _TABLE.get(code.strip().upper(), _UNKNOWN)


def known_codes() -> Mapping[str, Decline]:
    """The codes that have a meaning."""
    return _TABLE


def kind_of(code: str, rulings: Mapping[str, DeclineKind]) -> DeclineKind:
    """The kind of a decline, where `rulings` are the codes that an account's staff decided about."""
    code = code.strip().upper()
    return rulings.get(code) or decline_of(code).kind
