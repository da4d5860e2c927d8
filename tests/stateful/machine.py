"""The rules: everything that the engine, the gateway, the customer, a person and bad luck can do next."""

import contextlib
from datetime import timedelta
from typing import ClassVar

from hypothesis import event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from billing.charging.cases.retry_now import RetryError, retry_now
from billing.domain.decisions import Decision
from rm_gateway.simulator.process import SimulatorProcess
from tests.stateful import disaster_rules, first_payment_rules, operator, oracle, people_rules, refund_rules
from tests.stateful.disaster_rules import DisasterRules
from tests.stateful.drawing import (
    DISASTERS,
    FIRST_PAYMENT,
    KINDS,
    LONGEST_DELAY,
    PEOPLE,
    REFUNDS,
    TOPICS,
    USUAL_LAG,
    changes,
    delays,
    ends,
    fates,
    moments,
    picks,
    spans,
    workers,
)
from tests.stateful.first_payment_rules import FirstPaymentRules
from tests.stateful.outside_rules import OutsideRules
from tests.stateful.people_rules import PeopleRules
from tests.stateful.refund_rules import RefundRules
from tests.stateful.rest import come_to_rest
from tests.stateful.snapshot import Snapshot
from tests.stateful.world import Worker, World

# How often a rule is tried beside the others. Hypothesis itself would switch most rules off for most examples, and
# an example in which nothing is charged shows nothing; here `topics` switches off what is not the engine's work.
WEIGHTS = {
    "charge_what_is_due": 6,
    "charge_what_is_due_later": 5,
    "have_a_calm_day": 4,
    "try_again_before_the_gateway_does": 2,
    "let_time_pass": 3,
    "arm": 3,
    "send": 5,
    "settle_answers": 4,
    "look_until_nothing_is_unknown": 4,
    "sweep": 2,
    "reconcile": 2,
    "read_for_checks": 2,
    "record_a_check": 2,
    "arm_without_acknowledgement": 2,
    "settle_as_commit_unacknowledged": 3,
}


