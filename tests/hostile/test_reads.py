"""Reads that are too old, too early, driven by others, or impossible. The judge is the gateway's own ledger.

One clock, the test's own, is that of the engine and of the simulator."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.db.models import F

from billing.audit.invariants import ledger_violations, violations
from billing.callbacks.hints import Hint, check_sooner
from billing.charging.cases.clear_hold import clear_hold
from billing.charging.cases.holds import go_on_without
from billing.charging.cases.resolve import ResolutionError, resolve
from billing.charging.cases.retry_now import retry_now
from billing.charging.collecting.collect import collect
from billing.charging.reading import before_decision
from billing.domain.attempts import AttemptState
from billing.domain.decisions import Decision
from billing.domain.resolution import Resolution
from billing.gateway.connection import (
    CardNotKnownError,
    Gateway,
    GatewayUnavailableError,
    ListedOrder,
    ReadTransaction,
    TransactionNotKnownError,
)
from billing.gateway.connection import clock as gateway_clock
from billing.models import Event, GatewayAccount, Invoice, PaymentAttempt, PaymentMethod
from billing.subscriptions.cards import make_default
from rm_gateway.client import Client
from rm_gateway.models import OddOrder, Order
from tests.conftest import Shop
from tests.factories import make_invoice

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)  # in Malaysia
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SHIPPED = tuple(timedelta(seconds=s) for s in (120, 300, 900, 3600, 21_600))
SHIPPED_REPORTS = tuple(timedelta(seconds=s) for s in (180_000, 216_000, 259_200))
SENDER_DEADLINE = timedelta(seconds=125)
CUSTOMERS = 8


@dataclass(slots=True)
class World:
    """The shop with the shipped waits, under a clock that the test moves."""

    shop: Shop
    now: datetime = NOON

    def go_to(self, now: datetime) -> None:
        self.now = now
        self.shop.simulator.clock(skew=now.timestamp() - time.time())
        gateway_clock.align(now)

    def step_the_databases_clock_to(self, now: datetime) -> None:
        """The gateway's clock goes on as it was."""
        self.now = now
        gateway_clock.align(now)

    def collect(self) -> int:
        tuning, now = self.shop.tuning, self.now
        return collect(tuning=tuning, clock=lambda: now, should_stop=lambda: False, worker="test").armed

    def work_until(self, end: datetime, *, step: timedelta = MINUTE) -> None:
        """What workers do, every `step`."""
        while self.now < end:
            self.go_to(min(self.now + step, end))
            self.shop.sweep(self.now)
            self.shop.reconcile(self.now)
            self.collect()

    def account(self, **columns: object) -> None:
        GatewayAccount.objects.filter(pk=self.shop.account.pk).update(**columns)
        self.shop.account.refresh_from_db()

    def due(self, card: PaymentMethod | None = None) -> Invoice:
        return make_invoice(card or self.shop.card(), next_attempt_at=self.now)

    def captures_too_many(self) -> int:
        """What the gateway took beyond once for each of its customers."""
        own = set(PaymentMethod.objects.filter(account=self.shop.account).values_list("gateway_customer_id", flat=True))
        taken = [one["customer_id"] for one in self.shop.simulator.charges() if one["status"] == "SUCCESS"]
        return sum(taken.count(customer) - 1 for customer in own & set(taken))

    def state(self, invoice: Invoice) -> tuple[str, str | None]:
        invoice.refresh_from_db()
        return invoice.state, invoice.refusal


@pytest.fixture
def world(shop: Shop) -> Iterator[World]:
    # The senders' own deadline is real time here; that of the protocol is the shipped one.
    shop.tuning = replace(
        shop.tuning,
        window=timedelta(seconds=20),
        total=timedelta(seconds=100),
        ladder=SHIPPED,
        report_ladder=SHIPPED_REPORTS,
        reversed_settles_after=20 * MINUTE,
        senders=CUSTOMERS + 1,  # one of them looks after the token
    )
    found = World(shop)
    found.go_to(NOON)
    yield found
    shop.simulator.clock(real=True, skew=0)


def refuse(world: World, card: PaymentMethod, *outcomes: str) -> None:
    assert card.gateway_customer_id
    world.shop.simulator.set_customer(card.gateway_customer_id, outcome=[*outcomes])


