"""Everything that can happen next in a state: our own steps, the gateway's, people's, time's, and what goes wrong.

Each step is atomic: it is one commit, one message, or one look. Between any two of them anything else may happen, so
a process that sleeps for long and wakes (a zombie) is simply one that does nothing for a while.
"""

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from typing import NamedTuple

from billing.domain.arming import ArmFacts, Environment, Refusal, refusal
from billing.domain.attempts import HAS_MONEY, HOLDS_PLACE, UNRESOLVED, AttemptState, Source, Verdict
from billing.domain.subscriptions import CardKind, CardState
from tests.model.settling import ARMED_AT, look, record, settle, word_of
from tests.model.state import (
    IDLE,
    STRANGER,
    Answered,
    Attempt,
    Charge,
    Chosen,
    Idle,
    Loaded,
    Looked,
    Permit,
    Process,
    Sent,
    State,
    Unsure,
    Word,
    World,
    transaction_id,
    with_attempt,
    with_charge,
    with_held,
    with_invoice,
    with_off,
    with_worker,
)

S = AttemptState

# Who takes the step: "engine" (it will happen, sooner or later), "time" (so will this), or what nobody can count on.
STEPS: dict[str, tuple[str, str]] = {
    "open": ("engine", "a period is due: its invoice is opened"),
    "load": ("engine", "what our books know of a card is loaded, before the card is read"),
    "look": ("engine", "the card's orders are read at the gateway"),
    "record": ("engine", "what the read said is written down"),
    "choose": ("engine", "an invoice is re-checked and chosen"),
    "arm": ("engine", "an attempt is committed, and the commit is acknowledged"),
    "refused_by_a_constraint": ("engine", "the database refuses the attempt"),
    "arm_not_stored": ("fault", "arm's commit raised; nothing was stored"),
    "arm_unacknowledged": ("fault", "arm's commit raised; it was stored all the same"),
    "arm_in_limbo": ("fault", "arm's commit raised; the database is still busy with it"),
    "limbo_ends": ("time", "the database ends what it was busy with"),
    "say_not_sent": ("engine", "the process that armed without acknowledgement says that nothing was sent"),
    "send": ("engine", "the one POST leaves"),
    "expire": ("engine", "a process wakes after the window and does not send"),
    "request_lost": ("fault", "the request never reaches the gateway"),
    "refuse": ("gateway", "the gateway turns the request away before executing it"),
    "answer_with_an_error": ("gateway", "the gateway answers with an error that is not understood"),
    "take_in": ("gateway", "the gateway takes the request in"),
    "decide": ("gateway", "the gateway ends the charge: money or none"),
    "answer": ("gateway", "the gateway's answer reaches the process that waits for it"),
    "time_out": ("engine", "no answer came: the outcome is not known"),
    "settle": ("engine", "the answer is written down"),
    "settle_again": ("fault", "settle's commit is stored and not acknowledged: the same is told again"),
    "record_again": ("fault", "a read's commit is stored and not acknowledged: the same is told again"),
    "sweep": ("engine", "an attempt past its deadline becomes unknown"),
    "give_up_reading": ("fault", "the card cannot be read for days: the attempt goes to a person"),
    "show": ("gateway", "an order appears in the gateway's list"),
    "pay_late": ("gateway", "a failed order becomes money at the gateway's own doing"),
    "take_back": ("gateway", "the gateway takes a success back"),
    "resolve": ("person", "a person says what became of an attempt"),
    "resolve_wrongly": ("person", "a person says what is not so"),
    "release": ("person", "a person lets a card's later invoices go on"),
    "clear": ("person", "a person clears a held card"),
    "collect_after_all": ("person", "a person lets a reversed invoice be collected again"),
    "change_card": ("person", "the customer names another card"),
    "window_passes": ("time", "an attempt's window passes"),
    "deadline_passes": ("time", "an attempt's deadline passes"),
    "long_window_passes": ("time", "the long window after which absence may count passes"),
    "minute_passes": ("time", "a minute passes: what was read is no longer fresh"),
    "crash": ("fault", "a process is killed; what it had in memory is gone"),
}


class Step(NamedTuple):
    name: str
    detail: str
    after: State
    harm: str | None = None  # a promise that this very step broke


