"""A wrong decision is outside the promise of one charge; but the money must still be in the books."""

from datetime import timedelta

import pytest

from billing.charging.cases.resolve import Resolution, ResolutionError, resolve
from billing.charging.refunds.ask import RefundResolution, request_refund, request_reverse, resolve_refund
from billing.domain.decisions import Decision
from billing.models import Event, PaymentAttempt, Refund
from tests.stateful import oracle
from tests.stateful.rest import come_to_rest
from tests.stateful.world import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]


@pytest.mark.parametrize(
    ("decided", "states"),
    [
        # Tried again at once, on the person's word: the first charge is found when it shows, as a surplus.
        (Resolution.NOT_CHARGED, ["surplus", "succeeded"]),
        # Tried again days later, and looked for before: it is found, and there is no second charge.
        (Resolution.DECLINED, ["succeeded"]),
    ],
)
def test_money_that_staff_denied_is_found_and_recorded(world: World, decided: Resolution, states: list[str]) -> None:
    """The card's orders, the transactions and the reports show it only after everybody has given up waiting."""
    five_days = 432_000
    card = world.bind_card(visible_after=five_days, changes_after=5)
    world.simulator.set_customer(str(card.gateway_customer_id), outcome=["lost_after"], query_delay=five_days)
    world.subscribe(at_start=True)
    world.open_due()
    world.collect()
    world.follow_up(until=max(world.tuning.rungs))
    (attempt,) = world.snapshot().attempts
    assert attempt.state == "needs_review"

    resolve(
        attempt=attempt, resolution=decided, decision=Decision("ali", "so it is"), tuning=world.tuning, now=world.now
    )
    snapshot = come_to_rest(world)

    assert [other.state for other in snapshot.attempts if other.invoice_id == attempt.invoice_id] == states
    first = snapshot.attempts[0]
    assert first.gateway_transaction_id == snapshot.of_marker(first.marker)[0]["transaction_id"]
    oracle.check_books(world, snapshot)


def test_charged_decision_must_name_a_known_transaction(
    world: World,
) -> None:
    """Nothing was charged, and a person says that it was, under a transaction that does not exist."""
    card = world.bind_card(visible_after=0, changes_after=5)
    world.simulator.set_customer(str(card.gateway_customer_id), outcome=["dropped_before"])
    world.subscribe(at_start=True)
    world.open_due()
    world.collect()
    world.follow_up(until=max(world.tuning.rungs))
    (attempt,) = world.snapshot().attempts
    assert attempt.state == "needs_review"

    with pytest.raises(ResolutionError, match="must be a transaction of the gateway"):
        resolve(
            attempt=attempt,
            resolution=Resolution.CHARGED,
            decision=Decision("ali", "so it is"),
            tuning=world.tuning,
            now=world.now,
            transaction_id="260302010000600400000000",
        )

    snapshot = world.snapshot()
    assert [a.state for a in snapshot.attempts] == ["needs_review"]
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
    """It was sent, and nobody knows what came of it, until a person is asked: the gateway does not show it."""
    world.decide_refunds(fate)
    world.give_back()
    world.decide_refunds("auto")
    world.simulator.set_customer(world.gateway_ids[0], query_delay=864_000)  # ten days
    world.follow_up_refunds(until=max(world.tuning.ladder))
    world.let_time_pass(timedelta(days=4))
    world.give_back()
    (refund,) = world.snapshot().refunds
    assert refund.state == "needs_review"
    return refund


def decide(world: World, refund: Refund, resolution: RefundResolution) -> None:
    resolve_refund(
        refund=refund, resolution=resolution, decision=Decision("ali", "so it is"), tuning=world.tuning, now=world.now
    )


def test_refund_that_staff_denied_is_found_and_counted(world: World, paid: PaymentAttempt) -> None:
    asked = request_refund(attempt=paid, amount_minor=500, decision=Decision("mei", "asked"), now=world.now)
    decide(world, lost(world, asked, "lost_after"), RefundResolution.NOT_REFUNDED)
    world.denied.add(asked.public_id)

    snapshot = come_to_rest(world)

    assert [(refund.origin, refund.state) for refund in snapshot.refunds] == [
        ("engine", "not_refunded"),
        ("gateway", "succeeded"),
    ]
    assert snapshot.attempts[0].amount_refunded_minor == 500
    oracle.check_step(world, snapshot)
    oracle.check_rest(world, snapshot)


def test_payment_wrongly_called_reversed_alarms_but_no_recharge(world: World, paid: PaymentAttempt) -> None:
    asked = request_reverse(attempt=paid, decision=Decision("mei", "a mistake"), now=world.now)
    decide(world, lost(world, asked, "dropped_before"), RefundResolution.REFUNDED)
    assert world.snapshot().attempts[0].state == "reversed"

    snapshot = come_to_rest(world)

    invoice = next(invoice for invoice in snapshot.invoices if invoice.pk == paid.invoice_id)
    assert (invoice.state, invoice.hold) == ("open", "reversed")
    assert len([attempt for attempt in snapshot.attempts if attempt.invoice_id == paid.invoice_id]) == 1
    assert Event.objects.filter(kind="attempt.alarm", subject_id=paid.pk).exists()
