"""Visits every state that a world can reach, nearest first, and asks of each what must always be true."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from billing.domain.attempts import (
    ENDED_WITHOUT_MONEY,
    HAS_MONEY,
    HOLDS_PLACE,
    UNRESOLVED,
    AttemptState,
    Source,
    Verdict,
)
from tests.model.clocks import charged_twice, nothing_is_missed
from tests.model.first_payment import harm_to_starts, is_cared_for
from tests.model.forgetting import are_alike, still_under_way, swapped
from tests.model.names import STEPS
from tests.model.settling import ASKED_ABOUT, COMPLETE_READS
from tests.model.state import (
    FOREIGN,
    IDLE,
    Attempt,
    Books,
    Charge,
    Permit,
    Process,
    Site,
    State,
    Word,
    World,
    beginning,
    transaction_id,
)
from tests.model.steps import steps

S = AttemptState
# What the engine and the clock will do, whoever else does nothing.
CERTAIN = frozenset(name for name, (who, _) in STEPS.items() if who in ("engine", "time"))


@dataclass
class Explored:
    world: World
    states: int = 0
    seconds: float = 0.0
    harm: str | None = None
    trace: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def story(self) -> str:
        return "\n".join([f"{self.world.name}: {self.harm}", *(f"  {n}. {s}" for n, s in enumerate(self.trace, 1))])


class TooLargeError(Exception):
    """A world has more states than it was thought to have."""


def explore(world: World, *, at_most: int = 5_000_000, liveness: bool = True, as_far_as: int | None = None) -> Explored:
    """All states of the world, or those that `as_far_as` so many steps reach; stops at the first harm, which is
    then as near as any."""
    started_at = time.perf_counter()
    first = beginning(world)
    numbers: dict[State, int] = {first: 0}
    depths = [0]
    came: list[tuple[int, str]] = [(-1, "")]
    backwards: list[list[int]] = [[]]
    good = [settled(first, world)]
    found = Explored(world)
    queue = deque([first])
    alike = Alike(world)
    certain = CERTAIN | ({"take_in", "decide", "show"} if world.lag_ends else set())
    while queue and found.harm is None:
        state = queue.popleft()
        number = numbers[state]
        if depths[number] == as_far_as:
            break
        moves_on = False
        for step in steps(state, world):
            after = alike(step.after)
            found.used.add(step.name)
            known = numbers.get(after)
            if known is None:
                known = numbers[after] = len(came)
                came.append(
                    (number, f"{step.name}: {STEPS[step.name][1]}" + (f" ({step.detail})" if step.detail else ""))
                )
                depths.append(depths[number] + 1)
                backwards.append([])
                good.append(settled(after, world))
                queue.append(after)
                if len(came) > at_most:
                    raise TooLargeError(f"{world.name}: more than {at_most} states")
                found.harm = step.harm or harm(after, world)
            elif step.harm:
                found.harm = step.harm
                came.append((number, f"{step.name}: {STEPS[step.name][1]} ({step.detail})"))
                known = len(came) - 1
            if found.harm:
                found.trace = _trace(came, known)
                break
            if step.name in certain and known != number:
                moves_on = True
                backwards[known].append(number)
        if liveness and not moves_on and not good[number] and found.harm is None:
            found.harm = "nothing more will happen, and something is left undone"
            found.trace = _trace(came, number)
    found.states = len(numbers)
    if found.harm is None and liveness:
        stuck = _stuck(backwards, good)
        if stuck is not None:
            found.harm = "from here no way leads to an end with everything settled or with a person"
            found.trace = _trace(came, stuck)
    found.seconds = time.perf_counter() - started_at
    return found


class Alike:
    """The same state without what can make no difference any more, so that equal situations count once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._essences: dict[tuple[Attempt, bool], Attempt] = {}
        self._names: dict[Process, str] = {}

    def __call__(self, state: State) -> State:
        _, attempts, charges, workers, *_ = state
        if any(c.shown == 1 for c in charges) and not self._anything_fresh(state):
            charges = tuple(c._replace(shown=2) if c.shown == 1 else c for c in charges)
        permitted = {p.attempt for p in workers if isinstance(p, Permit)}
        if state.site and state.site.other:
            permitted |= still_under_way(state.site.other)
        attempts = tuple(self._essence(row, number in permitted) for number, row in enumerate(attempts))
        if len(workers) > 1 and are_alike(self._world):  # they are interchangeable
            workers = tuple(sorted(workers, key=self._name))
        return state._replace(attempts=attempts, charges=charges, workers=workers, site=self._site(state.site))

    def _site(self, site: Site | None) -> Site | None:
        if site is None:
            return None
        copy, other = site.copy, site.other
        if copy:
            copy = self._books(copy)
        if other:
            other = other._replace(books=self._books(other.books))
        return site._replace(copy=copy, other=other)

    def _books(self, books: Books) -> Books:
        return books._replace(attempts=tuple(self._essence(row, True) for row in books.attempts))

    @staticmethod
    def _anything_fresh(state: State) -> bool:
        return any(i.fresh for i in state.invoices) or any(getattr(p, "fresh", False) for p in state.workers)

    def _name(self, process: Process) -> str:
        name = self._names.get(process)
        if name is None:
            name = self._names[process] = repr(process)
        return name

    def _essence(self, row: Attempt, permitted: bool) -> Attempt:
        key = (row, permitted)
        known = self._essences.get(key)
        if known is None:
            known = self._essences[key] = _essence(row, self._world, permitted)
        return known


