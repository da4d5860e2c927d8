"""Looks at every checkout whose time has come, account by account; one that fails is looked at again, less often."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.charging.checkouts.look import ask, record
from billing.domain.checkouts import CheckoutState, look_after_failure, next_look
from billing.gateway.connection import Gateway, GatewayUnavailableError, gateway_for
from billing.gateway.connection import clock as gateway_clock
from billing.models import Checkout, GatewayAccount
from billing.models.bulk import checkouts
from billing.models.bulk.sql import NOT_DONE_YET
from billing.operating import troubles
from billing.operating.clocks import addresses_off
from billing.operating.tuning import Tuning

logger = logging.getLogger(__name__)

WORK = "checkouts"
LEASE = timedelta(minutes=5)
# The gateway answers three queries by order in five seconds for each token.
AT_ONCE = 3
PAUSE_SECONDS = 6
FOR_SECONDS = 30


@dataclass(slots=True)
class Looked:
    """How many checkouts were looked at, and how many could not be."""

    read: int = 0
    failed: int = 0


def look_at_due(
    *,
    tuning: Tuning,
    clock: Callable[[], datetime],
    should_stop: Callable[[], bool],
    for_seconds: int = FOR_SECONDS,
) -> Looked:
    """One run over all accounts, for about half a minute; what is left over is for the next run."""
    done = Looked()
    stop_at = time.monotonic() + for_seconds
    now = clock()
    due = checkouts.accounts_to_look_at(now=now)
    accounts = GatewayAccount.objects.filter(pk__in=due).exclude(api_url__in=addresses_off(now)).order_by("pk")
    left = list(accounts)
    while left and not should_stop():
        # A round over the accounts, then the pause that the gateway wants from each of them.
        left = [account for account in left if _look_at_some(account, done, tuning, clock)]
        if not left or time.monotonic() + PAUSE_SECONDS > stop_at:
            break
        time.sleep(PAUSE_SECONDS)
    return done


def _look_at_some(account: GatewayAccount, done: Looked, tuning: Tuning, clock: Callable[[], datetime]) -> bool:
    """Whether there may be more of this account."""
    claims: list[checkouts.Claim] = []
    with troubles.isolated(account.pk, WORK, clock):  # one account never holds up the others
        claims = checkouts.claim(account.pk, now=clock(), lease=LEASE, limit=AT_ONCE)
        gateway = gateway_for(account) if claims else None
        for one in claims:
            if gateway is not None:
                _look_at(gateway, one, done, tuning, clock)
    return len(claims) == AT_ONCE


def _look_at(
    gateway: Gateway, claimed: checkouts.Claim, done: Looked, tuning: Tuning, clock: Callable[[], datetime]
) -> None:
    row = Checkout.objects.select_related("account", "invoice").get(pk=claimed.id)
    now = clock()
    gateway_clock.align(now)
    failed = False
    try:
        look = ask(gateway, row, read_at=now)
        failed = bool(look.unread)
        state = record(row, look, tuning=tuning, now=clock())
    except NOT_DONE_YET:
        raise
    except GatewayUnavailableError as error:
        logger.warning("checkouts: %s could not be recorded: %s", row.public_id, error)
        failed, state = True, CheckoutState(row.state)
    after = clock()
    planned = next_look(row.created_at, after, paid=state is CheckoutState.PAID)
    again = look_after_failure(row.created_at, row.failures + 1, after) if failed and planned else planned
    checkouts.finish(claimed, next_at=again, failed=failed)
    done.read += not failed
    done.failed += failed
