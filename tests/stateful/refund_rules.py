"""The rules of money that goes back: asked for, sent, lost, looked into, given back by others, decided by a person."""

import contextlib
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from billing.charging.refunds.ask import RefundError, request_refund, request_reverse, withdraw
from billing.domain.decisions import Decision
from billing.models import PaymentAttempt, Refund
from rm_gateway.errors import GatewayError
from tests.stateful import operator
from tests.stateful.drawing import REFUNDS, about, amounts, ends, fates_of_refunds, picks, spans, workers
from tests.stateful.refunder import Refunder

WEIGHTS = {
    "ask_for_money_back": 3,
    "give_money_back": 8,
    "give_money_back_at_once": 4,
    "give_a_surplus_back": 3,
    "withdraw_a_refund": 2,
    "look_for_refunds": 2,
    "carry_on_a_refund": 2,
    "send_a_refund": 4,
    "settle_refunds": 3,
    "look_until_no_refund_is_unknown": 3,
    "a_person_decides_about_a_refund": 2,
}


class RefundRules:
    """Rules of the machine; tried where an example is about refunds."""

    # --- asking -------------------------------------------------------------------------------------------

    @about(REFUNDS)
    @precondition(lambda self: self.has_money())
    @rule(pick=picks, amount=amounts)
    def ask_for_money_back(self, pick: int, amount: int | None) -> None:
        with contextlib.suppress(RefundError):
            request_refund(
                attempt=self._payment(pick),
                amount_minor=amount,
                decision=Decision(operator.WHO, "asked"),
                now=self.w.now,
            )

    @about(REFUNDS)
    @precondition(lambda self: self.has_money())
    @rule(pick=picks)
    def ask_for_a_reversal(self, pick: int) -> None:
        with contextlib.suppress(RefundError):
            request_reverse(attempt=self._payment(pick), decision=Decision(operator.WHO, "a mistake"), now=self.w.now)

    @about(REFUNDS)
    @precondition(lambda self: self._refunds("requested", "sending"))
    @rule(pick=picks)
    def withdraw_a_refund(self, pick: int) -> None:
        waiting = self._refunds("requested", "sending")
        with contextlib.suppress(RefundError):
            withdraw(
                refund=waiting[pick % len(waiting)],
                decision=Decision(operator.WHO, "not wanted"),
                tuning=self.w.tuning,
                now=self.w.now,
            )

    # --- a worker -----------------------------------------------------------------------------------------

    @about(REFUNDS)
    @precondition(lambda self: self.has_money())
    @rule(which=workers, pick=picks, amount=amounts, reverse=st.booleans(), fate=fates_of_refunds, then=ends)
    def give_money_back(self, which: int, pick: int, amount: int | None, reverse: bool, fate: str, then: str) -> None:
        """A worker in good health, up to the answers, with which all may be well or not."""
        if reverse:
            self.ask_for_a_reversal(pick)
        else:
            self.ask_for_money_back(pick, amount)
        refunds = self._refunder(which)
        refunds.look()
        while refunds.looks:
            if then == "unacknowledged":
                refunds.carry_on_without_acknowledgement(0, spared=1, reached=pick % 2 == 0)
            else:
                refunds.carry_on(0)
        self._send_all(refunds, fate)
        if then in ("settle", "unacknowledged"):
            refunds.settle()
        elif then == "die":
            refunds.die()

    @about(REFUNDS)
    @precondition(lambda self: not self.w.away)
    @rule(which=workers, amount=amounts, reverse=st.booleans(), fate=fates_of_refunds, then=ends)
    def give_money_back_at_once(self, which: int, amount: int | None, reverse: bool, fate: str, then: str) -> None:
        """What was charged a moment ago."""
        self.charge_what_is_due(which, 3, ["success"], "settle")
        self.seen = self.w.snapshot()
        if self.has_money():
            self.give_money_back(which, 0, amount, reverse, fate, then)

    @about(REFUNDS)
    @precondition(lambda self: self.seen.in_state("surplus"))
    @rule(which=workers, amount=amounts, fate=fates_of_refunds)
    def give_a_surplus_back(self, which: int, amount: int | None, fate: str) -> None:
        """As somebody was told to."""
        self.give_money_back(which, 1, amount, False, fate, "settle")

    @about(REFUNDS)
    @precondition(lambda self: self._refunds("requested", "unknown"))
    @rule(which=workers)
    def look_for_refunds(self, which: int) -> None:
        self._refunder(which).look()

    @about(REFUNDS)
    @precondition(lambda self: any(worker.refunds.looks for worker in self.w.workers))
    @rule(which=workers, pick=picks)
    def carry_on_a_refund(self, which: int, pick: int) -> None:
        """By what was seen at the gateway then, however long ago that was."""
        refunds = self._refunder(which, "looks")
        refunds.carry_on(pick % len(refunds.looks))

    @about(REFUNDS)
    @precondition(lambda self: any(worker.refunds.looks for worker in self.w.workers))
    @rule(which=workers, pick=picks, spared=st.integers(0, 1), reached=st.booleans())
    def carry_on_without_acknowledgement(self, which: int, pick: int, spared: int, reached: bool) -> None:
        refunds = self._refunder(which, "looks")
        refunds.carry_on_without_acknowledgement(pick % len(refunds.looks), spared=spared, reached=reached)

    @about(REFUNDS)
    @precondition(lambda self: any(worker.refunds.permissions for worker in self.w.workers))
    @rule(which=workers, pick=picks, fate=fates_of_refunds)
    def send_a_refund(self, which: int, pick: int, fate: str) -> None:
        refunds = self._refunder(which, "permissions")
        self.w.decide_refunds(fate)
        refunds.send(pick % len(refunds.permissions))
        self.w.decide_refunds("auto")

    @about(REFUNDS)
    @precondition(lambda self: any(worker.refunds.unsettled for worker in self.w.workers))
    @rule(which=workers)
    def settle_refunds(self, which: int) -> None:
        self._refunder(which, "unsettled").settle()

    @about(REFUNDS)
    @precondition(lambda self: any(worker.refunds.findings for worker in self.w.workers))
    @rule(which=workers)
    def settle_refunds_again(self, which: int) -> None:
        self._refunder(which, "findings").settle_again()

    @about(REFUNDS)
    @precondition(lambda self: any(worker.refunds.answers for worker in self.w.workers))
    @rule(which=workers, pick=picks)
    def lose_the_answer_of_a_refund(self, which: int, pick: int) -> None:
        refunds = self._refunder(which, "answers")
        refunds.lose_an_answer(pick % len(refunds.answers))

    @about(REFUNDS)
    @precondition(lambda self: self._refunds("sending"))
    @rule()
    def sweep_refunds(self) -> None:
        self.w.sweep_refunds()

    @about(REFUNDS)
    @precondition(lambda self: self._refunds("requested", "unknown"))
    @rule()
    def let_a_worker_of_refunds_run(self) -> None:
        self.w.give_back()

    @about(REFUNDS)
    @precondition(lambda self: self._refunds("sending", "unknown"))
    @rule(until=spans)
    def look_until_no_refund_is_unknown(self, until: timedelta) -> None:
        self.w.follow_up_refunds(until=until)

    # --- the gateway, and people --------------------------------------------------------------------------

    @about(REFUNDS)
    @precondition(lambda self: self._lost_refunds() and not self.w.away)
    @rule(pick=picks)
    def the_gateway_carries_a_refund_out_late(self, pick: int) -> None:
        """It had taken it in, and was slow."""
        lost = self._lost_refunds()
        refund = lost[pick % len(lost)]
        (charge,) = self._charges_of(refund)
        self.w.late.add(refund.public_id)
        with contextlib.suppress(GatewayError):
            self.w.refund_in_portal(charge, refund.amount_minor, refund.public_id)
            self.reached.add("refund carried out late")

    @about(REFUNDS)
    @precondition(lambda self: self.seen.invoices)
    @rule(pick=picks)
    def somebody_looks_at_an_invoice(self, pick: int) -> None:
        self.w.check_with_gateway(self.seen.invoices[pick % len(self.seen.invoices)])

    @about(REFUNDS)
    @precondition(lambda self: self._refunds("needs_review"))
    @rule(pick=picks)
    def a_person_decides_about_a_refund(self, pick: int) -> None:
        cases = self._refunds("needs_review")
        operator.resolve_refund_truthfully(self.w, self.seen, cases[pick % len(cases)])

    @about(REFUNDS)
    @precondition(lambda self: any(refund.kind != "reverse" for refund in self._refunds("needs_review")))
    @rule(pick=picks)
    def a_person_is_wrong_about_a_refund(self, pick: int) -> None:
        """Not about a reversal: whoever says that money is not there has it charged again."""
        cases = [refund for refund in self._refunds("needs_review") if refund.kind != "reverse"]
        taken = operator.resolve_refund_wrongly(self.w, self.seen, cases[pick % len(cases)])
        self.reached.add("refund decided wrongly" if taken else "wrong word about a refund refused")

    # --- small things -------------------------------------------------------------------------------------

    def has_money(self) -> bool:
        return bool(self.seen.in_state("succeeded", "surplus"))

    def _payment(self, pick: int) -> PaymentAttempt:
        """The newest; or a surplus, which somebody has been told to give back."""
        surplus = self.seen.in_state("surplus")
        found = surplus if surplus and pick % 2 else self.seen.in_state("succeeded", "surplus")
        return found[-1 - pick // 2 % len(found)]

    def _refunds(self, *states: str) -> list[Refund]:
        return [refund for refund in self.seen.refunds if refund.state in states]

    def _refunder(self, which: int, having: str = "") -> Refunder:
        """The worker's, or the other one's when this one has none of it."""
        own = self.worker(which).refunds
        return own if not having or getattr(own, having) else self.worker(1 - which).refunds

    def _send_all(self, refunds: Refunder, fate: str) -> None:
        self.w.decide_refunds(fate)
        while refunds.permissions:
            refunds.send(0)
        self.w.decide_refunds("auto")

    def _charges_of(self, refund: Refund) -> list[dict[str, Any]]:
        return [c for c in self.seen.charges if c["transaction_id"] == refund.attempt.gateway_transaction_id]

    def _lost_refunds(self) -> list[Refund]:
        """Sent, and not carried out as far as the gateway's ledger goes."""
        return [
            refund
            for refund in self._refunds("unknown", "needs_review")
            if refund.kind != "reverse"
            and self.seen.refund_posts.get(refund.public_id) == 1
            and not operator.was_carried_out(self.seen, refund)
        ]
