"""Looking at the gateway now, because somebody asks: an invoice's cards, and every payment of it."""

from datetime import datetime

from billing import doorbell
from billing.charging.reading import report_days
from billing.charging.reading.fetch import fetch
from billing.charging.reading.known import load
from billing.charging.reading.record import record
from billing.domain.attempts import HAS_MONEY
from billing.gateway.connection import GatewayUnavailableError, TransactionNotKnownError, gateway_for
from billing.models import Checkout, Invoice, PaymentAttempt
from billing.operating.tuning import Tuning

# The gateway answers three queries by order in five seconds for each token.
PAGES_AT_ONCE = 3


def check_with_gateway(*, invoice: Invoice, tuning: Tuning, now: datetime) -> int:
    """Reads the cards that the invoice was tried on, completely, with the transactions of all its payments, and the
    payments of its newest payment pages, and takes over what is news: payments, refusals, refunds made in the gateway's
    own portal. How many cards were read.

    Speaks to the gateway, so it runs in no transaction. Raises GatewayUnavailableError when a part cannot be read;
    cards that were read before it are recorded. A page that cannot be read is looked at by a worker as soon as it can
    be: the gateway answers only so many of these questions in a while."""
    tried = PaymentAttempt.objects.filter(invoice=invoice)
    paid = frozenset(tried.filter(state__in=HAS_MONEY).values_list("pk", flat=True))
    known = load(sorted(set(tried.filter(checkout=None).values_list("payment_method_id", flat=True))))
    gateway = gateway_for(invoice.account)
    for card in known.values():
        read = fetch(gateway, card, payments_of=paid)
        record(read, read.findings, tuning=tuning, now=now)
    for checkout in invoice.checkouts.order_by("-pk")[:PAGES_AT_ONCE]:
        try:
            payment = gateway.read_payment_of_order(checkout.order_id)
        except TransactionNotKnownError:
            continue
        except GatewayUnavailableError:
            if Checkout.objects.filter(pk=checkout.pk, next_check_at__gt=now).update(next_check_at=now):
                doorbell.ring_on_commit(doorbell.CHECKOUTS)
            break
        _, problem = report_days.record(invoice.account_id, [payment], tuning, now)
        if problem:
            raise GatewayUnavailableError(problem)
    return len(known)
