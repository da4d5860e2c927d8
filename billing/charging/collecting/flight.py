"""The charges that this process armed and has no settled answer for: handed to senders, counted by account."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from billing.charging.attempts.arm import Armed
from billing.charging.collecting import jobs
from billing.charging.collecting.jobs import Result, Sent
from billing.charging.protocol.senders import Job, Senders
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.reasons import Reason
from billing.gateway.connection import Gateway

NO_SENDER = Finding(Verdict.NOT_SENT, Source.ANSWER, reason=Reason.NO_SENDER, kind="no_sender", nothing_left=True)


@dataclass(frozen=True, slots=True)
class _Charge:
    account_id: int
    armed: Armed
    job: Job[Result]


class Flight:
    """`unsent` are the charges that no sender will ever begin, as this very process knows."""

    def __init__(self, senders: Senders[Result]) -> None:
        self._senders = senders
        self._charges: dict[str, _Charge] = {}
        self._last_leave: dict[int, int] = {}
        self.unsent: list[Sent] = []

    def __len__(self) -> int:
        return len(self._charges)

    def of(self, account_id: int) -> int:
        return sum(charge.account_id == account_id for charge in self._charges.values())

    def hand_over(
        self,
        account_id: int,
        gateway: Gateway,
        armed: Sequence[Armed],
        *,
        slots: Sequence[datetime],
        apart: timedelta,
        now: datetime,
    ) -> None:
        """Gives the charges to senders that live, to leave at their `slots`, at least `apart` from each other."""
        charges = []
        for number, one in enumerate(armed):
            leave_at = self._leave_at(account_id, slots[number], apart, now) if slots else None
            charge = _Charge(account_id, one, Job(partial(jobs.send, gateway, one, leave_at)))
            self._charges[one.marker] = charge
            charges.append(charge)
        handed = 0
        try:
            for charge in charges:
                self._senders.submit(charge.job)
                handed += 1
        finally:
            for charge in charges[handed:]:
                if charge.job.claim():
                    self._give_up(charge)

    def landed(self, marker: str) -> int | None:
        """The account of a charge whose answer was settled; from now on it is not in flight."""
        charge = self._charges.pop(marker, None)
        return charge.account_id if charge else None

    def take_back(self) -> None:
        """What no sender has started is not sent."""
        for charge in list(self._charges.values()):
            if self._senders.take_back(charge.job):
                self._give_up(charge)

    def _give_up(self, charge: _Charge) -> None:
        del self._charges[charge.armed.marker]
        self.unsent.append(Sent(charge.armed, NO_SENDER))

    def _leave_at(self, account_id: int, slot: datetime, apart: timedelta, now: datetime) -> int:
        """The slot by this process's monotonic clock; later when the last one left late."""
        earliest = self._last_leave.get(account_id, 0) + _nanoseconds(apart)
        leave_at = max(time.monotonic_ns() + _nanoseconds(slot - now), earliest)
        self._last_leave[account_id] = leave_at
        return leave_at


def _nanoseconds(span: timedelta) -> int:
    return span // timedelta(microseconds=1) * 1000