def steps(state: State, world: World) -> Iterator[Step]:
    yield from _invoices(state, world)
    seen: set[Process] = set()
    for number, process in enumerate(state.workers):
        if process not in seen:  # workers in the same situation are alike
            seen.add(process)
            yield from _worker(state, world, number, process)
    yield from _reader(state, world)
    for index, attempt in enumerate(state.attempts):
        yield from _attempt(state, world, index, attempt)
    for index, charge in enumerate(state.charges):
        yield from _charge(state, world, index, charge)
    yield from _people(state, world)
    if any(i.fresh for i in state.invoices) or any(c.shown == 1 for c in state.charges) or _reading_now(state):
        yield Step("minute_passes", "", _minute(state))


# --- invoices and arming ------------------------------------------------------------------------------------


def _invoices(state: State, world: World) -> Iterator[Step]:
    for number, invoice in enumerate(state.invoices):
        if invoice.state == "unopened":
            yield Step("open", f"invoice {number}", with_invoice(state, number, state="open", due=True))


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
            yield from _send(state, world, number, attempt)
        case Sent(attempt):
            yield from _answers(state, world, number, attempt)
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
        if tried and not invoice.fresh and world.has("preflight"):
            yield from _claim_preflight(state, world, number, index)
        if len(tried) < world.attempts and _refusal(state, world, index) is None:
            if world.locks:
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
        begun = {p.attempt for p in state.workers if isinstance(p, Permit | Sent | Answered)}
        if any(state.attempts[i].state is None and state.attempts[i].invoice == invoice for i in begun):
            return True
    return any(a.state == "limbo" and (a.invoice == invoice or a.card == card) for a in state.attempts)


def _refusal(state: State, world: World, index: int) -> Refusal | None:
    """The project's own re-checks."""
    invoice = state.invoices[index]
    return refused(
        {0: CardState.ACTIVE, 1: CardState.ACTIVE, 2: CardState.INACTIVE}[state.off[invoice.card]],
        state.held[invoice.card],
        _card_busy(state, invoice.card),
        _place_taken(state, index),
        world.has("preflight") and any(a.invoice == index and a.state is not None for a in state.attempts),
        invoice.fresh,
    )


@cache
def refused(
    card: CardState, held: bool, busy: bool, holder: bool, preflight_needed: bool, fresh: bool
) -> Refusal | None:
    facts = ArmFacts(
        subscription_state=None,
        collected_by_gateway=False,
        card_state=card,
        card_kind=CardKind.TOKENIZED,
        card_environment=Environment.SIMULATOR,
        card_held=held,
        card_has_unresolved_attempt=busy,
        invoice_has_holder=holder,
        amount_minor=1,
        amount_refunded_minor=0,
        account_environment=Environment.SIMULATOR,
        account_limit_minor=1,
        preflight_needed=preflight_needed,
        preflight_at=ARMED_AT if fresh else ARMED_AT - timedelta(hours=1),
    )
    return refusal(facts, ARMED_AT)


def _place_taken(state: State, invoice: int) -> bool:
    return any(a.invoice == invoice and a.state in HOLDS_PLACE for a in state.attempts)


def _card_busy(state: State, card: int) -> bool:
    return any(a.card == card and a.state in UNRESOLVED and not a.released for a in state.attempts)


def _arm(state: State, world: World, number: int, invoice: int, card: int) -> Iterator[Step]:
    if not _constraints_let_in(state, world, invoice, card):
        yield Step("refused_by_a_constraint", f"invoice {invoice}", with_worker(state, number, IDLE))
        return
    index = len(state.attempts)
    if index >= world.attempts * world.invoices:
        yield Step("refused_by_a_constraint", "as far as this world goes", with_worker(state, number, IDLE))
        return
    detail = f"attempt {index} for invoice {invoice} on card {card}"
    harm = _armed_too_soon(state, world, invoice)
    born = state._replace(attempts=(*state.attempts, Attempt(invoice, card, S.SENDING.value)))
    stored = with_invoice(born, invoice, due=False)
    if not world.has("durable_commit_before_send"):
        begun = with_attempt(born, index, state=None)
        yield Step("arm", f"{detail}, not committed yet", with_worker(begun, number, Permit(index)), harm)
        return
    yield Step("arm", detail, with_worker(stored, number, Permit(index)), harm)
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
    return not (world.has("card_constraint") and _card_busy(state, card))


