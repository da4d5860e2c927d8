"""A database that becomes an old one, while the gateway and what processes remember do not go back with it.

`World.forgets` says how: "restore" (in its place), "restarted" (and the processes begin anew), "moved" (restored on a
new host), "promote" (the standby takes over), "clone" (a dump, in another cluster, on another host), "clone_files" (the
same cluster by all it says of itself), "clone_beside" (the same, and on the same host).
"""

from collections.abc import Iterator

from billing.domain.attempts import AttemptState, Source, Verdict
from tests.model.engine import doubted, may_be_lifted
from tests.model.names import Step
from tests.model.settling import card_busy, look, record, settle, word_of
from tests.model.state import (
    FOREIGN,
    IDLE,
    Answered,
    Attempt,
    Books,
    Charge,
    Elsewhere,
    Loaded,
    Permit,
    Process,
    Site,
    State,
    Word,
    World,
    with_attempt,
    with_charge,
    with_invoice,
    with_worker,
)

S = AttemptState
NO_ROW = {
    "state": None,
    "transaction": None,
    "order": None,
    "checks": 0,
    "findings": frozenset(),
    "last": None,
    "released": False,
}


# --- what a database holds ----------------------------------------------------------------------------------


def _site(state: State) -> Site:
    assert state.site is not None
    return state.site


def _with_site(state: State, **changes: object) -> State:
    return state._replace(site=_site(state)._replace(**changes))  # type: ignore[arg-type]


def _with_ledger(state: State, **changes: object) -> State:
    return _with_site(state, ledger=_site(state).ledger._replace(**changes))  # type: ignore[arg-type]


def books_of(state: State) -> Books:
    rows = tuple(a._replace(age=0, posts=0, wire=0, erred=False) for a in state.attempts)
    orders = tuple((c.explained, c.baseline) for c in state.charges)
    return Books(state.invoices, rows, orders, state.held, _site(state).ledger)


def with_books(state: State, books: Books) -> State:
    """The state with the content of this database; what happened outside of it stays."""

    def row(index: int, now: Attempt) -> Attempt:
        if index >= len(books.attempts):
            return now._replace(**NO_ROW)  # type: ignore[arg-type]
        return books.attempts[index]._replace(age=now.age, posts=now.posts, wire=now.wire, erred=now.erred)

    def order(index: int, now: Charge) -> Charge:
        explained, baseline = books.orders[index] if index < len(books.orders) else (None, False)
        return now._replace(explained=explained, baseline=baseline)

    return _with_site(
        state._replace(
            invoices=books.invoices,
            attempts=tuple(row(i, a) for i, a in enumerate(state.attempts)),
            charges=tuple(order(k, c) for k, c in enumerate(state.charges)),
            held=books.held,
        ),
        ledger=books.ledger,
    )


def swapped(state: State) -> State:
    """The same state, seen from the other installation."""
    site = _site(state)
    assert site.other is not None
    there = site.other
    here = Elsewhere(books_of(state), state.workers, site.cluster, site.witness, site.number)
    return _with_site(
        with_books(state, there.books)._replace(workers=there.workers),
        cluster=there.cluster,
        witness=site.witness if site.shared else there.witness,
        number=there.number,
        other=here,
    )


def still_under_way(other: Elsewhere) -> set[int]:
    """The attempts for which it matters to the other installation how old they are."""
    permitted = {p.attempt for p in other.workers if isinstance(p, Permit)}
    return permitted | {i for i, a in enumerate(other.books.attempts) if a.state == S.SENDING}


def is_forgotten(state: State, attempt: int) -> bool:
    """Whether the database no longer has an attempt that was armed."""
    return bool(state.site and state.site.forgot and attempt != FOREIGN and state.attempts[attempt].state is None)


def numbered(state: State, index: int) -> State:
    """The attempt takes the next id; a database that was put back counts from where it was."""
    rows = _site(state).ledger.rows
    return _with_ledger(with_attempt(state, index, row=rows), rows=rows + 1)


# --- how it becomes an old one ------------------------------------------------------------------------------


def forgetting_steps(state: State, world: World) -> Iterator[Step]:
    site = _site(state)
    if not site.forgot:
        yield from _becomes_old(state, world)
    if site.other:
        yield Step("switch_off", "", _switched_off(state, world))
    yield from _quarantine(state, world)
    if site.other:
        for step in _quarantine(swapped(state), world):
            yield step._replace(detail=f"{step.detail}, on the copy", after=swapped(step.after))


