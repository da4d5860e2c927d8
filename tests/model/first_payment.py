"""Subscriptions that are active once their first charge is paid, and expire when it is not paid in time.

`Invoice.starts` is the state of the subscription whose first invoice it is, and `Invoice.over` whether its time has
passed. How long that is does not count: it passes at any moment, and anew after each decline.
"""

from collections.abc import Iterator

from billing.domain.attempts import HOLDS_PLACE, UNRESOLVED, AttemptState
from billing.domain.subscriptions import CardState
from tests.model.engine import CARDS, is_in_doubt, may_expire, waits_for_a_card
from tests.model.forgetting import beginning_of_quarantine, stands_still
from tests.model.names import Step
from tests.model.state import IDLE, Attempt, Invoice, Overdue, State, World, with_invoice

S = AttemptState
INCOMPLETE, ACTIVE, EXPIRED = "incomplete", "active", "expired"


def opened(state: State, world: World, number: int) -> State:
    """The subscription begins with its first invoice."""
    if not world.first_payment:
        return with_invoice(state, number, state="open", due=True)
    starts = INCOMPLETE if world.has("waits_for_its_payment") else ACTIVE
    return with_invoice(state, number, state="open", due=True, starts=starts)


def first_payment_steps(state: State, world: World) -> Iterator[Step]:
    for number, invoice in enumerate(state.invoices):
        if invoice.starts != INCOMPLETE:
            continue
        if not invoice.over:
            yield Step("time_for_the_first_payment_passes", f"invoice {number}", with_invoice(state, number, over=True))
        else:
            yield from _expiry(state, world, number)
        if waits_for_another_card(state, number):
            again = with_invoice(state, number, state="open", due=True)
            yield Step("try_again", f"invoice {number}", again)
        attempts = _attempts(state, number)
        if invoice.state == "open" and not any(a.state in UNRESOLVED for a in attempts):
            written_off = with_invoice(state, number, state="uncollectible", due=False, hold=False)
            yield Step("write_off", f"invoice {number}", written_off)


def waits_for_another_card(state: State, number: int) -> bool:
    """Or for a person, or the merchant's program, that wants the same card to be tried again."""
    invoice = state.invoices[number]
    attempts = tuple(str(a.state) for a in _attempts(state, number))
    return invoice.starts == INCOMPLETE and waits_for_a_card(attempts, invoice.hold, invoice.due)


def _expiry(state: State, world: World, number: int) -> Iterator[Step]:
    """One commit that decides under the locks; without that, what was found may be a moment old."""
    if _is_locked(state, number):
        return
    if state.reader == Overdue(number):
        yield _expired(state._replace(reader=IDLE), number)
    if not _may_expire(state, world, number):
        return
    if state.site and world.has("expiry_in_a_recognised_database") and (reason := stands_still(state, world, 0)):
        yield from beginning_of_quarantine(state, world, reason)
    elif world.has("expiry_under_the_locks"):
        yield _expired(state, number)
    elif state.reader == IDLE:
        yield Step("expire_unpaid", "found, and not done yet", state._replace(reader=Overdue(number)))


def _expired(state: State, number: int) -> Step:
    taking = [i for i, a in enumerate(state.attempts) if a.invoice == number and _may_take(state, i)]
    harm = f"a subscription expires while attempt {taking[0]} may still take its money" if taking else None
    expired = with_invoice(state, number, state="void", due=False, hold=False, starts=EXPIRED)
    return Step("expire_unpaid", f"invoice {number}", expired, harm)


def _may_take(state: State, attempt: int) -> bool:
    """Or took it, and not of the gateway's own accord after it had failed."""
    if state.attempts[attempt].wire:
        return True
    orders = [charge for charge in state.charges if charge.attempt == attempt]
    return any(c.status == "PROCESSING" or (c.status == "SUCCESS" and not c.late) for c in orders)


def _may_expire(state: State, world: World, number: int) -> bool:
    """The project's own decision."""
    invoice = state.invoices[number]
    attempts = _attempts(state, number)
    unsure = [a for a in attempts if is_in_doubt(a)]
    refused = invoice.due and CARDS[state.off[invoice.card]] is not CardState.ACTIVE
    return may_expire(
        tuple(str(a.state) for a in attempts) if world.has("expiry_after_the_outcome") else (),
        stopped=state.site is not None and state.site.ledger.quarantine is not None,
        held=invoice.hold,
        card_held=any(state.held) and world.has("expiry_without_a_held_card"),
        lists_may_lag=bool(unsure) and world.false_refusals,
        read=invoice.read or not world.has("expiry_after_a_read"),
        due=invoice.due and world.has("expiry_after_what_is_due"),
        card_refused=refused and (invoice.read or not attempts),
    )


def _attempts(state: State, number: int) -> list[Attempt]:
    return [a for a in state.attempts if a.invoice == number and a.state not in (None, "limbo")]


def _is_locked(state: State, number: int) -> bool:
    return any(a.state == "limbo" and a.invoice == number for a in state.attempts)


def harm_to_starts(state: State) -> str | None:
    """A subscription that started without its payment, did not with it, or ended in the midst of it."""
    for number, invoice in enumerate(state.invoices):
        attempts = _attempts(state, number)
        if invoice.starts == ACTIVE and not any(a.state in (S.SUCCEEDED, S.REVERSED) for a in attempts):
            return f"invoice {number} started its subscription, and was not paid"
        if invoice.starts == INCOMPLETE and invoice.state == "paid":
            return f"invoice {number} is paid, and did not start its subscription"
        if invoice.starts == EXPIRED and any(a.state in HOLDS_PLACE for a in attempts):
            return f"the subscription of invoice {number} is expired, and an outcome of it is open"
    return None


def is_cared_for(invoice: Invoice) -> bool:
    """What is neither paid nor due is still to expire; what was written off is a person's to end."""
    return invoice.starts in (ACTIVE, EXPIRED) or (invoice.starts == INCOMPLETE and invoice.state == "uncollectible")
