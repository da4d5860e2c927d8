"""Charges that the gateway knows and this database has lost, written down as attempts of their invoices.

A recovered attempt is born and settled in one commit, with the gateway's own record as its evidence. It was never armed
here: nobody has the permission to send it, and its request is put together again only so that it can be read.
"""

import json
from collections.abc import Sequence
from datetime import datetime

from django.db.models import F

from billing.charging.attempts.settle import AttemptFinding, settle_in_transaction
from billing.charging.protocol.request import request_columns, send_times
from billing.charging.reading.known import CardRead
from billing.charging.reading.lost_orders import lost_orders
from billing.domain.attempts import HOLDS_PLACE, UNRESOLVED, AttemptState, Finding, Source, Verdict, charge_title
from billing.domain.reasons import Reason
from billing.domain.recovery import Lost, Owed, assign, our_words
from billing.gateway.connection import ListedOrder, PreparedRequest, ReadTransaction
from billing.ids import new_id
from billing.models import GatewayAccount, Invoice, PaymentAttempt, PaymentMethod
from billing.models.bulk import settling, sql
from billing.models.bulk.history import record_transition
from billing.models.subscriptions import Subscription
from billing.operating.tuning import Tuning


def recover(read: CardRead, *, tuning: Tuning, now: datetime) -> int:
    """Writes down the lost orders of one card whose invoice is certain; how many. What fits nothing holds every card
    of its customer until a person has looked at it."""
    lost = lost_orders(read)
    if not lost:
        return 0
    card = PaymentMethod.objects.select_related("account").get(pk=read.card.id)
    recovered = 0
    with sql.durable():
        # In the one order of locks.
        PaymentMethod.objects.select_for_update(no_key=True).get(pk=card.pk)
        list(
            Subscription.objects.select_for_update(no_key=True)
            .filter(customer_id=card.customer_id)
            .order_by("pk")
            .values_list("pk")
        )
        invoices = {
            invoice.pk: invoice
            for invoice in Invoice.objects.select_for_update(no_key=True, of=("self",))
            .filter(customer_id=card.customer_id)
            .order_by("pk")
        }
        chosen = assign(lost, _owed(list(invoices.values())))
        orders = {order.order_id: order for order in read.orders}
        for one in sorted(lost, key=lambda found: (str(orders[found.order_id].created_at or ""), found.order_id)):
            if one.order_id in chosen:
                invoice, order = invoices[chosen[one.order_id]], orders[one.order_id]
                recovered += _write_down(read, card, invoice, one, order, tuning=tuning, now=now)
        if any(order.order_id in {one.order_id for one in lost} for order in read.unexplained):
            _hold_all(card, now)
    return recovered


def _owed(invoices: Sequence[Invoice]) -> list[Owed]:
    attempts = list(PaymentAttempt.objects.filter(invoice__in=[invoice.pk for invoice in invoices]))
    holding = {one.invoice_id for one in attempts if AttemptState(one.state) in HOLDS_PLACE}
    known: dict[int, set[str]] = {}
    for one in attempts:
        words = our_words(one.description) if one.recovered_at is not None else None
        if words is not None:
            known.setdefault(one.invoice_id, set()).add(words.invoice_id)
    tried = {one.invoice_id for one in attempts}
    return [
        Owed(
            invoice.pk,
            invoice.public_id,
            invoice.description,
            invoice.amount_minor,
            invoice.currency,
            invoice.due_at,
            free=invoice.state == "open" and invoice.pk not in holding | tried,
            known_as=frozenset(known.get(invoice.pk, ())),
        )
        for invoice in invoices
    ]


