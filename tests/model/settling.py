"""Settling and reading in the small: the project's own decisions, and what surrounds them told again."""

from billing.domain.attempts import (
    ENDED_WITHOUT_MONEY,
    HAS_MONEY,
    HOLDS_PLACE,
    UNRESOLVED,
    Alarm,
    AttemptState,
    Move,
    Source,
    Stay,
    Verdict,
)
from billing.domain.matching import Ambiguous, MarkerEcho, Match, SeenOrder, Wanted, carries, could_be, match
from tests.model.engine import ARMED_AT, decided, rung
from tests.model.state import (
    FOREIGN,
    Attempt,
    Loaded,
    Looked,
    State,
    Word,
    World,
    marker,
    order_id,
    transaction_id,
    with_attempt,
    with_charge,
    with_held,
    with_invoice,
    with_off,
    with_paid,
)

S = AttemptState
ASKED_ABOUT = (S.UNKNOWN, S.IN_PROCESS)
SPOKEN_FOR = (S.SENDING, S.NEEDS_REVIEW)
COMPLETE_READS = (Verdict.ABSENT, Verdict.IN_PROCESS, Verdict.REVERSED, Verdict.UNCLEAR)
VERDICTS = {
    "PROCESSING": Verdict.IN_PROCESS,
    "SUCCESS": Verdict.PAID,
    "FAILED": Verdict.DECLINED,
    "REVERSED": Verdict.REVERSED,
}


# --- settle -------------------------------------------------------------------------------------------------


def settle(state: State, world: World, index: int, word: Word) -> State:
    """One piece of evidence about one attempt, in one commit."""
    row = state.attempts[index]
    key = (word, row.last) if _found_again(world, row, word) else word
    if world.has("evidence_is_told_once") and word.source is not Source.OPERATOR and key in row.findings:
        return state
    state = with_attempt(state, index, findings=row.findings | {key})
    match _decision(state, world, index, word):
        case Move(to, _):
            moved = _move(state, world, index, to, word)
            return moved if moved is not None else _not_recordable(state, world, index, word)
        case Stay():
            return _stay(state, index, word)
        case Alarm():
            return with_held(state, row.card)


def _found_again(world: World, row: Attempt, word: Word) -> bool:
    """Money is told again to an attempt that has ended without it since."""
    return (
        world.has("money_is_heard_again_after_a_decision")
        and word.verdict is Verdict.PAID
        and row.state in ENDED_WITHOUT_MONEY
    )


def _decision(state: State, world: World, index: int, word: Word) -> Move | Stay | Alarm:
    row = state.attempts[index]
    invoice = state.invoices[row.invoice]
    others = [a for i, a in enumerate(state.attempts) if i != index and a.invoice == row.invoice]
    taken = any(other.state in HOLDS_PLACE for other in others)
    if word.verdict is Verdict.ABSENT_AT_LAST and not world.has("absence_is_not_evidence"):
        return Move(S.NOT_CHARGED, "absent")
    if not world.has("surplus_rule") and word.verdict is Verdict.PAID and taken:
        return Stay()
    if not world.has("amount_check"):
        word = word._replace(amount=1)
    if not world.has("marker_check"):
        word = word._replace(marker=None)
    return decided(
        str(row.state),
        row.transaction,
        marker(index),
        row.age >= 2,
        taken,
        invoice.state in ("open", "uncollectible"),
        world.has("claimed_transaction_check") and _claimed(state, index, word),
        row.state == S.NOT_CHARGED and row.last is not None and row.last.verdict is Verdict.REVERSED,
        word,
    )


def _claimed(state: State, index: int, word: Word) -> bool:
    return any(
        i != index
        and ((word.transaction and a.transaction == word.transaction) or (word.order and a.order == word.order))
        for i, a in enumerate(state.attempts)
    )


def _learn_ids(state: State, world: World, index: int, word: Word) -> State:
    row = state.attempts[index]
    claimed = world.has("claimed_transaction_check") and _claimed(state, index, word)
    if not word.transaction or claimed:
        return state
    if row.transaction in (None, word.transaction) or row.state in HAS_MONEY:
        return with_attempt(state, index, transaction=word.transaction, order=word.order or row.order)
    return state


