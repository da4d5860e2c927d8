"""Each guard of what people decide where another would usually step in before it."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from billing.charging.attempts.settle import AttemptFinding, settle
from billing.charging.cases import resolve as resolving
from billing.charging.cases.resolve import (
    Resolution,
    ResolutionError,
    Resolved,
    clear_hold,
    collect_held,
    confirm,
    reject,
    release_card,
    resolve,
)
from billing.charging.cases.retry_now import RetryError, retry_now
from billing.charging.reading.before_decision import Shown, _named, _orders
from billing.charging.reading.known import CardRead, KnownCard
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.decisions import Decision
from billing.domain.matching import MarkerEcho
from billing.gateway.connection import ListedOrder, ReadTransaction
from billing.models import (
    Event,
    GatewayAccount,
    GatewayOrder,
    Invoice,
    PaymentAttempt,
    PaymentMethod,
    Proposal,
    Transition,
)
from rm_gateway.models import Transaction
from tests.charging.test_resolve import acting, at_once, person
from tests.conftest import SHORT
from tests.factories import NOTHING_TO_SEE, NOW, make_attempt, make_invoice, make_proposal, move_attempt

pytestmark = pytest.mark.django_db
SITI = Decision("siti", "the portal says so")
KNOWN: dict[str, Any] = {"tuning": SHORT, "now": NOW}


def a_case() -> PaymentAttempt:
    return move_attempt(make_attempt(), "unknown", "needs_review", state_reason="absent_no_report")


def not_charged(attempt: PaymentAttempt, decision: Decision = SITI) -> Resolved:
    return resolve(attempt=attempt, resolution=Resolution.NOT_CHARGED, decision=decision, **KNOWN, **NOTHING_TO_SEE)


def two_needed() -> tuple[User, User]:
    GatewayAccount.objects.update(second_person_above_minor=0)
    return person("siti"), person("mei")


@pytest.fixture
def nothing_to_see(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway forgot the card, and what it shows forbids nothing."""
    monkeypatch.setattr(resolving, "read_before", lambda *_: Shown(None, (), None))
    monkeypatch.setattr(resolving, "object_to", lambda *_, **__: None)


# --- looking ------------------------------------------------------------------------------------------------

ORDER = ListedOrder("1001", "2001", "SUCCESS", 1990, "MYR", "", NOW)


def transaction(attempt: PaymentAttempt, amount_minor: int = 1990, status: str = "SUCCESS") -> ReadTransaction:
    words = f"Coffee {attempt.marker}"
    order = {"id": "1", "title": words, "detail": "", "currencyType": "MYR", "amount": amount_minor}
    told = {"transactionId": "2001", "status": status, "currencyType": "MYR", "order": order}
    return ReadTransaction(Transaction.parse(told), words, {})


def read_of(attempt: PaymentAttempt, *orders: ListedOrder, **changes: Any) -> CardRead:
    explained = changes.pop("explained", {})
    card = KnownCard(
        attempt.payment_method_id, "pm_1", attempt.account_id, "customer", MarkerEcho.UNPROVEN, None, (), explained
    )
    return CardRead(card, list(orders), **changes)


def test_money_named_by_a_decision_raises_no_alarm() -> None:
    attempt = a_case()
    found = transaction(attempt)
    seen = Finding(Verdict.PAID, Source.ORDER_LIST, amount_minor=1990, currency="MYR", transaction_id="2001")
    read = read_of(attempt, ORDER, transactions={"2001": found}, findings=[AttemptFinding(attempt.marker, seen)])
    decision = resolve(
        attempt=attempt,
        resolution=Resolution.CHARGED,
        transaction_id="2001",
        decision=SITI,
        seen=Shown(read, (), found),
        **KNOWN,
    )
    assert decision.state == "succeeded"
    assert not Event.objects.filter(kind="attempt.alarm").exists()


def test_only_an_id_is_asked_about() -> None:
    class Nobody:
        def read_transaction(self, _: str) -> None:
            raise AssertionError("asked")

    for words in ("../payment", "2001?x=1", "2" * 65, "20 01"):
        assert _named(Nobody(), words) is None  # type: ignore[arg-type]


def test_orders_of_a_read_exclude_those_explained_otherwise() -> None:
    attempt = a_case()
    names = ("new", "own", "another's", "before")
    orders = [ListedOrder(name, "", "SUCCESS", 1990, "MYR", "", NOW) for name in names]
    explained = {"own": ("SUCCESS", attempt.pk), "before": ("SUCCESS", None)}
    by = {"own": attempt.pk, "another's": attempt.pk + 1}
    read = read_of(attempt, *orders, explained=explained, explained_by=by)
    assert [order.order_id for order in _orders(read, attempt)] == ["new", "own"]