# --- A4 and A9: refusals that lie ---------------------------------------------------------------------------

TOO_MANY = (429, "TOO_MANY_REQUEST_PER_SECOND")
TOKEN = (401, "TOKEN_INVALID")


@pytest.mark.parametrize("wish", ["none", "tried now by a person"])
def test_retry_never_relies_on_a_read_made_before_the_last_try(world: World, wish: str) -> None:
    """A4: a true 429, then a 429 although the charge was made; lists complete and instant. 8 of 8 before."""
    world.shop.simulator.set(error_charge=TOO_MANY)
    cards = [world.shop.card() for _ in range(CUSTOMERS)]
    for card in cards:
        refuse(world, card, "error_before", "error_after")
        world.due(card)
    assert world.collect() == CUSTOMERS
    # The second try, on a look of its own; then the third, while that look is still fresh.
    for _ in range(60):
        world.go_to(world.now + timedelta(seconds=10))
        if wish != "none":
            for invoice in Invoice.objects.filter(state="open", next_attempt_at__isnull=False):
                retry_now(invoice=invoice, decision=Decision("siti", "the customer waits"), now=world.now)
        world.collect()

    assert world.captures_too_many() == 0
    assert Invoice.objects.filter(state="paid").count() == CUSTOMERS
    assert not list(violations(now=world.now, tuning=world.shop.tuning))


def test_arming_takes_back_every_read_and_every_lease(world: World) -> None:
    """A4: while an attempt is not settled, no look that began before its deadline permits another."""
    attempt = unanswered(world, "dropped_before")
    invoice = Invoice.objects.get(pk=attempt.invoice_id)
    assert (invoice.look_from_at, invoice.lease_token) == (attempt.deadline_at, 1)


@pytest.mark.parametrize("error", [TOO_MANY, TOKEN], ids=["429", "401"])
@pytest.mark.parametrize("lag", [10 * MINUTE, 60 * MINUTE], ids=["10 min", "60 min"])
def test_refusal_that_lies_charges_nobody_twice_within_the_lag(
    world: World, error: tuple[int, str], lag: timedelta
) -> None:
    """A9: 16 (429) and 7 (401) captures too many for 8 customers before."""
    world.account(list_lag_seconds=3600)
    world.shop.simulator.set(error_charge=error, orders_visible_after=lag.total_seconds())
    for _ in range(CUSTOMERS):
        card = world.shop.card()
        refuse(world, card, "error_after", "error_after")
        world.due(card)
    world.collect()
    world.work_until(NOON + 3 * HOUR, step=5 * MINUTE)

    assert world.captures_too_many() == 0
    assert Invoice.objects.filter(state="paid").count() == CUSTOMERS


@pytest.mark.parametrize(
    ("setting", "lag", "too_many"),
    [
        (0, 10 * MINUTE, 2),
        (0, 90 * MINUTE, 4),
        (600, 90 * MINUTE, 3),
        (3600, 90 * MINUTE, 1),
        (7200, 90 * MINUTE, 0),
    ],
)
def test_what_remains_when_lists_lag_longer_than_the_setting(
    world: World, setting: int, lag: timedelta, too_many: int
) -> None:
    """A9: refusals that lie each time, for five hours. What one customer is charged too often."""
    world.account(list_lag_seconds=setting)
    world.shop.simulator.set(error_charge=TOO_MANY, orders_visible_after=lag.total_seconds())
    card = world.shop.card()
    refuse(world, card, *["error_after"] * 30)
    world.due(card)
    world.collect()
    world.work_until(NOON + 5 * HOUR, step=5 * MINUTE)
    assert world.captures_too_many() == too_many


def test_retry_request_waits_for_the_lists_and_shows_why(world: World) -> None:
    """A9: a person or a system that asks for a try now gets one as soon as a look can show the last one."""
    world.account(list_lag_seconds=3600)
    world.shop.simulator.set(error_charge=TOO_MANY)
    card = world.shop.card()
    refuse(world, card, "error_before")
    invoice = world.due(card)
    world.collect()
    invoice.refresh_from_db()
    assert invoice.next_attempt_at == invoice.look_from_at == NOON + SENDER_DEADLINE + HOUR

    world.go_to(NOON + 30 * MINUTE)
    at = retry_now(invoice=invoice, decision=Decision("siti", "the customer waits"), now=world.now)
    assert at == invoice.look_from_at
    assert world.collect() == 0
    assert world.state(invoice) == ("open", "lists_may_lag")
    assert invoice.next_attempt_at == invoice.look_from_at
    world.work_until(NOON + 64 * MINUTE, step=MINUTE)
    assert world.state(invoice) == ("paid", None)


