"""The oracle sees what it is there to see: each mistake is made once, by hand, beside the engine."""

import pytest

from billing.models import Invoice, PaymentAttempt, PaymentMethod
from tests.stateful import oracle
from tests.stateful.refunder import Refunder
from tests.stateful.rest import come_to_rest
from tests.stateful.world import Worker, World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]


@pytest.fixture
def card(world: World) -> PaymentMethod:
    """One with an invoice that is due."""
    card = world.bind_card(visible_after=0, changes_after=5)
    world.subscribe(at_start=True)
    world.open_due()
    return card


def test_a_shop_in_which_nothing_goes_wrong_passes(world: World, card: PaymentMethod) -> None:
    world.collect()
    snapshot = come_to_rest(world)
    oracle.check_step(world, snapshot)
    oracle.check_rest(world, snapshot)
    assert {attempt.state for attempt in snapshot.attempts} == {"succeeded"}


def test_a_request_that_is_sent_again_is_seen(world: World, card: PaymentMethod) -> None:
    worker = Worker(Refunder(world))
    (armed,) = world.arm(worker, 1)
    oracle.check_step(world, world.snapshot())
    world.gateway.send(armed.prepared, marker=armed.marker)
    world.gateway.send(armed.prepared, marker=armed.marker)
    with pytest.raises(AssertionError, match=r"S3: attempt .* was sent 2 times"):
        oracle.check_step(world, world.snapshot())


def test_a_second_charge_of_an_invoice_is_seen(world: World, card: PaymentMethod) -> None:
    """The first is called not sent although it was, and so the invoice is charged again."""
    worker = Worker(Refunder(world))
    (armed,) = world.arm(worker, 1)
    world.gateway.send(armed.prepared, marker=armed.marker)
    worker.unacknowledged.append(armed.marker)
    world.settle_unacknowledged(worker)
    with pytest.raises(AssertionError, match="which are called not sent"):
        oracle.check_step(world, world.snapshot())
    Invoice.objects.update(preflight_at=world.now)
    (armed,) = world.arm(worker, 1)
    world.gateway.send(armed.prepared, marker=armed.marker)
    with pytest.raises(AssertionError, match=r"S1: invoice .* was taken 2 times"):
        oracle.taken_at_most_once(world.snapshot())


def test_money_that_nobody_wrote_down_is_seen(world: World, card: PaymentMethod) -> None:
    world.collect()
    world.charge_in_portal(card)
    world.foreign.clear()
    with pytest.raises(AssertionError, match="S10: money was taken and is not in the books"):
        oracle.check_books(world, world.snapshot())


def test_an_invoice_that_is_forgotten_is_seen(world: World, card: PaymentMethod) -> None:
    Invoice.objects.update(next_attempt_at=None)
    with pytest.raises(AssertionError, match=r"L6: .* is forgotten"):
        oracle.check_rest(world, world.snapshot())


def test_an_attempt_that_nobody_follows_is_seen(world: World, card: PaymentMethod) -> None:
    worker = Worker(Refunder(world))
    world.arm(worker, 1)
    world.send(worker, 0)
    worker.die()
    world.sweep()
    assert PaymentAttempt.objects.get().state == "sending"
    with pytest.raises(AssertionError, match="S10: money was taken"):
        oracle.check_rest(world, world.snapshot())
