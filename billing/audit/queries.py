"""Asking for violations in SQL. A query may use the words below, so that each is defined in one place.

OF_ACCOUNT(column)  is true for the account that is asked about, or for all (parameter `account`);
MONEY_KEPT          the attempt `a` has money that the customer did not get back;
ATTEMPT_STEPS       each change of state of an attempt, with the id of the next one. Alarms change nothing.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from billing.audit.violation import Violation
from billing.models.bulk.sql import rows

_ATTEMPT_STEPS = """SELECT t.id, t.subject_id, t.from_state, t.to_state,
                           lead(t.id) OVER (PARTITION BY t.subject_id ORDER BY t.id) AS next_id
                    FROM billing_transition t
                    WHERE t.subject_type = 'attempt' AND t.from_state <> t.to_state AND OF_ACCOUNT(t.account_id)"""
# What was refunded in full is not kept.
_MONEY_KEPT = "(a.state IN ('succeeded', 'surplus') AND a.amount_refunded_minor < a.amount_minor)"
_OF_ACCOUNT = re.compile(r"OF_ACCOUNT\(([a-z_.]+)\)")


def ask(query: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The rows of a query that may use the words of this module."""
    query = query.replace("ATTEMPT_STEPS", _ATTEMPT_STEPS).replace("MONEY_KEPT", _MONEY_KEPT)
    return rows(_OF_ACCOUNT.sub(r"(%(account)s::bigint IS NULL OR \1 = %(account)s)", query), dict(parameters))


def found(invariant: str, text: str, query: str, parameters: Mapping[str, Any]) -> Iterator[Violation]:
    """A violation for each row of the query: its first column is the subject, the others fill `text`."""
    for subject, *rest in ask(query, parameters):
        yield Violation(invariant, str(subject), text.format(*rest))