def _armed_too_soon(state: State, world: World, invoice: int) -> str | None:
    """Nobody is asked again whose money the gateway has shown for over a minute. (Without locks a constraint cannot
    promise this: it knows nothing of the gateway.)"""
    if not world.locks:
        return None
    for charge in state.charges:
        shown = charge.status == "SUCCESS" and charge.shown == 2 and charge.amount == 1
        if shown and charge.attempt != STRANGER and state.attempts[charge.attempt].invoice == invoice:
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
    if row.state != S.SENDING and world.has("durable_commit_before_send"):
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
            if made.attempt not in (index, STRANGER) and made.card == row.card and made.status == "SUCCESS":
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
    said = ", ".join([what, *(f"attempt {index}: {word.verdict}" for index, word in looked.told)])
    yield Step("record", said, _with_process(recorded, number, IDLE), harm)
    if world.broken_commits and recorded != state and number == READER and world.stale_reads:
        yield Step("record_again", said, _with_process(recorded, number, looked), harm)


READER = -1


def _with_process(state: State, number: int, process: Process) -> State:
    return state._replace(reader=process) if number == READER else with_worker(state, number, process)


def _reader(state: State, world: World) -> Iterator[Step]:
    if state.reader == IDLE:
        open_cards = {a.card for a in state.attempts if a.state in (S.UNKNOWN, S.IN_PROCESS)}
        for card in sorted(open_cards):
            yield from _load(state, world, READER, None, (card,))
        return
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
        told = {before.attempts[i].card for i, _ in looked.told}
        for charge in newly:
            if before.charges[charge].attempt != STRANGER and before.charges[charge].card not in told:
                return "an order of our own is called unexplained, and holds the card"
    for charge, owner in looked.explained:
        row = after.charges[charge]
        if owner is None or row.status != "SUCCESS" or row.attempt != owner or row.amount != 1:
            continue
        attempt = after.attempts[owner]
        shown = any(i == owner and word.verdict is Verdict.PAID for i, word in looked.told)
        if shown and attempt.state not in (*HAS_MONEY, S.NEEDS_HUMAN, S.REVERSED) and not after.held[row.card]:
            return f"money that was read is in nobody's books: attempt {owner} is {attempt.state}"
    return None


# --- attempts, charges, people, time ------------------------------------------------------------------------


def _attempt(state: State, world: World, index: int, row: Attempt) -> Iterator[Step]:
    name = f"attempt {index}"
    if row.wire:
        gone = with_attempt(state, index, wire=row.wire - 1)
        yield Step("request_lost", name, gone)
        made = gone._replace(charges=(*gone.charges, Charge(index, row.card, "PROCESSING")))
        yield Step("take_in", name, made)
    if row.state == "limbo":
        stored = with_attempt(state, index, state=S.SENDING.value)
        yield Step("limbo_ends", f"{name} is stored", with_invoice(stored, row.invoice, due=False))
        yield Step("limbo_ends", f"{name} is not stored", with_attempt(state, index, state=None))
    yield from _ages(state, world, index, row)
    if row.state == S.SENDING and row.age >= 2:
        swept = settle(state, world, index, Word(Verdict.UNCLEAR, Source.SWEEPER, reason="sender_lost"))
        if not world.has("sweeper_never_arms"):
            swept = with_invoice(with_attempt(swept, index, state=S.NOT_SENT.value), row.invoice, due=True)
        yield Step("sweep", name, swept)
    if world.crashes and row.state in (S.UNKNOWN, S.IN_PROCESS):
        failing = Word(Verdict.ABSENT_AT_LAST, Source.ORDER_LIST, reason="reads_keep_failing")
        yield Step("give_up_reading", name, settle(state, world, index, failing))


def _ages(state: State, world: World, index: int, row: Attempt) -> Iterator[Step]:
    # How old an attempt is matters only while it may be sent or swept, and where time changes what evidence means.
    matters = row.state in (S.SENDING, "limbo") or (world.reversals and row.state in UNRESOLVED)
    if not matters and not any(isinstance(p, Permit) and p.attempt == index for p in state.workers):
        matters = world.retry_after_absence and row.state in (S.UNKNOWN, S.IN_PROCESS)
    if not matters:
        return
    if row.age < 2:
        name = ("window_passes", "deadline_passes")[row.age]
        yield Step(name, f"attempt {index}", with_attempt(state, index, age=row.age + 1))
    elif row.age == 2 and world.retry_after_absence and not (world.lag_ends and _lags(state, index)):
        yield Step("long_window_passes", f"attempt {index}", with_attempt(state, index, age=3))


