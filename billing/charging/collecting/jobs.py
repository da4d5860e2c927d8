"""What senders do for collect, one call each: all network, no database. Whatever goes wrong comes back as a result."""

import logging
import time
from dataclasses import dataclass
from datetime import timedelta

from billing.charging.attempts.arm import Armed
from billing.charging.reading import preflight
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.reasons import Reason
from billing.gateway.connection import CardNotKnownError, Gateway, GatewayUnavailableError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sent:
    armed: Armed
    finding: Finding


@dataclass(frozen=True, slots=True)
class WasRead:
    reading: preflight.Reading
    outcome: preflight.Outcome


@dataclass(frozen=True, slots=True)
class TokenCame:
    """The account's token is there, or `error` says why not."""

    account_id: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Probed:
    """The gateway answered a read of the account's, or `error` says why not."""

    account_id: int
    error: str | None


Result = Sent | WasRead | TokenCame | Probed


def send(gateway: Gateway, armed: Armed, leave_at_ns: int | None) -> Sent:
    """The one POST, at `leave_at_ns` of the monotonic clock. Whatever goes wrong here is an outcome that is not known,
    never a reason to forget it."""
    try:
        if leave_at_ns is not None:
            left = timedelta(microseconds=max(leave_at_ns - time.monotonic_ns(), 0) // 1000)
            time.sleep(left.total_seconds())
        return Sent(armed, gateway.send(armed.prepared, marker=armed.marker))
    except BaseException as error:
        logger.exception("collect: sending attempt %s failed", armed.attempt_id)
        detail = {"error": type(error).__name__}
        return Sent(armed, Finding(Verdict.UNCLEAR, Source.ANSWER, reason=Reason.SENDER_FAILED, detail=detail))


def read(gateway: Gateway, reading: preflight.Reading) -> WasRead:
    try:
        return WasRead(reading, preflight.read(gateway, reading))
    except BaseException as error:
        logger.exception("collect: reading the cards of invoice %s failed", reading.preflight.invoice_id)
        return WasRead(reading, GatewayUnavailableError(f"reading failed: {type(error).__name__}"))


def fetch_token(account_id: int, gateway: Gateway) -> TokenCame:
    try:
        gateway.ensure_token()
    except BaseException as error:  # noqa: BLE001
        logger.warning("collect: account %s has no token: %s", account_id, error)
        return TokenCame(account_id, _words(error))
    return TokenCame(account_id, None)


def probe(account_id: int, gateway: Gateway, gateway_customer_id: str | None) -> Probed:
    """A token, and a signed read where there is a card to read: neither can charge."""
    try:
        gateway.ensure_token()
        if gateway_customer_id:
            gateway.read_orders(gateway_customer_id)
    except CardNotKnownError:
        return Probed(account_id, None)  # it answers
    except BaseException as error:  # noqa: BLE001
        return Probed(account_id, _words(error))
    return Probed(account_id, None)


def _words(error: BaseException) -> str:
    """What people read of it: without the names of a library's classes."""
    return str(error).partition(" [")[0] if isinstance(error, GatewayUnavailableError) else type(error).__name__
