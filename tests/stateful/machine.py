"""The rules: everything that the engine, the gateway, the customer, a person and bad luck can do next."""

import contextlib
from datetime import timedelta
from typing import Any, ClassVar

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from billing.accounts.gateway_accounts import stop_account
from billing.charging.charge_now import charge_now
from billing.charging.resolve import ResolutionError, collect_held, release_card
from billing.charging.retry_now import RetryError, retry_now
from billing.domain.subscriptions import SubscriptionState
from billing.subscriptions.cards import CardError, make_default, revoke_card
from billing.subscriptions.lifecycle import cancel, pause, resume
from billing.subscriptions.start import SubscriptionError
from billing.subscriptions.update import update_subscription
from rm_gateway.errors import GatewayError
from rm_gateway.simulator.outcomes import OUTCOMES
from rm_gateway.simulator.process import SimulatorProcess
from tests.stateful import operator, oracle
from tests.stateful.rest import come_to_rest
from tests.stateful.world import AMOUNT, Snapshot, Worker, World

# Those take as long as the deadline, or many megabytes; they come to the same as a lost answer.
SLOW = {"hangs_after", "hangs_before", "trickles_body", "trickles_headers", "huge"}
FATES = sorted(set(OUTCOMES) - SLOW)
MOST_CARDS = 3
MOST_SUBSCRIPTIONS = 3
MOST_OPEN = 4

picks = st.integers(0, 9)
workers = st.integers(0, 1)
# The ones in which our books and the gateway's part ways, more often than others.
PARTING = [
    "lost_after",
    "dropped_before",
    "in_process_success",
    "in_process_failed",
    "system_error_after",
    "failed_then_success",
    "success_then_reversed",
    "decline_9010",
    "throttled",
    "wrong_amount",
]
fates = st.lists(st.sampled_from(PARTING) | st.sampled_from(FATES), min_size=1, max_size=3)
ends = st.sampled_from(["settle", "settle", "keep", "die"])
delays = st.sampled_from([0, 0, 60, 1800, 172_800])  # seconds until an order shows in its card's list
changes = st.sampled_from([5, 600, 86_400, 345_600])  # seconds until an outcome with a second thought takes it
moments = st.sampled_from(
    [timedelta(seconds=s) for s in (1, 5, 19, 30)]
    + [timedelta(minutes=m) for m in (2, 6, 16)]
    + [timedelta(hours=h) for h in (1, 7)]
    + [timedelta(days=d) for d in (1, 3, 4)]
)


# How often a rule is tried beside the others. Hypothesis itself would switch most rules off for most examples, and
# an example in which nothing is charged shows nothing; here `topics` switches off what is not the engine's work.
WEIGHTS = {
    "charge_what_is_due": 6,
    "charge_what_is_due_later": 5,
    "have_a_calm_day": 4,
    "let_time_pass": 3,
    "arm": 3,
    "send": 5,
    "settle_answers": 4,
    "look_until_nothing_is_unknown": 4,
    "sweep": 2,
    "reconcile": 2,
    "read_for_checks": 2,
    "record_a_check": 2,
    "a_person_decides": 3,
    "a_person_clears_a_hold": 2,
    "arm_without_acknowledgement": 2,
    "settle_as_commit_unacknowledged": 3,
}
TOPICS = ("portal", "outage", "notify", "cards", "life", "stop", "mind", "urgent")


def about(topic: str) -> Any:
    """A rule that is tried only in examples about `topic`."""
    return precondition(lambda self: topic in self.topics)


