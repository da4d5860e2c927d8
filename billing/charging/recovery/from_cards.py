"""Reading every card of an account in quarantine, and the daily reports since, until nothing is left to read.

It moves no money and may be interrupted at any point: each card says when its newest complete read began.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from billing.charging.cases.holds import found_payments_of, unexplained_orders
from billing.charging.reading.fetch import fetch
from billing.charging.reading.known import CardRead, KnownCard, Unread, load
from billing.charging.reading.orders import note_unread
from billing.charging.reading.record import record
from billing.charging.recovery.from_reports import read_reports
from billing.charging.recovery.recover import recover
from billing.domain.doubts import complete_from
from billing.domain.reasons import Reason
from billing.gateway.connection import CardNotKnownError, Gateway, GatewayUnavailableError, gateway_for
from billing.gateway.connection import clock as gateway_clock
from billing.models import GatewayAccount, PaymentMethod
from billing.models.bulk.history import record_transition
from billing.models.bulk.holding import free_card
from billing.models.bulk.sql import NOT_DONE_YET
from billing.operating import quarantine, troubles
from billing.operating.clocks import ask_gateways
from billing.operating.tuning import Tuning
from billing.subscriptions.renew import open_due

logger = logging.getLogger(__name__)

WORK = "read in quarantine"
READERS = 8
BATCH = 64
FOR_SECONDS = 60


@dataclass(slots=True)
class Recovered:
    """What one run came to: cards read, cards that could not be read, attempts written down."""

    read: int = 0
    failed: int = 0
    attempts: int = 0


def read_quarantined(
    *,
    tuning: Tuning,
    clock: Callable[[], datetime],
    should_stop: Callable[[], bool],
    account_id: int | None = None,
    for_seconds: int = FOR_SECONDS,
) -> Recovered:
    """Reads what is due of every account in quarantine (or of one), for about a minute; `clock` is the database's."""
    done = Recovered()
    stop_at = time.monotonic() + for_seconds
    accounts = GatewayAccount.objects.exclude(quarantined_at=None).order_by("pk")
    if accounts.filter(quarantine_clock_doubted=True).exists():
        ask_gateways(now=clock())
    for account in accounts.filter(pk=account_id) if account_id is not None else accounts:
        with troubles.isolated(account.pk, WORK, clock):  # one account never holds up the others
            _read_account(account, done, tuning, clock, lambda: should_stop() or time.monotonic() > stop_at)
    return done


def _read_account(
    account: GatewayAccount,
    done: Recovered,
    tuning: Tuning,
    clock: Callable[[], datetime],
    should_stop: Callable[[], bool],
) -> None:
    now = clock()
    if not quarantine.counts_by_the_clock(account, now=now):
        return  # a read that begins ahead of time would count as one after the lists have caught up
    if not quarantine.cards_to_read(account, now=now).exists() and not _reports_are_due(account, now):
        return
    while open_due(now=now).invoices and not should_stop():
        pass  # what is due is owed, and what was found may be its payment
    gateway, tried = gateway_for(account), set[int]()
    with ThreadPoolExecutor(READERS, thread_name_prefix="quarantine") as pool:
        while not should_stop():
            now = clock()
            due = quarantine.cards_to_read(account, now=now).exclude(pk__in=tried).order_by("pk")
            cards = list(due.values_list("pk", flat=True)[:BATCH])
            if not cards:
                break
            tried.update(cards)
            gateway_clock.align(now)
            known = load(cards)
            reads = {pk: pool.submit(_read, gateway, card) for pk, card in known.items()}
            _record_all(reads, known, now, done, tuning, clock)
    if _reports_are_due(account, clock()) and not should_stop():
        read_reports(account, gateway, tuning=tuning, now=clock())


def _reports_are_due(account: GatewayAccount, now: datetime) -> bool:
    """Once a quarantine; also where whoever read the last card came no further, and where there is no card."""
    if account.quarantined_at is None or account.quarantine_reports:
        return False
    return now >= complete_from(account.quarantined_at, quarantine.shown_after(account))


def _read(gateway: Gateway, card: KnownCard) -> CardRead | GatewayUnavailableError | None:
    """None: there is nothing to read, for the card was never bound or the gateway knows it no more."""
    try:
        return fetch(gateway, card)
    except CardNotKnownError:
        return None
    except GatewayUnavailableError as error:
        return None if _never_bound(gateway, card) else error
    except Exception as error:
        logger.exception("quarantine: reading card %s failed", card.public_id)
        return GatewayUnavailableError(f"reading failed: {type(error).__name__}")


def _never_bound(gateway: Gateway, card: KnownCard) -> bool:
    try:
        found = gateway.read_card(card.gateway_customer_id)
    except CardNotKnownError:
        return True
    except GatewayUnavailableError:
        return False
    return not found.is_active and not found.label


def _record_all(
    reads: dict[int, "Future[CardRead | GatewayUnavailableError | None]"],
    known: dict[int, KnownCard],
    started_at: datetime,
    done: Recovered,
    tuning: Tuning,
    clock: Callable[[], datetime],
) -> None:
    unread: list[Unread] = []
    for card, future in reads.items():
        read = future.result()
        if isinstance(read, GatewayUnavailableError):
            logger.warning("quarantine: card %s could not be read: %s", card, read)
            unread.append(Unread(known[card], read))
            continue
        try:
            if read is not None:
                done.attempts += recover(read, tuning=tuning, now=clock())
                record(read, read.findings, tuning=tuning, now=clock())
                _free(card, now=clock())
        except NOT_DONE_YET:
            raise
        except Exception as error:  # it stays unread, and is read again
            logger.exception("quarantine: what card %s showed could not be recorded", card)
            unread.append(Unread(known[card], GatewayUnavailableError(f"not recorded: {type(error).__name__}")))
            continue
        PaymentMethod.objects.filter(pk=card).update(quarantine_read_at=started_at)
        done.read += 1
    done.failed += len(unread)
    # After long a person is asked, who may go on without a card: else one card would keep the quarantine for ever.
    note_unread(unread, tuning=tuning, now=clock())


def _free(card_id: int, *, now: datetime) -> None:
    """A card that was held for orders, or for payments of the reports, that are all explained now is charged again."""
    if unexplained_orders(card_id).exists():
        return
    freed = PaymentMethod.objects.filter(
        pk=card_id, held_reason__in=[Reason.UNEXPLAINED_ORDER, Reason.PAYMENT_IN_REPORTS], held_at__isnull=False
    )
    for card in freed:
        siblings = PaymentMethod.objects.filter(customer_id=card.customer_id)
        if any(unexplained_orders(pk).exists() for pk in siblings.values_list("pk", flat=True)):
            continue
        if found_payments_of(card.customer_id).exists():
            continue
        free_card(card_id, actor="engine", now=now)
        record_transition(
            account_id=card.account_id,
            subject_type="card",
            subject_id=card.pk,
            from_state="held",
            to_state="free",
            reason=Reason.ITS_ORDERS_ARE_EXPLAINED,
            actor="engine",
            now=now,
        )
