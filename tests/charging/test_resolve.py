"""What a person decides: beside what the gateway shows right now, above an amount by two, and exactly once."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection

from billing.charging.attempts.settle import AttemptFinding, settle
from billing.charging.cases import resolve_many as resolve_many_module
from billing.charging.cases.case import read_card_now, read_case
from billing.charging.cases.resolve import (
    Resolution,
    ResolutionError,
    Resolved,
    clear_hold,
    confirm,
    reject,
    release_card,
    resolve,
)
from billing.charging.cases.resolve_many import release_many, resolve_many
from billing.charging.reading import before_decision
from billing.charging.reading.refresh import check_with_gateway
from billing.domain.attempts import AttemptState, Finding, Source, Verdict
from billing.domain.decisions import Decision
from billing.domain.resolution import TOOK_MONEY
from billing.explaining.explain import explain
from billing.gateway.connection import Charge, GatewayUnavailableError, gateway_for
from billing.models import (
    Event,
    Evidence,
    GatewayAccount,
    GatewayOrder,
    Invoice,
    PaymentAttempt,
    PaymentMethod,
    Proposal,
    Refund,
    Transition,
)
from billing.models.clock import database_now
from rm_gateway.client import RefundKind
from tests.conftest import Shop
from tests.factories import make_account, make_attempt, make_card, make_customer, make_invoice, move_attempt

pytestmark = pytest.mark.django_db
WHY = "the portal says so"
ABSENT = Finding(Verdict.ABSENT_AT_LAST, Source.ORDER_LIST, reason="absent_no_report")


def a_case(shop: Shop, outcome: str = "dropped_before", card: PaymentMethod | None = None) -> PaymentAttempt:
    """An attempt whose answer was lost and which came to a person; `outcome` says what the gateway did."""
    card = card or shop.card()
    shop.simulator.set_customer(card.gateway_customer_id, outcome=[outcome, "success"])
    invoice = make_invoice(card, next_attempt_at=database_now())
    shop.collect()
    attempt = PaymentAttempt.objects.get(invoice=invoice)
    assert attempt.state in ("unknown", "needs_review")
    settle([AttemptFinding(attempt.marker, ABSENT)], tuning=shop.tuning, now=database_now())
    attempt.refresh_from_db()
    assert attempt.state == "needs_review"
    return attempt


def taken(shop: Shop, attempt: PaymentAttempt) -> str:
    return str(shop.taken(attempt.invoice)[0]["transaction_id"])


def foreign_charge(shop: Shop, card: PaymentMethod, *, amount_minor: int = 1990, title: str = "At the till") -> str:
    """Somebody charges the card without us; the transaction."""
    now = database_now()
    gateway = gateway_for(shop.account)
    charge = Charge(card.gateway_customer_id, amount_minor, "MYR", title, title)
    found = gateway.send(
        gateway.freeze(charge, timestamp=int(now.timestamp()), charge_path="customer_order"), marker="X"
    )
    assert found.transaction_id
    return found.transaction_id


def give_back(shop: Shop, transaction_id: str, amount_minor: int, kind: RefundKind = RefundKind.FULL) -> None:
    client = gateway_for(shop.account)._client
    client.send_refund(
        client.prepare_refund(
            transaction_id=transaction_id,
            kind=kind,
            amount_minor=amount_minor,
            currency="MYR",
            reason="wrong",
            timestamp=int(database_now().timestamp()),
        )
    )


def decide(shop: Shop, attempt: PaymentAttempt, resolution: Resolution, **changes: Any) -> Resolved:
    known = {"decision": Decision("siti", WHY), "tuning": shop.tuning, "now": database_now()}
    decision = resolve(attempt=attempt, resolution=resolution, **{**known, **changes})
    attempt.refresh_from_db()
    attempt.invoice.refresh_from_db()
    return decision


def everything() -> list[Any]:
    """What a refused decision must leave as it was."""
    kinds = (PaymentAttempt, Invoice, PaymentMethod, Proposal, Evidence, Transition, Event, GatewayOrder)
    return [list(kind._default_manager.order_by("pk").values()) for kind in kinds]  # type: ignore[attr-defined]


# --- beside what the gateway shows --------------------------------------------------------------------------


def test_taken_money_is_recorded_with_what_the_gateway_shows(shop: Shop, profile: str) -> None:
    attempt = a_case(shop, "lost_after")
    transaction = taken(shop, attempt)
    if profile == "hostile":  # no marker to go by, and the list is late: the order has to be listed first
        with pytest.raises(ResolutionError, match="not among this card's orders; if it is very new"):
            decide(shop, attempt, Resolution.CHARGED, transaction_id=transaction)
        shop.simulator.set(orders_visible_after=0)

    decision = decide(shop, attempt, Resolution.CHARGED, transaction_id=f" {transaction} ")

    assert (decision.state, attempt.state, attempt.invoice.state) == ("succeeded", "succeeded", "paid")
    assert attempt.gateway_transaction_id == transaction
    evidence = Evidence.objects.get(attempt_id=attempt.pk, source="operator")
    assert evidence.content["detail"]["transaction"]["transactionId"] == transaction
    assert (evidence.content["detail"]["actor"], evidence.content["detail"]["reason"]) == ("siti", WHY)
    assert GatewayOrder.objects.get(gateway_transaction_id=transaction).attempt_id == attempt.pk
    assert "phone" not in str(evidence.content).lower()
    moved = Transition.objects.get(subject_type="attempt", to_state="succeeded")
    assert (moved.actor, moved.reason, moved.evidence_id) == ("siti", "decided_by_person", evidence.pk)


def test_partly_refunded_money_is_recorded_with_that_part(shop: Shop) -> None:
    """It can be called nothing else: most of it was kept."""
    attempt = a_case(shop, "lost_after")
    transaction = taken(shop, attempt)
    give_back(shop, transaction, 500, RefundKind.PARTIAL)
    with pytest.raises(ResolutionError, match="of this attempt"):
        decide(shop, attempt, Resolution.NOT_CHARGED)

    decide(shop, attempt, Resolution.CHARGED, transaction_id=transaction)
    check_with_gateway(invoice=attempt.invoice, tuning=shop.tuning, now=database_now())

    attempt.refresh_from_db()
    attempt.invoice.refresh_from_db()
    assert (attempt.state, attempt.amount_refunded_minor) == ("succeeded", 500)
    assert (attempt.invoice.state, attempt.invoice.amount_refunded_minor) == ("paid", 500)
    assert (attempt.payment_method.held_at, Refund.objects.get().origin) == (None, "gateway")


@pytest.mark.parametrize("resolution", [Resolution.DECLINED, Resolution.NOT_CHARGED])
def test_where_no_money_moved_the_invoice_goes_on(shop: Shop, profile: str, resolution: Resolution) -> None:
    attempt = a_case(shop)
    decide(shop, attempt, resolution)
    assert (attempt.state, attempt.invoice.state) == (resolution.value, "open")
    assert attempt.invoice.tries == (1 if resolution is Resolution.DECLINED else 0)
    assert attempt.invoice.next_attempt_at is not None
    attempt.payment_method.refresh_from_db()
    assert attempt.payment_method.held_at is None
    read = Evidence.objects.get(attempt_id=attempt.pk, source="operator").content["detail"]["read"]
    assert read["unexplained"] == []


@pytest.mark.parametrize("resolution", [Resolution.DECLINED, Resolution.NOT_CHARGED])
def test_decision_cannot_deny_money_shown_for_the_attempt(shop: Shop, resolution: Resolution) -> None:
    attempt = a_case(shop, "lost_after")
    before = everything()
    with pytest.raises(ResolutionError, match="of this attempt") as refused:
        decide(shop, attempt, resolution, despite_orders=[o.order_id for o in listed(shop, attempt)])
    assert (refused.value.field, refused.value.rule) == ("resolution", "money_was_taken")
    assert taken(shop, attempt) in str(refused.value)
    assert everything() == before


def listed(shop: Shop, attempt: PaymentAttempt) -> list[Any]:
    return gateway_for(shop.account).read_orders(attempt.gateway_customer_id)


def test_unexplained_order_is_named_and_must_be_set_aside(shop: Shop, profile: str) -> None:
    attempt = a_case(shop)
    shop.simulator.set(orders_visible_after=0)
    foreign_charge(shop, attempt.payment_method)
    (order,) = [one.order_id for one in listed(shop, attempt) if one.status == "SUCCESS"]
    before = everything()
    for despite in ([], ["another-order"]):
        with pytest.raises(ResolutionError, match=order) as refused:
            decide(shop, attempt, Resolution.NOT_CHARGED, despite_orders=despite)
        assert (refused.value.field, refused.value.rule) == ("despite_orders", "unexplained_orders")
    assert everything() == before

    decide(shop, attempt, Resolution.NOT_CHARGED, despite_orders=[order])

    assert attempt.state == "not_charged"
    detail = Evidence.objects.get(attempt_id=attempt.pk, source="operator").content["detail"]
    assert detail["despite_orders"] == [order]
    assert [one["order"] for one in detail["read"]["unexplained"]] == [order]
    attempt.payment_method.refresh_from_db()
    assert attempt.payment_method.held_reason == "unexplained_order", "nothing explains the order yet"


def test_a_hold_that_came_with_the_case_goes_with_it(shop: Shop) -> None:
    attempt = a_case(shop, "lost_after")
    read_card_now(attempt, tuning=shop.tuning, now=database_now())
    attempt.payment_method.refresh_from_db()
    assert attempt.payment_method.held_reason == "evidence_while_with_a_person"
    decide(shop, attempt, Resolution.CHARGED, transaction_id=taken(shop, attempt))
    attempt.payment_method.refresh_from_db()
    assert attempt.payment_method.held_at is None
    freed = Transition.objects.get(subject_type="card", to_state="free")
    assert attempt.public_id in freed.reason


# --- the table of refusals ----------------------------------------------------------------------------------

Refusal = tuple[str, str, Callable[[Shop], tuple[PaymentAttempt, str]]]


def _unknown_id(shop: Shop) -> tuple[PaymentAttempt, str]:
    return a_case(shop), "180701025439234567000000"


def _no_id(shop: Shop) -> tuple[PaymentAttempt, str]:
    return a_case(shop), "../payment"


def _failed(shop: Shop) -> tuple[PaymentAttempt, str]:
    attempt = a_case(shop)
    shop.simulator.set_customer(attempt.gateway_customer_id, outcome=["decline_9010"])
    return attempt, foreign_charge(shop, attempt.payment_method)


def _given_back(shop: Shop) -> tuple[PaymentAttempt, str]:
    attempt = a_case(shop, "lost_after")
    transaction = taken(shop, attempt)
    give_back(shop, transaction, attempt.amount_minor)
    return attempt, transaction


def _other_amount(shop: Shop) -> tuple[PaymentAttempt, str]:
    attempt = a_case(shop)
    return attempt, foreign_charge(shop, attempt.payment_method, amount_minor=2990)


def _other_marker(shop: Shop) -> tuple[PaymentAttempt, str]:
    attempt = a_case(shop)
    return attempt, foreign_charge(shop, attempt.payment_method, title="Coffee 7QH2MZ0K4XWB")


def _claimed(shop: Shop) -> tuple[PaymentAttempt, str]:
    card = shop.card()
    make_invoice(card, next_attempt_at=database_now())
    shop.collect()
    return a_case(shop, card=card), str(PaymentAttempt.objects.get(state="succeeded").gateway_transaction_id)


def _other_card(shop: Shop) -> tuple[PaymentAttempt, str]:
    other = shop.card()
    transaction = foreign_charge(shop, other)
    return a_case(shop), transaction


def _other_card_that_was_read(shop: Shop) -> tuple[PaymentAttempt, str]:
    other = a_case(shop)
    transaction = foreign_charge(shop, other.payment_method)
    read_card_now(other, tuning=shop.tuning, now=database_now())
    return a_case(shop), transaction


def _too_early(shop: Shop) -> tuple[PaymentAttempt, str]:
    card = shop.card()
    transaction = foreign_charge(shop, card)
    attempt = make_attempt(make_invoice(card), card, armed_at=database_now() + timedelta(minutes=5))
    return move_attempt(attempt, "needs_review"), transaction


NOT_THIS_MONEY: list[Refusal] = [
    ("unknown", "must be a transaction of the gateway", _unknown_id),
    ("unknown", "must be a transaction of the gateway", _no_id),
    ("status_differs", "its status is FAILED", _failed),
    ("status_differs", r"Decide \*charged and refunded\*", _given_back),
    ("amount_differs", r"must be of RM 19\.90; got RM 29\.90.*refund it in full", _other_amount),
    ("marker_differs", "got 7QH2MZ0K4XWB", _other_marker),
    ("claimed", "explains attempt att_", _claimed),
    ("card_differs", "not among this card's orders", _other_card),
    ("card_differs", "made with another card", _other_card_that_was_read),
    ("too_early", "older than this attempt", _too_early),
]


@pytest.mark.parametrize(
    ("rule", "said", "make"), NOT_THIS_MONEY, ids=[case[2].__name__[1:] for case in NOT_THIS_MONEY]
)
def test_transaction_that_is_not_this_attempts_money_is_refused(
    rule: str, said: str, make: Callable[[Shop], tuple[PaymentAttempt, str]], shop: Shop
) -> None:
    attempt, transaction = make(shop)
    before = everything()
    with pytest.raises(ResolutionError, match=said) as refused:
        decide(shop, attempt, Resolution.CHARGED, transaction_id=transaction)
    assert (refused.value.field, refused.value.rule) == ("transaction_id", rule)
    assert str(refused.value).startswith("transaction_id: ")
    assert everything() == before


def test_a_transaction_in_another_currency_or_store_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = a_case(shop, "lost_after")
    transaction = taken(shop, attempt)
    GatewayAccount.objects.update(store_id="1")
    with pytest.raises(ResolutionError, match="must belong to store") as refused:
        decide(shop, attempt, Resolution.CHARGED, transaction_id=transaction)
    assert refused.value.rule == "store_differs"
    GatewayAccount.objects.update(store_id=shop.account.store_id)
    real = before_decision.refuse_charged

    def in_dollars(wanted: Any, store: str, named: Any, **others: Any) -> Any:
        from dataclasses import replace

        return real(wanted, store, replace(named, currency="SGD"), **others)

    monkeypatch.setattr(before_decision, "refuse_charged", in_dollars)
    with pytest.raises(ResolutionError, match="must be in MYR; got SGD"):
        decide(shop, attempt, Resolution.CHARGED, transaction_id=transaction)


SAID_WRONG: list[tuple[str, str, dict[str, Any]]] = [
    ("reason", "required", {"resolution": Resolution.NOT_CHARGED, "decision": Decision("siti", "  ")}),
    ("transaction_id", "required", {"resolution": Resolution.CHARGED}),
    ("transaction_id", "not_here", {"resolution": Resolution.DECLINED, "transaction_id": "t-1"}),
]


@pytest.mark.parametrize(("field", "rule", "said"), SAID_WRONG, ids=[f"{case[0]}-{case[1]}" for case in SAID_WRONG])
def test_invalid_decision_is_refused_before_the_gateway_is_asked(field: str, rule: str, said: dict[str, Any]) -> None:
    attempt = move_attempt(make_attempt(), "needs_review")  # its gateway does not exist
    with pytest.raises(ResolutionError) as refused:
        resolve(attempt=attempt, **{"decision": Decision("siti", WHY), "tuning": None, "now": database_now(), **said})
    assert (refused.value.field, refused.value.rule) == (field, rule)


@pytest.mark.parametrize(
    "states", [(), ("unknown",), ("declined",), ("not_sent",), ("succeeded",), ("unknown", "not_charged")]
)
def test_only_an_attempt_that_needs_review_is_decided(states: tuple[str, ...]) -> None:
    attempt = move_attempt(make_attempt(), *states)
    before = everything()
    for resolution in (Resolution.NOT_CHARGED, Resolution.DECLINED):
        with pytest.raises(ResolutionError, match=f"attempt: must need review; it is {attempt.state}"):
            resolve(
                attempt=attempt, resolution=resolution, decision=Decision("x", WHY), tuning=None, now=database_now()
            )
    with pytest.raises(ResolutionError, match="must need review"):
        release_card(attempt=attempt, decision=Decision("x", WHY), now=database_now())
    assert everything() == before


@pytest.mark.parametrize("resolution", list(Resolution))
def test_while_the_gateway_cannot_be_asked_nothing_is_decided(shop: Shop, resolution: Resolution) -> None:
    attempt = a_case(shop)
    GatewayAccount.objects.update(api_url="http://127.0.0.1:1/v3", oauth_url="http://127.0.0.1:1/v1")
    before = everything()
    with pytest.raises(GatewayUnavailableError):
        decide(shop, attempt, resolution, transaction_id="t-1" if resolution in TOOK_MONEY else "")
    assert everything() == before


def test_card_the_gateway_forgot_must_be_set_aside(shop: Shop) -> None:
    attempt = a_case(shop)
    shop.simulator.reset()
    with pytest.raises(ResolutionError, match="does not know the card any more"):
        decide(shop, attempt, Resolution.NOT_CHARGED)
    decide(shop, attempt, Resolution.NOT_CHARGED, despite_orders=[before_decision.CARD_IS_GONE])
    assert attempt.state == "not_charged"


def test_invoice_is_charged_after_a_wrong_amount_was_refunded(shop: Shop) -> None:
    attempt = a_case(shop)
    transaction = foreign_charge(shop, attempt.payment_method, amount_minor=2990, title=f"Coffee {attempt.marker}")
    with pytest.raises(ResolutionError, match="refund it in full"):
        decide(shop, attempt, Resolution.NOT_CHARGED)
    give_back(shop, transaction, 2990)
    decide(shop, attempt, Resolution.NOT_CHARGED)
    assert (attempt.state, attempt.invoice.state) == ("not_charged", "open")
    attempt.payment_method.refresh_from_db()
    assert attempt.payment_method.held_at is None


def test_a_second_decision_is_refused(shop: Shop) -> None:
    attempt = a_case(shop)
    decide(shop, attempt, Resolution.NOT_CHARGED)
    for resolution in Resolution:
        transaction = "t-1" if resolution in TOOK_MONEY else ""
        with pytest.raises(ResolutionError, match="must need review; it is not_charged"):
            decide(shop, attempt, resolution, transaction_id=transaction)


# --- a second person ----------------------------------------------------------------------------------------


@pytest.fixture
def siti() -> User:
    return person("siti")


@pytest.fixture
def mei() -> User:
    return person("mei")


def person(name: str, **columns: Any) -> User:
    user = User.objects.create(username=name, is_staff=True, password="!", **columns)
    user.user_permissions.set(Permission.objects.filter(codename="change_paymentattempt"))
    return user


def two_needed(shop: Shop, above_minor: int = 1989) -> None:
    GatewayAccount.objects.filter(pk=shop.account.pk).update(second_person_above_minor=above_minor)


def acting(user: User, reason: str = WHY) -> dict[str, Any]:
    return {"decision": Decision(user.username, reason, user.pk)}


def agree(shop: Shop, proposal: Proposal, user: User) -> Resolved:
    return confirm(proposal=proposal, tuning=shop.tuning, now=database_now(), **acting(user, "seen too"))


def test_above_the_limit_one_proposes_and_another_confirms(shop: Shop, siti: User, mei: User) -> None:
    two_needed(shop)
    attempt = a_case(shop, "lost_after")
    proposed = decide(shop, attempt, Resolution.CHARGED, transaction_id=taken(shop, attempt), **acting(siti))
    proposal = Proposal.objects.get()
    assert proposed == Resolved(AttemptState.NEEDS_REVIEW, proposal)
    assert (attempt.state, attempt.invoice.state) == ("needs_review", "open")
    assert not Evidence.objects.filter(attempt_id=attempt.pk, source="operator").exists()

    confirmed = agree(shop, proposal, mei)

    attempt.refresh_from_db()
    proposal.refresh_from_db()
    assert (confirmed.state, attempt.state, attempt.invoice.state) == ("succeeded", "succeeded", "paid")
    assert (proposal.outcome, proposal.decided_by, proposal.decided_by_user_id) == ("confirmed", "mei", mei.pk)
    detail = Evidence.objects.get(attempt_id=attempt.pk, source="operator").content["detail"]
    assert (detail["proposed_by"], detail["confirmed_by"], detail["proposal"]) == ("siti", "mei", proposal.public_id)
    assert (detail["actor"], detail["reason"]) == ("mei", WHY)
    moves = Transition.objects.filter(subject_type="proposal").order_by("pk")
    assert [(move.from_state, move.to_state, move.actor) for move in moves] == [
        ("", "open", "siti"),
        ("open", "confirmed", "mei"),
    ]
    moved = Transition.objects.get(subject_type="attempt", to_state="succeeded")
    assert (moved.reason, moved.actor) == ("decided_by_person", "mei")


@pytest.mark.parametrize(("above", "proposes"), [(None, False), (1990, False), (1989, True), (0, True)])
def test_amount_at_the_limit_needs_one_person_and_above_it_two(
    shop: Shop, siti: User, mei: User, above: int | None, proposes: bool
) -> None:
    GatewayAccount.objects.update(second_person_above_minor=above)
    attempt = a_case(shop)
    decision = decide(shop, attempt, Resolution.NOT_CHARGED, **acting(siti))
    assert (decision.proposal is not None) is proposes
    assert attempt.state == ("needs_review" if proposes else "not_charged")


def test_sole_decider_decides_alone(shop: Shop, siti: User) -> None:
    two_needed(shop)
    User.objects.create(username="left", is_staff=True, is_active=False, is_superuser=True, password="!")
    User.objects.create(username="customer", is_staff=False, is_superuser=True, password="!")
    User.objects.create(username="viewer", is_staff=True, password="!")
    attempt = a_case(shop)
    assert decide(shop, attempt, Resolution.NOT_CHARGED, **acting(siti)).proposal is None
    assert attempt.state == "not_charged"


def test_a_release_above_the_amount_is_proposed_too(shop: Shop, siti: User, mei: User) -> None:
    two_needed(shop)
    attempt = a_case(shop)
    proposed = release_card(attempt=attempt, now=database_now(), **acting(siti, WHY))
    attempt.refresh_from_db()
    assert proposed.proposal is not None
    assert attempt.released_at is None
    agree(shop, proposed.proposal, mei)
    attempt.refresh_from_db()
    assert (attempt.state, attempt.released_by) == ("needs_review", "mei")
    assert attempt.released_reason == WHY
    told = [line.text for line in explain(invoice=attempt.invoice, now=database_now(), to_staff=True).lines]
    assert f"mei released the card for other invoices (proposed by siti): {WHY}." in told


def test_nobody_confirms_a_proposal_of_their_own(shop: Shop, siti: User, mei: User) -> None:
    two_needed(shop)
    attempt = a_case(shop)
    proposal = decide(shop, attempt, Resolution.NOT_CHARGED, **acting(siti)).proposal
    assert proposal is not None
    before = everything()
    namesake = person("namesake")
    outsider = User.objects.create(username="outsider", is_staff=True, password="!")
    for name, user, rule in (
        ("siti", siti, "another_person"),
        ("renamed", siti, "another_person"),
        ("siti", namesake, "another_person"),
        ("outsider", outsider, "permission"),
    ):
        with pytest.raises(ResolutionError) as refused:
            confirm(proposal=proposal, decision=Decision(name, "", user.pk), tuning=shop.tuning, now=database_now())
        assert (refused.value.field, refused.value.rule) == ("proposal", rule)
    assert everything() == before


def test_program_may_propose_and_staff_confirm(shop: Shop, siti: User, mei: User) -> None:
    two_needed(shop)
    attempt = a_case(shop)
    proposal = decide(shop, attempt, Resolution.NOT_CHARGED, decision=Decision("api:key_1", WHY)).proposal
    assert proposal is not None
    assert proposal.proposed_by_user_id is None
    agree(shop, proposal, siti)
    attempt.refresh_from_db()
    assert attempt.state == "not_charged"


def test_a_proposal_keeps_others_out_until_it_is_decided(shop: Shop, siti: User, mei: User) -> None:
    two_needed(shop)
    attempt = a_case(shop)
    proposal = decide(shop, attempt, Resolution.NOT_CHARGED, **acting(siti)).proposal
    assert proposal is not None
    with pytest.raises(ResolutionError, match=r"proposal by siti \(not_charged\)"):
        decide(shop, attempt, Resolution.DECLINED, **acting(mei))
    with pytest.raises(ResolutionError, match=r"proposal by siti \(not_charged\)"):
        release_card(attempt=attempt, now=database_now(), **acting(mei, WHY))
    with pytest.raises(ResolutionError, match="reason"):
        reject(proposal=proposal, now=database_now(), **acting(mei, " "))
    reject(proposal=proposal, now=database_now(), **acting(mei, "the portal shows it"))
    for again in (
        lambda: agree(shop, proposal, mei),
        lambda: reject(proposal=proposal, now=database_now(), **acting(mei, "no")),
    ):
        with pytest.raises(ResolutionError, match="must be open; it is rejected"):
            again()
    last = Transition.objects.filter(subject_type="proposal").latest("pk")
    assert (last.to_state, last.actor, last.reason) == (
        "rejected",
        "mei",
        "the portal shows it",
    )
    assert decide(shop, attempt, Resolution.DECLINED, **acting(mei)).proposal is not None


def test_gateway_is_read_again_before_confirming(shop: Shop, siti: User, mei: User) -> None:
    two_needed(shop)
    attempt = a_case(shop)
    proposal = decide(shop, attempt, Resolution.NOT_CHARGED, **acting(siti)).proposal
    assert proposal is not None
    foreign_charge(shop, attempt.payment_method)
    before = everything()
    with pytest.raises(ResolutionError, match="unexplained orders"):
        agree(shop, proposal, mei)
    assert everything() == before


def test_proposal_is_overtaken_when_its_case_closes_otherwise(shop: Shop, siti: User, mei: User) -> None:
    two_needed(shop)
    attempt = a_case(shop)
    decide(shop, attempt, Resolution.NOT_CHARGED, **acting(siti))
    finding = Finding(Verdict.PERSON_NOT_CHARGED, Source.OPERATOR, reason="by another way")
    settle([AttemptFinding(attempt.marker, finding)], tuning=shop.tuning, now=database_now(), actor="engine")
    proposal = Proposal.objects.get()
    assert (proposal.outcome, proposal.decided_by) == ("overtaken", "engine")
    with pytest.raises(ResolutionError, match="must be open; it is overtaken"):
        agree(shop, proposal, mei)


# --- at the same moment -------------------------------------------------------------------------------------


def at_once(*acts: Callable[[], Any]) -> list[BaseException | None]:
    """Each in a thread with a connection of its own, all past their look at the gateway at the same moment."""
    barrier, came_of = threading.Barrier(len(acts)), []

    def run(act: Callable[[], Any]) -> None:
        try:
            barrier.wait(20)
            act()
            came_of.append(None)
        except BaseException as error:  # noqa: BLE001
            came_of.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return came_of  # type: ignore[return-value]


def meet_after_looking(monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    """Nobody goes on to decide before everybody has looked at the gateway; and nobody looks inside a transaction."""
    barrier = threading.Barrier(many)
    real = before_decision.read_all_before

    def slow(*arguments: Any, **options: Any) -> Any:
        assert not connection.in_atomic_block
        seen = real(*arguments, **options)
        assert not connection.in_atomic_block
        barrier.wait(20)
        return seen

    monkeypatch.setattr(before_decision, "read_all_before", slow)


@pytest.mark.django_db(transaction=True)
def test_of_two_people_who_decide_at_once_exactly_one_acts(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = a_case(shop)
    meet_after_looking(monkeypatch, 2)

    def act(resolution: Resolution, name: str) -> Callable[[], Resolved]:
        return lambda: resolve(
            attempt=attempt, resolution=resolution, decision=Decision(name, WHY), tuning=shop.tuning, now=database_now()
        )

    came_of = at_once(act(Resolution.NOT_CHARGED, "siti"), act(Resolution.DECLINED, "mei"))
    errors = [error for error in came_of if error is not None]
    assert [type(error) for error in errors] == [ResolutionError]
    assert "it is now" in str(errors[0])
    assert Evidence.objects.filter(attempt_id=attempt.pk, source="operator").count() == 1
    assert Transition.objects.filter(subject_type="attempt", from_state="needs_review").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_double_click_decides_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = a_case(shop, "lost_after")
    transaction, now = taken(shop, attempt), database_now()
    meet_after_looking(monkeypatch, 4)
    same: dict[str, Any] = {"resolution": Resolution.CHARGED, "transaction_id": transaction, "now": now}
    came_of = at_once(
        *[lambda: resolve(attempt=attempt, decision=Decision("siti", WHY), tuning=shop.tuning, **same)] * 4
    )
    assert sorted(type(error).__name__ for error in came_of) == ["NoneType", *["ResolutionError"] * 3]
    assert Evidence.objects.filter(attempt_id=attempt.pk, source="operator").count() == 1
    assert Event.objects.filter(kind="invoice.paid").count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_of_several_simultaneous_decisions_acts(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    siti, mei, aisyah = (person(name) for name in ("siti", "mei", "aisyah"))
    two_needed(shop)
    attempt = a_case(shop)
    proposal = decide(shop, attempt, Resolution.NOT_CHARGED, **acting(siti)).proposal
    assert proposal is not None
    came_of = at_once(
        lambda: agree(shop, proposal, mei),
        lambda: agree(shop, proposal, aisyah),
        lambda: reject(proposal=proposal, now=database_now(), **acting(aisyah, "no")),
    )
    assert sorted(type(error).__name__ for error in came_of) == ["NoneType", "ResolutionError", "ResolutionError"]
    assert Transition.objects.filter(subject_type="proposal", from_state="open").count() == 1
    assert Evidence.objects.filter(source="operator").count() <= 1


@pytest.mark.django_db(transaction=True)
def test_transaction_named_for_two_attempts_explains_one(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.simulator.set(echo=False)
    card = shop.card()
    first = a_case(shop, card=card)
    release_card(attempt=first, decision=Decision("siti", WHY), now=database_now())
    PaymentMethod.objects.update(held_at=None, held_reason="")
    second = a_case(shop, card=card)
    transaction = foreign_charge(shop, card)
    meet_after_looking(monkeypatch, 2)

    def act(attempt: PaymentAttempt) -> Callable[[], Resolved]:
        return lambda: resolve(
            attempt=attempt,
            resolution=Resolution.CHARGED,
            transaction_id=transaction,
            decision=Decision("siti", WHY),
            tuning=shop.tuning,
            now=database_now(),
        )

    came_of = at_once(act(first), act(second))
    errors = [error for error in came_of if error is not None]
    assert [type(error) for error in errors] == [ResolutionError], errors
    assert "transaction_id" in str(errors[0])
    assert PaymentAttempt.objects.filter(gateway_transaction_id=transaction).count() == 1
    assert PaymentAttempt.objects.filter(state="succeeded").count() == 1


# --- several at once ----------------------------------------------------------------------------------------


def test_bulk_decisions_are_independent_and_use_their_own_reads(shop: Shop) -> None:
    good, closed, doubtful = a_case(shop), a_case(shop), a_case(shop)
    decide(shop, closed, Resolution.NOT_CHARGED)
    foreign_charge(shop, doubtful.payment_method)
    results = resolve_many(
        attempts=[good, closed, doubtful],
        resolution=Resolution.DECLINED,
        decision=Decision("siti", "the gateway was down"),
        tuning=shop.tuning,
        now=database_now(),
    )
    assert [one.attempt.pk for one in results] == [good.pk, closed.pk, doubtful.pk]
    assert results[0].resolved == Resolved(AttemptState.DECLINED)
    assert [one.refused.rule for one in results if one.refused] == ["state", "unexplained_orders"]
    assert Evidence.objects.filter(source="operator", attempt_id=good.pk).count() == 1
    assert PaymentAttempt.objects.get(pk=doubtful.pk).state == "needs_review"


def test_of_several_those_above_the_amount_are_proposed(shop: Shop, siti: User, mei: User) -> None:
    two_needed(shop, 1990)
    small = a_case(shop)
    other = shop.card()
    shop.simulator.set_customer(other.gateway_customer_id, outcome=["dropped_before"])
    make_invoice(other, next_attempt_at=database_now(), amount_minor=500_000)
    shop.collect()
    big = PaymentAttempt.objects.get(amount_minor=500_000)
    settle([AttemptFinding(big.marker, ABSENT)], tuning=shop.tuning, now=database_now())
    same: dict[str, Any] = {"tuning": shop.tuning, "now": database_now(), **acting(siti)}
    results = resolve_many(attempts=[small, big], resolution=Resolution.NOT_CHARGED, **same)
    assert [one.resolved.state for one in results if one.resolved] == ["not_charged", "needs_review"]
    assert Proposal.objects.get().attempt_id == big.pk


def test_several_that_cannot_be_asked_about_are_each_refused(shop: Shop) -> None:
    cases = [a_case(shop), a_case(shop)]
    GatewayAccount.objects.update(api_url="http://127.0.0.1:1/v3", oauth_url="http://127.0.0.1:1/v1")
    before = everything()
    same: dict[str, Any] = {"tuning": shop.tuning, "now": database_now(), "decision": Decision("siti", WHY)}
    results = resolve_many(attempts=cases, resolution=Resolution.NOT_CHARGED, **same)
    assert [one.refused.rule for one in results if one.refused] == ["gateway_unavailable"] * 2
    assert everything() == before


def test_account_that_cannot_be_asked_blocks_no_case_of_another(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    case = a_case(shop)
    card = make_card(make_customer(make_account(name="its key is broken")))
    broken = move_attempt(make_attempt(make_invoice(card), card), "needs_review")

    def gateway_of(account: GatewayAccount) -> Any:
        if account.pk == broken.account_id:
            raise ValueError("the key cannot be read")
        return gateway_for(account)

    monkeypatch.setattr(before_decision, "gateway_for", gateway_of)
    same: dict[str, Any] = {"tuning": shop.tuning, "now": database_now(), "decision": Decision("siti", WHY)}
    results = resolve_many(attempts=[broken, case], resolution=Resolution.NOT_CHARGED, **same)
    assert results[0].refused is not None
    assert results[0].refused.rule == "gateway_unavailable"
    assert results[1].resolved == Resolved(AttemptState.NOT_CHARGED)


@pytest.mark.parametrize("releasing", [False, True])
def test_failed_case_in_bulk_leaves_the_others_reported(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, releasing: bool
) -> None:
    cases = [a_case(shop) for _ in range(3)]
    act = resolve_many_module.release_card if releasing else resolve_many_module.resolve

    def fails_for_one(*, attempt: PaymentAttempt, **given: Any) -> Resolved:
        if attempt.pk == cases[1].pk:
            raise KeyError("a bug")
        return act(attempt=attempt, **given)

    monkeypatch.setattr(resolve_many_module, "release_card" if releasing else "resolve", fails_for_one)
    same: dict[str, Any] = {"now": database_now(), "decision": Decision("siti", WHY)}
    if releasing:
        results = release_many(attempts=cases, **same)
    else:
        results = resolve_many(attempts=cases, resolution=Resolution.NOT_CHARGED, tuning=shop.tuning, **same)
    assert [one.resolved is None for one in results] == [False, True, False]
    refused = results[1].refused
    assert refused is not None
    assert (refused.field, refused.rule) == ("attempt", "failed")


@pytest.mark.parametrize(
    ("number", "changes", "rule"),
    [
        (1, {"resolution": Resolution.CHARGED}, "not_in_bulk"),
        (1, {"decision": Decision("siti", " ")}, "required"),
        (0, {}, "number"),
        (101, {}, "number"),
        (-1, {}, "repeated"),
    ],
)
def test_what_cannot_be_asked_for_several_is_refused_as_a_whole(
    number: int, changes: dict[str, Any], rule: str
) -> None:
    attempt = move_attempt(make_attempt(), "needs_review")
    attempts = [attempt, attempt] if number < 0 else [attempt] * number
    known: dict[str, Any] = {"resolution": Resolution.DECLINED, "decision": Decision("siti", WHY), "tuning": None}
    with pytest.raises(ResolutionError) as refused:
        resolve_many(attempts=attempts, now=database_now(), **{**known, **changes})
    assert refused.value.rule == rule


def test_several_cards_are_released(shop: Shop) -> None:
    first, second = (move_attempt(make_attempt(), "needs_review") for _ in range(2))
    release_card(attempt=second, decision=Decision("siti", WHY), now=database_now())
    results = release_many(attempts=[first, second], decision=Decision("siti", WHY), now=database_now())
    assert results[0].resolved is not None
    assert "already released" in str(results[1].refused)
    first.refresh_from_db()
    assert first.released_by == "siti"
    with pytest.raises(ResolutionError, match="reason"):
        release_many(attempts=[first], decision=Decision("siti", ""), now=database_now())


# --- the card -----------------------------------------------------------------------------------------------


def test_card_is_freed_with_a_reason_and_its_orders_stay_watched(shop: Shop) -> None:
    attempt = a_case(shop)
    decide(shop, attempt, Resolution.DECLINED)
    foreign_charge(shop, attempt.payment_method)
    read_card_now(attempt, tuning=shop.tuning, now=database_now())
    card = attempt.payment_method
    card.refresh_from_db()
    assert card.held_reason == "unexplained_order"
    order = GatewayOrder.objects.get(status="SUCCESS").gateway_order_id
    with pytest.raises(ResolutionError, match="reason"):
        clear_hold(card=card, decision=Decision("siti", "  "), now=database_now())

    with pytest.raises(ResolutionError, match=f"charge_although: order {order} may be the payment of"):
        clear_hold(card=card, decision=Decision("siti", "sold at the till"), now=database_now())

    cleared = clear_hold(
        card=card, decision=Decision("siti", "sold at the till"), now=database_now(), charge_although=[order]
    )
    assert (cleared.orders, cleared.proposal) == ([order], None)

    freed = Transition.objects.get(subject_type="card", to_state="free")
    assert freed.reason == f"sold at the till (orders reviewed: {order})"
    read_card_now(attempt, tuning=shop.tuning, now=database_now())
    card.refresh_from_db()
    assert card.held_at is None, "what was looked at holds the card no more"
    with pytest.raises(ResolutionError, match="must be on hold"):
        clear_hold(card=card, decision=Decision("siti", WHY), now=database_now())


def test_freeing_a_card_explains_away_nothing_of_an_open_case(shop: Shop) -> None:
    attempt = a_case(shop)
    foreign_charge(shop, attempt.payment_method)
    foreign_charge(shop, attempt.payment_method, amount_minor=7700)
    read_card_now(attempt, tuning=shop.tuning, now=database_now())
    other = GatewayOrder.objects.get(amount_minor=7700).gateway_order_id
    cleared = clear_hold(card=attempt.payment_method, decision=Decision("siti", WHY), now=database_now())
    assert cleared.orders == [other]
    candidate = GatewayOrder.objects.get(amount_minor=1990, status="SUCCESS").gateway_order_id
    assert read_case(attempt, now=database_now()).doubtful_orders == [candidate]
    with pytest.raises(ResolutionError, match=candidate):
        decide(shop, attempt, Resolution.NOT_CHARGED)
