"""A payment that was made on a checkout's page becomes an attempt: born and settled in one commit, of no card.

It was never armed here: nobody has the permission to send it, and its request is put together only so that it can be
read. From then on it is an attempt like others: it pays its invoice, or is an overpayment, and can be refunded.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from django.db.models import F

from billing.charging.attempts.settle import AttemptFinding, settle_in_transaction
from billing.charging.protocol.request import request_columns, send_times
from billing.charging.refunds.settle import record_seen
from billing.domain.attempts import HAS_MONEY, HOLDS_PLACE, AttemptState, Finding, Source, Verdict
from billing.domain.checkouts import CheckoutState
from billing.domain.reasons import Reason
from billing.gateway.connection import PreparedRequest, ReadTransaction
from billing.ids import new_id, new_marker
from billing.models import Checkout, Invoice, PaymentAttempt, Subscription
from billing.models.bulk import settling
from billing.models.bulk.history import record_transition
from billing.operating.tuning import Tuning

CHARGE_PATH = "checkout"


def checkouts_of(account_id: int, transactions: Sequence[ReadTransaction]) -> dict[str, Checkout]:
    """By transaction, the account's checkout whose order id it carries."""
    named = {one.transaction.transaction_id: _order_ids(one) for one in transactions}
    wanted = {order_id for ids in named.values() for order_id in ids}
    rows = Checkout.objects.filter(account_id=account_id, order_id__in=wanted).select_related("invoice", "account")
    by_order = {row.order_id: row for row in rows}
    return {name: by_order[order_id] for name, ids in named.items() for order_id in ids if order_id in by_order}


def differs(checkout: Checkout, read: ReadTransaction) -> bool:
    """Whether the transaction took money, or says so, and is not what the page asked for."""
    seen = read.transaction
    store = checkout.account.store_id
    return (seen.amount_minor, seen.currency) != (checkout.amount_minor, checkout.currency) or (
        seen.store_id is not None and bool(store) and seen.store_id != store
    )


def is_unexplained(checkout: Checkout, read: ReadTransaction) -> bool:
    """Whether money was taken on the page that no attempt can be: another amount, or money that went back since."""
    if read.transaction.status_text == "REVERSED":
        return False  # nothing was kept
    attempts = PaymentAttempt.objects.filter(
        account_id=checkout.account_id, gateway_transaction_id=read.transaction.transaction_id
    )
    return not attempts.exists() and (differs(checkout, read) or read.says_refunded)


def record_payment(checkout: Checkout, read: ReadTransaction, *, tuning: Tuning, now: datetime) -> int:
    """Inside the caller's transaction: takes over what the transaction shows; how many attempts it changed.

    Nothing is written down of a transaction that took no money, and of one that is not what the page asked for."""
    invoice = _lock(checkout)
    attempt = PaymentAttempt.objects.filter(
        account_id=checkout.account_id, gateway_transaction_id=read.transaction.transaction_id
    ).first()
    if attempt is not None and attempt.checkout_id != checkout.pk:
        return 0  # another attempt's transaction, whatever order it names
    if attempt is None:
        if differs(checkout, read) or _finding(checkout, checkout.marker, read).verdict is not Verdict.PAID:
            return 0
        attempt = _insert(checkout, invoice, read, tuning=tuning, now=now)
    elif not read.money.reversed and AttemptState(attempt.state) in HAS_MONEY:
        settling.lock_for_settlement([attempt.pk])
        record_seen({attempt.pk: read}, tuning=tuning, now=now)
        return 0
    found = AttemptFinding(attempt.marker, _finding(checkout, attempt.marker, read))
    changed = sum(settle_in_transaction([found], tuning=tuning, now=now, actor="engine").values())
    _note_paid(checkout, now)
    return changed


def _order_ids(one: ReadTransaction) -> Collection[str]:
    return {one.transaction.order_id, one.transaction.order_additional_data} - {""}


