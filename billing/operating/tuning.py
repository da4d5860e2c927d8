"""The times and counts that the charging protocol keeps to, in one value."""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings

from billing.domain.pacing import CANARY, PAUSES
from billing.domain.reads import Ladder

# A sender may notice its deadline a little late; nobody calls an attempt lost before this has passed too.
MARGIN = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Tuning:
    """`window`: how long after arming a request may leave. `total`: how long its answer may take from then.
    `ladder`: when the card is read for an attempt without an answer, counted from arming; `report_ladder`: when after
    that the gateway's daily reports are read too. `unreadable_after`: how long a card's orders cannot be read before
    a person is asked."""

    window: timedelta
    total: timedelta
    ladder: tuple[timedelta, ...]
    reversed_settles_after: timedelta
    senders: int
    collect_for: timedelta
    report_ladder: tuple[timedelta, ...] = ()
    unreadable_after: timedelta = timedelta(hours=24)
    canary: int = CANARY
    pauses: tuple[timedelta, ...] = PAUSES

    @property
    def rungs(self) -> tuple[timedelta, ...]:
        """All looks at an attempt without an answer; after the last one a person is asked."""
        return self.ladder + self.report_ladder

    @property
    def checks(self) -> Ladder:
        return Ladder(self.rungs, self.ladder[-1])

    @property
    def longest_wait_for_a_check(self) -> timedelta:
        """No rule puts the next look at an attempt further away; a minute for clocks that differ."""
        longest = max(self.checks.longest_gap, self.reversed_settles_after, timedelta(minutes=15))
        return longest + timedelta(minutes=1)

    @property
    def deadline(self) -> timedelta:
        """How long after arming the sender has certainly given up."""
        return self.window + self.total + MARGIN

    @classmethod
    def from_settings(cls) -> "Tuning":
        return cls(
            window=timedelta(seconds=settings.KITARAN_SEND_WINDOW_SECONDS),
            total=timedelta(seconds=settings.KITARAN_GATEWAY_TOTAL_SECONDS),
            ladder=tuple(timedelta(seconds=seconds) for seconds in settings.KITARAN_CHECK_LADDER_SECONDS),
            reversed_settles_after=timedelta(seconds=settings.KITARAN_REVERSED_CHECK_SECONDS),
            senders=settings.KITARAN_SENDERS,
            collect_for=timedelta(seconds=settings.KITARAN_COLLECT_SECONDS),
            canary=settings.KITARAN_CANARY,
            pauses=tuple(timedelta(seconds=seconds) for seconds in settings.KITARAN_PAUSE_SECONDS),
            report_ladder=tuple(timedelta(seconds=seconds) for seconds in settings.KITARAN_REPORT_LADDER_SECONDS),
            unreadable_after=timedelta(seconds=settings.KITARAN_UNREADABLE_CARD_SECONDS),
        )