def test_orders_of_a_read_follow_the_transaction_over_the_list() -> None:
    attempt = a_case()
    given_back = transaction(attempt, status="FULL_REFUNDED")
    (order,) = _orders(read_of(attempt, ORDER, transactions={"2001": given_back}), attempt)
    assert (order.status, order.kept, order.words) == ("FULL_REFUNDED", False, given_back.words)


# --- two persons --------------------------------------------------------------------------------------------


def test_a_release_while_something_is_proposed_is_refused() -> None:
    proposal = make_proposal()
    with pytest.raises(ResolutionError, match=r"proposal by siti \(not_charged\)"):
        release_card(attempt=proposal.attempt, decision=Decision("mei", "the customer waits"), now=NOW)
    proposal.attempt.refresh_from_db()
    assert proposal.attempt.released_at is None


def test_decision_while_another_is_proposed_is_refused() -> None:
    proposal = make_proposal()
    with pytest.raises(ResolutionError, match=r"proposal by siti \(not_charged\)"):
        not_charged(proposal.attempt, Decision("mei", "the portal says so"))
    proposal.attempt.refresh_from_db()
    assert proposal.attempt.state == "needs_review"


@pytest.mark.django_db(transaction=True)
def test_second_simultaneous_proposal_is_refused_for_the_first() -> None:
    attempt = a_case()
    siti, mei = two_needed()
    came_of = at_once(*[lambda user=user: not_charged(attempt, **acting(user)) for user in (siti, mei)])
    errors = [str(error) for error in came_of if error is not None]
    assert len(errors) == 1
    assert re.search(r"confirm or reject the proposal by (siti|mei) \(not_charged\) first", errors[0])
    assert Proposal.objects.count() == 1


def test_a_proposal_that_was_decided_meanwhile_is_not_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = a_case()
    siti, mei = two_needed()
    proposal = not_charged(attempt, **acting(siti)).proposal
    assert proposal is not None

    def rejected_meanwhile(*_: object) -> Shown:
        reject(proposal=proposal, now=NOW, **acting(siti, "the portal shows it"))
        return Shown(None, (), None)

    monkeypatch.setattr(resolving, "read_before", rejected_meanwhile)
    with pytest.raises(ResolutionError, match="another person has decided it"):
        confirm(proposal=proposal, **KNOWN, **acting(mei))
    attempt.refresh_from_db()
    proposal.refresh_from_db()
    assert (attempt.state, proposal.outcome, proposal.decided_by) == ("needs_review", "rejected", "siti")


def test_a_confirmed_release_is_decided_and_not_confirmed_again() -> None:
    attempt = a_case()
    siti, mei = two_needed()
    proposal = release_card(attempt=attempt, now=NOW, **acting(siti, "the customer waits")).proposal
    assert proposal is not None
    confirm(proposal=proposal, **KNOWN, **acting(mei))
    proposal.refresh_from_db()
    assert (proposal.outcome, proposal.decided_by) == ("confirmed", "mei")


# --- the decision -------------------------------------------------------------------------------------------


def test_decision_that_does_not_fit_after_all_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = a_case()
    monkeypatch.setattr(resolving, "object_to", lambda *_, **__: None)
    seen = Shown(None, (), transaction(attempt, 2990))
    with pytest.raises(ResolutionError, match="does not fit this attempt"):
        resolve(
            attempt=attempt,
            resolution=Resolution.CHARGED,
            transaction_id="2001",
            decision=SITI,
            seen=seen,
            **KNOWN,
        )
    attempt.refresh_from_db()
    assert (attempt.state, attempt.gateway_transaction_id) == ("needs_review", None)
    assert not Event.objects.exists()


def held(attempt: PaymentAttempt, reason: str) -> None:
    PaymentMethod.objects.filter(pk=attempt.payment_method_id).update(held_at=NOW, held_reason=reason)


def reason_after(attempt: PaymentAttempt) -> str:
    return PaymentMethod.objects.get(pk=attempt.payment_method_id).held_reason


@pytest.mark.parametrize(
    ("before", "after"), [("absent_no_report", ""), ("declined_after_money", "declined_after_money"), ("", "")]
)
def test_after_a_decision_only_the_hold_of_its_case_is_gone(before: str, after: str) -> None:
    attempt = a_case()
    if before:
        held(attempt, before)
    not_charged(attempt)
    assert reason_after(attempt) == after


def test_after_a_decision_the_hold_of_its_alarm_is_gone() -> None:
    attempt = a_case()
    alarming = Finding(Verdict.PAID, Source.ORDER_LIST, amount_minor=1, currency="MYR", transaction_id="2001")
    settle([AttemptFinding(attempt.marker, alarming)], tuning=SHORT, now=NOW)
    assert reason_after(attempt) == "evidence_while_with_a_person"
    not_charged(attempt)
    assert reason_after(attempt) == ""


