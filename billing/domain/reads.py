"""What a look at the gateway is evidence of: the time in which it was made, and nothing later.

Two rules. A complete read without the order counts towards absence by the time that has passed, however often the card
is read in between. And a look permits another try only when it began after everything that it must exclude could be
seen."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.domain.attempts import Finding, Source, Verdict

MOST_LIST_LAG_SECONDS = 172_800
# No rule makes an invoice wait longer: thirty days from its first try, and a look after the longest lag.
LONGEST_WAIT_OF_AN_INVOICE = timedelta(days=33)


@dataclass(frozen=True, slots=True)
class Ladder:
    """The complete reads that absence needs: `rungs` count from arming, and lie the first rung apart at least.

    After the last one a read counts every `afterwards`."""

    rungs: tuple[timedelta, ...]
    afterwards: timedelta

    def due(self, armed_at: datetime, rung_at: datetime | None, done: int, now: datetime) -> datetime:
        """When the read that follows `done` counted ones counts; the last of them began at `rung_at`.

        Times after `now` were written by a clock that was set back since. They show nothing, so that the gaps
        between the rungs are counted from what was read since."""
        last = rung_at if rung_at is not None and rung_at <= now else None
        if armed_at > now or done >= len(self.rungs):
            return now if last is None else last + self._gap(done)
        at = armed_at + self.rungs[done]
        return at if last is None else max(at, last + self.rungs[0])

    def counts(self, armed_at: datetime, rung_at: datetime | None, done: int, read_at: datetime) -> bool:
        """Whether a complete read that began at `read_at` is the next rung."""
        return read_at >= self.due(armed_at, rung_at, done, read_at)

    def is_last(self, done: int) -> bool:
        """Whether the rung after `done` counted ones is the last: a person is asked then."""
        return done + 1 >= len(self.rungs)

    def _gap(self, done: int) -> timedelta:
        if done >= len(self.rungs):
            return self.afterwards
        return self.rungs[done] - (self.rungs[done - 1] if done else timedelta(0))

    @property
    def longest_gap(self) -> timedelta:
        return max(self.afterwards, *(self._gap(done) for done in range(len(self.rungs))))


def look_from(
    finding: Finding, *, armed_at: datetime, sender_deadline: timedelta, list_lag: timedelta, now: datetime
) -> datetime:
    """From when a look excludes that an attempt, which `finding` ended without money, took money all the same.

    A transaction's own word is final at once, and what never left this machine needs no list. Everything else (a
    refusal that may be false, an empty list, a person) is as good as the lists, which may lag by `list_lag`."""
    spoken_of = finding.transaction_id is not None and finding.verdict in (Verdict.DECLINED, Verdict.REVERSED)
    nothing_left = finding.nothing_left or finding.source is Source.COMMIT_UNACKNOWLEDGED
    if spoken_of or nothing_left:
        return now
    return max(now, armed_at + sender_deadline + list_lag)