def _essence(row: Attempt, world: World, permitted: bool) -> Attempt:
    if row.state not in ASKED_ABOUT:
        row = row._replace(checks=0)
    still_ages = permitted or row.state in (S.SENDING, "limbo") or (world.reversals and row.state in UNRESOLVED)
    if row.age < 2 and not still_ages:
        row = row._replace(age=2)
    findings = frozenset(word for word in row.findings if _may_be_found_again(word, row, world))
    return row._replace(findings=findings, last=row.last if row.state in ENDED_WITHOUT_MONEY else None)


def _may_be_found_again(findings: Any, row: Attempt, world: World) -> bool:
    """Whether it matters that this was told: for the rest, a repeat changes nothing whether it is known or not."""
    word = findings if isinstance(findings, Word) else findings[0]
    if row.state in HAS_MONEY:
        return False
    if word.reason == "error" and world.inactive_cards:
        return row.state in ASKED_ABOUT
    return word.verdict is Verdict.PAID or (counts_a_rung(word) and row.state in ASKED_ABOUT)


def counts_a_rung(word: Word) -> bool:
    return word.source is Source.ORDER_LIST and word.verdict in COMPLETE_READS and word.check >= 0


def _trace(came: list[tuple[int, str]], number: int) -> list[str]:
    findings = []
    while number > 0:
        number, step = came[number]
        findings.append(step)
    return findings[::-1]


def _stuck(backwards: list[list[int]], good: list[bool]) -> int | None:
    """The first state from which the engine alone, whatever people and the gateway leave undone, finds no good end."""
    reached = list(good)
    queue = deque(number for number, is_good in enumerate(good) if is_good)
    while queue:
        for number in backwards[queue.popleft()]:
            if not reached[number]:
                reached[number] = True
                queue.append(number)
    return next((number for number, is_reached in enumerate(reached) if not is_reached), None)


def harm(state: State, world: World) -> str | None:
    """The promise that does not hold in this state, or None."""
    found = harm_in_the_books(state, world)
    if found is None and state.site and state.site.other:
        found = harm_in_the_books(swapped(state), world)
    return found


def harm_in_the_books(state: State, world: World) -> str | None:
    if state.clock and (found := charged_twice(state)):
        return found
    if world.first_payment and (found := harm_to_starts(state)):
        return found
    for number, invoice in enumerate(state.invoices):
        own = [i for i, a in enumerate(state.attempts) if a.invoice == number]
        taken = [
            c
            for c in state.charges
            if c.attempt in own and c.status == "SUCCESS" and not state.attempts[c.attempt].erred
        ]
        if sum(not c.late for c in taken) > 1:
            return f"invoice {number} was charged twice"
        if sum(state.attempts[i].state in HOLDS_PLACE for i in own) > 1:
            return f"two attempts hold the place of invoice {number}"
        if invoice.state == "paid" and not any(state.attempts[i].state == S.SUCCEEDED for i in own):
            return f"invoice {number} is called paid without a success"
    for card in range(world.cards):
        if sum(a.card == card and a.state in UNRESOLVED and not a.released for a in state.attempts) > 1:
            return f"two attempts whose outcome is open on card {card}"
    for index, attempt in enumerate(state.attempts):
        if attempt.state in HAS_MONEY and not _has_its_money(state, index):
            return f"attempt {index} is called {attempt.state}, and the gateway took nothing for it"
        if attempt.checks > sum(isinstance(word, Word) and counts_a_rung(word) for word in attempt.findings):
            return f"one read counted twice for attempt {index}"
    return None


def _has_its_money(state: State, index: int) -> bool:
    known = state.attempts[index].transaction
    return any(
        c.attempt == index
        and c.status in ("SUCCESS", "REVERSED")
        and c.amount == 1
        and known == transaction_id(state, number)
        for number, c in enumerate(state.charges)
        if c.attempt != FOREIGN
    )


def settled(state: State, world: World) -> bool:
    """Nothing is under way, every attempt is final or with a person, and no due invoice is forgotten."""
    if any(process != IDLE for process in (*state.workers, state.reader)):
        return False
    if any(a.state in (S.SENDING, S.UNKNOWN, S.IN_PROCESS, "limbo") for a in state.attempts):
        return False
    if world.watched and any(_in_no_books(state, charge) for charge in state.charges):
        return False
    if state.site and state.site.ledger.quarantine is not None:
        return all(state.site.ledger.quarantine)  # a person lifts it
    if state.clock and not nothing_is_missed(state, world):
        return False
    return all(_cared_for(state, world, number) for number in range(len(state.invoices)))


def _in_no_books(state: State, charge: Charge) -> bool:
    """Money that the gateway shows, and of which neither an attempt nor a person knows."""
    if charge.attempt == FOREIGN or charge.status != "SUCCESS" or not charge.shown or charge.amount != 1:
        return False
    row = state.attempts[charge.attempt]
    return row.state not in (*HAS_MONEY, S.NEEDS_REVIEW) and not state.held[charge.card]


def _cared_for(state: State, world: World, number: int) -> bool:
    invoice = state.invoices[number]
    if is_cared_for(invoice):
        return True
    if invoice.state in ("paid", "uncollectible") and not invoice.starts:
        return True
    if invoice.state == "unopened":
        return False
    if invoice.hold or state.held[invoice.card] or state.off[invoice.card] == 2:
        return True  # with a person, or waits for another card
    waits = any(a.state == S.NEEDS_REVIEW and (a.invoice == number or a.card == invoice.card) for a in state.attempts)
    tried = sum(a.invoice == number and a.state is not None for a in state.attempts)
    made = len(state.attempts) >= world.attempts * world.invoices
    return waits or (invoice.due and (tried >= world.attempts or made))  # as far as this world goes
