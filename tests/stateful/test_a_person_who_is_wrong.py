"""A person who says what is not so is out of the promise of one charge; but the money must still be in the books."""

from datetime import timedelta

import pytest

from billing.charging.refund import RefundResolution, request_refund, request_reverse, resolve_refund
from billing.charging.resolve import Resolution, ResolutionError, resolve
from billing.models import Event, PaymentAttempt, Refund
from tests.stateful import oracle
from tests.stateful.rest import come_to_rest
from tests.stateful.world import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]


@pytest.mark.parametrize(
    ("said", "states"),
    [
        # Tried again at once, on the person's word: the first charge is found when it shows, as a surplus.
        (Resolution.NOT_CHARGED, ["surplus", "succeeded"]),
        # Tried again days later, and looked for before: it is found, and there is no second charge.
        (Resolution.DECLINED, ["succeeded"]),
    ],
)
def test_money_that_a_person_denied_is_found_and_recorded(world: World, said: Resolution, states: list[str]) -> None:
    """The card's orders, the transactions and the reports show it only after everybody has given up waiting."""
    five_days = 432_000
    card = world.bind_card(visible_after=five_days, changes_after=5)
    world.simulator.set_customer(str(card.gateway_customer_id), outcome=["lost_after"], query_delay=five_days)
    world.subscribe(at_start=True)
    world.open_due()
    world.collect()
    world.follow_up(until=max(world.limits.rungs))
    (attempt,) = world.snapshot().attempts
    assert attempt.state == "needs_human"

    resolve(attempt=attempt, resolution=said, reason="so it is", actor="ali", limits=world.limits, now=world.now)
    snapshot = come_to_rest(world)

    assert [other.state for other in snapshot.attempts if other.invoice_id == attempt.invoice_id] == states
    first = snapshot.attempts[0]
    assert first.gateway_transaction_id == snapshot.of_marker(first.marker)[0]["transaction_id"]
    oracle.check_books(world, snapshot)


def test_a_person_who_calls_it_charged_must_name_a_transaction_and_the_gateways_word_about_it_is_heard(
    world: World,
) -> None:
    """Nothing was charged, and a person says that it was, under a transaction that does not exist."""
    card = world.bind_card(visible_after=0, changes_after=5)
    world.simulator.set_customer(str(card.gateway_customer_id), outcome=["dropped_before"])
    world.subscribe(at_start=True)
    world.open_due()
    world.collect()
    world.follow_up(until=max(world.limits.rungs))
    (attempt,) = world.snapshot().attempts
    assert attempt.state == "needs_human"

    with pytest.raises(ResolutionError, match="the gateway knows no transaction of this id"):
        resolve(
            attempt=attempt,
            resolution=Resolution.CHARGED,
            reason="so it is",
            actor="ali",
            limits=world.limits,
            now=world.now,
            transaction_id="260302010000600400000000",
        )

    snapshot = world.snapshot()
    assert [a.state for a in snapshot.attempts] == ["needs_human"]
    assert oracle.compare_with_ledger(world, snapshot) == []


@pytest.fixture
def paid(world: World) -> PaymentAttempt:
    """An invoice that was charged a moment ago."""
    world.bind_card(visible_after=0, changes_after=5)
    world.subscribe(at_start=True)
    world.open_due()
    world.collect()
    (attempt,) = world.snapshot().attempts
    assert attempt.state == "succeeded"
    return attempt


def lost(world: World, refund: Refund, fate: str) -> Refund:
    """It was sent, and nobody knows what came of it, until a person is asked."""
    world.decide_refunds(fate)
    world.give_back()
    world.decide_refunds("auto")
    world.simulator.set_customer(world.gateway_ids[0], query_delay=864_000)  # ten days
    world.follow_up_refunds(until=max(world.limits.ladder))
    world.let_time_pass(timedelta(days=4))
    world.give_back()
    world.simulator.set_customer(world.gateway_ids[0], query_delay=0)
    (refund,) = world.snapshot().refunds
    assert refund.state == "needs_human"
    return refund


def said(world: World, refund: Refund, resolution: RefundResolution) -> None:
    resolve_refund(
        refund=refund, resolution=resolution, reason="so it is", actor="ali", limits=world.limits, now=world.now
    )


def test_money_that_went_back_and_that_a_person_denied_is_found_and_counted(world: World, paid: PaymentAttempt) -> None:
    asked = request_refund(attempt=paid, amount_minor=500, reason="asked", actor="mei", now=world.now)
    said(world, lost(world, asked, "lost_after"), RefundResolution.NOT_REFUNDED)
    world.denied.add(asked.public_id)

    snapshot = come_to_rest(world)

    assert [(refund.origin, refund.state) for refund in snapshot.refunds] == [
        ("engine", "not_refunded"),
        ("gateway", "succeeded"),
    ]
    assert snapshot.attempts[0].amount_refunded_minor == 500
    oracle.check_step(world, snapshot)
    oracle.check_rest(world, snapshot)


def test_a_payment_that_a_person_called_reversed_and_that_was_not_is_an_alarm_and_is_not_charged_again(
    world: World, paid: PaymentAttempt
) -> None:
    asked = request_reverse(attempt=paid, reason="a mistake", actor="mei", now=world.now)
    said(world, lost(world, asked, "dropped_before"), RefundResolution.REFUNDED)
    assert world.snapshot().attempts[0].state == "reversed"

    snapshot = come_to_rest(world)

    invoice = next(invoice for invoice in snapshot.invoices if invoice.pk == paid.invoice_id)
    assert (invoice.state, invoice.hold) == ("open", "reversed")
    assert len([attempt for attempt in snapshot.attempts if attempt.invoice_id == paid.invoice_id]) == 1
    assert Event.objects.filter(kind="attempt.alarm", subject_id=paid.pk).exists()
