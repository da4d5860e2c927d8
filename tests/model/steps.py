"""Everything that can happen next in a state: our own steps, the gateway's, people's, time's, and what goes wrong.

Each step is atomic: it is one commit, one message, or one look. Between any two of them anything else may happen, so
a process that sleeps for long and wakes (a zombie) is simply one that does nothing for a while.
"""

from collections.abc import Iterator

from billing.domain.arming import Refusal
from billing.domain.attempts import ENDED_WITHOUT_MONEY, HAS_MONEY, HOLDS_PLACE, AttemptState, Source, Verdict
from tests.model.clocks import clock_steps, opening, stops
from tests.model.engine import is_in_doubt, refused
from tests.model.first_payment import first_payment_steps, opened
from tests.model.forgetting import (
    are_alike,
    beginning_of_quarantine,
    forgetting_steps,
    is_forgotten,
    noting,
    numbered,
    stands_still,
    swapped,
    taken_in,
    unnoted,
)
from tests.model.names import Step
from tests.model.outside import outside_steps
from tests.model.settling import card_busy, look, record, settle, word_of
from tests.model.state import (
    FOREIGN,
    IDLE,
    Answered,
    Attempt,
    Charge,
    Chosen,
    Idle,
    Loaded,
    Looked,
    Overdue,
    Permit,
    Process,
    Sent,
    State,
    Unsure,
    Word,
    World,
    with_attempt,
    with_invoice,
    with_off,
    with_worker,
)

S = AttemptState


def steps(state: State, world: World) -> Iterator[Step]:
    yield from _steps_here(state, world)
    if state.site:
        yield from forgetting_steps(state, world)
        if state.site.other:
            for step in _steps_here(swapped(state), world):
                yield step._replace(detail=f"{step.detail}, on the copy", after=swapped(step.after))
    if state.clock:
        yield from clock_steps(state, world)
    if world.first_payment:
        yield from first_payment_steps(state, world)


def _steps_here(state: State, world: World) -> Iterator[Step]:
    yield from _invoices(state, world)
    seen: set[Process] = set()
    for number, process in enumerate(state.workers):
        if process not in seen or not are_alike(world):  # workers in the same situation are alike
            seen.add(process)
            yield from _worker(state, world, number, process)
    yield from _reader(state, world)
    yield from outside_steps(state, world)


# --- invoices and arming ------------------------------------------------------------------------------------


def _invoices(state: State, world: World) -> Iterator[Step]:
    if state.clock:
        yield from opening(state, world)
        return
    for number, invoice in enumerate(state.invoices):
        if invoice.state == "unopened":
            yield Step("open", f"invoice {number}", opened(state, world, number))


def _worker(state: State, world: World, number: int, process: Process) -> Iterator[Step]:
    match process:
        case Idle():
            yield from _idle(state, world, number)
        case Chosen(invoice, card):
            yield from _arm(state, world, number, invoice, card)
        case Unsure(attempt):
            after = with_worker(state, number, IDLE)
            if state.attempts[attempt].state == S.SENDING:
                word = Word(Verdict.NOT_SENT, Source.COMMIT_UNACKNOWLEDGED, reason="commit_unacknowledged")
                after = settle(after, world, attempt, word)
            yield Step("say_not_sent", f"attempt {attempt}", after)
        case Permit(attempt):
            if state.site and not process.noted:
                yield noting(state, world, number, process)
            else:
                yield from _send(state, world, number, attempt)
        case Sent(attempt):
            yield from _answers(state, world, number, attempt)
        case Answered(attempt, word) if state.site:
            yield taken_in(state, world, number, attempt, word)
        case Answered(attempt, word):
            settled = settle(_commit_late(state, attempt), world, attempt, word)
            yield Step("settle", f"attempt {attempt}: {word.verdict}", with_worker(settled, number, IDLE))
            if world.broken_commits and settled != state:
                yield Step("settle_again", f"attempt {attempt}: {word.verdict}", settled)
        case Loaded() | Looked():
            yield from _reading(state, world, number, process)
    if world.crashes and process != IDLE:
        yield Step("crash", f"a worker that was {process.kind}", with_worker(state, number, IDLE))


