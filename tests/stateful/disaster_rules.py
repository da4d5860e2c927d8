"""The rules of disasters: a backup is put back, a copy goes on elsewhere, clocks step, somebody sends false hints, the
gateway refuses falsely, and money comes when nothing is owed any more."""

import contextlib
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from billing.charging.cases.holds import ResolutionError
from billing.charging.cases.ways_out import void, write_off
from billing.domain.decisions import Decision
from billing.models import Evidence, Host, PaymentAttempt, Transition
from billing.operating.quarantine import QuarantineError
from billing.subscriptions.lifecycle import cancel
from billing.subscriptions.start import SubscriptionError
from tests.stateful import operator
from tests.stateful.disasters import Disasters
from tests.stateful.drawing import DISASTERS, about, ends, fates, moments, picks, steps, workers

WEIGHTS = {
    "take_a_backup": 2,
    "put_the_backup_back": 3,
    "charge_and_forget_it": 6,
    "carry_the_quarantine_through": 8,
    "the_copy_tries_to_charge": 2,
    "go_to_the_other_installation": 2,
    "one_of_two_is_given_up": 3,
    "step_the_clock": 1,
    "work_by_a_wrong_clock": 2,
    "correct_the_clock": 12,
    "be_told_lies": 2,
    "be_made_to_look_again_and_again": 2,
    "refuse_falsely": 3,
    "end_and_be_paid_late": 3,
    "watch_for_late_money": 2,
}
REFUSALS = ([429, "TOO_MANY_REQUEST_PER_SECOND"], [401, "TOKEN_INVALID"])
answers = st.sampled_from(["before", "after", "beside others", "beside others", "later", "never"])
LIES = ("SUCCESS", "FAILED", "REVERSED", "FULL_REFUNDED", "IN_PROCESS", "nonsense")