def test_invoice_due_in_some_other_way_waits_for_the_lists_too(world: World) -> None:
    """A9: a new card, say, makes open invoices due; the sweep says until when they wait."""
    world.account(list_lag_seconds=3600)
    world.shop.simulator.set(error_charge=TOO_MANY)
    card = world.shop.card()
    refuse(world, card, "error_after")
    invoice = world.due(card)
    world.collect()
    world.go_to(NOON + 10 * MINUTE)
    Invoice.objects.filter(pk=invoice.pk).update(next_attempt_at=world.now)
    assert world.collect() == 0
    world.shop.sweep(world.now)
    assert world.state(invoice) == ("open", "lists_may_lag")
    assert invoice.next_attempt_at == invoice.look_from_at


def test_what_never_left_this_machine_waits_for_no_list(world: World) -> None:
    """A9: refused connections are as provable as ever: the next try waits its minute, not the lists' lag."""
    world.account(list_lag_seconds=3600)
    invoice, address = world.due(), world.shop.account.api_url
    world.account(api_url="http://127.0.0.1:9/v3")
    world.collect()
    world.account(api_url=address)
    invoice.refresh_from_db()
    assert (invoice.attempts.get().state, invoice.look_from_at) == ("not_sent", NOON)
    world.work_until(NOON + 2 * MINUTE)
    assert world.state(invoice) == ("paid", None)


# --- A7: hints that are forged ------------------------------------------------------------------------------


def unanswered(world: World, outcome: str) -> PaymentAttempt:
    """An attempt whose answer is lost at a gateway whose lists show nothing of it for now."""
    card = world.shop.card()
    world.shop.simulator.set(orders_visible_after="never")
    refuse(world, card, outcome)
    invoice = world.due(card)
    world.collect()
    attempt = invoice.attempts.get()
    assert attempt.state == "unknown"
    return attempt


def hint(world: World, attempt: PaymentAttempt) -> int:
    return check_sooner(hint=Hint(attempt.gateway_customer_id, None), now=world.now)


