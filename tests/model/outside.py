"""Steps that are not our workers': the database's and the clock's, the gateway's, and people's."""

from collections.abc import Iterator

from billing.domain.attempts import UNRESOLVED, AttemptState, Source, Verdict
from tests.model.clocks import is_ahead, is_behind
from tests.model.engine import is_in_doubt
from tests.model.first_payment import waits_for_another_card
from tests.model.forgetting import may_be_cleared
from tests.model.names import Step
from tests.model.settling import settle
from tests.model.state import (
    FOREIGN,
    Attempt,
    Charge,
    Loaded,
    Looked,
    Permit,
    Process,
    State,
    Word,
    World,
    transaction_id,
    with_attempt,
    with_charge,
    with_held,
    with_invoice,
)

S = AttemptState


def outside_steps(state: State, world: World) -> Iterator[Step]:
    for index, attempt in enumerate(state.attempts):
        yield from _attempt(state, world, index, attempt)
    for index, charge in enumerate(state.charges):
        yield from _charge(state, world, index, charge)
    yield from _people(state, world)
    if any(i.fresh for i in state.invoices) or any(c.shown == 1 for c in state.charges) or _reading_now(state):
        yield Step("minute_passes", "", _minute(state))


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
        counts = world.retry_after_absence or world.forged_hints
        matters = counts and row.state in (S.UNKNOWN, S.IN_PROCESS)
        matters = matters or (world.false_refusals and is_in_doubt(row))
    if not matters:
        return
    if row.age < 2:
        name = ("window_passes", "deadline_passes")[row.age]
        yield Step(name, f"attempt {index}", with_attempt(state, index, age=row.age + 1))
    elif row.age == 2 and _long_matters(world) and (is_ahead(state) or not world.lag_ends or not _lags(state, index)):
        yield Step("long_window_passes", f"attempt {index}", with_attempt(state, index, age=3))


def _long_matters(world: World) -> bool:
    return world.retry_after_absence or world.forged_hints or world.false_refusals


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
    if row.status == "SUCCESS" and world.reversals and row.attempt != FOREIGN:
        yield Step("take_back", name, with_charge(state, index, status="REVERSED"))


def _people(state: State, world: World) -> Iterator[Step]:
    for index, row in enumerate(state.attempts):
        if row.state == S.NEEDS_REVIEW:
            yield from _resolve(state, world, index)
            if world.releases and not row.released:
                released = with_held(with_attempt(state, index, released=True), row.card, False)
                yield Step("release", f"attempt {index}", released)
    for card, held in enumerate(state.held):
        if held and may_be_cleared(state, world, card):
            yield Step("clear", f"card {card}", with_held(state, card, False))
    for index, invoice in enumerate(state.invoices):
        if invoice.hold:
            yield Step("collect_after_all", f"invoice {index}", with_invoice(state, index, hold=False, due=True))
        if world.card_changes and invoice.state == "open" and invoice.card + 1 < world.cards:
            other = with_invoice(state, index, card=invoice.card + 1)
            if waits_for_another_card(state, index):
                other = with_invoice(other, index, due=True)
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
        invoices=tuple(i._replace(fresh=i.fresh and is_behind(state)) for i in state.invoices),
        charges=tuple(c._replace(shown=2) if c.shown == 1 else c for c in state.charges),
        workers=tuple(older(process) for process in state.workers),
    )
