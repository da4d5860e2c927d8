"""What a state of the world is: our rows, the gateway's, what is on the wire, and what processes have in memory."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from billing.domain.attempts import Source, Verdict

FOREIGN = -1  # the order was made by somebody else


class Word(NamedTuple):
    """A finding, small enough to be part of a state."""

    verdict: Verdict
    source: Source
    reason: str = ""
    transaction: str | None = None
    order: str | None = None
    amount: int = 0
    marker: str | None = None
    check: int = 0  # which rung of the ladder it was read at; negative: before that rung


class Attempt(NamedTuple):
    invoice: int
    card: int
    # None: the database has no such row. "limbo": its commit is under way and may still come to nothing.
    state: str | None
    age: int = 0  # 0: its window is open. 1: the window has passed. 2: the deadline too. 3: long ago
    posts: int = 0
    wire: int = 0  # requests that left and have not reached the gateway
    transaction: str | None = None
    order: str | None = None
    checks: int = 0
    findings: frozenset[Any] = frozenset()
    last: Word | None = None  # the evidence by which it came to its state
    released: bool = False
    erred: bool = False  # a person said what was not so
    row: int = 0  # its id in the database, where ids may be used again


class Charge(NamedTuple):
    """An order of the gateway. Its id is its place in the list."""

    attempt: int
    card: int
    status: str  # PROCESSING, SUCCESS, FAILED, REVERSED
    amount: int = 1
    shown: int = 0  # in the order list: 0 not yet, 1 since a moment, 2 for over a minute
    late: bool = False  # it had failed, and became money at the gateway's own doing
    explained: int | None = None  # the attempt that our books say made it
    baseline: bool = False  # it was there before the card was ours to charge


class Invoice(NamedTuple):
    state: str  # "unopened", then as in the database
    card: int = 0
    due: bool = False
    hold: bool = False
    fresh: bool = False  # its cards were read within the last minute
    date: int = 0  # the day that it is due, where days are counted
    # The subscription that it starts: "incomplete", "active" or "expired". "": none, or one that has started already.
    starts: str = ""
    over: bool = False  # the time for its first payment has passed
    read: bool = False  # its cards were read since its last attempt, however long ago


class Idle(NamedTuple):
    kind: str = "idle"


class Chosen(NamedTuple):
    """Re-checked, and about to be inserted: only where arm takes no locks."""

    invoice: int
    card: int
    kind: str = "chosen"


class Unsure(NamedTuple):
    attempt: int
    kind: str = "unsure"


class Permit(NamedTuple):
    """Permission to send, in the memory of the process that armed."""

    attempt: int
    noted: bool = True  # the witness knows the marker, where there is a witness
    saw: frozenset[tuple[int, int]] = frozenset()  # what the witness held when it was armed, until it is noted
    kind: str = "permit"


class Sent(NamedTuple):
    attempt: int
    kind: str = "sent"


class Answered(NamedTuple):
    attempt: int
    word: Word
    kind: str = "answered"


class Loaded(NamedTuple):
    """About to read cards: what our books know of them, as of now."""

    invoice: int | None  # None: for an attempt whose outcome is open
    cards: tuple[int, ...]
    known: frozenset[int]
    leased: bool = True
    fresh: bool = True
    kind: str = "loaded"


class Looked(NamedTuple):
    """Has read cards, and not written down yet what they said."""

    invoice: int | None
    cards: tuple[int, ...]
    known: frozenset[int]
    findings: tuple[tuple[int, Word], ...]
    explained: tuple[tuple[int, int | None], ...]  # every order of the list, and who made it
    unexplained: tuple[int, ...]
    off: tuple[int, ...]  # cards that are no longer active
    leased: bool = True
    fresh: bool = True
    kind: str = "looked"


class Overdue(NamedTuple):
    """Has found a subscription to expire, and not done it yet: only where expiry takes no locks."""

    invoice: int
    kind: str = "overdue"


Process = Overdue | Idle | Chosen | Unsure | Permit | Sent | Answered | Loaded | Looked
IDLE = Idle()


class Ledger(NamedTuple):
    """What the database holds besides, where it may become an old one."""

    rows: int = 0  # the next id of an attempt
    orphans: frozenset[int] = frozenset()  # answers on record of attempts that it does not have
    quarantine: tuple[bool, ...] | None = None  # which cards were read completely since it began
    ripe: bool = False  # it has lasted longer than lists lag
    cluster: int = 0  # in which it believes to be


class Books(NamedTuple):
    """All that one database holds."""

    invoices: tuple[Invoice, ...]
    attempts: tuple[Attempt, ...]
    orders: tuple[tuple[int | None, bool], ...]
    held: tuple[bool, ...]
    ledger: Ledger


class Elsewhere(NamedTuple):
    """Another installation that runs on a copy."""

    books: Books
    workers: tuple[Process, ...]
    cluster: int
    witness: frozenset[tuple[int, int]] | None
    number: int


class Site(NamedTuple):
    """What is around a database that may forget."""

    ledger: Ledger = Ledger()
    cluster: int = 0  # in which the database is: a standby that was promoted is in another one
    # Markers in files beside the workers, and of which process each is; None: no such files.
    witness: frozenset[tuple[int, int]] | None = frozenset()
    number: int = 0  # of the installation that is looked at
    shared: bool = False  # two installations use one witness
    copy: Books | None = None
    forgot: bool = False
    other: Elsewhere | None = None


class Clock(NamedTuple):
    """The days that count, where the database's clock may be wrong."""

    day: int = 0
    off: int = 0  # the database is so many days ahead
    stepped: bool = False
    next_due: int | None = 0  # the day of the subscription's next period; None while it is paused