def _lock(checkout: Checkout) -> Invoice:
    """In the one order. A checkout has no lock of its own: who changes it holds its invoice's."""
    list(
        Subscription.objects.select_for_update(no_key=True)
        .filter(invoices=checkout.invoice_id)
        .order_by("pk")
        .values_list("pk")
    )
    return Invoice.objects.select_for_update(no_key=True, of=("self",)).get(pk=checkout.invoice_id)


def _finding(checkout: Checkout, marker: str, read: ReadTransaction) -> Finding:
    """What the transaction shows about the attempt with this marker. Of two payments on one page the second has a
    marker of its own, which no words carry, and the order is the first's."""
    found = read.finding(checkout.marker, Source.TRANSACTION_QUERY)
    if marker == checkout.marker:
        return replace(found, order_id=checkout.order_id)
    return replace(found, marker=None, order_id=None)


def _insert(
    checkout: Checkout, invoice: Invoice, read: ReadTransaction, *, tuning: Tuning, now: datetime
) -> PaymentAttempt:
    tried = PaymentAttempt.objects.filter(invoice=invoice)
    has_room = not tried.filter(state__in=[state.value for state in HOLDS_PLACE]).exists()
    state = AttemptState.SENDING if has_room else AttemptState.NOT_CHARGED
    is_first = not tried.filter(checkout=checkout).exists()
    marker = checkout.marker if is_first else new_marker()
    paid_at = read.transaction.transaction_at or now
    at = min(max(paid_at, checkout.created_at), now)
    number = tried.count() + 1
    attempt = PaymentAttempt.objects.create(
        public_id=new_id("att", now),
        account_id=checkout.account_id,
        invoice=invoice,
        payment_method=None,
        checkout=checkout,
        number=number,
        state=state.value,
        state_reason=Reason.PAID_ON_A_PAGE,
        marker=marker,
        amount_minor=checkout.amount_minor,
        currency=checkout.currency,
        gateway_customer_id="",
        charge_path=CHARGE_PATH,
        title=checkout.title,
        description=checkout.description,
        **request_columns(_request(checkout, marker, at)),
        **send_times(tuning, at),
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
        account_id=checkout.account_id,
        subject_type="attempt",
        subject_id=attempt.pk,
        from_state="",
        to_state=state.value,
        reason=Reason.PAID_ON_A_PAGE,
        actor="engine",
        now=now,
    )
    return attempt


def _request(checkout: Checkout, marker: str, at: datetime) -> PreparedRequest:
    """What was asked for, as far as it matters: without a signature, so that it is no request."""
    asked = {"order": {"id": checkout.order_id, "amount": checkout.amount_minor, "currencyType": checkout.currency}}
    return PreparedRequest(
        "POST",
        f"{checkout.account.api_url}/payment/online",
        json.dumps(asked, sort_keys=True, separators=(",", ":")).encode(),
        f"checkout-{marker}",
        int(at.timestamp()),
        "not signed: paid on a page",
    )


def _note_paid(checkout: Checkout, now: datetime) -> None:
    row = Checkout.objects.get(pk=checkout.pk)
    money = row.attempts.filter(state__in=[state.value for state in HAS_MONEY])
    if row.state == CheckoutState.PAID or not money.exists():
        return
    change(row, CheckoutState.PAID, Reason.PAID_ON_A_PAGE, now=now)


def change(row: Checkout, to: CheckoutState, reason: str, *, now: datetime, actor: str = "engine") -> None:
    """Moves a checkout whose invoice the caller holds locked, with its line of history."""
    before, row.state, row.state_reason = row.state, to.value, reason
    if to in (CheckoutState.PAID, CheckoutState.CLOSED):
        row.closed_at = now
    row.save(update_fields=["state", "state_reason", "closed_at"])
    record_transition(
        account_id=row.account_id,
        subject_type="checkout",
        subject_id=row.pk,
        from_state=before,
        to_state=to.value,
        reason=reason,
        actor=actor,
        now=now,
    )
