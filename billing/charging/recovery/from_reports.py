"""The gateway's daily reports since a quarantine's point, as a cross-check: they list what was paid on all cards, those
of which this database knows nothing included."""

import logging
from datetime import date, datetime, timedelta
from typing import Any

from billing.charging.reading import report_days, report_search
from billing.domain.recovery import our_words
from billing.domain.reports import REPORT_ZONE
from billing.gateway.connection import Gateway, GatewayUnavailableError, ReadTransaction
from billing.models import FoundPayment, GatewayAccount, GatewayOrder, GatewayTransaction, PaymentAttempt
from billing.operating.tuning import Tuning

logger = logging.getLogger(__name__)

MOST_DAYS = 62
MOST_ASKED = 500


class NotRecordedError(Exception):
    """What the reports showed could not be written down: they are read again."""


def read_reports(account: GatewayAccount, gateway: Gateway, *, tuning: Tuning, now: datetime) -> dict[str, Any]:
    """Reads the reports of the days since the point, and puts what nothing explains before a person, as found
    payments: these outlast the quarantine. Once a quarantine; a day whose report could not be read is named."""
    if account.quarantine_reports:
        return dict(account.quarantine_reports)
    listed = report_search.read(gateway, _days(account, now))
    known = _known(account, listed)
    found: list[dict[str, Any]] = []
    ours: list[ReadTransaction] = []
    asked = left = 0
    for day, payments in listed.items():
        for payment in payments or ():
            if payment.transaction_id in known:
                continue
            if asked >= MOST_ASKED:
                left += 1
                continue
            asked += 1
            try:
                read = gateway.read_transaction(payment.transaction_id)
            except GatewayUnavailableError:
                left += 1
                continue
            words = our_words(read.words)
            if words is not None:
                ours.append(read)
                found.append(
                    {
                        "day": str(day),
                        "transaction": payment.transaction_id,
                        "invoice": words.invoice_id,
                        "name": words.name[:80],
                        "amount_minor": payment.amount_minor,
                        "currency": payment.currency,
                    }
                )
    result = {
        "read_at": now.isoformat(),
        "days": len(listed),
        "not_read": [str(day) for day, payments in listed.items() if payments is None],
        "found": found,
        "not_asked": left,
    }
    _, problem = report_days.record(account.pk, ours, tuning, now)
    if problem:
        raise NotRecordedError(problem)
    GatewayAccount.objects.filter(pk=account.pk, quarantined_at=account.quarantined_at).update(
        quarantine_reports=result
    )
    return result


def _days(account: GatewayAccount, now: datetime) -> list[date]:
    last = now.astimezone(REPORT_ZONE).date()
    point = account.quarantine_point_at or account.created_at
    first = max(point.astimezone(REPORT_ZONE).date(), last - timedelta(days=MOST_DAYS - 1))
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]


def _known(account: GatewayAccount, listed: report_search.Reports) -> set[str]:
    """The transactions in the reports that an attempt has, or an order or a look at a card showed; but not those that
    a daily read found before and about which nobody has decided yet."""
    named = {payment.transaction_id for payments in listed.values() for payment in payments or ()}

    def known_to(*rows: type[PaymentAttempt | GatewayOrder | GatewayTransaction]) -> set[str]:
        return {
            str(transaction)
            for model in rows
            for transaction in model.objects.filter(account=account, gateway_transaction_id__in=named).values_list(
                "gateway_transaction_id", flat=True
            )
        }

    waiting = FoundPayment.objects.filter(account=account, decided_at=None, attempt=None)
    undecided = set(waiting.values_list("gateway_transaction_id", flat=True))
    return known_to(PaymentAttempt) | known_to(GatewayOrder, GatewayTransaction) - undecided