def test_forged_hints_hasten_no_review_and_few_reads_are_made(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A7: a notify every 10 s to the open endpoint. A taken charge was *absent* after 60 s instead of 50 h."""
    attempt = unanswered(world, "lost_after")
    reads: list[datetime] = []
    read_orders = Gateway.read_orders
    monkeypatch.setattr(Gateway, "read_orders", lambda *a: reads.append(world.now) or read_orders(*a))
    while world.now < NOON + 20 * MINUTE:
        world.go_to(world.now + timedelta(seconds=10))
        hint(world, attempt)
        world.shop.reconcile(world.now)
    attempt.refresh_from_db()
    assert (attempt.state, attempt.checks_done) == ("unknown", 3), "2, 5 and 15 minutes"
    assert len(reads) <= 20 * 2 + attempt.checks_done

    for hours in (5, 7, 30, 49):
        world.go_to(NOON + hours * HOUR)
        for _ in range(20):
            hint(world, attempt)
            world.go_to(world.now + timedelta(seconds=30))
            world.shop.reconcile(world.now)
    attempt.refresh_from_db()
    assert (attempt.state, attempt.checks_done) == ("unknown", 5), "nothing before 50 hours but what was due"

    # A hint that is true closes it, also before the last rung.
    world.shop.simulator.set(orders_visible_after=0)
    assert hint(world, attempt) == 1
    world.go_to(world.now + MINUTE)
    world.shop.reconcile(world.now)
    attempt.refresh_from_db()
    assert attempt.state == "succeeded"
    assert world.captures_too_many() == 0


def test_a_hint_that_comes_while_the_card_is_read_is_not_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A7: the read may have begun before what the hint tells of."""
    attempt = unanswered(world, "lost_after")
    world.go_to(NOON + 2 * MINUTE)
    read_orders, hinted = Gateway.read_orders, []

    def hinted_meanwhile(gateway: Gateway, card: str) -> list[ListedOrder]:
        found = read_orders(gateway, card)
        hinted.append(hint(world, attempt))
        connection.close()
        return found

    monkeypatch.setattr(Gateway, "read_orders", hinted_meanwhile)
    world.shop.reconcile(world.now)
    assert hinted == [1]
    monkeypatch.undo()
    world.shop.simulator.set(orders_visible_after=0)
    world.go_to(NOON + 2 * MINUTE + timedelta(seconds=40))
    world.shop.reconcile(world.now)
    attempt.refresh_from_db()
    assert attempt.state == "succeeded"


# --- B6: cards that cannot be read --------------------------------------------------------------------------


def declined_on_an_old_card(world: World) -> tuple[Invoice, PaymentMethod, PaymentMethod]:
    """An invoice that was declined on the customer's old card, and is due on the new one."""
    old = world.shop.card("4000000000000002")
    invoice = make_invoice(old, payment_method=None, next_attempt_at=world.now)
    world.collect()
    assert invoice.attempts.get().state == "declined"
    new = world.shop.card(customer=old.customer)
    make_default(card=new, now=world.now)
    world.go_to(world.now + HOUR)
    Invoice.objects.filter(pk=invoice.pk).update(next_attempt_at=world.now)
    return invoice, old, new


def break_list(monkeypatch: pytest.MonkeyPatch, card: PaymentMethod, error: type[GatewayUnavailableError]) -> None:
    read_orders = Gateway.read_orders

    def broken(gateway: Gateway, customer: str) -> list[ListedOrder]:
        if customer == card.gateway_customer_id:
            raise error("not found: RM knows nothing under this id (HTTP 404, CUSTOMER_NOT_FOUND)")
        return read_orders(gateway, customer)

    monkeypatch.setattr(Gateway, "read_orders", broken)


@pytest.mark.parametrize("error", [CardNotKnownError, GatewayUnavailableError], ids=["forgotten", "not readable"])
def test_unreadable_old_card_does_not_block_the_new_one_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch, error: type[GatewayUnavailableError]
) -> None:
    """B6: the gateway forgot the old card. The new one was never charged, and nobody was told."""
    invoice, old, new = declined_on_an_old_card(world)
    break_list(monkeypatch, old, error)
    began = world.now
    with pytest.raises(ResolutionError, match="can be read"):
        go_on_without(card=old, decision=Decision("siti", "the portal shows nothing"), now=world.now)
    world.work_until(began + 23 * HOUR, step=HOUR)
    assert world.state(invoice) == ("open", "preflight_missing")
    world.work_until(began + 26 * HOUR, step=HOUR)

    assert world.state(invoice) == ("open", "card_unreadable")
    assert Event.objects.filter(kind="payment_method.unreadable", subject_id=old.pk).count() == 1
    assert go_on_without(card=old, decision=Decision("siti", "the portal shows nothing"), now=world.now) == 1
    world.work_until(world.now + 3 * MINUTE)
    assert world.state(invoice) == ("paid", None)
    assert invoice.attempts.latest("id").payment_method_id == new.pk
    assert world.captures_too_many() == 0


