"""The oracle sees what it is there to see: each mistake is made once, by hand, beside the engine."""

from datetime import timedelta

import pytest

from billing.charging.attempts.settle import AttemptFinding
from billing.charging.refunds.ask import request_refund
from billing.charging.refunds.settle import settle_refund
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.decisions import Decision
from billing.domain.refunds import RefundFinding, RefundSource, RefundVerdict
from billing.models import Invoice, PaymentAttempt, PaymentMethod
from rm_gateway.simulator.process import SimulatorProcess
from tests.stateful import first_payment_oracle, oracle
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


def test_start_without_its_payment_is_detected(world: World) -> None:
    world.bind_card(visible_after=0, changes_after=5)
    world.subscribe(at_start=True, plan=world.plan_paid_first)
    snapshot = world.snapshot()
    first_payment_oracle.check_step(world, snapshot)
    snapshot.subscriptions[0].state = "active"  # the engine and the database refuse to
    with pytest.raises(AssertionError, match="is active, and was never paid for"):
        first_payment_oracle.check_step(world, snapshot)


def test_expiry_of_what_was_paid_is_detected(world: World) -> None:
    world.bind_card(visible_after=0, changes_after=5)
    world.subscribe(at_start=True, plan=world.plan_paid_first)
    worker = Worker(Refunder(world))
    world.arm(worker, 1)
    world.send(worker, 0)
    snapshot = world.snapshot()
    first_payment_oracle.check_step(world, snapshot)
    snapshot.subscriptions[0].state = "expired"
    snapshot.invoices[0].state, snapshot.invoices[0].state_reason = "void", "first_payment_overdue"
    with pytest.raises(AssertionError, match="and nobody knows what"):
        first_payment_oracle.check_step(world, snapshot)
    snapshot.attempts[0].state = "declined"
    with pytest.raises(AssertionError, match="is expired, and the gateway took its money"):
        first_payment_oracle.check_step(world, snapshot)


@pytest.fixture
def armed_refund(world: World, card: PaymentMethod) -> Refunder:
    """One that may be sent."""
    world.collect()
    (attempt,) = world.snapshot().attempts
    request_refund(attempt=attempt, amount_minor=500, decision=Decision("mei", "asked"), now=world.now)
    refunds = Refunder(world)
    refunds.look()
    refunds.carry_on(0)
    oracle.check_step(world, world.snapshot())
    return refunds


def test_a_refund_that_is_sent_again_is_seen(world: World, armed_refund: Refunder) -> None:
    armed_refund.permissions *= 2
    armed_refund.send(0)
    armed_refund.send(0)
    with pytest.raises(AssertionError, match=r"ref_\w+ was sent 2 times"):
        oracle.check_step(world, world.snapshot())


def test_refund_called_not_sent_but_carried_out_is_detected(world: World, armed_refund: Refunder) -> None:
    armed_refund.send(0)
    wrong = RefundFinding(RefundVerdict.NOT_SENT, RefundSource.ANSWER)
    settle_refund(world.snapshot().refunds[0].pk, wrong, tuning=world.tuning, now=world.now)
    with pytest.raises(AssertionError, match=r"ref_\w+ is not_sent, and was sent|was carried out, and is not_sent"):
        oracle.check_step(world, world.snapshot())


def test_refund_counted_but_not_carried_out_is_detected(world: World, armed_refund: Refunder) -> None:
    wrong = RefundFinding(RefundVerdict.REFUNDED, RefundSource.ANSWER)
    settle_refund(world.snapshot().refunds[0].pk, wrong, tuning=world.tuning, now=world.now)
    with pytest.raises(AssertionError, match="counts more than was given back"):
        oracle.check_step(world, world.snapshot())


def test_money_that_went_back_and_is_not_in_the_books_is_seen(world: World, card: PaymentMethod) -> None:
    world.collect()
    snapshot = world.snapshot()
    oracle.check_rest(world, snapshot)
    world.refund_in_portal(snapshot.charges[0], 500)
    with pytest.raises(AssertionError, match="counts 0 as given back, the gateway 500"):
        oracle.check_rest(world, world.snapshot())


def test_charge_of_refunded_money_is_detected(world: World, armed_refund: Refunder) -> None:
    armed_refund.send(0)
    armed_refund.settle()
    snapshot = world.snapshot()
    oracle.check_step(world, snapshot)
    snapshot.attempts[0].armed_at += timedelta(days=1)  # the engine and the database refuse to make such a one
    with pytest.raises(AssertionError, match="charges what was given back"):
        oracle.check_step(world, snapshot)


def test_decision_taken_by_one_person_alone_is_detected(own_simulator: SimulatorProcess, alone: None) -> None:
    world = World(own_simulator, hostile=False, two_people=True)
    world.bind_card(visible_after=0, changes_after=5)
    world.subscribe(at_start=True)
    world.open_due()
    world.simulator.set_customer(world.gateway_ids[0], outcome=["dropped_before"])
    world.collect()
    world.follow_up(until=max(world.tuning.rungs))
    snapshot = world.snapshot()
    oracle.check_step(world, snapshot)
    (attempt,) = snapshot.in_state("needs_review")
    world.settle(
        [AttemptFinding(attempt.marker, Finding(Verdict.DECLINED, Source.OPERATOR, reason="decided by ali: so it is"))]
    )
    with pytest.raises(AssertionError, match="one person alone decided"):
        oracle.check_step(world, world.snapshot())
    world.close()