def _idle(state: State, world: World, number: int) -> Iterator[Step]:
    for index, invoice in enumerate(state.invoices):
        if not (invoice.state == "open" and invoice.due) or _locked(state, world, index):
            continue
        tried = [a for a in state.attempts if a.invoice == index and a.state is not None]
        if tried and not invoice.fresh and world.has("preflight") and not _looks_wait(state, world, index):
            yield from _claim_preflight(state, world, number, index)
        if len(tried) < world.attempts and _refusal(state, world, index) is None:
            if state.site and (reason := stands_still(state, world, number)):
                yield from beginning_of_quarantine(state, world, reason)
            elif stops(state, world, "arming"):
                pass
            elif world.locks:
                yield from _arm(state, world, number, index, invoice.card)
            else:
                yield Step("choose", f"invoice {index}", with_worker(state, number, Chosen(index, invoice.card)))
    if not world.has("permission_only_from_arm"):
        for index, attempt in enumerate(state.attempts):
            if attempt.state == S.SENDING:
                yield Step(
                    "arm", f"attempt {index}, taken up again from its row", with_worker(state, number, Permit(index))
                )


def _locked(state: State, world: World, invoice: int) -> bool:
    """Whether a transaction of which nobody knows the end still holds the invoice's row or its card's."""
    card = state.invoices[invoice].card
    if not world.locks:
        return False
    if not world.has("durable_commit_before_send"):
        started_at = {p.attempt for p in state.workers if isinstance(p, Permit | Sent | Answered)}
        if any(state.attempts[i].state is None and state.attempts[i].invoice == invoice for i in started_at):
            return True
    return any(a.state == "limbo" and (a.invoice == invoice or a.card == card) for a in state.attempts)


def _refusal(state: State, world: World, index: int) -> Refusal | None:
    """The project's own re-checks."""
    invoice = state.invoices[index]
    return refused(
        state.off[invoice.card],
        state.held[invoice.card],
        card_busy(state, invoice.card),
        _place_taken(state, index),
        world.has("preflight") and any(a.invoice == index and a.state is not None for a in state.attempts),
        invoice.fresh,
    )


def _place_taken(state: State, invoice: int) -> bool:
    return any(a.invoice == invoice and a.state in HOLDS_PLACE for a in state.attempts)


def _arm(state: State, world: World, number: int, invoice: int, card: int) -> Iterator[Step]:
    if not _constraints_let_in(state, world, invoice, card):
        yield Step("refused_by_a_constraint", f"invoice {invoice}", with_worker(state, number, IDLE))
        return
    index = len(state.attempts)
    if index >= world.attempts * world.invoices + world.again:
        yield Step("refused_by_a_constraint", "as far as this world goes", with_worker(state, number, IDLE))
        return
    detail = f"attempt {index} for invoice {invoice} on card {card}"
    harm = _armed_too_soon(state, world, invoice)
    born = state._replace(attempts=(*state.attempts, Attempt(invoice, card, S.SENDING.value)))
    permit = Permit(index)
    if state.site:
        born, permit = numbered(born, index), unnoted(state, world, index)
    if world.has("arm_takes_the_look_back"):
        born = with_invoice(_fence(born, invoice), invoice, fresh=False, read=False)
    stored = with_invoice(born, invoice, due=False)
    if not world.has("durable_commit_before_send"):
        started_at = with_attempt(born, index, state=None)
        yield Step("arm", f"{detail}, not committed yet", with_worker(started_at, number, Permit(index)), harm)
        return
    yield Step("arm", detail, with_worker(stored, number, permit), harm)
    if world.broken_commits:
        then: Process = Unsure(index) if world.has("unacknowledged_is_not_sent") else Permit(index)
        lost = with_attempt(born, index, state=None)
        yield Step("arm_not_stored", detail, with_worker(lost, number, then), harm)
        yield Step("arm_unacknowledged", detail, with_worker(stored, number, then), harm)
        if world.locks:
            busy = with_attempt(born, index, state="limbo")
            yield Step("arm_in_limbo", detail, with_worker(busy, number, then), harm)


def _constraints_let_in(state: State, world: World, invoice: int, card: int) -> bool:
    if state.invoices[invoice].state != "open":
        return False  # attempts_ask_for_what_is_owed
    if world.has("place_constraint") and _place_taken(state, invoice):
        return False
    return not (world.has("card_constraint") and card_busy(state, card))


def _armed_too_soon(state: State, world: World, invoice: int) -> str | None:
    """Nobody is asked again whose money the gateway has shown for over a minute. (Without locks a constraint cannot
    promise this: it knows nothing of the gateway.)"""
    if not world.locks:
        return None
    for charge in state.charges:
        shown = charge.status == "SUCCESS" and charge.shown == 2 and charge.amount == 1
        if shown and charge.attempt != FOREIGN and state.attempts[charge.attempt].invoice == invoice:
            return "asked again although the gateway has shown the invoice's money for over a minute"
    return None