def test_card_that_was_given_up_is_not_charged_until_readable(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """B6: a person went on without the old card's orders; that permits no charge of the old card itself."""
    invoice, old, _ = declined_on_an_old_card(world)
    with monkeypatch.context() as broken:
        break_list(broken, old, CardNotKnownError)
        world.work_until(world.now + 26 * HOUR, step=HOUR)
        go_on_without(card=old, decision=Decision("siti", "the portal shows nothing"), now=world.now)
        world.work_until(world.now + 3 * MINUTE)
        assert world.state(invoice) == ("paid", None)
        later = make_invoice(old, next_attempt_at=world.now)
        world.work_until(world.now + 2 * HOUR, step=20 * MINUTE)
        assert world.state(later) == ("open", "card_unreadable")
        assert later.attempts.count() == 0
    world.work_until(world.now + 3 * HOUR, step=20 * MINUTE)
    assert later.attempts.count() == 1
    old.refresh_from_db()
    assert (old.unread_since, old.unreadable_at, old.given_up_at) == (None, None, None)


class _Odd:
    """The client's order list, with a record of one customer that nobody understands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, card: PaymentMethod) -> None:
        self.records = [OddOrder.of({"id": "777001", "status": 7}, "status is no text")]
        list_records = Client.list_records

        def with_odd(client: Client, customer: str) -> tuple[Order | OddOrder, ...]:
            found = list_records(client, customer)
            return (*found, *self.records) if customer == card.gateway_customer_id else found

        monkeypatch.setattr(Client, "list_records", with_odd)


def test_odd_record_in_an_old_cards_list_is_reviewed_and_cleared(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """B6: one odd record in the old card's list. The new card was never charged."""
    invoice, old, new = declined_on_an_old_card(world)
    _Odd(monkeypatch, old)
    world.work_until(world.now + 2 * MINUTE)
    assert world.state(invoice) == ("open", "preflight_found_money")
    old.refresh_from_db()
    assert old.held_reason == "unexplained_order"
    assert Event.objects.get(kind="payment_method.unexplained_order").payload["order"] == "777001"

    cleared = clear_hold(card=old, decision=Decision("siti", "a test record of theirs"), now=world.now)
    assert cleared.orders == ["777001"]
    world.work_until(world.now + 20 * MINUTE)
    assert world.state(invoice) == ("paid", None)
    assert invoice.attempts.latest("id").payment_method_id == new.pk


def test_absence_is_not_concluded_while_an_odd_record_stands(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """B6: an unknown attempt on a card with an odd record could never be decided."""
    world.account(retry_after_absence_hours=24)
    attempt = unanswered(world, "dropped_before")
    _Odd(monkeypatch, attempt.payment_method)
    world.work_until(NOON + 80 * HOUR, step=HOUR)
    attempt.refresh_from_db()
    assert (attempt.state, attempt.state_reason) == ("needs_review", "still_orders_in_doubt")
    with pytest.raises(ResolutionError, match="777001"):
        decide(world, attempt)
    decide(world, attempt, "777001")
    attempt.refresh_from_db()
    assert attempt.state == "not_charged"

    world.shop.simulator.set(orders_visible_after=0)
    found = unanswered_on(world, attempt.payment_method)
    assert found.state == "succeeded"


def unanswered_on(world: World, card: PaymentMethod) -> PaymentAttempt:
    """Another charge of the card whose answer is lost, after the odd record was looked at."""
    PaymentMethod.objects.filter(pk=card.pk).update(held_at=None, held_reason="")
    refuse(world, card, "lost_after")
    invoice = make_invoice(card, next_attempt_at=world.now)
    world.collect()
    world.work_until(world.now + 3 * MINUTE)
    return invoice.attempts.get()


def decide(world: World, attempt: PaymentAttempt, *despite: str) -> None:
    resolve(
        attempt=attempt,
        resolution=Resolution.NOT_CHARGED,
        decision=Decision("siti", "the portal shows nothing"),
        tuning=world.shop.tuning,
        now=world.now,
        despite_orders=list(despite),
    )


def test_unknown_attempt_on_an_unreadable_card_comes_to_review(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """B6: for ever "the gateway could not be read", and no way to say what became of the charge."""
    attempt = unanswered(world, "dropped_before")
    break_list(monkeypatch, attempt.payment_method, GatewayUnavailableError)
    world.work_until(NOON + 2 * HOUR, step=20 * MINUTE)
    with pytest.raises(GatewayUnavailableError):
        before_decision.read_before(attempt)
    world.work_until(NOON + 74 * HOUR, step=HOUR)
    attempt.refresh_from_db()
    assert (attempt.state, attempt.state_reason) == ("needs_review", "reads_keep_failing")

    with pytest.raises(ResolutionError, match="card_not_readable"):
        decide(world, attempt)
    decide(world, attempt, before_decision.CARD_IS_UNREADABLE)
    attempt.refresh_from_db()
    assert attempt.state == "not_charged"


def test_unknown_transaction_does_not_mean_that_the_card_is_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """B6: a 404 of a transaction was taken for "card gone", with which a person closes an attempt."""
    attempt = unanswered(world, "lost_after")
    world.shop.simulator.set(orders_visible_after=0)

    def unknown(_: Gateway, transaction_id: str) -> ReadTransaction:
        raise TransactionNotKnownError(f"not found: {transaction_id}")

    with monkeypatch.context() as broken:
        broken.setattr(Gateway, "read_transaction", unknown)
        world.work_until(NOON + 80 * HOUR, step=HOUR)
        attempt.refresh_from_db()
        assert (attempt.state, attempt.state_reason) == ("needs_review", "still_orders_in_doubt")
        seen = before_decision.read_before(attempt)
        assert seen.read is not None
        assert [order.status for order in seen.orders] == ["SUCCESS"]
        with pytest.raises(ResolutionError, match="unexplained orders"):
            decide(world, attempt, before_decision.CARD_IS_GONE, before_decision.CARD_IS_UNREADABLE)
    with pytest.raises(ResolutionError, match="of this attempt"):
        decide(world, attempt)


# --- B8: a clock that went forward and back -----------------------------------------------------------------


def test_check_planned_before_a_clock_was_set_back_is_made_now(world: World) -> None:
    """B8: 14 unknowns were not looked at for 40 days."""
    world.shop.simulator.set(timestamp_window=0)
    before = [unanswered(world, "lost_after") for _ in range(3)]
    ahead = NOON + 40 * DAY
    world.step_the_databases_clock_to(ahead)
    during = []
    for _ in range(3):
        during.append(unanswered(world, "lost_after"))
        world.step_the_databases_clock_to(world.now + timedelta(seconds=2))  # the pause after it is over
    for _ in range(2):
        world.step_the_databases_clock_to(world.now + 6 * MINUTE)
        world.shop.reconcile(world.now)
    waiting = PaymentAttempt.objects.filter(state="unknown", next_check_at__gt=ahead)
    assert waiting.count() == len(before) + len(during)

    world.shop.simulator.set(orders_visible_after=0)
    world.step_the_databases_clock_to(NOON + 20 * MINUTE)
    world.shop.reconcile(world.now)
    assert PaymentAttempt.objects.filter(state="succeeded").count() == len(before) + len(during)
    assert world.captures_too_many() == 0


def test_absence_takes_its_usual_time_after_a_clock_was_set_back(world: World) -> None:
    """B8: an attempt that was armed forty days ahead still comes to a person, after the ladder's own time."""
    world.go_to(NOON + 40 * DAY)
    attempt = unanswered(world, "dropped_before")
    world.go_to(NOON)
    world.work_until(NOON + 71 * HOUR, step=HOUR)
    attempt.refresh_from_db()
    assert attempt.state == "unknown"
    world.work_until(NOON + 76 * HOUR, step=HOUR)
    attempt.refresh_from_db()
    assert (attempt.state, attempt.state_reason) == ("needs_review", "absent_no_report")


def test_invoice_planned_before_a_clock_was_set_back_is_tried(world: World) -> None:
    """B8: declined forty days ahead, due three days after that: it is not waited for."""
    world.go_to(NOON + 40 * DAY)
    card = world.shop.card("4000000000000366")  # declines once, then succeeds
    invoice = world.due(card)
    world.collect()
    Invoice.objects.filter(pk=invoice.pk).update(lease_until=F("next_attempt_at"))
    world.go_to(NOON)
    world.work_until(NOON + 5 * MINUTE)
    assert world.state(invoice) == ("paid", None)
    assert world.captures_too_many() == 0


def test_the_ledger_and_the_audit_agree_after_all_of_it(world: World) -> None:
    """A4, A9: what the audit says of a shop whose refusals lied within the setting."""
    world.account(list_lag_seconds=600)
    world.shop.simulator.set(error_charge=TOO_MANY, orders_visible_after=300)
    card = world.shop.card()
    refuse(world, card, "error_before", "error_after")
    invoice = world.due(card)
    world.collect()
    world.work_until(NOON + HOUR)
    assert world.state(invoice) == ("paid", None)
    own = {attempt.marker for attempt in PaymentAttempt.objects.all()}
    posts = world.shop.simulator.requests()["by_marker"]
    found = ledger_violations(
        account_id=world.shop.account.pk,
        charges=world.shop.simulator.charges(),
        posts={marker: count for marker, count in posts.items() if marker in own},
        refund_posts={},
    )
    assert [str(one) for one in found] == []
    assert {state for (state,) in PaymentAttempt.objects.values_list("state")} <= {
        AttemptState.NOT_SENT.value,
        AttemptState.SUCCEEDED.value,
    }
