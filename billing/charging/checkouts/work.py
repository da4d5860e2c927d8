"""Looks at checkouts whose time has come, a few of each account at a time; one that fails is tried less often.

1. Each account's due checkouts are leased (database).
2. The gateway is asked about them, several accounts at a time (network, no database).
3. What it showed is written down, and the next look is planned.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.charging.checkouts.look import Look, ask, record
from billing.domain.checkouts import CheckoutState, look_after_failure, next_look
from billing.gateway.connection import GatewayUnavailableError, gateway_for
from billing.gateway.connection import clock as gateway_clock
from billing.models import Checkout, GatewayAccount
from billing.models.bulk import checkouts
from billing.models.bulk.sql import NOT_DONE_YET
from billing.operating import troubles
from billing.operating.clocks import addresses_off
from billing.operating.tuning import Tuning

logger = logging.getLogger(__name__)

WORK = "checkouts"
READERS = 8
LEASE = timedelta(minutes=5)
# The gateway answers three queries by order in five seconds for each token, and this is done every five seconds: one
# is left for a payer who comes back.
AT_ONCE = 2

Asked = tuple[checkouts.Claim, Checkout]


@dataclass(slots=True)
class Looked:
    """How many checkouts were looked at, and how many could not be."""

    read: int = 0
    failed: int = 0


def look_at_due(*, tuning: Tuning, clock: Callable[[], datetime], should_stop: Callable[[], bool]) -> Looked:
    """One run over all accounts; what is left over is for the next run."""
    done = Looked()
    now = clock()
    due = checkouts.accounts_to_look_at(now=now)
    if not due or should_stop():
        return done
    gateway_clock.align(now)
    with ThreadPoolExecutor(READERS, thread_name_prefix="checkouts") as pool:
        asked: dict[Future[Look], Asked] = {}
        for account in GatewayAccount.objects.filter(pk__in=due).exclude(api_url__in=addresses_off(now)).order_by("pk"):
            with troubles.isolated(account.pk, WORK, clock):  # one account never holds up the others
                asked |= _ask(account, pool, now)
        for future in as_completed(asked):
            claimed, row = asked[future]
            with troubles.isolated(row.account_id, WORK, clock):
                _finish(future.result(), claimed, row, done, tuning, clock)
    return done


def _ask(account: GatewayAccount, pool: ThreadPoolExecutor, now: datetime) -> dict[Future[Look], Asked]:
    gateway = gateway_for(account)
    claims = {one.id: one for one in checkouts.claim(account.pk, now=now, lease=LEASE, limit=AT_ONCE)}
    rows = Checkout.objects.select_related("account", "invoice").filter(pk__in=claims).order_by("pk")
    return {pool.submit(ask, gateway, row, read_at=now): (claims[row.pk], row) for row in rows}


def _finish(
    look: Look,
    claimed: checkouts.Claim,
    row: Checkout,
    done: Looked,
    tuning: Tuning,
    clock: Callable[[], datetime],
) -> None:
    failed = bool(look.unread)
    try:
        state = record(row, look, tuning=tuning, now=clock())
    except NOT_DONE_YET:
        raise
    except GatewayUnavailableError as error:
        logger.warning("checkouts: %s could not be recorded: %s", row.public_id, error)
        failed, state = True, CheckoutState(row.state)
    now = clock()
    planned = next_look(row.created_at, now, paid=state is CheckoutState.PAID)
    again = look_after_failure(row.created_at, row.failures + 1, now) if failed and planned else planned
    checkouts.finish(claimed, next_at=again, failed=failed)
    done.read += not failed
    done.failed += failed
