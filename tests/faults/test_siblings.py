"""Subscriptions of the same customer, of the same amount, on one card and on two: no charge is taken for another's."""

import signal
from datetime import timedelta

import pytest

from billing.models import Invoice, PaymentAttempt
from billing.models.clock import database_now
from billing.subscriptions.start import start_subscription
from tests.conftest import Shop
from tests.factories import make_plan
from tests.faults.recovery import audit, recover, run_doomed_worker

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.faults,
    pytest.mark.timeout(120),
]
# Longer than an invoice waits for its card, and a timestamp that the simulator still takes.
OUTAGE = timedelta(seconds=90)


@pytest.mark.parametrize("cards", [1, 2])
@pytest.mark.parametrize("point", ["after_send", "after_answer"])
def test_lost_answers_of_equal_charges_are_never_mixed_up(shop: Shop, profile: str, cards: int, point: str) -> None:
    customer, plan, now = shop.customer(), make_plan(shop.account), database_now()
    bound = [shop.card(customer=customer) for _ in range(cards)]
    for number in range(4):
        start_subscription(
            customer=customer,
            plan=plan,
            reference=f"{customer.reference}-{number}",
            now=now,
            payment_method=bound[number % cards],
            charge_at_start=True,
        )
    assert shop.open() == 4
    shop.simulator.set(latency=[0.8, 0.8] if point == "after_send" else [0, 0])

    assert run_doomed_worker(point) == -signal.SIGKILL
    assert PaymentAttempt.objects.filter(state="sending").count() == cards, "one at a time on a card"
    shop.simulator.set(latency=[0, 0])
    recover(shop, outage=OUTAGE)
    recover(shop, outage=OUTAGE)

    assert audit(shop, ahead=OUTAGE) == []
    taken = [len(shop.taken(invoice)) for invoice in Invoice.objects.order_by("id")]
    assert max(taken) == 1
    states = sorted(PaymentAttempt.objects.values_list("state", flat=True))
    if profile == "default":
        assert (states, taken) == (["succeeded"] * 4, [1] * 4)
    else:  # nothing says whose order it is: a person does, and the card waits
        assert states == ["needs_review"] * cards
        waiting = Invoice.objects.filter(attempt_count=0)
        assert {invoice.refusal for invoice in waiting} == {"card_has_unresolved_attempt"}
