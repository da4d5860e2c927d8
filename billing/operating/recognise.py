"""Recognising the database before anything is armed in it, and from time to time where nothing is due.

`confirm` is one statement inside arm's own transaction. `attest` follows arm's commit and comes before the request
leaves: it writes the witness, then looks at what other processes of this host witnessed meanwhile, so that of two that
arm in two copies of one database at the same instant at least one sees the other.
"""

import logging
import secrets
from dataclasses import dataclass
from datetime import datetime

from django.db import Error, transaction

from billing.domain.doubts import Admission, Doubt, Judgement, Seen, Step, admission, judge
from billing.domain.reasons import Reason
from billing.models.bulk import recognising
from billing.models.bulk.sql import durable
from billing.operating import quarantine, witness
from billing.operating.witness import Witnessed, WitnessError

logger = logging.getLogger(__name__)

_askable: tuple[str, ...] | None = None
_noted: set[str] = set()  # hosts of which this process has written down that they armed


class NotRecognisedError(Exception):
    """Nothing may be armed in this database now."""

    def __init__(self, judgement: Judgement) -> None:
        super().__init__(f"{judgement.step.value} {judgement.doubt or ''} {judgement.detail}".strip())
        self.judgement = judgement


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The database as it was recognised, with what this host had witnessed by then."""

    host_id: str
    epoch: str
    past_epochs: frozenset[str]
    files: dict[str, Witnessed]


def confirm(*, lock: bool = True) -> Confirmed:
    """Inside arm's transaction: raises NotRecognisedError, or WitnessError when the witness cannot be used."""
    host_id, files = witness.host_id(), witness.read_all()
    row = _read(host_id, files, lock=lock)
    judgement = _judge(row, files)
    if judgement.step is not Step.GO_ON:
        raise NotRecognisedError(judgement)
    witness.make_ready()
    return Confirmed(host_id, row.epoch, row.past_epochs, files)


def attest(confirmed: Confirmed, *, now: datetime, marker: str = "", nonce: str = "") -> str:
    """After arm's commit: writes the witness. What it returns is why nothing of it may be sent, or ""."""
    try:
        witness.note(confirmed.epoch, marker=marker, nonce=nonce)
        files = witness.read_all()
    except WitnessError as error:
        logger.error("witness: nothing is sent, because it cannot be written: %s", error)  # noqa: TRY400
        return Reason.WITNESS_NOT_WRITTEN
    changed = [
        one
        for name, one in files.items()
        if confirmed.files.get(name) != one and name != witness.own_name() and one.epoch not in confirmed.past_epochs
    ]
    strange = any(one.epoch != confirmed.epoch for one in changed)
    # Of two processes beside a database that was put back between their commits the second one sees the first, and
    # its own attempt may be the one that is gone.
    asked = [*changed, Witnessed(confirmed.epoch, marker, nonce)]
    markers, nonces = [one.marker for one in asked if one.marker], [one.nonce for one in asked if one.nonce]
    if strange or (changed and recognising.forgotten(markers, nonces)):
        watch(now=now)
        return Reason.ANOTHER_DATABASE_AT_WORK
    if confirmed.host_id not in _noted:
        recognising.note_armed(confirmed.host_id, now=now)
        _noted.add(confirmed.host_id)
    return ""


def act_on(error: NotRecognisedError, *, now: datetime) -> bool:
    """Does what follows, in a transaction of its own. True: try again; False: nothing is armed now."""
    step = error.judgement.step
    if step is Step.ADOPT:
        return _adopt(now)
    if step in (Step.INTRODUCE, Step.WAIT):
        return _consider_host(now)
    _enter(now)
    return False


def watch(*, now: datetime) -> None:
    """The same look where nothing is armed, with this host's sign of life. Never raises for the witness's sake."""
    try:
        try:
            with transaction.atomic():
                confirm(lock=False)
        except NotRecognisedError as error:
            act_on(error, now=now)
        with transaction.atomic():
            recognising.show_host(witness.host_id(), now=now)
    except WitnessError as error:
        logger.warning("witness: %s; nothing is armed on this host", error)


def _read(host_id: str, files: dict[str, Witnessed], *, lock: bool) -> recognising.Row:
    global _askable
    if _askable is None:
        _askable = recognising.askable()
    witnessed = [(one.epoch, one.marker, one.nonce) for one in files.values()]
    try:
        return recognising.read(_askable, host_id=host_id, witnessed=witnessed, lock=lock)
    except Error:
        _askable = None  # another server may answer next, with other permissions
        raise


def _judge(row: recognising.Row, files: dict[str, Witnessed]) -> Judgement:
    epochs = frozenset(one.epoch for one in files.values())
    return judge(Seen(row.epoch, row.past_epochs, row.stored, row.actual, epochs, row.forgotten, row.host_admitted))


def _adopt(now: datetime) -> bool:
    """A database without an epoch begins its first one, on the host that saw it first."""
    with durable():
        if recognising.lock_installation():
            return True  # another process did
        host_id = witness.host_id()
        row = _read(host_id, {}, lock=False)
        recognising.begin_epoch(secrets.token_hex(8), row.actual)
        recognising.admit_host(host_id, now=now)
    return True


def _consider_host(now: datetime) -> bool:
    """Whether this host is admitted, after its own sign of life and a look at those of the others."""
    host_id = witness.host_id()
    with durable():
        recognising.forget_future_signs(now=now)
        first_seen_at, admitted = recognising.show_host(host_id, now=now)
        seen_at, armed = recognising.other_hosts(host_id)
        outcome = (
            Admission.ADMIT
            if admitted
            else admission(first_seen_at=first_seen_at, others_last_seen_at=seen_at, others_armed=armed, now=now)
        )
        if outcome is Admission.ADMIT and not admitted:
            recognising.admit_host(host_id, now=now)
            logger.info("recognise: host %s belongs to this database", host_id)
    if outcome is Admission.DOUBT:
        last = f"{seen_at:%Y-%m-%d %H:%M:%S} UTC" if seen_at else "never"
        _enter(
            now, Judgement(Step.QUARANTINE, Doubt.HOST_UNKNOWN, f"the known hosts have had no heartbeat since {last}")
        )
    return outcome is Admission.ADMIT


def _enter(now: datetime, known: Judgement | None = None) -> None:
    """Begins a quarantine of every account, and with it a new epoch, unless another process did meanwhile."""
    host_id, files = witness.host_id(), witness.read_all()
    with durable():
        recognising.lock_installation()
        row = _read(host_id, files, lock=False)
        judgement = _judge(row, files)
        if judgement.doubt is None and known is not None and not row.host_admitted:
            judgement = known
        if judgement.doubt is None:
            return
        past = sorted({one.epoch for one in files.values()})
        recognising.begin_epoch(secrets.token_hex(8), row.actual, past=past)
        recognising.admit_host(host_id, now=now)
        quarantine.enter(None, judgement.doubt, judgement.detail, now=now)
    logger.error("recognise: quarantine, nothing is armed: %s: %s", judgement.doubt.value, judgement.detail)
