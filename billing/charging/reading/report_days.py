"""The gateway's daily reports, read for payments that nothing explains: one call a day for all cards of an account.

A payment in a report that no attempt explains is asked about once. The marker in it, or its order, says whose it is; it
is settled like all other evidence, whatever became of the attempt. What fits nothing of ours is listed for a person
when it looks like ours, and is the merchant's other business when it does not.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from billing.charging.attempts.settle import AttemptFinding, settle_in_transaction
from billing.charging.reading import page_payments, went_back
from billing.domain.attempts import HAS_MONEY, AttemptState, Source
from billing.domain.closing import CLOSABLE
from billing.domain.late_money import (
    OLDEST_REPORT,
    FoundKind,
    days_to_read,
    ends_at,
    first_report,
    next_report,
    pause_after,
    report_after_failure,
    report_day,
)
from billing.domain.matching import marker_in
from billing.domain.reasons import Reason
from billing.domain.recovery import our_words
from billing.gateway.connection import (
    Gateway,
    GatewayUnavailableError,
    ReadTransaction,
    ReportedPayment,
    TransactionNotKnownError,
)
from billing.models import (
    Checkout,
    FoundPayment,
    GatewayAccount,
    GatewayOrder,
    GatewayTransaction,
    Invoice,
    PaymentAttempt,
    PaymentMethod,
    ReportDay,
)
from billing.models.bulk import settling, watching
from billing.models.bulk.history import lock_account, record_event
from billing.models.bulk.sql import NOT_DONE_YET, durable
from billing.operating.tuning import Tuning

logger = logging.getLogger(__name__)

DAYS_AT_MOST = 4  # of one account in one run
ASKED_AT_MOST = 300  # payments of one account in one run
ASK_FOR_SECONDS = 60
# As many failures in a row say that it is the gateway, and no odd payment.
FAILURES_IN_A_ROW = 3
# Statuses under which the gateway took money: what was read as one of these is not asked about again.
TOOK_MONEY = ("SUCCESS", "PARTIAL_REFUNDED", "FULL_REFUNDED", "REVERSED")

Listed = Sequence[ReportedPayment] | GatewayUnavailableError | None  # None: it was not read this time


def claim(account: GatewayAccount, *, now: datetime, lease: timedelta) -> list[watching.Day]:
    """Plans the days that are not planned yet, and leases those whose report is to be read now."""
    if not account.reads_reports:
        return []
    first, last = days_to_read(account.created_at, now)
    if not ReportDay.objects.filter(account_id=account.pk, day=last).exists():
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        watching.plan_days(account.pk, [(day, first_report(day, now)) for day in days])
    return watching.claim_days(account.pk, now=now, lease=lease, limit=DAYS_AT_MOST)


def read(gateway: Gateway, days: Iterable[watching.Day]) -> dict[int, Listed]:
    """The reports, by the id of the day. Network only. After one that cannot be read the rest is left for later."""
    lists: dict[int, Listed] = {}
    for day in days:
        try:
            lists[day.id] = gateway.read_report(day.day)
        except GatewayUnavailableError as error:
            lists[day.id] = error
            break
        except Exception as error:
            logger.exception("watch: reading the report of %s failed", day.day)
            lists[day.id] = GatewayUnavailableError(f"reading failed: {type(error).__name__}")
            break
    return lists


def _names(listed: Sequence[ReportedPayment]) -> list[str]:
    """The transactions of a report, each once; an id that no gateway writes is none."""
    return [name for name in dict.fromkeys(payment.transaction_id for payment in listed) if name.isprintable()]


def not_known_yet(day: watching.Day, listed: Listed) -> list[str]:
    """The transactions of the report that no attempt with money explains and nobody has asked about as money."""
    if listed is None or isinstance(listed, GatewayUnavailableError):
        return []
    names = _names(listed)
    known = _explained(day.account_id, names)
    asked = GatewayTransaction.objects.filter(
        account_id=day.account_id, gateway_transaction_id__in=names, status__in=TOOK_MONEY
    )
    known |= set(asked.values_list("gateway_transaction_id", flat=True))
    known -= went_back.recorded_by_a_person(day.account_id, names)  # whose money may go back
    return [name for name in names if name not in known]


def _explained(account_id: int, names: Sequence[str]) -> set[str]:
    states = [state.value for state in (*HAS_MONEY, AttemptState.REVERSED)]
    rows = PaymentAttempt.objects.filter(account_id=account_id, gateway_transaction_id__in=names, state__in=states)
    return {name for name in rows.values_list("gateway_transaction_id", flat=True) if name}


@dataclass(slots=True)
class Answers:
    """What the gateway answered about the payments that were asked about. `not_reached` were not asked about."""

    read: dict[str, ReadTransaction] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    not_reached: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Asking:
    """The job that asks about payments, by day. Network only."""

    gateway: Gateway
    payments: Mapping[int, Sequence[str]]

    def __call__(self) -> Answers:
        answers = Answers()
        until = time.monotonic() + ASK_FOR_SECONDS
        in_a_row = 0
        names = list(dict.fromkeys(name for names in self.payments.values() for name in names))
        for number, name in enumerate(names):
            if number >= ASKED_AT_MOST or in_a_row >= FAILURES_IN_A_ROW or time.monotonic() > until:
                answers.not_reached.update(names[number:])
                break
            try:
                answers.read[name] = self.gateway.read_transaction(name)
                in_a_row = 0
            except GatewayUnavailableError as error:
                answers.failed[name] = str(error)
                in_a_row += not isinstance(error, TransactionNotKnownError)
        return answers


@dataclass(frozen=True, slots=True)
class DayRead:
    """Whether the report was worked through, and how many attempts it changed."""

    done: bool
    closed: int


def finish(
    day: watching.Day, listed: Listed, answers: Answers, *, read_at: datetime, tuning: Tuning, now: datetime
) -> DayRead:
    """Records what one day's report shows; what could not be read or recorded is tried again later."""
    if listed is None:
        watching.release_day(day, next_at=now + pause_after(1))
        return DayRead(False, 0)
    if isinstance(listed, GatewayUnavailableError):
        logger.warning("watch: the report of %s could not be read: %s", day.day, listed)
        return _failed(day, f"the report could not be read: {listed}", now)
    names = _names(listed)
    closed, problem = record(day.account_id, [answers.read[n] for n in names if n in answers.read], tuning, now)
    if failed := [name for name in names if name in answers.failed]:
        problem = f"{len(failed)} payments could not be read, the first: {answers.failed[failed[0]]}"
    if problem:
        return _failed(day, problem, now, closed)
    if any(name in answers.not_reached for name in names):
        watching.release_day(day, next_at=now)
        return DayRead(False, closed)
    complete = read_at >= ends_at(day.day)
    counts = _counts(day.account_id, names)
    watching.finish_day(day, counts, read_at=read_at, complete=complete, next_at=next_report(day.day, now))
    watching.revive_days(day.account_id, since=report_day(now - OLDEST_REPORT), now=now)
    return DayRead(True, closed)


