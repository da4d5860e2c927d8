"""The times that the charging protocol keeps, in one value."""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings

# A sender may notice its deadline a little late; nobody calls an attempt lost before this has passed too.
MARGIN = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Limits:
    """`window`: how long after arming a request may leave. `total`: how long its answer may take from then.
    `ladder`: when the card is read for an attempt without an answer, counted from arming; `report_ladder`: when after
    that the gateway's daily reports are read too."""

    window: timedelta
    total: timedelta
    ladder: tuple[timedelta, ...]
    reversed_settles_after: timedelta
    senders: int
    collect_for: timedelta
    report_ladder: tuple[timedelta, ...] = ()

    @property
    def rungs(self) -> tuple[timedelta, ...]:
        """All looks at an attempt without an answer; after the last one a person is asked."""
        return self.ladder + self.report_ladder

    @property
    def deadline(self) -> timedelta:
        """How long after arming the sender has certainly given up."""
        return self.window + self.total + MARGIN

    @classmethod
    def from_settings(cls) -> "Limits":
        return cls(
            window=timedelta(seconds=settings.KITARAN_SEND_WINDOW_SECONDS),
            total=timedelta(seconds=settings.KITARAN_GATEWAY_TOTAL_SECONDS),
            ladder=tuple(timedelta(seconds=seconds) for seconds in settings.KITARAN_CHECK_LADDER_SECONDS),
            reversed_settles_after=timedelta(seconds=settings.KITARAN_REVERSED_CHECK_SECONDS),
            senders=settings.KITARAN_SENDERS,
            collect_for=timedelta(seconds=settings.KITARAN_COLLECT_SECONDS),
            report_ladder=tuple(timedelta(seconds=seconds) for seconds in settings.KITARAN_REPORT_LADDER_SECONDS),
        )