class ChargingMachine(RuleBasedStateMachine):
    """One account with its customer, two workers, and the gateway beside them, on one clock."""

    simulator: ClassVar[SimulatorProcess]
    reached: ClassVar[set[str]]

    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None
        self.seen: Snapshot
        self.topics: frozenset[str]
        self.proved = False  # the account says that the gateway echoes nothing, and that is so
        rules = [each for each in self._rules_strategy.rules for _ in range(WEIGHTS.get(each.function.__name__, 1))]
        self._rules_strategy = (
            st.sampled_from(rules)
            .filter(lambda each: all(holds(self) for holds in each.preconditions))
            .flatmap(lambda each: st.tuples(st.just(each), st.fixed_dictionaries(each.arguments)))
        )

    @initialize(
        hostile=st.booleans(),
        proved=st.booleans(),
        preflight_always=st.booleans(),
        final_action=st.sampled_from(["cancel", "pause", "keep"]),
        delay=delays,
        change=changes,
        topics=st.frozensets(st.sampled_from(TOPICS)),
    )
    def begin(
        self,
        hostile: bool,
        proved: bool,
        preflight_always: bool,
        final_action: str,
        delay: int,
        change: int,
        topics: frozenset[str],
    ) -> None:
        self.topics = topics
        self.proved = hostile and proved
        self.w = self.world = World(
            self.simulator,
            hostile=hostile,
            marker_echo="proved_absent" if self.proved else "unproven",
            preflight_always=preflight_always,
            final_action=final_action,
        )
        self.w.bind_card(visible_after=delay, changes_after=change, page_size=2 if hostile else 100)
        self.seen = self.w.snapshot()
        self.w.subscribe(at_start=True)

    @invariant()
    def all_promises_hold(self) -> None:
        if self.world is None:
            return
        self.world.align()
        seen = self.world.snapshot()
        if seen is not self.seen:  # else nothing was written since it was checked
            self.seen = seen
            oracle.check_step(self.world, seen)

    def teardown(self) -> None:
        if self.world is None:
            return
        try:
            reached = oracle.states_seen()
            snapshot = come_to_rest(self.world)
            oracle.check_step(self.world, snapshot)
            oracle.check_rest(self.world, snapshot)
            for state in sorted(reached | oracle.states_seen()):
                self.reached.add(state)
                event(state)
        finally:
            self.world.close()

    def worker(self, which: int) -> Worker:
        return self.w.workers[which]

    # --- time and work ------------------------------------------------------------------------------------

    @rule(delta=moments)
    def let_time_pass(self, delta: timedelta) -> None:
        self.w.let_time_pass(delta)

    @rule()
    def open_due_periods(self) -> None:
        self.w.open_due()

    @precondition(lambda self: self._is_due())
    @rule(which=workers, count=st.integers(1, 3))
    def arm(self, which: int, count: int) -> None:
        self.w.arm(self.worker(which), count)

    @precondition(lambda self: not self.w.away)
    @rule(which=workers, count=st.integers(1, 3), fate=st.none() | fates, then=ends)
    def charge_what_is_due(self, which: int, count: int, fate: list[str] | None, then: str) -> None:
        """A worker in good health, up to the answers, with which all may be well or not."""
        worker = self.worker(which)
        self._charge(worker, count, fate)
        if then == "settle":
            self._settle_all(worker)
        elif then == "die":
            worker.die()

    @rule(which=workers, delta=moments, fate=st.none() | fates, then=ends)
    def charge_what_is_due_later(self, which: int, delta: timedelta, fate: list[str] | None, then: str) -> None:
        """The same, after a while in which nothing else happened."""
        self.w.let_time_pass(delta)
        self.w.sweep()
        self.w.reconcile()
        self.charge_what_is_due(which, 3, fate, then)

    @rule(which=workers, fate=st.none() | fates)
    def have_a_calm_day(self, which: int, fate: list[str] | None) -> None:
        """Everybody does what they are there for, and the next charges are sent."""
        self.w.be_away(False)
        operator.start_again(self.w)
        self.w.follow_up(until=timedelta(days=1))
        operator.do_the_days_work(self.w, self.w.snapshot())
        self.w.let_time_pass(timedelta(hours=12))
        self.charge_what_is_due(which, 3, fate, "settle")

    def _charge(self, worker: Worker, count: int, fate: list[str] | None) -> None:
        if fate is not None:
            for card in self.seen.cards:
                self.simulator.set_customer(str(card.gateway_customer_id), outcome=fate)
        self.w.open_due()
        self.w.read_before_trying_again(worker)
        while worker.readings:
            self.w.record_reading(worker, 0)
        self.w.arm(worker, count)
        while worker.permissions:
            self.w.send(worker, 0)

    def _settle_all(self, worker: Worker) -> None:
        self.w.settle(worker.answers)
        worker.told += worker.answers
        worker.answers = []

    @precondition(lambda self: self._is_due())
    @rule(which=workers, count=st.integers(1, 2), reached=st.booleans())
    def arm_without_acknowledgement(self, which: int, count: int, reached: bool) -> None:
        self.w.arm_without_acknowledgement(self.worker(which), count, reached=reached)

    @precondition(lambda self: any(worker.unacknowledged for worker in self.w.workers))
    @rule()
    def settle_as_commit_unacknowledged(self) -> None:
        for worker in self.w.workers:
            self.w.settle_unacknowledged(worker)

    @precondition(lambda self: any(worker.permissions for worker in self.w.workers))
    @rule(which=workers, pick=picks)
    def send(self, which: int, pick: int) -> None:
        worker = self._having("permissions", which)
        self.w.send(worker, pick % len(worker.permissions))

    @precondition(lambda self: any(worker.answers for worker in self.w.workers))
    @rule(which=workers, pick=picks, backwards=st.booleans())
    def settle_answers(self, which: int, pick: int, backwards: bool) -> None:
        """Some of the kept answers, in either order."""
        worker = self._having("answers", which)
        count = 1 + pick % len(worker.answers)
        told = worker.answers[::-1][:count] if backwards else worker.answers[:count]
        self.w.settle(told)
        worker.answers = [answer for answer in worker.answers if answer not in told]
        worker.told += told

    @precondition(lambda self: any(worker.told for worker in self.w.workers))
    @rule(which=workers)
    def settle_the_same_answers_again(self, which: int) -> None:
        self.w.settle(list(self._having("told", which).told))

    @precondition(lambda self: any(worker.answers for worker in self.w.workers))
    @rule(which=workers, pick=picks)
    def lose_an_answer(self, which: int, pick: int) -> None:
        answers = self._having("answers", which).answers
        answers.pop(pick % len(answers))

    @precondition(lambda self: any(w.permissions or w.answers or w.readings or w.checks for w in self.w.workers))
    @rule(which=workers)
    def kill_a_worker(self, which: int) -> None:
        self.worker(which).die()

    @precondition(lambda self: self._is_due())
    @rule(which=workers)
    def read_before_trying_again(self, which: int) -> None:
        self.w.read_before_trying_again(self.worker(which))

    @precondition(lambda self: any(worker.readings for worker in self.w.workers))
    @rule(which=workers)
    def record_readings(self, which: int) -> None:
        worker = self.worker(which)
        while worker.readings:
            self.w.record_reading(worker, 0)

    @precondition(lambda self: self.seen.in_state("sending"))
    @rule()
    def sweep(self) -> None:
        self.w.sweep()

    @precondition(lambda self: self.seen.in_state("unknown", "in_process"))
    @rule()
    def reconcile(self) -> None:
        self.w.reconcile()

    @precondition(lambda self: self.seen.in_state("unknown", "in_process"))
    @rule(which=workers)
    def read_for_checks(self, which: int) -> None:
        self.w.read_for_checks(self.worker(which))

    @precondition(lambda self: any(worker.checks for worker in self.w.workers))
    @rule(which=workers, pick=picks)
    def record_a_check(self, which: int, pick: int) -> None:
        worker = self._having("checks", which)
        self.w.record_check(worker, pick % len(worker.checks))

    @precondition(lambda self: self.seen.in_state("sending", "unknown", "in_process"))
    @rule(until=st.sampled_from([timedelta(hours=1), timedelta(hours=6), timedelta(days=3)]))
    def look_until_nothing_is_unknown(self, until: timedelta) -> None:
        """The ladder, or a part of it, without anything else happening meanwhile."""
        self.w.follow_up(until=until)

    def _is_due(self) -> bool:
        return any(i.next_attempt_at is not None and i.next_attempt_at <= self.w.now for i in self.seen.invoices)

    def _having(self, what: str, which: int) -> Worker:
        """The worker, or the other one when this one has none of it."""
        return self.worker(which) if getattr(self.worker(which), what) else self.worker(1 - which)

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

    # --- a person -----------------------------------------------------------------------------------------

    @precondition(lambda self: self.seen.in_state("needs_human"))
    @rule(pick=picks)
    def a_person_decides(self, pick: int) -> None:
        cases = self.seen.in_state("needs_human")
        operator.resolve_truthfully(self.w, self.seen, cases[pick % len(cases)])

    @precondition(lambda self: self.seen.in_state("needs_human"))
    @rule(pick=picks)
    def a_person_releases_a_card(self, pick: int) -> None:
        cases = self.seen.in_state("needs_human")
        with contextlib.suppress(ResolutionError):
            attempt = cases[pick % len(cases)]
            release_card(attempt=attempt, reason="later ones go on", actor=operator.WHO, now=self.w.now)

    @precondition(lambda self: any(card.held_at for card in self.seen.cards))
    @rule(pick=picks)
    def a_person_clears_a_hold(self, pick: int) -> None:
        held = [card for card in self.seen.cards if card.held_at]
        operator.clear(self.w, held[pick % len(held)])

    @precondition(lambda self: self.seen.invoices)
    @about("urgent")
    @rule(pick=picks)
    def a_person_tries_an_invoice_now(self, pick: int) -> None:
        invoice = self.seen.invoices[pick % len(self.seen.invoices)]
        with contextlib.suppress(RetryError):
            retry_now(invoice=invoice, reason="the customer asked", actor=operator.WHO, now=self.w.now)

    @precondition(lambda self: any(invoice.hold for invoice in self.seen.invoices))
    @rule(pick=picks)
    def a_person_collects_a_held_invoice(self, pick: int) -> None:
        held = [invoice for invoice in self.seen.invoices if invoice.hold]
        with contextlib.suppress(ResolutionError):
            collect_held(invoice=held[pick % len(held)], reason="agreed", actor=operator.WHO, now=self.w.now)

    @precondition(lambda self: any(card.is_default and card.state == "active" for card in self.seen.cards))
    @about("urgent")
    @precondition(lambda self: sum(invoice.state == "open" for invoice in self.seen.invoices) < MOST_OPEN)
    @rule()
    def a_person_charges_now(self) -> None:
        charge_now(
            customer=self.w.customer,
            amount_minor=AMOUNT,
            currency="MYR",
            description="One more",
            actor=operator.WHO,
            now=self.w.now,
        )

    @about("stop")
    @rule(stop=st.booleans())
    def a_person_stops_or_starts_the_account(self, stop: bool) -> None:
        if stop:
            stop_account(account=self.w.account, reason="a look", actor=operator.WHO, now=self.w.now)
        else:
            operator.start_again(self.w)

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