def _failed(day: watching.Day, failure: str, now: datetime, closed: int = 0) -> DayRead:
    next_at = report_after_failure(day.day, day.failures + 1, now)
    watching.fail_day(day, next_at=next_at, failure=failure[:500])
    return DayRead(False, closed)


def _counts(account_id: int, names: Sequence[str]) -> watching.Counts:
    unexplained = FoundPayment.objects.filter(account_id=account_id, gateway_transaction_id__in=names)
    unexplained = unexplained.exclude(kind__in=[FoundKind.AFTER_THE_END.value, FoundKind.WENT_BACK.value])
    return watching.Counts(len(names), len(_explained(account_id, names)), unexplained.count())


# --- whose it is ------------------------------------------------------------------------------------------


def record(account_id: int, transactions: Sequence[ReadTransaction], tuning: Tuning, now: datetime) -> tuple[int, str]:
    """Settles what belongs to attempts and lists what fits nothing, each payment in a commit of its own.

    Returns how many attempts changed, and what could not be recorded."""
    pages = page_payments.checkouts_of(account_id, transactions)
    owners = owners_of(account_id, [one for one in transactions if one.transaction.transaction_id not in pages])
    unexplained = unexplained_payments(account_id, transactions, owners, pages)
    closed, problem = 0, ""
    for one in transactions:
        name = one.transaction.transaction_id
        try:
            with durable():
                owner = owners.get(name)
                if name in pages and name not in unexplained:
                    closed += page_payments.record_payment(pages[name], one, tuning=tuning, now=now)
                if owner:
                    found = AttemptFinding(owner.marker, one.finding(owner.marker, Source.TRANSACTION_QUERY))
                    closed += sum(settle_in_transaction([found], tuning=tuning, now=now, actor="engine").values())
                if name in unexplained:
                    _list(unexplained[name], now)
                _write(account_id, one, now)
                went_back.note(account_id, [one], now=now)
        except NOT_DONE_YET:
            raise
        except Exception as error:
            logger.exception("watch: a payment of a report could not be recorded")
            problem = f"payment {name} could not be recorded: {type(error).__name__}"
    return closed, problem


