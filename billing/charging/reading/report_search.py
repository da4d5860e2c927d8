"""Looking for an attempt in the gateway's daily reports, when the orders of its card show nothing.

Reports list what was paid in a day on all cards. A payment in them that no attempt explains is asked about; the
marker in it then says whose it is.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from billing.domain.attempts import HAS_MONEY, AttemptState
from billing.domain.matching import KnownAttempt, carries, could_be, marker_in
from billing.domain.reports import absence_counts, days_of
from billing.gateway.connection import Gateway, GatewayUnavailableError, ReadTransaction, ReportedPayment
from billing.models import PaymentAttempt

logger = logging.getLogger(__name__)

# More payments than this of one amount, at one time and unknown to us: the reports settle nothing.
MOST_CANDIDATES = 50

Reports = Mapping[date, Sequence[ReportedPayment] | None]


@dataclass(frozen=True, slots=True)
class Searched:
    """What the reports say of an attempt. `nameless` are transactions that could be its and carry no marker;
    `counts`: it is absent from both reports, and they are whole."""

    found: ReadTransaction | None = None
    nameless: tuple[str, ...] = ()
    counts: bool = False
    detail: dict[str, object] = field(default_factory=dict)


def read(gateway: Gateway, days: Iterable[date]) -> Reports:
    """The reports of the days; None where one cannot be read. Network only."""
    return {day: _read_day(gateway, day) for day in sorted(days)}


def _read_day(gateway: Gateway, day: date) -> Sequence[ReportedPayment] | None:
    try:
        return gateway.read_report(day)
    except GatewayUnavailableError as error:
        logger.warning("reports: the report of %s could not be read: %s", day, error)
        return None


def known_transactions(account_id: int, reports: Reports) -> dict[str, bool]:
    """The account's attempts among what the reports list: by transaction, whether the attempt has money."""
    listed = {payment.transaction_id for payments in reports.values() for payment in payments or ()}
    rows = PaymentAttempt.objects.filter(account_id=account_id, gateway_transaction_id__in=listed)
    return {
        transaction_id: AttemptState(state) in HAS_MONEY
        for transaction_id, state in rows.values_list("gateway_transaction_id", "state")
        if transaction_id
    }


def search(
    gateway: Gateway, attempt: KnownAttempt, reports: Reports, known: Mapping[str, bool], *, read_at: datetime
) -> Searched:
    """Asks about each payment in the reports, read from `read_at` on, that could be the attempt's and is nobody's.
    Network only."""
    days = {day: reports.get(day) for day in days_of(attempt.wanted.armed_at)}
    successes = {
        day: None if payments is None else [p.transaction_id for p in payments if known.get(p.transaction_id)]
        for day, payments in days.items()
    }
    detail: dict[str, object] = {
        "reports": {
            str(day): "not read" if listed is None else f"{len(listed)} known successes"
            for day, listed in successes.items()
        }
    }
    candidates = [
        payment.transaction_id
        for payments in days.values()
        for payment in payments or ()
        if payment.transaction_id not in known
        and could_be(
            attempt.wanted,
            amount_minor=payment.amount_minor,
            currency=payment.currency,
            created_at=payment.transaction_at,
        )
    ]
    if len(candidates) > MOST_CANDIDATES:
        return Searched(detail=detail | {"unexplained_payments": len(candidates)})
    nameless = []
    for transaction_id in candidates:
        try:
            found = gateway.read_transaction(transaction_id)
        except GatewayUnavailableError:
            return Searched(detail=detail | {"not_read": transaction_id})
        if carries(found.words, attempt.wanted.marker):
            return Searched(found=found, detail=detail)
        if marker_in(found.words) is None:
            nameless.append(transaction_id)
    counts = not nameless and absence_counts(attempt.wanted.armed_at, successes, read_at=read_at)
    return Searched(nameless=tuple(nameless), counts=counts, detail=detail)