def test_after_a_decision_the_hold_of_an_older_alarm_is_gone() -> None:
    attempt = a_case()
    held(attempt, "declined_after_money")
    state = attempt.state
    Transition.objects.create(
        account_id=attempt.account_id,
        subject_type="attempt",
        subject_id=attempt.pk,
        from_state=state,
        to_state=state,
        reason="alarm: declined_after_money",
        actor="engine",
        at=NOW,
    )
    not_charged(attempt)
    assert reason_after(attempt) == ""


def an_order(attempt: PaymentAttempt, **columns: Any) -> GatewayOrder:
    known = {
        "status": "SUCCESS",
        "amount_minor": 1990,
        "currency": "MYR",
        "ordered_at": NOW,
        "gateway_order_id": "1001",
    }
    card = attempt.payment_method
    return GatewayOrder.objects.create(
        account=card.account, payment_method=card, first_seen_at=NOW, last_seen_at=NOW, **{**known, **columns}
    )


def test_after_a_decision_what_nothing_explains_holds_the_card() -> None:
    attempt = a_case()
    an_order(attempt)
    not_charged(attempt)
    assert reason_after(attempt) == "unexplained_order"


def test_after_a_decision_the_order_of_the_money_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = a_case()
    order = an_order(attempt, gateway_transaction_id="2001")
    monkeypatch.setattr(resolving, "object_to", lambda *_, **__: None)
    found = transaction(attempt)
    seen = Shown(read_of(attempt, ORDER, explained={"1001": ("SUCCESS", attempt.pk)}), (), found)
    monkeypatch.setattr(resolving, "record", lambda *_, **__: {})
    resolve(
        attempt=attempt,
        resolution=Resolution.CHARGED,
        transaction_id="2001",
        decision=SITI,
        seen=seen,
        **KNOWN,
    )
    order.refresh_from_db()
    assert (order.attempt_id, reason_after(attempt)) == (attempt.pk, "")


# --- what waits ---------------------------------------------------------------------------------------------


def test_card_is_not_freed_while_the_gateway_works_on_an_order() -> None:
    attempt = a_case()
    an_order(attempt, status="IN_PROCESS", amount_minor=7700)
    held(attempt, "unexplained_order")
    with pytest.raises(ResolutionError, match="still processing 1001"):
        clear_hold(card=attempt.payment_method, decision=Decision("siti", "seen"), now=NOW)
    assert reason_after(attempt) == "unexplained_order"


@pytest.mark.parametrize("columns", [{}, {"state": "paid", "closed_at": NOW, "next_attempt_at": None}])
def test_what_waits_for_nobody_is_not_collected_by_a_decision(columns: dict[str, Any]) -> None:
    invoice = make_invoice(**columns)
    with pytest.raises(ResolutionError, match="must need review"):
        collect_held(invoice=invoice, decision=Decision("siti", "agreed"), now=NOW)


LATER = NOW + timedelta(days=3)
NOT_NOW: list[tuple[str, dict[str, Any], str]] = [
    ("open", {"hold": "reversed", "next_attempt_at": None}, "must not need a decision"),
    ("uncollectible", {"hold": "reversed", "closed_at": NOW, "next_attempt_at": None}, "must not need a decision"),
    ("open", {"amount_refunded_minor": 1, "next_attempt_at": LATER}, "must not be refunded"),
    ("open", {"next_attempt_at": None}, "an attempt is under way"),
    ("paid", {"closed_at": NOW, "next_attempt_at": None}, "must be owed"),
    ("void", {"closed_at": NOW, "next_attempt_at": None}, "must be owed"),
]


@pytest.mark.parametrize(("state", "columns", "why"), NOT_NOW)
def test_what_cannot_be_retried_now_is_refused(state: str, columns: dict[str, Any], why: str) -> None:
    invoice = make_invoice(state=state, **columns)
    with pytest.raises(RetryError, match=why):
        retry_now(invoice=invoice, decision=Decision("siti", "asked"), now=NOW)
    assert Invoice.objects.get().state == state


@pytest.mark.parametrize("columns", [{}, {"state": "uncollectible", "closed_at": NOW, "next_attempt_at": None}])
def test_what_is_retried_now_is_due_and_its_cards_are_read_anew(columns: dict[str, Any]) -> None:
    invoice = make_invoice(**{"next_attempt_at": LATER, "lease_token": 7, **columns})
    retry_now(invoice=invoice, decision=Decision("siti", "asked"), now=NOW)
    invoice.refresh_from_db()
    assert (invoice.state, invoice.next_attempt_at, invoice.lease_token) == ("open", NOW, 8)
