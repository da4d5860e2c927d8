"""The shop under a clock that the test moves: the engine and the simulator go by it."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from billing.charging.collecting.collect import collect
from billing.charging.collecting.grace import end_graces
from billing.gateway.connection import clock as gateway_clock
from billing.models import Invoice, PaymentMethod, Plan, Subscription
from tests.conftest import Shop
from tests.factories import make_plan, make_subscription

NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)  # in Malaysia, a Monday
DAY = timedelta(days=1)


@dataclass(slots=True)
class Days:
    """`now` is the clock of everybody."""

    shop: Shop
    now: datetime = NOON

    def go_to(self, now: datetime) -> None:
        self.now = now
        self.shop.simulator.clock(skew=now.timestamp() - time.time())
        gateway_clock.align(now)

    def run(self) -> None:
        """Opens what is due, charges it, and ends what is over, as the beat would."""
        self.shop.open(self.now)
        collect(tuning=self.shop.tuning, clock=lambda: self.now, should_stop=lambda: False, worker="test")
        end_graces(now=self.now)

    def wait(self, days: float) -> None:
        self.go_to(self.now + days * DAY)
        self.run()

    def plan(self, **columns: Any) -> Plan:
        """Monthly on the second, at noon."""
        return make_plan(self.shop.account, interval="MONTHLY", target=2, charge_time="12:00", **columns)

    def subscribe(self, plan: Plan | None = None, card: PaymentMethod | None = None) -> Subscription:
        """Due now, and then in a month."""
        return make_subscription(card or self.shop.card(), plan or self.plan(), next_due_at=self.now)

    def charges_will(self, card: PaymentMethod, *outcomes: str) -> None:
        """The outcomes of the card's next charges; a single one is that of all."""
        assert card.gateway_customer_id is not None
        self.shop.simulator.set_customer(
            card.gateway_customer_id, outcome=outcomes[0] if len(outcomes) == 1 else list(outcomes)
        )

    def invoice_of(self, subscription: Subscription) -> Invoice:
        return Invoice.objects.select_related("subscription", "dunning_policy").get(subscription=subscription)