def _move(state: State, world: World, index: int, to: AttemptState, word: Word) -> State | None:
    """The attempt in its new state with what follows from it, or None when a constraint refuses."""
    state = _learn_ids(with_attempt(state, index, state=to.value, last=word), world, index, word)
    row = state.attempts[index]
    invoice = state.invoices[row.invoice]
    match to:
        case S.SUCCEEDED:
            state = with_paid(state, row.invoice)
        case S.DECLINED if invoice.starts == "incomplete":
            state = with_invoice(state, row.invoice, due=False, over=False)  # waits, with all of the time again
        case S.DECLINED if invoice.state == "open":
            tries = sum(a.invoice == row.invoice and a.state is not None for a in state.attempts)
            if tries >= world.attempts:
                state = with_invoice(state, row.invoice, state="uncollectible", due=False)
            else:
                state = with_invoice(state, row.invoice, due=not invoice.hold)
        case S.NOT_SENT | S.NOT_CHARGED if invoice.state == "open":
            state = with_invoice(state, row.invoice, due=not invoice.hold)
        case S.NEEDS_REVIEW if word.verdict is Verdict.CONTRADICTION:
            state = with_held(state, row.card)
        case S.SURPLUS if invoice.state == "open":
            state = with_invoice(state, row.invoice, due=False)
        case S.REVERSED if invoice.state == "paid" and not _another_paid(state, index):
            state = with_invoice(state, row.invoice, state="open", hold=True, due=False)
    if to in ENDED_WITHOUT_MONEY or to is S.REVERSED:
        state = _promote_surplus(state, world, index)
    return None if world.has("place_constraint") and _two_holders(state, row.invoice) else state


def _another_paid(state: State, index: int) -> bool:
    own = state.attempts[index].invoice
    return any(i != index and a.invoice == own and a.state == S.SUCCEEDED for i, a in enumerate(state.attempts))


def _two_holders(state: State, invoice: int) -> bool:
    return sum(a.invoice == invoice and a.state in HOLDS_PLACE for a in state.attempts) > 1


def _promote_surplus(state: State, world: World, ended: int) -> State:
    invoice = state.attempts[ended].invoice
    heirs = [i for i, a in enumerate(state.attempts) if a.invoice == invoice and a.state == S.SURPLUS and i != ended]
    if not heirs or state.invoices[invoice].state not in ("open", "uncollectible"):
        return state
    return settle(state, world, heirs[0], Word(Verdict.PAID, Source.HOLDER_ENDED, reason=f"holder {ended}"))


def _stay(state: State, index: int, word: Word) -> State:
    row = state.attempts[index]
    if row.state not in ASKED_ABOUT:
        return state
    if word.transaction and not _claimed(state, index, word) and row.transaction in (None, word.transaction):
        state = with_attempt(state, index, transaction=word.transaction, order=word.order or row.order)
    if word.source is Source.ORDER_LIST and word.verdict in COMPLETE_READS and word.check >= 0:
        state = with_attempt(state, index, checks=row.checks + 1)
    return state


def _not_recordable(state: State, world: World, index: int, word: Word) -> State:
    """What the database refuses to record is not understood."""
    return settle(state, world, index, Word(Verdict.UNCLEAR, word.source, reason="not_recordable"))


def card_busy(state: State, card: int) -> bool:
    return any(a.card == card and a.state in UNRESOLVED and not a.released for a in state.attempts)


# --- reading a card -----------------------------------------------------------------------------------------


def word_of(state: State, world: World, charge: int, source: Source) -> Word:
    """What the gateway says of one of its charges."""
    row = state.charges[charge]
    findings = marker(row.attempt) if world.echo == "marker" and row.attempt != FOREIGN else None
    return Word(
        VERDICTS[row.status],
        source,
        transaction=transaction_id(state, charge),
        order=order_id(charge),
        amount=row.amount,
        marker=findings,
    )


def look(state: State, world: World, loaded: Loaded, shown: tuple[int, ...] | None = None) -> Looked:
    """Reads the cards completely: every order of the list, and who made it; `shown` is what a page held instead."""
    findings: list[tuple[int, Word]] = []
    explained: list[tuple[int, int | None]] = []
    unexplained: list[int] = []
    off: list[int] = []
    for card in loaded.cards:
        listed = [k for k, charge in enumerate(state.charges) if charge.card == card and charge.shown]
        if shown is not None:
            listed = [k for k in listed if k in shown]
        known = sorted(i for i in loaded.known if state.attempts[i].card == card)
        _look_at(state, world, known, listed, findings, explained, unexplained)
        absent = _absent(state, known, findings)
        _ask_for_lost_transactions(state, world, absent, findings)
        if loaded.invoice is None:
            findings[:] = _numbered(state, world, known, absent, findings, card)
        if state.off[card] and any(_answered_with_error(state.attempts[i]) for i in absent):
            off.append(card)
    return Looked(
        loaded.invoice,
        loaded.cards,
        loaded.known,
        tuple(findings),
        tuple(explained),
        tuple(unexplained),
        tuple(off),
        loaded.leased,
        loaded.fresh,
    )


