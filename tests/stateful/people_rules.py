"""The rules of the people: who decides, proposes, confirms, lets go, starts and stops."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from billing.accounts.gateway_accounts import stop_account
from billing.charging.attempts.charge_now import charge_now
from billing.charging.cases.resolve import ResolutionError, collect_held, release_card
from billing.charging.cases.retry_now import RetryError, retry_now
from billing.domain.decisions import Decision
from billing.domain.resolution import ProposalKind
from billing.gateway.connection import GatewayUnavailableError
from billing.models import Proposal
from tests.stateful import operator
from tests.stateful.drawing import PEOPLE, about, picks, workers
from tests.stateful.world import AMOUNT

MOST_OPEN = 4
WEIGHTS = {
    "a_person_decides": 3,
    "a_person_clears_a_hold": 2,
    "come_to_a_case": 3,
    "another_person_confirms": 3,
    "the_same_person_confirms_and_is_refused": 2,
    "a_person_rejects": 2,
}


class PeopleRules:
    """Rules of the machine."""

    @precondition(lambda self: self.seen.in_state("needs_review"))
    @rule(pick=picks)
    def a_person_decides(self, pick: int) -> None:
        cases = self.seen.in_state("needs_review")
        operator.resolve_truthfully(self.w, self.seen, cases[pick % len(cases)])

    @precondition(lambda self: self.seen.in_state("needs_review"))
    @rule(pick=picks)
    def a_person_releases_a_card(self, pick: int) -> None:
        cases = self.seen.in_state("needs_review")
        with contextlib.suppress(ResolutionError):
            attempt = cases[pick % len(cases)]
            release_card(
                attempt=attempt,
                decision=Decision(operator.WHO, "later ones go on", self.w.people[0].pk),
                now=self.w.now,
            )

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
            retry_now(invoice=invoice, decision=Decision(operator.WHO, "the customer asked"), now=self.w.now)

    @precondition(lambda self: any(invoice.hold for invoice in self.seen.invoices))
    @rule(pick=picks)
    def a_person_collects_a_held_invoice(self, pick: int) -> None:
        held = [invoice for invoice in self.seen.invoices if invoice.hold]
        with contextlib.suppress(ResolutionError):
            collect_held(invoice=held[pick % len(held)], decision=Decision(operator.WHO, "agreed"), now=self.w.now)

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

    # --- where what one person decides waits for another --------------------------------------------------

    @about(PEOPLE)
    @precondition(lambda self: not self.w.away)
    @rule(which=workers, pick=picks, fate=st.sampled_from(["dropped_before", "lost_after", "system_error_after"]))
    def come_to_a_case(self, which: int, pick: int, fate: str) -> None:
        """An answer is lost, nobody finds out what came of it, and one person says so."""
        self.charge_what_is_due(which, 1, [fate], "die")
        self.w.follow_up(until=max(self.w.tuning.rungs))
        self.seen = self.w.snapshot()
        if self.seen.in_state("needs_review"):
            self.a_person_decides(pick)

    @about(PEOPLE)
    @precondition(lambda self: self._proposals(opened=True))
    @rule(pick=picks)
    def another_person_confirms(self, pick: int) -> None:
        """Something that was true when it was proposed, however long ago that was."""
        waiting = self._proposals(opened=True)
        with contextlib.suppress(ResolutionError, GatewayUnavailableError):
            operator.confirm_by_another(self.w, waiting[pick % len(waiting)])

    @about(PEOPLE)
    @precondition(lambda self: self._proposals(opened=True))
    @rule(pick=picks)
    def the_same_person_confirms_and_is_refused(self, pick: int) -> None:
        waiting = self._proposals(opened=True)
        with pytest.raises(ResolutionError) as refused:
            operator.confirm_by(self.w, waiting[pick % len(waiting)], 0)
        assert refused.value.rule == "another_person"
        self.reached.add("refused to the same person")

    @about(PEOPLE)
    @precondition(lambda self: self._proposals(opened=True))
    @rule(pick=picks, which=workers)
    def a_person_rejects(self, pick: int, which: int) -> None:
        waiting = self._proposals(opened=True)
        operator.reject_by(self.w, waiting[pick % len(waiting)], which)

    @about(PEOPLE)
    @precondition(lambda self: self._proposals(opened=False))
    @rule(pick=picks)
    def a_proposal_that_is_over_is_confirmed_and_refused(self, pick: int) -> None:
        """A double click, and a page that was opened long ago."""
        over = self._proposals(opened=False)
        with pytest.raises(ResolutionError) as refused:
            operator.confirm_by_another(self.w, over[pick % len(over)])
        assert refused.value.rule == "state"
        self.reached.add("refused when it was over")

    @about(PEOPLE)
    @precondition(lambda self: self._proposals(opened=True))
    @rule(pick=picks)
    def a_person_says_it_again_and_is_refused(self, pick: int) -> None:
        waiting = self._proposals(opened=True)
        proposal = waiting[pick % len(waiting)]
        if proposal.kind == ProposalKind.CLEAR_HOLD:
            (card,) = [card for card in self.seen.cards if card.pk == proposal.payment_method_id]
            self._is_refused(lambda: operator.propose_to_clear(self.w, card))
            return
        (attempt,) = [attempt for attempt in self.seen.attempts if attempt.pk == proposal.attempt_id]
        found = operator.truth(self.seen, attempt)
        if found is not None:
            self._is_refused(lambda: operator.decide(self.w, attempt, *found))

    def _is_refused(self, decide: Callable[[], object]) -> None:
        with pytest.raises(ResolutionError) as refused:
            decide()
        assert refused.value.rule == "state"

    def _proposals(self, *, opened: bool) -> list[Proposal]:
        return [proposal for proposal in self.seen.proposals if (proposal.outcome == "open") == opened]