class DisasterRules:
    """Rules of the machine; tried where an example is about disasters."""

    @property
    def disasters(self) -> Disasters:
        found: Disasters = self.w.disasters
        return found

    # --- restore ------------------------------------------------------------------------------------------

    @about(DISASTERS)
    @rule()
    def take_a_backup(self) -> None:
        self.disasters.back_up()

    @about(DISASTERS)
    @precondition(lambda self: self.disasters.here.backup is not None)
    @rule(workers_die=st.booleans())
    def put_the_backup_back(self, workers_die: bool) -> None:
        if not workers_die and any(worker.answers or worker.permissions for worker in self.w.workers):
            self.reached.add("restored under a worker that waits")
        self.reached.add("restored")
        self.disasters.restore(workers_die=workers_die)

    @about(DISASTERS)
    @precondition(lambda self: self._is_in_good_health())
    @rule(which=workers, delta=moments, fate=st.none() | fates, answers=answers)
    def charge_and_forget_it(self, which: int, delta: timedelta, fate: list[str] | None, answers: str) -> None:
        """Charges leave, and then the database does not know them. Their answers come before or after that, when there
        are other attempts of the same numbers, by this rule or a later one, or never."""
        self._let_something_be_due(delta)
        self.disasters.back_up()
        self.charge_what_is_due(which, 3, fate, "settle" if answers == "before" else "keep")
        self.put_the_backup_back(workers_die=answers == "never")
        if answers in ("beside others", "later") and self._only_one_charges():
            self.charge_what_is_due(1 - which, 3, None, "settle")
            self.carry_the_quarantine_through(1 - which, then_charge=True)
        if answers in ("after", "beside others"):
            self._settle_all(self.worker(which))

    @about(DISASTERS)
    @precondition(lambda self: self.disasters.quarantined_at is not None)
    @rule()
    def read_in_quarantine(self) -> None:
        self.disasters.read_in_quarantine()

    @about(DISASTERS)
    @precondition(lambda self: self._only_one_charges() and self.disasters.quarantined_at is not None)
    @rule()
    def a_person_lifts_the_quarantine(self) -> None:
        """As soon as it is permitted, and no sooner."""
        with contextlib.suppress(QuarantineError):
            self.disasters.lift()

    @about(DISASTERS)
    @precondition(lambda self: self._only_one_charges() and self.disasters.quarantined_at is not None)
    @rule(which=workers, then_charge=st.booleans())
    def carry_the_quarantine_through(self, which: int, then_charge: bool) -> None:
        """Workers and a person; who waited before the restore for an answer still does."""
        waiting = any(worker.answers for worker in self.w.workers)
        self.disasters.carry_through()
        self.seen = self.w.snapshot()
        if self.disasters.quarantined_at is None:
            operator.do_the_days_work(self.w, self.seen)
            self.w.let_time_pass(timedelta(days=1))
            if then_charge and not self.w.away:
                self.charge_what_is_due(which, 3, None, "keep")
                if waiting and len(self.w.snapshot().attempts) > len(self.seen.attempts):
                    self.reached.add("answers of before beside new attempts")

    # --- a copy -------------------------------------------------------------------------------------------

    @about(DISASTERS)
    @precondition(lambda self: self._may_be_copied())
    @rule(copy_is_kept=st.booleans())
    def copy_to_another_host(self, copy_is_kept: bool) -> None:
        self.disasters.copy_to_another_host(self.w.new_workers(), copy_is_kept=copy_is_kept)
        self.reached.add("copied")

    @about(DISASTERS)
    @precondition(lambda self: self.disasters.other is not None)
    @rule()
    def go_to_the_other_installation(self) -> None:
        self.disasters.go_to_the_other()

    @about(DISASTERS)
    @precondition(lambda self: self._may_be_copied() or self.disasters.other is not None)
    @rule(which=workers, back=st.booleans())
    def the_copy_tries_to_charge(self, which: int, back: bool) -> None:
        """It is a copy for as long as the original may charge, and nothing leaves it."""
        if self.disasters.other is None:
            self.copy_to_another_host(False)
        if self.disasters.here is self.disasters.original:
            self.disasters.go_to_the_other()
        armed = self.disasters.try_to_charge(self.worker(which))
        assert not armed, f"the copy armed {armed}"
        if self.disasters.quarantined_at is not None:
            self.reached.add("the copy was quarantined")
        if back:
            self.disasters.go_to_the_other()

    @about(DISASTERS)
    @precondition(lambda self: self._may_be_copied() and not self.w.away)
    @rule(which=workers, delta=moments, fate=st.none() | fates, then=ends)
    def the_copy_takes_over(self, which: int, delta: timedelta, fate: list[str] | None, then: str) -> None:
        """After the original went on for a while; what that one charged is lost to the copy."""
        self.copy_to_another_host(True)
        self.charge_what_is_due_later(which, delta, fate, then)
        self.one_of_two_is_given_up()

    @about(DISASTERS)
    @precondition(lambda self: self.disasters.other is not None)
    @rule()
    def one_of_two_is_given_up(self) -> None:
        self.disasters.end_the_other()
        if self.disasters.here is not self.disasters.original:
            self.reached.add("the copy went on alone")

    # --- clocks -------------------------------------------------------------------------------------------

    @about(DISASTERS)
    @precondition(lambda self: not self.w.clock_ahead)
    @rule(by=steps)
    def step_the_clock(self, by: timedelta) -> None:
        self.disasters.step_the_clock(by)
        self.reached.add("clock ahead" if by > timedelta(0) else "clock behind")

    @about(DISASTERS)
    @precondition(lambda self: self.w.clock_ahead)
    @rule()
    def correct_the_clock(self) -> None:
        self.disasters.correct_the_clock()

    @about(DISASTERS)
    @precondition(lambda self: not self.w.away)
    @rule(which=workers, by=steps, corrected=st.sampled_from([True, True, True, False]))
    def work_by_a_wrong_clock(self, which: int, by: timedelta, corrected: bool) -> None:
        """Everybody does what they are there for; nothing that asks for money goes by such a clock."""
        if not self.w.clock_ahead:
            self.step_the_clock(by)
        before = len(self.w.snapshot().posts)
        for _ in range(2):
            self.w.sweep()
            self.w.reconcile()
            self.disasters.look_which_database_it_is()
            self.disasters.read_in_quarantine()
            self.w.watch()
            self.charge_what_is_due(which, 3, None, "settle")
            self.w.let_time_pass(timedelta(seconds=31))
        assert len(self.w.snapshot().posts) == before, "something was charged by a wrong clock"
        self.reached.add("worked by a wrong clock")
        if corrected:
            self.disasters.correct_the_clock()
            self.disasters.agree_about_the_clock()

    # --- lies ---------------------------------------------------------------------------------------------

    @about(DISASTERS)
    @rule(
        which=workers,
        arm=st.booleans(),
        status=st.sampled_from(LIES),
        order=st.sampled_from(["own", "made up", "another's"]),
    )
    def be_misled(self, which: int, arm: bool, status: str, order: str) -> None:
        """About an attempt in each state: nothing follows but a look."""
        if arm:
            self.w.open_due()
            self.w.arm(self.worker(which), 1)
            self.seen = self.w.snapshot()
        before = self._what_hints_may_not_touch()
        for state, attempt in {attempt.state: attempt for attempt in self.seen.attempts}.items():
            self.w.notify(self._lie(attempt, status, order))
            self.reached.add(f"lied to about {state}")
        assert self._what_hints_may_not_touch() == before, "a hint was believed"

    @about(DISASTERS)
    @precondition(lambda self: self.seen.in_state("unknown", "in_process"))
    @rule(pick=picks, status=st.sampled_from(LIES), apart=st.sampled_from([31, 90]))
    def be_made_to_look_again_and_again(self, pick: int, status: str, apart: int) -> None:
        waiting = self.seen.in_state("unknown", "in_process")
        attempt = waiting[pick % len(waiting)]
        for _ in range(8):
            self.w.notify(self._lie(attempt, status, "made up"))
            self.w.let_time_pass(timedelta(seconds=apart))
            self.w.reconcile()
        self.reached.add("made to look again and again")

    @about(DISASTERS)
    @precondition(lambda self: self._is_in_good_health())
    @rule(which=workers, refusal=st.sampled_from(REFUSALS), true=st.booleans(), delta=moments)
    def refuse_falsely(self, which: int, refusal: list[Any], true: bool, delta: timedelta) -> None:
        """A true refusal before it or none, then one of a charge that was made; lists lag less than is set."""
        for card in self.seen.cards:
            self.simulator.set_customer(str(card.gateway_customer_id), error_charge=refusal)
        self._let_something_be_due()
        before = len(self.seen.charges)
        self.charge_what_is_due(which, 3, [*(["error_before"] if true else []), "error_after"], "settle")
        self.w.let_time_pass(delta)
        self.w.sweep()
        self.charge_what_is_due(which, 3, None, "settle")
        if len(self.w.snapshot().charges) > before:
            self.reached.add("refused falsely")

    # --- money after the end ------------------------------------------------------------------------------

    @about(DISASTERS)
    @precondition(lambda self: self._is_in_good_health())
    @rule(
        which=workers,
        fate=st.sampled_from(
            ["failed_then_success", "decline_9010", "failed_then_success", "lost_after", "in_process_success"]
        ),
        how=st.sampled_from(["cancel", "void", "write off"]),
        days=st.sampled_from([1, 5]),
    )
    def end_and_be_paid_late(self, which: int, fate: str, how: str, days: int) -> None:
        """A charge without money; then nothing more is asked for; then it is paid all the same."""
        for card in self.seen.cards:
            self.simulator.set_customer(str(card.gateway_customer_id), settle_after=86_400)
        self._let_something_be_due()
        self.charge_what_is_due(which, 3, [fate], "settle")
        self.seen = self.w.snapshot()
        self._end(how)
        for _ in range(4 * days):
            self.w.let_time_pass(timedelta(hours=6))
            self.w.reconcile()
            self.w.watch()

    def _end(self, how: str) -> None:
        if how == "cancel":
            for subscription in self.seen.subscriptions[:1]:
                with contextlib.suppress(SubscriptionError):
                    cancel(subscription=subscription, reason="moved away", actor=operator.WHO, now=self.w.now)
                    self.reached.add("ended: cancel")
        for invoice in self.seen.invoices:
            if how != "cancel" and invoice.state == "open" and invoice.tries > 0:
                with contextlib.suppress(ResolutionError):
                    close = void if how == "void" else write_off
                    close(invoice=invoice, decision=Decision(operator.WHO, "a mistake"), now=self.w.now)
                    self.reached.add(f"ended: {how}")

    @about(DISASTERS)
    @rule()
    def watch_for_late_money(self) -> None:
        self.w.watch()

    # --- small things -------------------------------------------------------------------------------------

    def _is_in_good_health(self) -> bool:
        """Whether what is due can be charged."""
        return not self.w.away and not self.w.clock_ahead and self.disasters.quarantined_at is None

    def _let_something_be_due(self, delta: timedelta = timedelta(0)) -> None:
        """What was sold for every day is."""
        self.w.let_time_pass(timedelta(days=1) + delta)
        self.w.open_due()

    def _only_one_charges(self) -> bool:
        """A person who knows of another installation lifts nothing."""
        return self.disasters.other is None and self.disasters.retired_at is None

    def _may_be_copied(self) -> bool:
        """Once it has charged: of a database that never did, nobody can tell a copy from a new machine."""
        admitted = Host.objects.exclude(armed_at=None).exclude(admitted_at=None)
        return self.disasters.other is None and admitted.exists()

    def _lie(self, attempt: PaymentAttempt, status: str, order: str) -> dict[str, Any]:
        others = [charge["order_id"] for charge in self.seen.charges] or ["1795224844702000002"]
        orders = {
            "own": attempt.gateway_order_id or "1795224844702000001",
            "made up": "1795224844702000001",
            "another's": others[0],
        }
        data = {
            "customerId": attempt.gateway_customer_id,
            "orderId": orders[order],
            "status": status,
            "amount": attempt.amount_minor,
        }
        return {"eventType": "RECURRING_PAYMENT", "data": data}

    def _what_hints_may_not_touch(self) -> tuple[Any, ...]:
        rows = PaymentAttempt.objects.order_by("id").values_list("id", "state", "checks_done", "rung_at", "looked_at")
        return list(rows), Evidence.objects.count(), Transition.objects.count()