def _becomes_old(state: State, world: World) -> Iterator[Step]:
    site = _site(state)
    if world.forgets.startswith("clone"):
        cluster = site.cluster + (world.forgets == "clone")
        copy = Elsewhere(books_of(state), (IDLE,) * world.workers, cluster, None, 1)
        beside = world.forgets == "clone_beside"
        yield Step("clone", "", _with_site(state, forgot=True, other=copy, shared=beside))
        return
    if site.copy is None:
        yield Step("back_up", "", _with_site(state, copy=books_of(state)))
    elif site.copy != books_of(state):
        old = _with_site(with_books(state, site.copy), copy=None, forgot=True)
        if world.forgets == "promote":
            yield Step("promote", "", _with_site(old, cluster=site.cluster + 1))
        else:
            yield Step("restore", "", _restored(old, world))


def _restored(old: State, world: World) -> State:
    """However quickly: a request that was permitted before may leave yet."""
    if world.forgets in ("moved", "restarted"):
        old = old._replace(workers=(IDLE,) * len(old.workers))
    return _with_site(old, witness=None) if world.forgets == "moved" else old


def _switched_off(state: State, world: World) -> State:
    """The first installation ends; whoever goes on with the copy begins its quarantine after that."""
    there = swapped(state)
    ledger = _site(there).ledger
    if ledger.quarantine is not None and world.has("switched_off_before_the_reads"):
        ledger = ledger._replace(quarantine=(False,) * len(ledger.quarantine), ripe=False)
    return _with_site(there, other=None, ledger=ledger)


# --- the witness --------------------------------------------------------------------------------------------


def has_a_witness(world: World) -> bool:
    return world.has("witness") and world.has("witness_before_sending")


def _process(state: State, number: int) -> int:
    return 10 * _site(state).number + number


def noted(state: State, world: World, number: int, attempt: int) -> State:
    """A file for each process that arms keeps its last marker: of one database, that covers all its earlier ones."""
    before = _site(state).witness or frozenset()
    if not world.has("witness_of_every_process"):
        before = frozenset()
    return _with_site(state, witness=before | {(_process(state, number), attempt)})


def unnoted(state: State, world: World, attempt: int) -> Permit:
    """Permission that waits for the witness to know of it, with what the witness held before."""
    if not has_a_witness(world):
        return Permit(attempt)
    return Permit(attempt, noted=False, saw=_site(state).witness or frozenset())


def noting(state: State, world: World, number: int, permit: Permit) -> Step:
    """After the commit: the marker is written to the witness, and the others are looked at once more."""
    attempt = permit.attempt
    after = noted(state, world, number, attempt)
    if world.has("witness_is_read_again") and _is_another_at_work(state, world, permit):
        word = Word(Verdict.NOT_SENT, Source.ANSWER, reason="another_database_at_work")
        return Step(
            "note", f"attempt {attempt}, and it may not leave", with_worker(after, number, Answered(attempt, word))
        )
    return Step("note", f"attempt {attempt}", with_worker(after, number, Permit(attempt)))


def _is_another_at_work(state: State, world: World, permit: Permit) -> bool:
    """Whether what others wrote since is not in the database; then neither may be what this process committed."""
    witness = _site(state).witness or frozenset()
    theirs = {attempt for _, attempt in witness - permit.saw} if world.has("hosts_share_a_witness") else set()
    if theirs and world.has("own_marker_is_looked_for"):
        theirs.add(permit.attempt)
    return any(state.attempts[attempt].state is None for attempt in theirs)


def _lacks_a_witnessed_marker(state: State, world: World, number: int) -> bool:
    """Whether the database lacks an attempt that the files name which this process can see."""
    return any(
        state.attempts[attempt].state is None
        for process, attempt in _site(state).witness or ()
        if process == _process(state, number) or world.has("hosts_share_a_witness")
    )


def stands_still(state: State, world: World, number: int) -> str | None:
    """Why nothing is armed, found out in arm's own transaction."""
    site = _site(state)
    if site.ledger.quarantine is not None:
        return "quarantine"
    return doubted(
        forgotten=world.has("witness") and _lacks_a_witnessed_marker(state, world, number),
        other_cluster=world.has("identity") and site.ledger.cluster != site.cluster,
        has_witness=site.witness is not None or not world.has("unknown_host"),
        others_armed=bool(site.ledger.rows) or world.has("unknown_host_where_nothing_was_charged"),
    )


def are_alike(world: World) -> bool:
    """Whether it does not matter which of the workers is in which situation."""
    return not world.forgets or world.has("hosts_share_a_witness")


# --- answers ------------------------------------------------------------------------------------------------


def taken_in(state: State, world: World, number: int, attempt: int, word: Word) -> Step:
    """An answer settles the attempt that it is about; if the database has none, it is put on record."""
    state = with_worker(state, number, IDLE)
    if world.has("witness") and not world.has("witness_before_sending"):
        state = noted(state, world, number, attempt)
    row = _addressee(state, world, attempt)
    if row is not None:
        harm = None if row == attempt else "an answer settles an attempt that it is not about"
        return Step("settle", f"attempt {attempt}: {word.verdict}", settle(state, world, row, word), harm)
    kept = world.has("orphans_on_record")
    harm = None if kept or word.verdict is not Verdict.PAID else "an answer with money is on no record"
    orphans = _site(state).ledger.orphans | ({attempt} if kept else set())
    return Step("orphan", f"attempt {attempt}: {word.verdict}", _with_ledger(state, orphans=orphans), harm)


