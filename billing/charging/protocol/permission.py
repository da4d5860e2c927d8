"""The frame of arming: what permits a money request to leave, for charges and refunds alike.

1. Recognise the database: one that may have forgotten requests arms no more (`operating.recognise`).
2. Freeze: the caller locks, checks everything again, signs its requests and writes them down.
3. Commit, durably. A commit that was not acknowledged, in this very call, permits nothing.
4. Attest it outside the database. What could not be attested does not leave.

A `Permitted` is the permission to send what it carries, once, from this process. It is never derived from a row.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from django.db import Error, IntegrityError

from billing.models.bulk.sql import durable
from billing.operating import recognise
from billing.operating.witness import WitnessError

logger = logging.getLogger(__name__)

NOT_ATTESTED = "not_attested"  # the database failed after the commit

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Frozen(Generic[T]):
    """What one transaction froze. `marker` (of a charge) or `nonce` (of a refund) names the last of its requests to
    the witness; where neither is set, there is nothing to send."""

    what: T
    marker: str = ""
    nonce: str = ""

    @property
    def is_empty(self) -> bool:
        return not (self.marker or self.nonce)


@dataclass(frozen=True, slots=True)
class Permitted(Generic[T]):
    """On disk, and attested: it may be sent."""

    what: T


@dataclass(frozen=True, slots=True)
class Unacknowledged(Generic[T]):
    """The database did not say whether it was committed: none of it may be sent."""

    what: T


@dataclass(frozen=True, slots=True)
class Unattested(Generic[T]):
    """Committed, and not attested, as `why` says: none of it may be sent."""

    what: T
    why: str


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing may be armed in this database now."""


Answer = Permitted[T] | Unacknowledged[T] | Unattested[T] | Closed


def ask_permission(freeze: Callable[[], Frozen[T]], *, about: str, now: datetime) -> Answer[T]:
    """Runs `freeze` in the one durable commit of arming. `about` names the requests in the log.

    Raises what `freeze` raises, and IntegrityError: then nothing is armed."""
    frozen: Frozen[T] | None = None
    try:
        with durable():
            confirmed = recognise.confirm()
            frozen = freeze()
    except IntegrityError:
        raise
    except recognise.NotRecognisedError as error:
        return ask_permission(freeze, about=about, now=now) if recognise.act_on(error, now=now) else Closed()
    except WitnessError as error:
        logger.error("arm: nothing is armed, because the witness cannot be used: %s", error)  # noqa: TRY400
        return Closed()
    except Error:
        if frozen is None or frozen.is_empty:
            raise
        logger.exception("arm: the commit of %s was not acknowledged; nothing of it is sent", about)
        return Unacknowledged(frozen.what)
    if frozen.is_empty:
        return Permitted(frozen.what)
    try:
        why = recognise.attest(confirmed, now=now, marker=frozen.marker, nonce=frozen.nonce)
    except Error:
        logger.exception("arm: the commit of %s could not be attested; nothing of it is sent", about)
        why = NOT_ATTESTED
    return Unattested(frozen.what, why) if why else Permitted(frozen.what)