def _lags(state: State, attempt: int) -> bool:
    """Whether the gateway still has something of the attempt that its list does not show."""
    if state.attempts[attempt].wire or any(isinstance(p, Permit) and p.attempt == attempt for p in state.workers):
        return True
    return any(c.attempt == attempt and (not c.shown or c.status == "PROCESSING") for c in state.charges)


def _charge(state: State, world: World, index: int, row: Charge) -> Iterator[Step]:
    name = f"the order of attempt {row.attempt}"
    if row.status == "PROCESSING":
        shown = min(row.shown, 1)  # what is decided now has not been shown for a minute
        yield Step("decide", f"{name}: money", with_charge(state, index, status="SUCCESS", shown=shown))
        yield Step("decide", f"{name}: none", with_charge(state, index, status="FAILED"))
        if world.wrong_amounts:
            wrong = with_charge(state, index, status="SUCCESS", amount=2, shown=shown)
            yield Step("decide", f"{name}: another amount", wrong)
    if not row.shown:
        yield Step("show", name, with_charge(state, index, shown=1))
    if row.status == "FAILED" and world.late_money:
        yield Step("pay_late", name, with_charge(state, index, status="SUCCESS", late=True, shown=0))
    if row.status == "SUCCESS" and world.reversals and row.attempt != STRANGER:
        yield Step("take_back", name, with_charge(state, index, status="REVERSED"))


def _people(state: State, world: World) -> Iterator[Step]:
    for index, row in enumerate(state.attempts):
        if row.state == S.NEEDS_HUMAN:
            yield from _resolve(state, world, index)
            if world.releases and not row.released:
                released = with_held(with_attempt(state, index, released=True), row.card, False)
                yield Step("release", f"attempt {index}", released)
    for card, held in enumerate(state.held):
        if held:
            yield Step("clear", f"card {card}", with_held(state, card, False))
    for index, invoice in enumerate(state.invoices):
        if invoice.hold:
            yield Step("collect_after_all", f"invoice {index}", with_invoice(state, index, hold=False, due=True))
        if world.card_changes and invoice.state == "open" and invoice.card + 1 < world.cards:
            other = with_invoice(state, index, card=invoice.card + 1)
            yield Step("change_card", f"invoice {index}: card {invoice.card + 1}", other)


def _resolve(state: State, world: World, index: int) -> Iterator[Step]:
    """A person says what is so: once the gateway is done with the attempt and nobody may send it any more."""
    charges = [k for k, c in enumerate(state.charges) if c.attempt == index]
    money = [k for k in charges if state.charges[k].status == "SUCCESS" and state.charges[k].amount == 1]
    for charge in money:
        known = transaction_id(state, charge)
        word = Word(Verdict.PAID, Source.OPERATOR, reason="charged", transaction=known, amount=1)
        yield Step("resolve", f"attempt {index}: charged", settle(state, world, index, word))
    open_yet = state.attempts[index].wire or any(state.charges[k].status == "PROCESSING" for k in charges)
    open_yet = open_yet or state.attempts[index].age == 0
    taken = any(state.charges[k].status == "SUCCESS" for k in charges)
    word = Word(Verdict.PERSON_NOT_CHARGED, Source.OPERATOR, reason="not_charged")
    if not open_yet and not taken:
        yield Step("resolve", f"attempt {index}: not charged", settle(state, world, index, word))
    elif world.people_err:
        wrong = with_attempt(settle(state, world, index, word), index, erred=True)
        yield Step("resolve_wrongly", f"attempt {index}: not charged", wrong)


def _reading_now(state: State) -> bool:
    return any(isinstance(p, Loaded | Looked) and p.fresh for p in state.workers)


def _minute(state: State) -> State:
    """What was read by now is not fresh any more, also where it is not written down yet."""

    def older(process: Process) -> Process:
        return process._replace(fresh=False) if isinstance(process, Loaded | Looked) else process

    return state._replace(
        invoices=tuple(i._replace(fresh=False) for i in state.invoices),
        charges=tuple(c._replace(shown=2) if c.shown == 1 else c for c in state.charges),
        workers=tuple(older(process) for process in state.workers),
    )