def _look_at(
    state: State,
    world: World,
    known: list[int],
    listed: list[int],
    findings: list[tuple[int, Word]],
    explained: list[tuple[int, int | None]],
    unexplained: list[int],
) -> None:
    nameless: list[int] = []
    for charge in listed:
        owner = _owner(state, known, charge)
        if owner is not None:
            explained.append((charge, owner))
            if not _says_nothing_new(state, owner, charge):
                findings.append((owner, word_of(state, world, charge, Source.ORDER_LIST)))
        elif not state.charges[charge].baseline and state.charges[charge].explained is None:
            by_marker = [i for i in known if carries(_words(state, world, charge), marker(i))]
            if by_marker:
                explained.append((charge, by_marker[0]))
                findings.append((by_marker[0], word_of(state, world, charge, Source.ORDER_LIST)))
            else:
                nameless.append(charge)
        else:
            explained.append((charge, state.charges[charge].explained))
    found_for = {index for index, _ in findings}
    for index in known:
        if state.attempts[index].state not in ASKED_ABOUT or index in found_for:
            continue
        match _matched(state, world, index, nameless):
            case Match(found) if _made_by_another(state, world, known, index, found, explained):
                word = Word(Verdict.CONTRADICTION, Source.ORDER_LIST, reason="order_with_two_possible_makers")
                findings.append((index, word))
            case Match(found):
                charge = int(found.order_id.removeprefix("order-"))
                nameless.remove(charge)
                explained.append((charge, index))
                findings.append((index, word_of(state, world, charge, Source.ORDER_LIST)))
            case Ambiguous(_, reason):
                findings.append((index, Word(Verdict.CONTRADICTION, Source.ORDER_LIST, reason=reason)))
    waiting = [i for i in known if state.attempts[i].state in SPOKEN_FOR]
    for charge in nameless:
        explained.append((charge, None))
        if state.charges[charge].status != "FAILED" and not any(_could_be(state, i, charge) for i in waiting):
            unexplained.append(charge)


def _owner(state: State, known: list[int], charge: int) -> int | None:
    row = state.charges[charge]
    for index in known:
        attempt = state.attempts[index]
        if row.explained == index or attempt.order == order_id(charge):
            return index
        if attempt.transaction == transaction_id(state, charge):
            return index
    return None


def _says_nothing_new(state: State, index: int, charge: int) -> bool:
    attempt, status = state.attempts[index], state.charges[charge].status
    if attempt.transaction not in (None, transaction_id(state, charge)):
        return False
    if status == "SUCCESS":
        return attempt.state in HAS_MONEY
    return status == "FAILED" and attempt.state == S.DECLINED


def _words(state: State, world: World, charge: int) -> str:
    row = state.charges[charge]
    echoed = world.echo == "marker" and world.has("marker_match") and row.attempt != FOREIGN
    return f"Coffee club {marker(row.attempt)}" if echoed else ""


def _wanted(state: State, index: int) -> Wanted:
    return Wanted(marker(index), 1, "MYR", ARMED_AT, state.attempts[index].transaction)


def _seen(state: State, world: World, charge: int) -> SeenOrder:
    row = state.charges[charge]
    at = None if row.attempt == FOREIGN else ARMED_AT
    words = _words(state, world, charge)
    return SeenOrder(order_id(charge), transaction_id(state, charge), row.amount, "MYR", at, words)


def _could_be(state: State, index: int, charge: int) -> bool:
    return could_be(
        _wanted(state, index), amount_minor=state.charges[charge].amount, currency="MYR", created_at=ARMED_AT
    )


def _matched(state: State, world: World, index: int, nameless: list[int]) -> object:
    by_elimination = world.echo == "proved_absent" or not world.has("marker_match")
    echo = MarkerEcho.PROVED_ABSENT if by_elimination else MarkerEcho.UNPROVEN
    return match(_wanted(state, index), [_seen(state, world, charge) for charge in nameless], echo)


def _made_by_another(
    state: State,
    world: World,
    known: list[int],
    index: int,
    found: SeenOrder,
    explained: list[tuple[int, int | None]],
) -> bool:
    """Whether an order that names nobody could as well be another attempt's, of which no order is known."""
    if not world.has("order_with_two_possible_makers") or carries(found.words, marker(index)):
        return False
    charge = int(found.order_id.removeprefix("order-"))
    has_its_order = {owner for _, owner in explained}
    return any(
        i != index
        and state.attempts[i].order is None
        and i not in has_its_order
        and state.attempts[i].state != S.NOT_SENT
        and _could_be(state, i, charge)
        for i in known
    )


