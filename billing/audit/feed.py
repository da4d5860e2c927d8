"""E1: the feed of each account, and the events of each object in it, are whole and in order."""

from collections.abc import Iterator, Mapping
from typing import Any

from billing.audit.queries import found
from billing.audit.violation import Violation

Parameters = Mapping[str, Any]


def violations(account_id: int | None) -> Iterator[Violation]:
    """What of the published events of the account, or of all, is not as it must be."""
    parameters = {"account": account_id}
    yield from _accounts_have_no_gap(parameters)
    yield from _objects_have_no_gap_and_keep_their_order(parameters)
    yield from _bodies_are_their_own(parameters)


def _accounts_have_no_gap(parameters: Parameters) -> Iterator[Violation]:
    yield from found(
        "E1",
        "has a feed with a gap: {} events, and the last is number {}.",
        """SELECT COALESCE(a.public_id, 'account ' || e.account_id), count(*), max(e.sequence)
           FROM billing_event e LEFT JOIN billing_gatewayaccount a ON a.id = e.account_id
           WHERE e.sequence IS NOT NULL AND OF_ACCOUNT(e.account_id)
           GROUP BY e.account_id, a.public_id HAVING count(*) <> max(e.sequence) ORDER BY e.account_id""",
        parameters,
    )


def _objects_have_no_gap_and_keep_their_order(parameters: Parameters) -> Iterator[Violation]:
    """Events of one object are written under its lock, so their row ids are in the order of its changes."""
    yield from found(
        "E1",
        "has events that are not in the order in which they happened: {} of {}.",
        """SELECT subject_type || ' ' || subject_id, count(*) FILTER (WHERE place <> object_sequence), count(*)
           FROM (SELECT e.subject_type, e.subject_id, e.object_sequence,
                        row_number() OVER (PARTITION BY e.subject_type, e.subject_id ORDER BY e.id) AS place
                 FROM billing_event e WHERE e.sequence IS NOT NULL AND OF_ACCOUNT(e.account_id)) n
           GROUP BY subject_type, subject_id HAVING count(*) FILTER (WHERE place <> object_sequence) > 0
           ORDER BY subject_type, subject_id""",
        parameters,
    )


def _bodies_are_their_own(parameters: Parameters) -> Iterator[Violation]:
    yield from found(
        "E1",
        "was published with a body that is not its own.",
        """SELECT e.public_id FROM billing_event e
           WHERE e.sequence IS NOT NULL AND OF_ACCOUNT(e.account_id)
             AND (e.body ->> 'id', e.body ->> 'type', e.body ->> 'sequence', e.body #>> '{data,object_sequence}')
                 IS DISTINCT FROM (e.public_id, e.kind, e.sequence::text, e.object_sequence::text)
           ORDER BY e.id""",
        parameters,
    )
