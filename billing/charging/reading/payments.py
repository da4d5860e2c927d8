"""Looking at a card's payments whenever the card is read: money may have been given back in the gateway's own portal,
which tells nobody."""

from billing.charging.attempts.settle import AttemptFinding
from billing.charging.reading.known import CardRead
from billing.domain.attempts import HAS_MONEY
from billing.gateway.connection import Gateway, GatewayUnavailableError

# The newest payments, of which the gateway still keeps something.
PAYMENTS_LOOKED_AT = 3


def read_recorded(gateway: Gateway, read: CardRead) -> None:
    """Reads the payments that a person recorded into `read`: no attempt has them, so nothing else would show that their
    money went back. One that cannot be read is looked at the next time."""
    for transaction_id in read.card.recorded:
        try:
            read.transactions[transaction_id] = gateway.read_transaction(transaction_id)
        except GatewayUnavailableError:
            continue


def read_payments(gateway: Gateway, read: CardRead, payments_of: frozenset[int]) -> None:
    """Reads the newest payments and those of `payments_of` into `read`. Another payment that cannot be read holds
    nothing up: it is read the next time. One of `payments_of` raises GatewayUnavailableError."""
    payments = [a for a in read.card.attempts if a.state in HAS_MONEY and a.refundable and a.id not in read.paid]
    newest = {attempt.id for attempt in payments[-PAYMENTS_LOOKED_AT:]}
    for attempt in payments:
        transaction_id = attempt.wanted.transaction_id
        if transaction_id is None or attempt.id not in newest | payments_of:
            continue
        try:
            found = read.transactions.get(transaction_id) or gateway.read_transaction(transaction_id)
        except GatewayUnavailableError:
            if attempt.id in payments_of:
                raise
            continue
        read.transactions[transaction_id] = found
        if found.money.reversed:
            read.findings.append(AttemptFinding(attempt.wanted.marker, found.finding(attempt.wanted.marker)))
        else:
            read.paid[attempt.id] = found