def _absent(state: State, known: list[int], findings: list[tuple[int, Word]]) -> list[int]:
    found_for = {index for index, _ in findings}
    return [i for i in known if state.attempts[i].state in ASKED_ABOUT and i not in found_for]


def _ask_for_lost_transactions(state: State, world: World, absent: list[int], findings: list[tuple[int, Word]]) -> None:
    for index in list(absent):
        known = state.attempts[index].transaction
        for charge in range(len(state.charges)):
            if known == transaction_id(state, charge):
                findings.append((index, word_of(state, world, charge, Source.ORDER_LIST)))
                absent.remove(index)


def _answered_with_error(row: Attempt) -> bool:
    return any(
        isinstance(word, Word) and word.source is Source.ANSWER and word.reason == "error" for word in row.findings
    )


def _numbered(
    state: State, world: World, known: list[int], absent: list[int], findings: list[tuple[int, Word]], card: int
) -> list[tuple[int, Word]]:
    """What the reconciler makes of a read: absence counts a rung, and the last rung ends with a person."""
    out: list[tuple[int, Word]] = []
    for index, word in findings:
        if word.verdict in (Verdict.IN_PROCESS, Verdict.REVERSED) and state.attempts[index].state in ASKED_ABOUT:
            counts, last = _rung(state, world, index)
            word = word._replace(check=_check(state, index, counts))
            if counts and last:
                word = word._replace(verdict=Verdict.ABSENT_AT_LAST, reason="still")
        out.append((index, word))
    for index in absent:
        counts, last = _rung(state, world, index)
        check = _check(state, index, counts)
        if state.off[card] and counts and _answered_with_error(state.attempts[index]):
            word = Word(Verdict.DECLINED, Source.ORDER_LIST, reason="card_inactive", check=check)
        elif world.retry_after_absence:
            long_enough = last and state.attempts[index].age >= 3
            verdict = Verdict.ABSENT_FOR_LONG if long_enough else Verdict.ABSENT
            word = Word(verdict, Source.ORDER_LIST, reason=verdict.value, check=min(check, world.rungs))
        elif counts and last:
            word = Word(Verdict.ABSENT_AT_LAST, Source.ORDER_LIST, reason="absent_no_report", check=check)
        else:
            word = Word(Verdict.ABSENT, Source.ORDER_LIST, reason="absent", check=check)
        out.append((index, word))
    return out


def _rung(state: State, world: World, index: int) -> tuple[bool, bool]:
    """Absence counts once time has passed, however often somebody had the card read."""
    row = state.attempts[index]
    timed = world.forged_hints and world.has("absence_by_elapsed_time")
    return rung(world.rungs, row.checks, row.age if timed else None)


def _check(state: State, index: int, counts: bool) -> int:
    """Each rung is evidence of its own, and all reads before it are one."""
    number = state.attempts[index].checks + 1
    return number if counts else -number


def record(state: State, world: World, looked: Looked) -> State:
    """Writes down what a read said, in one commit."""
    for index, word in looked.findings:
        state = settle(state, world, index, word)
    for charge, owner in looked.explained:
        if not state.charges[charge].baseline:
            state = with_charge(state, charge, explained=owner)
    for charge in _still_unexplained(state, world, looked):
        state = with_held(state, state.charges[charge].card)
    for card in looked.off:
        state = with_off(state, card, 2)
    if looked.invoice is not None and looked.leased and not looked.unexplained:
        state = with_invoice(state, looked.invoice, fresh=looked.fresh, read=looked.fresh and world.first_payment)
    return state


def _still_unexplained(state: State, world: World, looked: Looked) -> list[int]:
    """Without the orders that an attempt may have made which was armed while the card was being read."""
    if not world.has("attempts_armed_meanwhile_are_asked"):
        return list(looked.unexplained)
    armed_since = [i for i, a in enumerate(state.attempts) if a.state not in (None, "limbo") and i not in looked.known]
    return [
        charge
        for charge in looked.unexplained
        if not any(
            state.attempts[i].card == state.charges[charge].card
            and (
                _owner(state, [i], charge) is not None
                or carries(_words(state, world, charge), marker(i))
                or (state.attempts[i].state in UNRESOLVED and _could_be(state, i, charge))
            )
            for i in armed_since
        )
    ]
