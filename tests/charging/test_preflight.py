"""What the preflight of the tried cards forbids: nobody is charged while an earlier try may be, or become, money."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from billing.charging.reading.known import CardRead
from billing.domain.attempts import AttemptState, Finding, Source, Verdict
from billing.gateway.connection import Gateway, PreparedRequest, ReadTransaction
from billing.models import Event, Invoice, PaymentAttempt, PaymentMethod
from billing.models.clock import database_now
from billing.subscriptions.cards import make_default
from tests.charging.test_card_reading import ASKED, ORDER, OneCard, read
from tests.conftest import Shop
from tests.factories import make_invoice

REFUSED = Finding(Verdict.NOT_SENT, Source.ANSWER, reason="TOO_MANY_REQUEST_PER_SECOND", kind="throttled")


@pytest.fixture
def a_refusal_that_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway takes the first charge in, and says that it turned it away."""
    send, lies = Gateway.send, iter((True,))

    def lying(self: Gateway, prepared: PreparedRequest, *, marker: str) -> Finding:
        found = send(self, prepared, marker=marker)
        return REFUSED if next(lies, False) else found

    monkeypatch.setattr(Gateway, "send", lying)


def refused(shop: Shop, *outcomes: str) -> tuple[Invoice, PaymentMethod]:
    """An invoice whose first try was refused, and may be tried again now."""
    card = shop.card()
    assert card.gateway_customer_id
    shop.simulator.set_customer(card.gateway_customer_id, outcome=[*outcomes])
    invoice = make_invoice(card, next_attempt_at=database_now(), payment_method=None)
    shop.collect()
    assert PaymentAttempt.objects.get().state == "not_sent"
    now = database_now()
    Invoice.objects.filter(pk=invoice.pk).update(next_attempt_at=now, look_from_at=now)
    return invoice, card


@pytest.fixture
def at_work(shop: Shop) -> Iterator[None]:
    shop.simulator.set(settle_after=3600, orders_visible_after=0)
    yield
    shop.simulator.set(settle_after=5)


@pytest.mark.django_db
@pytest.mark.usefixtures("a_refusal_that_lies", "at_work")
@pytest.mark.parametrize("outcome", ["in_process_success", "odd_status"])
def test_no_retry_while_the_gateway_works_on_the_try_before(shop: Shop, outcome: str) -> None:
    invoice, _ = refused(shop, outcome, "success")
    shop.collect()
    invoice.refresh_from_db()
    assert (PaymentAttempt.objects.count(), invoice.refusal) == (1, "preflight_found_money")


@pytest.mark.django_db
@pytest.mark.usefixtures("a_refusal_that_lies")
def test_money_of_another_amount_on_the_old_card_blocks_a_retry(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.simulator.set(orders_visible_after=0)
    invoice, card = refused(shop, "success")
    read_transaction = Gateway.read_transaction

    def less(self: Gateway, transaction_id: str) -> ReadTransaction:
        found = read_transaction(self, transaction_id)
        return replace(found, transaction=replace(found.transaction, amount_minor=found.transaction.amount_minor - 1))

    monkeypatch.setattr(Gateway, "read_transaction", less)
    make_default(card=shop.card(customer=card.customer), now=database_now())
    shop.collect()
    invoice.refresh_from_db()
    card.refresh_from_db()
    assert card.held_reason == "amount_differs"
    assert Event.objects.filter(kind="attempt.alarm").count() == 1
    assert (PaymentAttempt.objects.count(), invoice.refusal) == (1, "preflight_found_money")


def seen(state: AttemptState, status: str) -> CardRead:
    """The order of an attempt in this state, without a transaction behind it."""
    return read(OneCard(replace(ORDER, status=status)), replace(ASKED, state=state), explained={"1001": (status, 1)})


@pytest.mark.parametrize(
    ("state", "status", "doubts"),
    [
        (AttemptState.UNKNOWN, "SUCCESS", ["1001"]),
        (AttemptState.DECLINED, "IN_PROCESS", ["1001"]),
        (AttemptState.NOT_SENT, "SUCCESS", ["1001"]),
        (AttemptState.NOT_CHARGED, "FAILED", []),
        (AttemptState.NEEDS_REVIEW, "SUCCESS", []),
    ],
)
def test_order_without_a_transaction_counts_if_it_may_be_money(
    state: AttemptState, status: str, doubts: list[str]
) -> None:
    assert seen(state, status).doubts == doubts