class State(NamedTuple):
    invoices: tuple[Invoice, ...]
    attempts: tuple[Attempt, ...]
    charges: tuple[Charge, ...]
    workers: tuple[Process, ...]
    reader: Process  # the reconciler
    held: tuple[bool, ...]  # cards that wait for a person
    off: tuple[int, ...]  # cards: 0 active, 1 inactive at the gateway, 2 and we know it
    site: Site | None = None  # where the database may forget: what is around it
    clock: Clock | None = None  # where the database's clock may step


@dataclass(frozen=True)
class World:
    """How large the world is, what the gateway and the people in it do, and which guards are taken away."""

    name: str
    invoices: int = 1
    cards: int = 1
    workers: int = 1
    attempts: int = 2  # an invoice is tried at most this often
    rungs: int = 1
    locks: bool = True
    echo: str = "marker"  # "none": the gateway repeats nothing. "proved_absent": and the account says so
    late_money: bool = False
    reversals: bool = False
    wrong_amounts: bool = False
    crossed_answers: bool = False  # the gateway answers with an earlier transaction
    foreign: str = ""  # an order of somebody else: "new", or "before" the card was ours
    inactive_cards: bool = False
    errors_take_money: bool = False  # an error of an inactive card may hide a charge
    card_changes: bool = False
    stale_reads: bool = False  # something may happen between a read and its being written down
    slow_reads: bool = False  # and between what we know and what the gateway lists
    people_err: bool = False
    releases: bool = False
    retry_after_absence: bool = False
    watched: bool = False  # cards are read after the end too, and what they show by then must be in the books
    false_refusals: bool = False  # the gateway turns a request away that it carries out
    forged_hints: bool = False  # a stranger has cards read at any time, as often as he likes
    lag_ends: bool = False  # what the gateway did is listed before the long window ends
    crashes: bool = True
    broken_commits: bool = True
    forgets: str = ""  # how the database comes to be an old one: see `forgetting.py`
    again: int = 0  # attempts beyond the most: where the database may have forgotten some
    own_cards: bool = False  # each invoice is charged to a card of its own
    opened: bool = False  # the periods are open already
    first_payment: bool = False  # a subscription is active once its first charge is paid
    clock: str = ""  # the database's clock steps: "back" or "forward"
    removed: frozenset[str] = frozenset()

    def has(self, guard: str) -> bool:
        return guard not in self.removed


def beginning(world: World) -> State:
    charges: tuple[Charge, ...] = ()
    if world.foreign:
        before = world.foreign == "before" and world.has("baseline")
        charges = (Charge(FOREIGN, 0, "SUCCESS", shown=2, baseline=before),)
    return State(
        tuple(_first_invoice(world, number) for number in range(0 if world.clock else world.invoices)),
        (),
        charges,
        (IDLE,) * world.workers,
        IDLE,
        (False,) * world.cards,
        (0,) * world.cards,
        Site() if world.forgets else None,
        Clock(next_due=first_day(world)) if world.clock else None,
    )


def _first_invoice(world: World, number: int) -> Invoice:
    card = number if world.own_cards else 0
    return Invoice("open", card, due=True) if world.opened else Invoice("unopened", card)


def first_day(world: World) -> int:
    """On which the first period is due, where days are counted; it is day 0 now."""
    return int(world.clock == "forward")


def marker(attempt: int) -> str:
    return f"MARKER{attempt:06d}"


def order_id(charge: int) -> str:
    return f"order-{charge}"


def transaction_id(state: State, charge: int) -> str:
    """What was retried by the gateway has another transaction."""
    return f"transaction-{charge}{'-late' if state.charges[charge].late else ''}"


def with_attempt(state: State, index: int, /, **changes: Any) -> State:
    rows = list(state.attempts)
    rows[index] = rows[index]._replace(**changes)
    return state._replace(attempts=tuple(rows))


def with_invoice(state: State, index: int, /, **changes: Any) -> State:
    rows = list(state.invoices)
    rows[index] = rows[index]._replace(**changes)
    return state._replace(invoices=tuple(rows))


def with_charge(state: State, index: int, /, **changes: Any) -> State:
    rows = list(state.charges)
    rows[index] = rows[index]._replace(**changes)
    return state._replace(charges=tuple(rows))


def with_worker(state: State, index: int, process: Process) -> State:
    rows = list(state.workers)
    rows[index] = process
    return state._replace(workers=tuple(rows))


def with_held(state: State, card: int, held: bool = True) -> State:
    rows = list(state.held)
    rows[card] = held
    return state._replace(held=tuple(rows))


def with_off(state: State, card: int, off: int) -> State:
    rows = list(state.off)
    rows[card] = off
    return state._replace(off=tuple(rows))


def with_paid(state: State, index: int) -> State:
    """The invoice is paid, and starts the subscription that waits for it; not one that ended meanwhile."""
    starts = "active" if state.invoices[index].starts == "incomplete" else state.invoices[index].starts
    return with_invoice(state, index, state="paid", due=False, hold=False, starts=starts)