def _addressee(state: State, world: World, attempt: int) -> int | None:
    known = [i for i, a in enumerate(state.attempts) if a.state is not None]
    if world.has("answer_by_marker"):
        return attempt if attempt in known else None
    return next((i for i in known if state.attempts[i].row == state.attempts[attempt].row), None)


# --- the quarantine -----------------------------------------------------------------------------------------


def beginning_of_quarantine(state: State, world: World, reason: str) -> Iterator[Step]:
    if _site(state).ledger.quarantine is None:
        yield Step("quarantine", reason, _with_ledger(state, quarantine=(False,) * world.cards, ripe=False))


def _quarantine(state: State, world: World) -> Iterator[Step]:
    ledger = _site(state).ledger
    for charge in range(len(state.charges)):
        if any(state.held) and _is_open_question(state, charge):
            findings = written_down(state, world, charge, Source.OPERATOR)
            if findings is not None:
                yield Step("write_down", f"order {charge}", findings)
    if ledger.quarantine is None:
        return
    if not ledger.ripe and not (world.has("lists_lag_less_than_the_quarantine") and _lags(state)):
        yield Step("lag_passes", "", _with_ledger(state, ripe=True))
    for card, was_read in enumerate(ledger.quarantine):
        if not was_read and (ledger.ripe or not world.has("reads_after_the_lag")):
            after = _read(state, world, card)
            if after is not None:
                yield Step("read_in_quarantine", f"card {card}", after)
    alone = _site(state).other is None or not world.has("one_installation_is_lifted")
    unread = ledger.quarantine.count(False) if world.has("reads_before_lifting") else 0
    if alone and may_be_lifted(ledger.ripe or not world.has("reads_after_the_lag"), unread):
        yield Step("lift", "", _lifted(state))


def _lags(state: State) -> bool:
    """Whether something may still come that the lists do not show."""
    processes: list[Process] = list(state.workers)
    if _site(state).other:
        processes += _site(state).other.workers  # type: ignore[union-attr]
    may_leave = any(isinstance(p, Permit) and state.attempts[p.attempt].age == 0 for p in processes)
    return may_leave or any(a.wire for a in state.attempts) or any(not c.shown for c in state.charges)


def _is_open_question(state: State, charge: int) -> bool:
    row = state.charges[charge]
    return row.shown > 0 and row.explained is None and is_forgotten(state, row.attempt) and row.status != "FAILED"


def _read(state: State, world: World, card: int) -> State | None:
    """All orders of the card; None while one of them belongs to an invoice that is not opened yet."""
    if world.has("found_payments") and world.echo == "marker":
        for charge, row in enumerate(state.charges):
            if row.card == card and _is_open_question(state, charge):
                found = written_down(state, world, charge, Source.ORDER_LIST)
                if found is None:
                    return None
                state = found
    known = frozenset(i for i, a in enumerate(state.attempts) if a.card == card and a.state is not None)
    looked = look(state, world, Loaded(0, (card,), known))
    state = record(state, world, looked._replace(invoice=None))
    reads = list(_site(state).ledger.quarantine or ())
    reads[card] = True
    return _with_ledger(state, quarantine=tuple(reads))


def written_down(state: State, world: World, charge: int, source: Source) -> State | None:
    """A found payment: an attempt that is born sending and settled in one commit, with the marker that it had."""
    index = state.charges[charge].attempt
    row = state.attempts[index]
    if state.invoices[row.invoice].state == "unopened":
        return None
    if state.charges[charge].status == "PROCESSING" and card_busy(state, row.card):
        return None
    state = numbered(with_attempt(state, index, state=S.SENDING.value), index)
    state = with_invoice(state, row.invoice, due=False)
    state = settle(state, world, index, word_of(state, world, charge, source))
    return with_charge(state, charge, explained=index)


def _lifted(state: State) -> State:
    """From here on this is the database, and the witness begins with what it has."""
    site = _site(state)
    known = frozenset((p, i) for p, i in site.witness or () if state.attempts[i].state is not None)
    return _with_site(
        state,
        witness=known,
        ledger=site.ledger._replace(quarantine=None, ripe=False, cluster=site.cluster),
    )


def may_be_cleared(state: State, world: World, card: int) -> bool:
    """A person who frees a card knows what held it: what one of ours took is written down before."""
    if state.site is None or not world.has("what_is_cleared_is_explained"):
        return True
    return not any(c.card == card and _is_open_question(state, k) for k, c in enumerate(state.charges))
