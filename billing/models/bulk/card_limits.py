"""How cards stand after their declines: what is read to decide it, and the columns that keep it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from billing.domain.attempts import HAS_MONEY, AttemptState
from billing.domain.card_limits import Standing
from billing.domain.declines import DeclineKind
from billing.models.bulk.sql import objects, rows
from billing.models.bulk.writing import by_name, update
from billing.models.customers import PaymentMethod
from billing.models.declines import DeclineRuling

# A card has at most 35 declined tries that count for a network; a success says that the bank approves again.
_NEWEST = 200
Rulings = Mapping[str, DeclineKind]


@dataclass(slots=True)
class Tried:
    """A card as it stands, with what was declined on it, the newest first: (armed at, reason, on the saved card
    itself)."""

    id: int
    account_id: int
    label: str
    frozen_at: datetime | None
    frozen_by: str | None
    rests_until: datetime | None
    capped_until: datetime | None
    declined_at: datetime | None
    declined: list[tuple[datetime, str, bool]] = field(default_factory=list)
    paid_at: datetime | None = None

    @property
    def standing(self) -> Standing:
        return Standing(self.frozen_by, self.rests_until, self.capped_until, self.declined_at)


def tried(card_ids: Sequence[int]) -> list[Tried]:
    """The cards with their newest attempts. Another saved card of the customer with the same digits is the same card:
    what was tried on it counts for the network."""
    cards = {
        card: Tried(card, *row)
        for card, *row in rows(
            """SELECT id, account_id, label, frozen_at, frozen_by, rests_until, capped_until, declined_at
               FROM billing_paymentmethod WHERE id = ANY(%s) ORDER BY id""",
            [list(card_ids)],
        )
    }
    found = rows(
        """SELECT c.id, a.armed_at, a.state, a.state_reason, a.payment_method_id = c.id
           FROM billing_paymentmethod c
           CROSS JOIN LATERAL (
               SELECT armed_at, state, state_reason, payment_method_id FROM billing_paymentattempt
               WHERE payment_method_id = ANY(ARRAY(
                         SELECT s.id FROM billing_paymentmethod s WHERE s.customer_id = c.customer_id
                         AND (s.id = c.id OR (s.label = c.label AND c.label <> ''))))
                 AND state = ANY(%s)
               ORDER BY armed_at DESC, id DESC LIMIT %s) a
           WHERE c.id = ANY(%s) ORDER BY c.id, a.armed_at DESC""",
        [sorted(HAS_MONEY | {AttemptState.DECLINED}), _NEWEST, list(card_ids)],
    )
    for card_id, armed_at, state, reason, own in found:
        card = cards[card_id]
        if state == AttemptState.DECLINED:
            card.declined.append((armed_at, reason, own))
        elif own and card.paid_at is None:
            card.paid_at = armed_at
    return list(cards.values())


@dataclass(frozen=True, slots=True)
class Stands:
    id: int
    frozen_at: datetime | None
    frozen_by: str | None
    rests_until: datetime | None
    capped_until: datetime | None
    declined_at: datetime | None


def write_standings(cards: Sequence[Stands]) -> None:
    """Writes where cards stand, which the caller holds locked."""
    update(PaymentMethod, by_name(cards))


def rulings_of(account_id: int) -> Rulings:
    """The kinds of codes that the account's staff decided about."""
    found = DeclineRuling.objects.filter(account_id=account_id).values_list("code", "kind")
    return {code: DeclineKind(kind) for code, kind in found}


def cards_declined_with(account_id: int, code: str, *, since: datetime, limit: int, after: int) -> list[int]:
    """The next cards by id that a decline of this code says something about: since then, or that it froze."""
    return [
        card
        for (card,) in rows(
            """SELECT id FROM (
                   SELECT payment_method_id AS id FROM billing_paymentattempt
                   WHERE account_id = %(account)s AND state = 'declined' AND armed_at > %(since)s
                     AND upper(btrim(state_reason)) = %(code)s
                   UNION
                   SELECT id FROM billing_paymentmethod
                   WHERE frozen_at IS NOT NULL AND account_id = %(account)s AND upper(btrim(frozen_by)) = %(code)s) c
               WHERE id > %(after)s ORDER BY id LIMIT %(limit)s""",
            {"account": account_id, "code": code, "since": since, "limit": limit, "after": after},
        )
    ]


def lock(card_ids: Iterable[int]) -> None:
    """Locks the cards, in the one order."""
    rows(
        "SELECT 1 FROM billing_paymentmethod WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", [sorted(set(card_ids))]
    )


@dataclass(frozen=True, slots=True)
class CodeOutcome:
    """What came of an account's declines with one code: how many, how many of them were tried again on the same card,
    and how many of those tries were paid."""

    code: str
    declined: int
    tried_again: int
    paid: int


def outcomes_by_code(account_id: int, *, since: datetime, newest: int) -> list[CodeOutcome]:
    """The most frequent codes first, of the account's newest declines since then."""
    return objects(
        CodeOutcome,
        """SELECT d.code, count(*) AS declined, count(n.state) AS tried_again,
                  count(*) FILTER (WHERE n.state = ANY(%(paid)s)) AS paid
           FROM (SELECT invoice_id, payment_method_id, number, upper(btrim(state_reason)) AS code
                 FROM billing_paymentattempt
                 WHERE account_id = %(account)s AND state = 'declined' AND armed_at > %(since)s
                 ORDER BY armed_at DESC LIMIT %(newest)s) d
           LEFT JOIN LATERAL (
               SELECT state FROM billing_paymentattempt n
               WHERE n.invoice_id = d.invoice_id AND n.number > d.number AND n.payment_method_id = d.payment_method_id
                 AND n.state = ANY(%(ended)s) ORDER BY n.number LIMIT 1) n ON true
           GROUP BY d.code ORDER BY count(*) DESC, d.code LIMIT 20""",
        {
            "account": account_id,
            "since": since,
            "newest": newest,
            "paid": sorted(HAS_MONEY),
            "ended": sorted(HAS_MONEY | {AttemptState.DECLINED}),
        },
    )
