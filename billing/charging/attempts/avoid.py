"""A try that is due and is not made, because the bank would decline it: the invoice goes on as after a decline.

So the ladder of retry days ends at its time, the customer and the merchant's system are told, and no request is sent.
"""

from collections.abc import Sequence
from datetime import datetime

from billing.charging.attempts.changes import Changes
from billing.charging.attempts.decline import after_avoided
from billing.domain.arming import FOR_ITS_DECLINES
from billing.domain.attempts import UNRESOLVED, AttemptState
from billing.domain.card_limits import Held, why_held
from billing.models import Invoice
from billing.models.bulk import card_limits, settling
from billing.models.bulk.sql import durable


def avoid(invoice_ids: Sequence[int], *, now: datetime) -> int:
    """Goes on with those of the invoices that `arm` refused for their card's declines, as it still stands; how many."""
    with durable():
        locked, card_of = settling.lock_invoices(invoice_ids)
        changes = Changes(locked, now)
        cards = {card.id: card for card in card_limits.tried(sorted(set(card_of.values())))}
        refused = Invoice.objects.filter(
            pk__in=locked.invoices, refusal__in=FOR_ITS_DECLINES, next_attempt_at__isnull=False
        )
        busy = {row.invoice_id for row in locked.attempts.values() if AttemptState(row.state) in UNRESOLVED}
        avoided = 0
        for invoice_id, asked_for in sorted(refused.values_list("pk", "asked_for")):
            card = cards.get(card_of.get(invoice_id, 0))
            if not card or invoice_id in busy:
                continue
            why = why_held(card.standing, asked_for=asked_for, now=now)
            if why is None or why[0] is Held.RESTS:
                continue
            code = card.frozen_by or (card.declined[0][1] if card.declined else "")
            after_avoided(changes, locked.invoices[invoice_id], code=code)
            avoided += 1
        changes.write_rows()
        changes.write_history("engine")
    return avoided
