"""Finding rows by what a person has at hand: an id, a reference, a name, an e-mail address.

Big tables are asked for exact values of indexed columns only. Names and e-mail addresses are looked up among the
customers (by their beginning), and what belongs to the customers found is then found through foreign keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Model, Q, QuerySet

from billing.ids import new_id
from billing.models import Customer, GatewayAccount, PaymentMethod

MOST_CUSTOMERS = 100
MOST_FOUND = 500


@dataclass(frozen=True, slots=True)
class Search:
    """`exact`: columns that are unique. `in_account`: columns unique within an account (its index begins with the
    account). `customer` and `card`: the foreign keys to them, when there are any."""

    exact: Sequence[str] = ()
    in_account: Sequence[str] = ()
    customer: str | None = None
    card: str | None = None

    def narrow(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        """The rows that the term names."""
        term = term.strip()
        if not term or "\x00" in term:
            return rows.none() if term else rows
        model: type[Model] = rows.model
        accounts = list(GatewayAccount.objects.values_list("pk", flat=True))
        parts = [Q(**{column: term}) for column in self.exact]
        parts += [Q(account_id__in=accounts, **{column: term}) for column in self.in_account]
        if customers := self._customers(term, accounts):
            parts.append(Q(**{f"{self.customer}__in": customers}))
        if cards := self._cards(term, accounts):
            parts.append(Q(**{f"{self.card}__in": cards}))
        # Each part by its own index; joined with OR the planner may read the whole table instead.
        found = [model._default_manager.filter(part).order_by().values_list("pk")[:MOST_FOUND] for part in parts]
        keys = [key for (key,) in found[0].union(*found[1:])] if found else []
        return rows.filter(pk__in=keys)

    def _customers(self, term: str, accounts: list[int]) -> list[int]:
        return find_customers(term, accounts) if self.customer else []

    def _cards(self, term: str, accounts: list[int]) -> list[int]:
        """Cards by their own id, the gateway's id, or their customer."""
        if not self.card:
            return []
        cards = PaymentMethod.objects.order_by()
        one = cards.filter(Q(public_id=term) | Q(account_id__in=accounts, gateway_customer_id=term))
        customers = find_customers(term, accounts)
        several = cards.filter(customer_id__in=customers)
        return list({*one.values_list("pk", flat=True), *several.values_list("pk", flat=True)[:MOST_FOUND]})


def find_customers(term: str, accounts: list[int]) -> list[int]:
    """Customers by id, reference, the gateway's id of a card, or the beginning of their name or e-mail address.

    What looks like an id is looked up as one; only other words are compared with names."""
    customers = Customer.objects.order_by()
    if term.startswith("cus_"):
        named = customers.filter(public_id=term).values_list("pk", flat=True)
    else:
        cards = PaymentMethod.objects.order_by().filter(account_id__in=accounts, gateway_customer_id=term)
        named = (
            customers.filter(account_id__in=accounts, reference=term)
            .values_list("pk", flat=True)
            .union(cards.values_list("customer_id", flat=True))
        )
    found = list(named)
    if found or _is_an_id(term):
        return found
    begins = customers.filter(Q(name__istartswith=term) | Q(email__istartswith=term))
    return list(begins.values_list("pk", flat=True)[:MOST_CUSTOMERS])


def _is_an_id(term: str) -> bool:
    """Whether it is one of our ids, or digits as the gateway's are."""
    prefix, _, rest = term.partition("_")
    return (len(rest) == 26 and prefix.isalpha()) or term.isdigit()


def id_floor(prefix: str, at: datetime) -> str:
    """Public ids made at `at` or later are not below it: ids begin with their time, and they are indexed."""
    return new_id(prefix, at)[: len(prefix) + 11]
