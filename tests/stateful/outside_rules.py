"""The rules of what comes from outside: the gateway, notifies, the customer, somebody at the gateway's portal."""

import contextlib
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from billing.domain.subscriptions import SubscriptionState
from billing.subscriptions.cards import CardError, make_default, revoke_card
from billing.subscriptions.lifecycle import cancel, pause, resume
from billing.subscriptions.start import SubscriptionError
from billing.subscriptions.update import update_subscription
from rm_gateway.errors import GatewayError
from tests.stateful import operator
from tests.stateful.drawing import about, changes, delays, fates, picks
from tests.stateful.world import AMOUNT

MOST_CARDS = 3
MOST_SUBSCRIPTIONS = 3


class OutsideRules:
    """Rules of the machine."""

    # --- the gateway --------------------------------------------------------------------------------------

    @about("mind")
    @rule(pick=picks, fate=fates)
    def decide_the_next_charges(self, pick: int, fate: list[str]) -> None:
        self.simulator.set_customer(self._gateway_id(pick), outcome=fate)

    @about("mind")
    @rule(pick=picks, changes_after=changes, path=st.sampled_from(["start", "end"]))
    def decide_when_the_gateway_changes_its_mind(self, pick: int, changes_after: int, path: str) -> None:
        self.simulator.set_customer(self._gateway_id(pick), settle_after=changes_after, execute=path)

    @about("outage")
    @rule()
    def the_gateway_goes_or_comes_back(self) -> None:
        self.w.be_away(not self.w.away)

    @precondition(lambda self: not self.w.away)
    @about("cards")
    @rule(pick=picks, active=st.booleans())
    def a_card_is_switched_at_the_gateway(self, pick: int, active: bool) -> None:
        with contextlib.suppress(GatewayError):
            self.w.gateway._client.set_active(self._gateway_id(pick), active)

    @precondition(lambda self: self.seen.charges)
    @about("portal")
    @rule(pick=picks, whole=st.booleans())
    def somebody_refunds_in_the_portal(self, pick: int, whole: bool) -> None:
        charge = self.seen.charges[-1 - pick % len(self.seen.charges)]
        with contextlib.suppress(GatewayError):
            self.w.refund_in_portal(charge, AMOUNT if whole else 500)

    @precondition(lambda self: self.seen.charges)
    @about("portal")
    @rule(pick=picks)
    def somebody_reverses_in_the_portal(self, pick: int) -> None:
        charge = self.seen.charges[-1 - pick % len(self.seen.charges)]
        with contextlib.suppress(GatewayError):
            self.w.reverse_in_portal(charge)

    @about("portal")
    @precondition(lambda self: not self.w.foreign and self.seen.charges and not self.proved)
    @rule(pick=picks)
    def somebody_charges_by_hand(self, pick: int) -> None:
        """Once: such an order occupies a person for good. And not where nothing is echoed and the account says so:
        there, an order of the same minute and amount cannot be told from ours by anybody."""
        with contextlib.suppress(GatewayError):
            self.w.charge_in_portal(self.seen.cards[pick % len(self.seen.cards)])

    @about("notify")
    @rule(
        pick=picks,
        status=st.sampled_from(["SUCCESS", "FAILED", "REVERSED"]),
        whose=st.sampled_from(["true", "card", "none"]),
    )
    def be_notified(self, pick: int, status: str, whose: str) -> None:
        """By the gateway of what it did, by a liar about a card of ours, and about a card that nobody knows."""
        about: dict[str, Any] = {"customerId": "1795224844702000000", "orderId": "1795224844702000001"}
        if whose == "card" or not self.seen.charges:
            about = {"customerId": self._gateway_id(pick)}
        elif whose == "true":
            charge = self.seen.charges[pick % len(self.seen.charges)]
            about = {"customerId": charge["customer_id"], "orderId": f"{charge['order_id']}R0"}
            status = charge["status"]
        self.w.notify({"eventType": "RECURRING_PAYMENT", "data": {**about, "status": status, "amount": AMOUNT}})

    def _gateway_id(self, pick: int) -> str:
        return str(self.seen.cards[pick % len(self.seen.cards)].gateway_customer_id)

    # --- the customer -------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.seen.cards) < MOST_CARDS and not self.w.away)
    @about("cards")
    @rule(delay=delays, change=changes, default=st.booleans())
    def bind_another_card(self, delay: int, change: int, default: bool) -> None:
        card = self.w.bind_card(visible_after=delay, changes_after=change)
        if default:
            make_default(card=card, now=self.w.now)

    @precondition(lambda self: len(self.seen.cards) > 1)
    @about("cards")
    @rule(pick=picks)
    def change_the_default_card(self, pick: int) -> None:
        with contextlib.suppress(CardError):
            make_default(card=self.seen.cards[pick % len(self.seen.cards)], now=self.w.now)

    @about("cards")
    @rule(pick=picks, card=picks, named=st.booleans())
    def change_the_card_of_a_subscription(self, pick: int, card: int, named: bool) -> None:
        with contextlib.suppress(SubscriptionError):
            update_subscription(
                subscription=self.seen.subscriptions[pick % len(self.seen.subscriptions)],
                payment_method=self.seen.cards[card % len(self.seen.cards)] if named else None,
                actor=operator.WHO,
                now=self.w.now,
            )

    @precondition(lambda self: len(self.seen.cards) > 1)
    @about("cards")
    @rule(pick=picks)
    def revoke_a_card(self, pick: int) -> None:
        card = self.seen.cards[pick % len(self.seen.cards)]
        revoke_card(card=card, reason="the customer asked", actor=operator.WHO, now=self.w.now)

    @precondition(lambda self: len(self.seen.subscriptions) < MOST_SUBSCRIPTIONS)
    @about("life")
    @rule(at_start=st.booleans())
    def subscribe_once_more(self, at_start: bool) -> None:
        """The same amount on the same card."""
        self.w.subscribe(at_start=at_start)

    @about("life")
    @rule(pick=picks, what=st.sampled_from([pause, resume, resume, cancel]))
    def change_the_life_of_a_subscription(self, pick: int, what: Any) -> None:
        subscription = self.seen.subscriptions[pick % len(self.seen.subscriptions)]
        if what is cancel and subscription.state == SubscriptionState.ACTIVE and pick > 2:
            return  # not too often: nothing happens to a subscription after its end
        with contextlib.suppress(SubscriptionError):
            what(subscription=subscription, reason="the customer asked", actor=operator.WHO, now=self.w.now)

    @about("life")
    @rule(pick=picks, days=st.sampled_from([1, 3]), what=st.sampled_from([pause, cancel]))
    def stop_a_subscription_that_is_due(self, pick: int, days: int, what: Any) -> None:
        """Nobody opened what fell due meanwhile: it is owed all the same."""
        subscription = self.seen.subscriptions[pick % len(self.seen.subscriptions)]
        if subscription.next_due_at is None or (what is cancel and pick > 5):
            return
        self.w.let_time_pass(timedelta(days=days))
        if subscription.next_due_at <= self.w.now:
            self.reached.add("paused while due" if what is pause else "canceled while due")
        # Where the clock is known to be wrong nobody can tell what is due.
        refused = contextlib.suppress(SubscriptionError) if self.w.disasters else contextlib.nullcontext()
        with refused:
            what(subscription=subscription, reason="the customer asked", actor=operator.WHO, now=self.w.now)
