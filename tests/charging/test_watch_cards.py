"""Which cards are read for late money, in which order, and what becomes of one that cannot be read."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from billing.charging.attempts.settle import AttemptFinding, settle
from billing.charging.cases.found_payments import decide_found
from billing.charging.cases.holds import ResolutionError
from billing.charging.reading import late_money
from billing.charging.reading.late_money import CARDS_AT_MOST, LEASE, watch
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.decisions import Decision
from billing.domain.late_money import WATCH_AFTER
from billing.gateway.connection import CardNotKnownError, GatewayUnavailableError
from billing.models import FoundPayment, GatewayAccount, PaymentAttempt, PaymentMethod
from billing.models.bulk import watching
from billing.models.bulk.sql import HeldError
from tests.conftest import SHORT
from tests.factories import (
    NOW,
    make_account,
    make_attempt,
    make_card,
    make_customer,
    make_found_payment,
    make_invoice,
    make_subscription,
    move_attempt,
)

pytestmark = pytest.mark.django_db(transaction=True)


class Gateway:
    """Lists no orders, or raises what is known for a card."""

    def __init__(self, errors: dict[str, Exception] | None = None) -> None:
        self.errors = errors or {}
        self.read: list[str] = []

    def read_orders(self, card: str) -> list[Any]:
        self.read.append(card)
        if card in self.errors:
            raise self.errors[card]
        return []


@pytest.fixture
def account() -> GatewayAccount:
    return make_account(reads_reports=False)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Gateway], Gateway]:
    def at(gateway: Gateway) -> Gateway:
        monkeypatch.setattr(late_money, "gateway_for", lambda _: gateway)
        return gateway

    return at


def watched(account: GatewayAccount, **columns: Any) -> PaymentMethod:
    return make_card(make_customer(account), **{"watch_from_at": NOW, "next_watch_at": NOW, **columns})


def run(now: Any = NOW) -> late_money.Watched:
    return watch(tuning=SHORT, clock=lambda: now, should_stop=lambda: False)


def planned(card: PaymentMethod) -> Any:
    card.refresh_from_db()
    return card.next_watch_at


def test_a_card_that_was_read_is_read_again_at_its_next_step(
    account: GatewayAccount, use: Callable[[Gateway], Gateway]
) -> None:
    use(Gateway())
    card = watched(account)
    assert run().cards == 1
    assert planned(card) == NOW + WATCH_AFTER[0]
    assert run().cards == 0
    assert run(NOW + timedelta(days=61)).cards == 1
    assert planned(card) is None


@pytest.mark.parametrize("error", [GatewayUnavailableError("no answer"), ValueError("odd"), CardNotKnownError("404")])
def test_unreadable_card_is_read_less_often_until_schedule_ends(
    account: GatewayAccount, use: Callable[[Gateway], Gateway], error: Exception
) -> None:
    card = watched(account)
    use(Gateway({card.gateway_customer_id or "": error}))
    assert run().failed == 1
    assert planned(card) == NOW + timedelta(minutes=10)
    assert run(NOW + timedelta(minutes=10)).failed == 1
    assert planned(card) == NOW + timedelta(minutes=30)
    assert run(NOW + timedelta(days=61)).failed == 1
    assert planned(card) is None


def test_last_read_that_a_held_row_kept_from_the_record_is_done_again(
    account: GatewayAccount, use: Callable[[Gateway], Gateway], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(Gateway())
    card, last = watched(account), NOW + timedelta(days=61)

    def held(*_: Any, **__: Any) -> None:
        raise HeldError("canceling statement due to lock timeout")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(late_money, "record", held)
        assert run(last).failed == 1
    assert planned(card) == last + LEASE
    assert run(last + LEASE).cards == 1


def test_a_card_that_the_gateway_forgot_keeps_no_other_waiting(
    account: GatewayAccount, use: Callable[[Gateway], Gateway]
) -> None:
    gone, other = watched(account), watched(account)
    use(Gateway({gone.gateway_customer_id or "": CardNotKnownError("404")}))
    done = run()
    assert (done.cards, done.failed) == (1, 1)
    assert planned(other) == NOW + WATCH_AFTER[0]


def test_gateway_that_is_away_is_asked_once_a_run(account: GatewayAccount, use: Callable[[Gateway], Gateway]) -> None:
    cards = [watched(account) for _ in range(3)]
    gateway = use(Gateway({card.gateway_customer_id or "": GatewayUnavailableError("away") for card in cards}))
    run()
    assert len(gateway.read) == 1
    assert sorted(planned(card) for card in cards) == [NOW, NOW, NOW + timedelta(minutes=10)]


def test_run_reads_a_limited_number_of_cards_longest_wait_first(
    account: GatewayAccount, use: Callable[[Gateway], Gateway]
) -> None:
    cards = [watched(account, next_watch_at=NOW - timedelta(minutes=n)) for n in range(CARDS_AT_MOST + 1)]
    gateway = use(Gateway())
    assert run().cards == CARDS_AT_MOST
    assert cards[0].gateway_customer_id not in gateway.read
    assert run().cards == 1


def test_open_outcomes_of_the_account_come_first(account: GatewayAccount, use: Callable[[Gateway], Gateway]) -> None:
    use(Gateway())
    watched(account)
    elsewhere = watched(make_account(reads_reports=False))
    card = make_card(make_customer(account))
    attempt = move_attempt(make_attempt(make_invoice(card), card), "unknown", next_check_at=NOW)
    assert run().cards == 1
    assert planned(elsewhere) == NOW + WATCH_AFTER[0]
    PaymentAttempt.objects.filter(pk=attempt.pk).update(next_check_at=NOW + timedelta(minutes=1))
    assert run().cards == 1


def test_a_card_whose_lease_another_run_has_is_left_to_it(account: GatewayAccount) -> None:
    watched(account)
    first = watching.claim_cards(account.pk, now=NOW, lease=LEASE, limit=9)
    assert len(first) == 1
    assert watching.claim_cards(account.pk, now=NOW, lease=LEASE, limit=9) == []
    (second,) = watching.claim_cards(account.pk, now=NOW + LEASE, lease=LEASE, limit=9)
    watching.finish_card(first[0], next_at=None, failed=False)
    assert planned(PaymentMethod.objects.get()) == second.leased_until


def test_a_decline_during_a_read_is_not_overwritten_by_it(account: GatewayAccount) -> None:
    card = watched(account)
    (claim,) = watching.claim_cards(account.pk, now=NOW, lease=LEASE, limit=9)
    later = NOW + timedelta(minutes=1)
    watching.watch([card.pk], now=later, at=later + WATCH_AFTER[0])
    watching.finish_card(claim, next_at=NOW + timedelta(days=8), failed=False)
    assert planned(card) == claim.leased_until


def ended(verdict: Verdict, **known: Any) -> PaymentMethod:
    card = make_card()
    attempt = make_attempt(make_invoice(card), card)
    settle([AttemptFinding(attempt.marker, Finding(verdict, Source.ANSWER, **known))], tuning=SHORT, now=NOW)
    card.refresh_from_db()
    return card


def test_only_cards_of_attempts_ended_without_money_are_watched() -> None:
    assert ended(Verdict.DECLINED).next_watch_at == NOW + WATCH_AFTER[0]
    assert ended(Verdict.NOT_SENT, detail={"http_status": 429}).next_watch_at == NOW + WATCH_AFTER[0]
    assert ended(Verdict.NOT_SENT, detail={"http_status": None}).next_watch_at is None
    paid = ended(Verdict.PAID, amount_minor=1990, currency="MYR", transaction_id="2001")
    assert paid.next_watch_at is None


@pytest.mark.parametrize(("state", "listed"), [("canceled", 1), ("paused", 1), ("active", 0), ("past_due", 0)])
def test_late_money_of_an_inactive_subscription_is_listed(state: str, listed: int) -> None:
    card = make_card()
    subscription = make_subscription(card, state=state, next_due_at=None)
    attempt = move_attempt(make_attempt(make_invoice(card, subscription), card), "declined")
    found = Finding(Verdict.PAID, Source.ORDER_LIST, amount_minor=1990, currency="MYR", transaction_id="2001")
    settle([AttemptFinding(attempt.marker, found)], tuning=SHORT, now=NOW)
    assert FoundPayment.objects.filter(kind="after_the_end", attempt=attempt).count() == listed


def test_money_that_is_not_late_waits_for_nobody() -> None:
    card = make_card()
    subscription = make_subscription(card, state="canceled", next_due_at=None)
    attempt = move_attempt(make_attempt(make_invoice(card, subscription), card), "unknown")
    found = Finding(Verdict.PAID, Source.ORDER_LIST, amount_minor=1990, currency="MYR", transaction_id="2001")
    settle([AttemptFinding(attempt.marker, found)], tuning=SHORT, now=NOW)
    assert FoundPayment.objects.count() == 0


def test_a_found_payment_is_decided_once_with_a_reason() -> None:
    payment = make_found_payment()
    with pytest.raises(ResolutionError, match="must state the reason"):
        decide_found(payment=payment, decision=Decision("mei", " "), now=NOW)
    decide_found(payment=payment, decision=Decision("mei", "given back"), now=NOW)
    with pytest.raises(ResolutionError, match="must be undecided"):
        decide_found(payment=payment, decision=Decision("siti", "no"), now=NOW)
    payment.refresh_from_db()
    assert (payment.decided_by, payment.decided_reason) == ("mei", "given back")