@dataclass(frozen=True, slots=True)
class Owner:
    """The attempt that a payment belongs to."""

    id: int
    marker: str


def owners_of(account_id: int, transactions: Sequence[ReadTransaction]) -> dict[str, Owner]:
    """By transaction, the attempt whose marker it carries; where it carries none, the attempt whose order it pays."""
    words = {one.transaction.transaction_id: one.words.split() for one in transactions}
    orders = {one.transaction.transaction_id: one.transaction.order_additional_data or "" for one in transactions}
    attempts = PaymentAttempt.objects.filter(account_id=account_id).only("id", "marker", "gateway_order_id")
    by_marker = {row.marker: row for row in attempts.filter(marker__in={w for split in words.values() for w in split})}
    by_order = {row.gateway_order_id: row for row in attempts.filter(gateway_order_id__in=set(orders.values()) - {""})}
    seen = GatewayOrder.objects.filter(account_id=account_id, gateway_order_id__in=orders.values())
    by_seen_order = {
        row.gateway_order_id: row.attempt for row in seen.filter(attempt__isnull=False).select_related("attempt")
    }
    owners: dict[str, Owner] = {}
    for name, split in words.items():
        row = next((by_marker[word] for word in split if word in by_marker), None)
        if row is None and marker_in(" ".join(split)) is None:
            row = by_order.get(orders[name]) or by_seen_order.get(orders[name])
        if row is not None:
            owners[name] = Owner(row.pk, row.marker)
    return owners