def _commit_late(state: State, attempt: int) -> State:
    """Where the commit comes after the sending."""
    row = state.attempts[attempt]
    if row.state is not None:
        return state
    return with_invoice(with_attempt(state, attempt, state=S.SENDING.value), row.invoice, due=False)


# --- sending ------------------------------------------------------------------------------------------------


def _send(state: State, world: World, number: int, index: int) -> Iterator[Step]:
    row = state.attempts[index]
    if row.age > 0 and world.has("window_check"):
        word = Word(Verdict.NOT_SENT, Source.ANSWER, reason="expired")
        yield Step("expire", f"attempt {index}", with_worker(state, number, Answered(index, word)))
        return
    sent = with_attempt(state, index, posts=row.posts + 1, wire=row.wire + 1)
    yield Step("send", f"attempt {index}", with_worker(sent, number, Sent(index)), _sent_wrongly(state, world, index))


def _sent_wrongly(state: State, world: World, index: int) -> str | None:
    row = state.attempts[index]
    if row.posts:
        return "one attempt was posted twice"
    forgotten = row.state is None and state.site and state.site.forgot  # what a process remembers is not
    if row.state != S.SENDING and world.has("durable_commit_before_send") and not forgotten:
        return f"a request left for an attempt that is {row.state or 'not in the database'}"
    for other, earlier in enumerate(state.attempts):
        if other != index and earlier.invoice == row.invoice and not earlier.erred and _may_take(state, other):
            return f"a request left while attempt {other} may still take the invoice's money"
    return None


def _may_take(state: State, attempt: int) -> bool:
    if state.attempts[attempt].wire:
        return True
    return any(
        c.attempt == attempt and (c.status == "PROCESSING" or (c.status == "SUCCESS" and not c.late))
        for c in state.charges
    )


def _answers(state: State, world: World, number: int, index: int) -> Iterator[Step]:
    row = state.attempts[index]

    def waits(word: Word) -> State:
        return with_worker(state, number, Answered(index, word))

    for charge, made in enumerate(state.charges):
        if made.attempt == index:
            yield Step("answer", f"attempt {index}: {made.status}", waits(word_of(state, world, charge, Source.ANSWER)))
    yield Step("time_out", f"attempt {index}", waits(Word(Verdict.UNCLEAR, Source.ANSWER, reason="timeout")))
    if world.false_refusals and (row.wire or any(made.attempt == index for made in state.charges)):
        lie = Word(Verdict.NOT_SENT, Source.ANSWER, reason="refused")
        yield Step("refuse_falsely", f"attempt {index}", waits(lie))
    if not row.wire:
        return
    gone = with_attempt(state, index, wire=row.wire - 1)
    refusal_word = Word(Verdict.NOT_SENT, Source.ANSWER, reason="refused")
    yield Step("refuse", f"attempt {index}", with_worker(gone, number, Answered(index, refusal_word)))
    if world.inactive_cards:
        error = Answered(index, Word(Verdict.UNCLEAR, Source.ANSWER, reason="error"))
        off = with_off(with_worker(gone, number, error), row.card, 1)
        yield Step("answer_with_an_error", f"attempt {index}: the card is inactive", off)
        if world.errors_take_money:
            taken = off._replace(charges=(*off.charges, Charge(index, row.card, "SUCCESS")))
            yield Step("answer_with_an_error", f"attempt {index}, having taken the money", taken)
    if world.crossed_answers:
        for charge, made in enumerate(state.charges):
            if made.attempt not in (index, FOREIGN) and made.card == row.card and made.status == "SUCCESS":
                word = word_of(state, world, charge, Source.ANSWER)
                crossed = with_worker(gone, number, Answered(index, word))
                yield Step("answer", f"attempt {index}: with the transaction of attempt {made.attempt}", crossed)


# --- reading ------------------------------------------------------------------------------------------------


def _claim_preflight(state: State, world: World, number: int, index: int) -> Iterator[Step]:
    cards = {state.invoices[index].card}
    if world.has("preflight_of_every_card"):
        cards |= {a.card for a in state.attempts if a.invoice == index and a.state not in (None, "limbo")}
    yield from _load(_fence(state, index), world, number, index, tuple(sorted(cards)))


def _fence(state: State, invoice: int) -> State:
    """A new lease takes the old one away."""

    def fenced(process: Process) -> Process:
        if isinstance(process, Loaded | Looked) and process.invoice == invoice:
            return process._replace(leased=False)
        return process

    return state._replace(workers=tuple(fenced(process) for process in state.workers))


