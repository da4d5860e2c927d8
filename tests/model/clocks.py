"""The database's clock steps: whole days count, and one subscription has a period on each.

Day n's period is due on day n. `Clock.off` says how many days the database is ahead of the truth.
"""

from collections.abc import Iterator

from tests.model.engine import clock_is_off
from tests.model.names import Step
from tests.model.state import Clock, Invoice, State, World, first_day

STEPS_TO = {"back": -1, "forward": 1}


def _clock(state: State) -> Clock:
    assert state.clock is not None
    return state.clock


def _with_clock(state: State, **changes: object) -> State:
    return state._replace(clock=_clock(state)._replace(**changes))  # type: ignore[arg-type]


def is_ahead(state: State) -> bool:
    return state.clock is not None and state.clock.off > 0


def is_behind(state: State) -> bool:
    return state.clock is not None and state.clock.off < 0


def stops(state: State, world: World, what: str) -> bool:
    """Whether `what` waits because the clock is known to be off: it is compared in the same transaction."""
    return state.clock is not None and clock_is_off(state.clock.off) and world.has(f"clock_check_at_{what}")


def _days(world: World) -> range:
    return range(first_day(world), first_day(world) + world.invoices)


def opening(state: State, world: World) -> Iterator[Step]:
    if _is_due(state, world) and not stops(state, world, "opening"):
        yield _opened(state, world)


def _is_due(state: State, world: World) -> bool:
    clock = _clock(state)
    return clock.next_due in _days(world) and clock.next_due <= clock.day + clock.off  # type: ignore[operator]


def _opened(state: State, world: World) -> Step:
    """The period that is next, and the one after it is next now."""
    clock = _clock(state)
    assert clock.next_due is not None
    day = clock.next_due
    after = _with_clock(state, next_due=day + 1)
    if world.has("one_invoice_per_due_date") and any(i.date == day for i in state.invoices):
        return Step("open", f"day {day} has its invoice", after)
    opened = after._replace(invoices=(*state.invoices, Invoice("open", due=True, date=day)))
    harm = "a period is opened before it is due" if day > clock.day else None
    return Step("open", f"invoice {len(state.invoices)}, of day {day}", opened, harm)


def clock_steps(state: State, world: World) -> Iterator[Step]:
    clock = _clock(state)
    if clock.day < _days(world)[-1]:
        yield Step("day_passes", "", _with_clock(state, day=clock.day + 1))
    if not clock.stepped:
        yield Step("clock_steps", world.clock, _with_clock(state, stepped=True, off=STEPS_TO[world.clock]))
    if clock.off:
        yield Step("clock_is_set_right", "", _set_right(state))
    if clock.next_due is None:
        yield from _resumed(state, world)
    elif len(state.invoices) <= world.invoices and not stops(state, world, "pausing"):  # as far as this world goes
        opened = _opened(state, world) if _is_due(state, world) else Step("open", "", state)
        yield Step("pause", opened.detail, _with_clock(opened.after, next_due=None), opened.harm)


def _resumed(state: State, world: World) -> Iterator[Step]:
    """The next period is the first from now on by the database's clock, or after the last that was opened."""
    clock = _clock(state)
    if stops(state, world, "resuming"):
        return
    last = max((i.date for i in state.invoices), default=-1) if world.has("resumed_after_the_last_period") else -1
    next_due = max(clock.day + clock.off, last) + 1
    coming = set(range(clock.day + 1, next_due)) & set(_days(world))
    harm = "a period that is still to come is left out" if coming - {i.date for i in state.invoices} else None
    yield Step("resume", "", _with_clock(state, next_due=next_due), harm)


def _set_right(state: State) -> State:
    """What had seemed to be a moment or an age ago is so no longer."""
    return _with_clock(
        state._replace(
            invoices=tuple(i._replace(fresh=False) for i in state.invoices),
            attempts=tuple(a._replace(age=min(a.age, 2)) for a in state.attempts),
        ),
        off=0,
    )


def nothing_is_missed(state: State, world: World) -> bool:
    """Every day that there is has its invoice, or the subscription was paused on it."""
    clock = _clock(state)
    return clock.next_due is None or clock.next_due not in _days(world)


def charged_twice(state: State) -> str | None:
    """By the day that is owed, however many invoices it has."""
    for day in {i.date for i in state.invoices}:
        own = [n for n, i in enumerate(state.invoices) if i.date == day]
        taken = [
            c
            for c in state.charges
            if c.status == "SUCCESS" and not c.late and state.attempts[c.attempt].invoice in own
        ]
        if len(taken) > 1:
            return f"day {day} was charged twice"
    return None