def unexplained_payments(
    account_id: int,
    transactions: Sequence[ReadTransaction],
    owners: Mapping[str, Owner],
    pages: Mapping[str, Checkout] | None = None,
) -> dict[str, watching.NewFound]:
    """Payments that look like ours and that this database cannot explain: by transaction, as they are listed.

    With a marker like ours that is not known here (another installation made it, or this database forgot), or
    without one and with an order that is on one of our cards and belongs to nothing; or with the order of a page of
    ours, and not what the page asked for."""
    orders = {one.transaction.order_additional_data for one in transactions if one.transaction.order_additional_data}
    on_our_cards = set(
        GatewayOrder.objects.filter(
            account_id=account_id, gateway_order_id__in=orders, in_baseline=False, attempt__isnull=True
        ).values_list("gateway_order_id", flat=True)
    )
    recorded = went_back.recorded_by_a_person(account_id, [one.transaction.transaction_id for one in transactions])
    invoices = _named_invoices(account_id, transactions)
    found: dict[str, watching.NewFound] = {}
    for one in transactions:
        seen = one.transaction
        if seen.transaction_id in {*owners, *recorded} or seen.status_text not in TOOK_MONEY:
            continue
        marker, order = marker_in(one.words), seen.order_additional_data or ""
        page = (pages or {}).get(seen.transaction_id)
        if page is not None:
            if not page_payments.is_unexplained(page, one):
                continue
            kind, invoices[seen.transaction_id] = FoundKind.CHECKOUT_DIFFERS, page.invoice_id
        elif marker is None and order not in on_our_cards:
            continue
        else:
            kind = FoundKind.UNKNOWN_MARKER if marker else FoundKind.WITHOUT_MARKER
        found[seen.transaction_id] = watching.NewFound(
            account_id,
            seen.transaction_id,
            order,
            kind.value,
            seen.amount_minor,
            seen.currency,
            marker or "",
            invoice_id=invoices.get(seen.transaction_id),
        )
    return found


def _named_invoices(account_id: int, transactions: Sequence[ReadTransaction]) -> dict[str, int]:
    """By transaction, the account's invoice that its words name."""
    words = {one.transaction.transaction_id: our_words(one.words) for one in transactions}
    named = {name: found.invoice_id for name, found in words.items() if found is not None}
    rows = Invoice.objects.filter(account_id=account_id, public_id__in=named.values())
    ids = dict(rows.values_list("public_id", "pk"))
    return {name: ids[public_id] for name, public_id in named.items() if public_id in ids}


def _list(found: watching.NewFound, now: datetime) -> None:
    """Puts the payment before a person, has the card read on which its order is, and charges the invoice that it names
    on no card of the customer until the person has decided."""
    lock_account(found.account_id)  # before the cards, as when a charge is armed
    watching.list_found([found], now=now)
    invoice = _hold_customer(found, now)
    cards = GatewayOrder.objects.filter(account_id=found.account_id, gateway_order_id=found.gateway_order_id)
    watching.watch_soon(list(cards.values_list("payment_method_id", flat=True)), now=now)
    payload = {
        "transaction": found.gateway_transaction_id,
        "order": found.gateway_order_id,
        "reason": found.kind,
        "amount_minor": found.amount_minor,
        "currency": found.currency,
        "invoice": invoice,
    }
    record_event(
        account_id=found.account_id,
        kind="payment.unexplained",
        subject_type="account",
        subject_id=found.account_id,
        occasion=found.gateway_transaction_id,
        payload=payload,
        now=now,
    )


def _hold_customer(found: watching.NewFound, now: datetime) -> str | None:
    """The public id of the invoice that the payment names. While it is owed, its customer's cards are held."""
    if found.invoice_id is None:
        return None
    invoice = Invoice.objects.get(pk=found.invoice_id)
    if invoice.state in CLOSABLE:
        cards = PaymentMethod.objects.filter(customer_id=invoice.customer_id, held_at=None).order_by("pk")
        settling.hold_cards([(pk, Reason.PAYMENT_IN_REPORTS) for pk in cards.values_list("pk", flat=True)], now=now)
    return invoice.public_id


def _write(account_id: int, one: ReadTransaction, now: datetime) -> None:
    GatewayTransaction.objects.bulk_create(
        [
            GatewayTransaction(
                account_id=account_id,
                gateway_transaction_id=one.transaction.transaction_id,
                gateway_order_id=one.transaction.order_additional_data or "",
                status=one.transaction.status_text,
                amount_minor=one.transaction.amount_minor,
                currency=one.transaction.currency,
                words=one.words,
                content=one.content,
                first_seen_at=now,
                last_seen_at=now,
            )
        ],
        update_conflicts=True,
        unique_fields=["account", "gateway_transaction_id"],
        update_fields=["status", "content", "last_seen_at"],
    )
