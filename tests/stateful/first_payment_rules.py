"""The rules of subscriptions that are active once their first charge is paid, and expire when it is not."""

import contextlib
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from billing.charging.cases.holds import ResolutionError
from billing.charging.cases.ways_out import void, write_off
from billing.domain.decisions import Decision
from billing.models import Invoice
from tests.stateful import operator
from tests.stateful.drawing import FIRST_PAYMENT, about, moments, picks, workers
from tests.stateful.outside_rules import MOST_SUBSCRIPTIONS

WEIGHTS = {"subscribe_and_pay_first": 2, "let_the_first_charge_fail": 3, "expire_what_is_unpaid": 2}
# Without money, without an answer, and those that become money after all.
FAILURES = [
    "decline_9010",
    "failed_then_success",
    "failed_then_success",
    "lost_after",
    "in_process_failed",
    "throttled",
]


class FirstPaymentRules:
    """Rules of the machine; tried where an example is about first payments."""

    @about(FIRST_PAYMENT)
    @precondition(lambda self: len(self.seen.subscriptions) < MOST_SUBSCRIPTIONS and not self.w.clock_ahead)
    @rule()
    def subscribe_and_pay_first(self) -> None:
        """Not by a wrong clock: what begins then is owed since then, whenever the clock is right again."""
        self.w.subscribe(at_start=True, plan=self.w.plan_paid_first)

    @about(FIRST_PAYMENT)
    @precondition(lambda self: self._unpaid())
    @rule(delta=moments)
    def expire_what_is_unpaid(self, delta: timedelta) -> None:
        self.w.let_time_pass(delta)
        self.w.expire()

    @about(FIRST_PAYMENT)
    @precondition(lambda self: not self.w.away and not self.w.clock_ahead)
    @precondition(lambda self: self._unpaid() or len(self.seen.subscriptions) < MOST_SUBSCRIPTIONS)
    @rule(which=workers, fate=st.sampled_from(FAILURES), settled=st.booleans())
    def let_the_first_charge_fail(self, which: int, fate: str, settled: bool) -> None:
        """And its time is over; what it was and still may become is found out before or after that."""
        if not self._unpaid():
            self.subscribe_and_pay_first()
        for card in self.seen.cards:
            self.simulator.set_customer(str(card.gateway_customer_id), settle_after=86_400)
        self.charge_what_is_due(which, 3, [fate], "settle" if settled else "keep")
        self.w.let_time_pass(timedelta(hours=24))
        self.w.expire()

    @about(FIRST_PAYMENT)
    @precondition(lambda self: self._unpaid() and not self.w.two_people)
    @rule(pick=picks, void_it=st.booleans())
    def a_person_closes_a_first_invoice(self, pick: int, void_it: bool) -> None:
        unpaid = self._unpaid()
        with contextlib.suppress(ResolutionError):
            close = void if void_it else write_off
            close(invoice=unpaid[pick % len(unpaid)], decision=Decision(operator.WHO, "agreed"), now=self.w.now)

    def _unpaid(self) -> list[Invoice]:
        """The first invoices of subscriptions that wait for their payment."""
        waiting = {one.pk for one in self.seen.subscriptions if one.state == "incomplete"}
        return [invoice for invoice in self.seen.invoices if invoice.subscription_id in waiting]
