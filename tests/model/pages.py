"""A small world of one invoice, one card and its payment pages: every state that it can come to.

Whoever opens a page, charges the card, looks at a page or pays may stop, sleep or come late between any two steps. The
decisions are the engine's own (`domain.checkouts`, `domain.arming`). Each guard can be switched off, and then the
search gives the shortest way to harm. Assumed: the gateway lets nobody begin to pay on a page that is over (who does is
`paid_late`).
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from billing.domain.arming import ArmFacts, Environment, refusal
from billing.domain.attempts import HOLDS_PLACE, AttemptState
from billing.domain.checkouts import (
    CREATING_FOR,
    EXCLUDES_FOR,
    GRACE,
    LIVE,
    PAGE_FOR,
    CheckoutState,
    OpeningFacts,
    Shown,
    is_over,
    refuse_opening,
)
from billing.domain.subscriptions import CardKind, CardState, InvoiceState

A = AttemptState
C = CheckoutState
BEGIN = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
# The page may be used; whoever asked for it has given up; it is over, and so is who pressed last; a day passed.
TIMES = (timedelta(0), CREATING_FOR, PAGE_FOR + GRACE, EXCLUDES_FOR)
LATE = 2  # from here on a payment is late: the page was over

GUARDS = {
    "no page is opened while a charge may have the money": "taken twice",
    "no card is charged while a page may be being paid": "taken twice",
    "a page is handed out only while its row is still creating": "taken twice",
    "a page is over by a look that began after its end": "taken twice",
    "a payment that is under way keeps the page open": "taken twice",
    "a page is looked at after its end too": "nobody knows of the money",
    "a card waits a day at most": "the charge is forgotten",
}
Off = frozenset[str]


@dataclass(frozen=True, slots=True)
class State:
    """`asked`: who opens a page has its address in memory. `seen`: what a look showed, and when it began."""

    time: int = 0
    page: C | None = None
    asked: bool = False
    handed_out: bool = False
    money: Shown = Shown.NOTHING  # of the page, at the gateway
    paid_late: bool = False
    seen: tuple[Shown, int] | None = None
    card: A | None = None
    card_took: bool = False
    recorded: A | None = None  # the attempt of the page's payment


def facts_of_arming(state: State) -> ArmFacts:
    return ArmFacts(
        subscription_state=None,
        collected_by_gateway=False,
        card_state=CardState.ACTIVE,
        card_kind=CardKind.TOKENIZED,
        card_environment=Environment.SIMULATOR,
        card_held=False,
        card_given_up=False,
        card_has_unresolved_attempt=False,
        invoice_has_holder=state.card in HOLDS_PLACE or state.recorded in HOLDS_PLACE,
        amount_minor=1990,
        amount_refunded_minor=0,
        account_environment=Environment.SIMULATOR,
        account_limit_minor=1990,
        preflight_needed=False,
        preflight_at=None,
        look_from_at=None,
        checkout_open=state.page in LIVE,
    )


def facts_of_opening(state: State, off: Off) -> OpeningFacts:
    attempts = tuple(("att", one) for one in (state.card, state.recorded) if one is not None)
    if "no page is opened while a charge may have the money" in off:
        attempts = ()
    is_paid = A.SUCCEEDED in (state.card, state.recorded)
    return OpeningFacts(
        invoice_state=InvoiceState.PAID if is_paid else InvoiceState.OPEN,
        hold=None,
        account_stopped=False,
        collected_by_gateway=False,
        amount_refunded_minor=0,
        attempts=attempts,
        surplus=A.SURPLUS in (state.card, state.recorded),
        card_held=False,
        look_from_at=None,
        live_until=BEGIN if state.page in LIVE else None,
    )


def steps(state: State, off: Off) -> Iterator[tuple[str, State]]:
    """What may happen next. A process that stops for ever is one whose step never comes."""
    if state.time + 1 < len(TIMES):
        yield "time passes", replace(state, time=state.time + 1)
    yield from _open(state, off)
    yield from _pay(state)
    yield from _look(state, off)
    yield from _charge(state, off)


def _open(state: State, off: Off) -> Iterator[tuple[str, State]]:
    if state.time == 0 and state.page is None and refuse_opening(facts_of_opening(state, off), BEGIN) is None:
        yield "a page is put on record, and requested", replace(state, page=C.CREATING, asked=True)
    if state.asked:
        if state.page is C.CREATING:
            yield "it is handed out", replace(state, asked=False, handed_out=True, page=C.OPEN)
        elif "a page is handed out only while its row is still creating" in off:
            yield "it is handed out too late", replace(state, asked=False, handed_out=True)
        yield "its process ends", replace(state, asked=False)


def _pay(state: State) -> Iterator[tuple[str, State]]:
    if state.handed_out and state.money is Shown.NOTHING:
        late = _is_late(state)
        yield "somebody pays", replace(state, money=Shown.PAID, paid_late=late)
        if not late:
            yield "somebody pays, and the bank confirms later", replace(state, money=Shown.UNDER_WAY)
    if state.money is Shown.UNDER_WAY:
        yield "the bank confirms", replace(state, money=Shown.PAID, paid_late=_is_late(state))
        yield "the bank declines", replace(state, money=Shown.FAILED)


def _is_late(state: State) -> bool:
    """Whether it began when the page was over by its time and whoever pressed last was through, or a day later."""
    return state.time == len(TIMES) - 1 or (state.time >= LATE and state.money is Shown.NOTHING)


def _look(state: State, off: Off) -> Iterator[tuple[str, State]]:
    still_looked_at = state.page in LIVE or "a page is looked at after its end too" not in off
    if state.page is not None and state.seen is None and state.recorded is None and still_looked_at:
        yield "the gateway is asked about the page", replace(state, seen=(state.money, state.time))
    if state.seen is None or state.page is None:
        return
    shown, at = state.seen
    after = replace(state, seen=None)
    if shown is Shown.PAID and state.recorded is None:
        taken = state.card in HOLDS_PLACE
        after = replace(after, recorded=A.SURPLUS if taken else A.SUCCEEDED, page=C.PAID)
        yield "its payment is recorded", after
        return
    looked_at = shown
    if shown is Shown.UNDER_WAY and "a payment that is under way keeps the page open" in off:
        looked_at = Shown.NOTHING
    began = len(TIMES) - 2 if "a page is over by a look that began after its end" in off else at
    never = "a card waits a day at most" in off
    over = is_over(
        state.page,
        looked_at,
        page_over=False,
        created_at=BEGIN,
        expires_at=BEGIN + PAGE_FOR,
        excludes_until=BEGIN + EXCLUDES_FOR * (9 if never else 1),
        read_at=BEGIN + TIMES[max(began, at)],
    )
    yield "what it showed is recorded", replace(after, page=C.CLOSED if over else state.page)


def _charge(state: State, off: Off) -> Iterator[tuple[str, State]]:
    if state.card is None:
        facts = facts_of_arming(state)
        if "no card is charged while a page may be being paid" in off:
            facts = replace(facts, checkout_open=False)
        owed = A.SUCCEEDED not in (state.card, state.recorded) and state.recorded is not A.SURPLUS
        if owed and refusal(facts, BEGIN) is None:
            yield "a charge of the card is armed", replace(state, card=A.SENDING)
    if state.card is A.SENDING:
        won = A.SURPLUS if state.recorded is A.SUCCEEDED else A.SUCCEEDED
        yield "it is sent, and takes the money", replace(state, card=won, card_took=True)


def harm(state: State, off: Off) -> str | None:
    """Money taken twice although no payment was late, money that nobody finds, a charge that never comes."""
    if state.card_took and state.money is Shown.PAID and not state.paid_late:
        return "taken twice"
    if state.time < len(TIMES) - 1:
        return None
    if state.money is Shown.PAID:
        known = _reaches(state, off, lambda one: one.recorded is not None)
        return None if known else "nobody knows of the money"
    goes_on = _reaches(state, off, lambda one: one.card is not None or one.recorded is not None)
    return None if goes_on else "the charge is forgotten"


def _reaches(state: State, off: Off, is_there: Callable[[State], bool]) -> bool:
    """Whether the engine comes there by its own steps, whatever payers and banks leave undone."""
    seen, queue = {state}, deque([state])
    while queue:
        one = queue.popleft()
        if is_there(one):
            return True
        for name, after in steps(one, off):
            if not name.startswith(("somebody", "the bank")) and after not in seen:
                seen.add(after)
                queue.append(after)
    return False


def shortest_harm(off: Off = frozenset()) -> tuple[str, list[str]] | None:
    """The harm that is reached in the fewest steps, and these; None: there is none in any state."""
    first = State()
    ways: dict[State, list[str]] = {first: []}
    queue = deque([first])
    while queue:
        state = queue.popleft()
        if found := harm(state, off):
            return found, ways[state]
        for name, after in steps(state, off):
            if after not in ways:
                ways[after] = [*ways[state], name]
                queue.append(after)
    return None


def count() -> int:
    """How many states there are with every guard."""
    seen, queue = {State()}, deque([State()])
    while queue:
        for _, after in steps(queue.popleft(), frozenset()):
            if after not in seen:
                seen.add(after)
                queue.append(after)
    return len(seen)