def _write_down(
    read: CardRead,
    card: PaymentMethod,
    invoice: Invoice,
    lost: Lost,
    order: ListedOrder,
    *,
    tuning: Tuning,
    now: datetime,
) -> int:
    """One lost order as an attempt; 0 when the invoice or the card has no room for one that is not paid."""
    behind = read.transactions[order.transaction_id]
    finding = _finding(behind, lost, order)
    card_busy = PaymentAttempt.objects.filter(
        payment_method=card, state__in=[state.value for state in UNRESOLVED], released_at=None
    )
    place_taken = PaymentAttempt.objects.filter(invoice=invoice, state__in=[state.value for state in HOLDS_PLACE])
    has_room = not place_taken.exists() and not card_busy.exists()
    if not has_room and finding.verdict is not Verdict.PAID:
        return 0
    state = AttemptState.SENDING if has_room else AttemptState.NOT_CHARGED
    attempt = _insert(card, invoice, lost, order, state, tuning=tuning, now=now)
    settle_in_transaction([AttemptFinding(attempt.marker, finding)], tuning=tuning, now=now, actor="engine")
    read.explained_by[order.order_id] = attempt.pk
    read.unexplained = [one for one in read.unexplained if one.order_id != order.order_id]
    return 1


def _finding(behind: ReadTransaction, lost: Lost, order: ListedOrder) -> Finding:
    found = behind.finding(lost.words.marker)
    if found.order_id in (None, "", order.order_id):
        return found
    return Finding(
        Verdict.CONTRADICTION, Source.ORDER_LIST, reason=Reason.ORDER_AND_TRANSACTION_DISAGREE, detail=found.detail
    )


def _insert(
    card: PaymentMethod,
    invoice: Invoice,
    lost: Lost,
    order: ListedOrder,
    state: AttemptState,
    *,
    tuning: Tuning,
    now: datetime,
) -> PaymentAttempt:
    at = order.created_at or now
    request = _request(card, lost, invoice, at)
    title, description = _texts(lost, invoice)
    number = PaymentAttempt.objects.filter(invoice=invoice).count() + 1
    attempt = PaymentAttempt.objects.create(
        public_id=new_id("att", now),
        account_id=card.account_id,
        invoice=invoice,
        payment_method=card,
        number=number,
        state=state.value,
        state_reason=Reason.FOUND_AT_THE_GATEWAY,
        marker=lost.words.marker,
        amount_minor=invoice.amount_minor,
        currency=invoice.currency,
        gateway_customer_id=card.gateway_customer_id or "",
        charge_path=card.account.charge_path,
        title=title,
        description=description,
        **request_columns(request),
        **send_times(tuning, at),
        recovered_at=now,
    )
    changes = {"next_attempt_at": None} if state is AttemptState.SENDING else {}
    Invoice.objects.filter(pk=invoice.pk).update(
        attempt_count=number,
        refusal=None,
        refused_at=None,
        lease_until=None,
        lease_token=F("lease_token") + 1,
        **changes,
    )
    record_transition(
        account_id=card.account_id,
        subject_type="attempt",
        subject_id=attempt.pk,
        from_state="",
        to_state=state.value,
        reason=Reason.FOUND_AT_THE_GATEWAY,
        actor="engine",
        now=now,
    )
    return attempt


def _texts(lost: Lost, invoice: Invoice) -> tuple[str, str]:
    """Title and description as they must have been; the description keeps the id that the invoice had then."""
    words = lost.words
    name = " ".join(invoice.description.split())
    return charge_title(name, words.marker), f"{words.marker} {words.invoice_id} {name}".strip()


def _request(card: PaymentMethod, lost: Lost, invoice: Invoice, at: datetime) -> PreparedRequest:
    """The request as it can be put together again: without a signature, so that it is none."""
    account: GatewayAccount = card.account
    title, description = _texts(lost, invoice)
    asked = {
        "amount": invoice.amount_minor,
        "currency": invoice.currency,
        "description": description,
        "title": title,
    }
    return PreparedRequest(
        "POST",
        f"{account.api_url}/customer/{card.gateway_customer_id}/order",
        json.dumps(asked, sort_keys=True, separators=(",", ":")).encode(),
        f"recovered-{lost.words.marker}",
        int(at.timestamp()),
        "not signed: recovered",
    )


def _hold_all(card: PaymentMethod, now: datetime) -> None:
    """A charge whose invoice is not known may be for any of the customer's: none of its cards is charged."""
    cards = PaymentMethod.objects.filter(customer_id=card.customer_id, held_at=None).order_by("pk")
    settling.hold_cards([(pk, Reason.UNEXPLAINED_ORDER) for pk in cards.values_list("pk", flat=True)], now=now)