class ChargingMachine(OutsideRules, FirstPaymentRules, RefundRules, PeopleRules, DisasterRules, RuleBasedStateMachine):
    """One account with its customer, two workers, and the gateway beside them, on one clock."""

    simulator: ClassVar[SimulatorProcess]
    kind: ClassVar[str]
    reached: ClassVar[set[str]]
    findings: ClassVar[list[object]]  # of each example, everything that moved
    steps: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None
        self.seen: Snapshot
        self.topics: frozenset[str]
        self.proved = False  # the account says that the gateway echoes nothing, and that is so
        weights = WEIGHTS | refund_rules.WEIGHTS | people_rules.WEIGHTS | disaster_rules.WEIGHTS
        weights |= first_payment_rules.WEIGHTS
        if FIRST_PAYMENT not in KINDS[self.kind][0]:
            weights |= dict.fromkeys(vars(FirstPaymentRules), 0)
        rules = [each for each in self._rules_strategy.rules for _ in range(weights.get(each.function.__name__, 1))]
        # What comes first is what hypothesis tries first, and comes back to when it looks for the simplest failure.
        rules.sort(key=lambda each: each.function.__name__ != "nothing_happens")
        self._rules_strategy = (
            st.sampled_from(rules)  # type: ignore[assignment]
            # The outermost first, which says what an example is about.
            .filter(lambda each: all(holds(self) for holds in reversed(each.preconditions)))
            .flatmap(lambda each: st.tuples(st.just(each), st.fixed_dictionaries(each.arguments)))
        )

    @initialize(
        hostile=st.booleans(),
        proved=st.booleans(),
        preflight_always=st.booleans(),
        final_action=st.sampled_from(["cancel", "pause", "keep"]),
        delay=delays,
        change=changes,
        topics=st.frozensets(st.sampled_from((*TOPICS, REFUNDS, PEOPLE))),
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
        always, perhaps = KINDS[self.kind]
        self.topics = always | topics & set(perhaps)
        disasters = DISASTERS in self.topics
        # What a database has forgotten is found by its words: where nothing is echoed, a person finds it alone.
        checks_timestamps = not hostile
        hostile = hostile and not disasters
        self.proved = hostile and proved
        self.w = self.world = World(
            self.simulator,
            hostile=hostile,
            two_people=PEOPLE in self.topics,
            parts_go_back=not self.proved,  # some wallets give back all or nothing
            disasters=disasters,
            **({"list_lag_seconds": LONGEST_DELAY if delay > USUAL_LAG else USUAL_LAG} if disasters else {}),
            marker_echo="proved_absent" if self.proved else "unproven",
            preflight_always=preflight_always,
            final_action=final_action,
        )
        self.w.bind_card(visible_after=delay, changes_after=change, page_size=2 if hostile else 100)
        if disasters and not checks_timestamps and "outage" not in self.topics:
            self.simulator.set(timestamp_window=0)  # then what is read by a wrong clock is answered
        self.seen = self.w.snapshot()
        self.w.subscribe(at_start=True)

    @invariant()
    def all_promises_hold(self) -> None:
        if self.world is None:
            return
        type(self).steps += 1
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
            self.findings.append(oracle.moves())
            oracle.check_step(self.world, snapshot)
            oracle.check_rest(self.world, snapshot)
            for state in sorted(reached | oracle.states_seen()):
                self.reached.add(state)
                event(state)
        finally:
            self.world.close()

    def worker(self, which: int) -> Worker:
        return self.w.workers[which]

    @rule()
    def nothing_happens(self) -> None:
        pass

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
        self._charge(worker, count, fate, acknowledged=then != "unacknowledged")
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

    @precondition(lambda self: not self.w.away)
    @rule(which=workers)
    def try_again_before_the_gateway_does(self, which: int) -> None:
        """A decline that the gateway turns into money a day later; by then a person had it charged again."""
        for card in self.seen.cards:
            self.simulator.set_customer(str(card.gateway_customer_id), settle_after=86_400)
        self.charge_what_is_due(which, 3, ["failed_then_success"], "settle")
        for invoice in self.w.snapshot().invoices:
            if invoice.state == "open" and invoice.tries > 0:
                with contextlib.suppress(RetryError):
                    retry_now(invoice=invoice, decision=Decision(operator.WHO, "the customer asked"), now=self.w.now)
        self.charge_what_is_due(which, 3, ["success"], "settle")

    @rule(which=workers, fate=st.none() | fates)
    def have_a_calm_day(self, which: int, fate: list[str] | None) -> None:
        """Everybody does what they are there for, and the next charges are sent."""
        self.w.be_away(False)
        operator.start_again(self.w)
        self.w.follow_up(until=timedelta(days=1))
        self.w.expire()
        operator.do_the_days_work(self.w, self.w.snapshot())
        self.w.let_time_pass(timedelta(hours=12))
        self.charge_what_is_due(which, 3, fate, "settle")

    def _charge(self, worker: Worker, count: int, fate: list[str] | None, *, acknowledged: bool = True) -> None:
        if fate is not None:
            for card in self.seen.cards:
                self.simulator.set_customer(str(card.gateway_customer_id), outcome=fate)
        self.w.open_due()
        self.w.read_before_trying_again(worker)
        while worker.readings:
            self.w.record_reading(worker, 0)
        if acknowledged:
            self.w.arm(worker, count)
        else:
            self.w.arm_without_acknowledgement(worker, count, reached=True)
            self.w.settle_unacknowledged(worker)
        while worker.permissions:
            self.w.send(worker, 0)

    def _settle_all(self, worker: Worker) -> None:
        self.w.settle(worker.answers)
        worker.findings += worker.answers
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
        findings = worker.answers[::-1][:count] if backwards else worker.answers[:count]
        self.w.settle(findings)
        worker.answers = [answer for answer in worker.answers if answer not in findings]
        worker.findings += findings

    @precondition(lambda self: any(worker.findings for worker in self.w.workers))
    @rule(which=workers)
    def settle_the_same_answers_again(self, which: int) -> None:
        self.w.settle(list(self._having("findings", which).findings))

    @precondition(lambda self: any(worker.answers for worker in self.w.workers))
    @rule(which=workers, pick=picks)
    def lose_an_answer(self, which: int, pick: int) -> None:
        answers = self._having("answers", which).answers
        answers.pop(pick % len(answers))

    @precondition(lambda self: any(worker.busy for worker in self.w.workers))
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
    @rule(until=spans)
    def look_until_nothing_is_unknown(self, until: timedelta) -> None:
        """The ladder, or a part of it, without anything else happening meanwhile."""
        self.w.follow_up(until=until)

    def _is_due(self) -> bool:
        return any(i.next_attempt_at is not None and i.next_attempt_at <= self.w.now for i in self.seen.invoices)

    def _having(self, what: str, which: int) -> Worker:
        """The worker, or the other one when this one has none of it."""
        return self.worker(which) if getattr(self.worker(which), what) else self.worker(1 - which)