def _load(state: State, world: World, number: int, invoice: int | None, cards: tuple[int, ...]) -> Iterator[Step]:
    known = frozenset(i for i, a in enumerate(state.attempts) if a.card in cards and a.state not in (None, "limbo"))
    loaded = Loaded(invoice, cards, known, fresh=invoice is not None)
    what = f"cards {', '.join(map(str, cards))}" + (f" for invoice {invoice}" if invoice is not None else "")
    if world.slow_reads:
        yield Step("load", what, _with_process(state, number, loaded))
    else:
        yield from _looks(state, world, number, loaded, what)


def _looks_wait(state: State, world: World, invoice: int) -> bool:
    """Whether the lists may lag behind what an attempt of the invoice did that is called ended without money."""
    if not world.false_refusals or not world.has("lists_catch_up_after_a_refusal"):
        return False
    return any(a.invoice == invoice and is_in_doubt(a) for a in state.attempts)


def _looks(state: State, world: World, number: int, loaded: Loaded, what: str) -> Iterator[Step]:
    reads = [("", look(state, world, loaded))]
    if not world.has("complete_read_only"):
        reads.append((", a page of nothing", look(state, world, loaded, shown=())))
    for cut, looked in reads:
        if world.stale_reads:
            yield Step("look", f"{what}{cut}", _with_process(state, number, looked))
        else:
            yield from _records(state, world, number, looked, f"{what}{cut}")


def _reading(state: State, world: World, number: int, process: Process) -> Iterator[Step]:
    if isinstance(process, Loaded):
        yield from _looks(state, world, number, process, f"cards {', '.join(map(str, process.cards))}")
    if isinstance(process, Looked):
        yield from _records(state, world, number, process, f"cards {', '.join(map(str, process.cards))}")


def _records(state: State, world: World, number: int, looked: Looked, what: str) -> Iterator[Step]:
    recorded = record(state, world, looked)
    harm = _recorded_wrongly(state, recorded, world, looked)
    text = ", ".join([what, *(f"attempt {index}: {word.verdict}" for index, word in looked.findings)])
    yield Step("record", text, _with_process(recorded, number, IDLE), harm)
    if world.broken_commits and recorded != state and number == READER and world.stale_reads:
        yield Step("record_again", text, _with_process(recorded, number, looked), harm)


READER = -1


def _with_process(state: State, number: int, process: Process) -> State:
    return state._replace(reader=process) if number == READER else with_worker(state, number, process)


def _reader(state: State, world: World) -> Iterator[Step]:
    if stops(state, world, "looking"):
        return
    if state.reader == IDLE:
        states = {S.UNKNOWN.value, S.IN_PROCESS.value}
        if world.watched and world.has("watch_after_the_end"):
            states |= {state.value for state in ENDED_WITHOUT_MONEY}
        open_cards = {a.card for a in state.attempts if a.state in states}
        for card in sorted(open_cards):
            yield from _load(state, world, READER, None, (card,))
        return
    if not isinstance(state.reader, Overdue):
        yield from _reading(state, world, READER, state.reader)
    if world.crashes:
        yield Step("crash", "the reconciler", state._replace(reader=IDLE))


def _recorded_wrongly(before: State, after: State, world: World, looked: Looked) -> str | None:
    """What a complete read showed is in the books, and nothing of ours is called a stranger's."""
    if world.echo == "marker" and world.has("marker_match"):
        newly = [
            k
            for k in looked.unexplained
            if after.held[after.charges[k].card] and not before.held[after.charges[k].card]
        ]
        findings = {before.attempts[i].card for i, _ in looked.findings}
        for charge in newly:
            if is_forgotten(before, before.charges[charge].attempt):
                continue
            if before.charges[charge].attempt != FOREIGN and before.charges[charge].card not in findings:
                return "an order of our own is called unexplained, and holds the card"
    if world.forged_hints:
        for index, word in looked.findings:
            taken = any(c.attempt == index and c.status == "SUCCESS" for c in before.charges)
            if word.verdict is Verdict.ABSENT_AT_LAST and word.reason.startswith("absent") and taken:
                return f"attempt {index} is called absent before the list had the time to show its money"
    for charge, owner in looked.explained:
        row = after.charges[charge]
        if owner is None or row.status != "SUCCESS" or row.attempt != owner or row.amount != 1:
            continue
        attempt = after.attempts[owner]
        shown = any(i == owner and word.verdict is Verdict.PAID for i, word in looked.findings)
        if shown and attempt.state not in (*HAS_MONEY, S.NEEDS_REVIEW, S.REVERSED) and not after.held[row.card]:
            return f"money that was read is in nobody's books: attempt {owner} is {attempt.state}"
    return None
