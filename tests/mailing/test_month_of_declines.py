"""A month in the life of customers whose card declines, on the clock of the simulator.

What is expected of each stands in a table: on which days it is tried, what becomes of invoice and subscription, and
which mails it gets. The days are those that the preview of its policy names."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from billing.accounts.dunning_policies import assign_policy
from billing.audit.invariants import gateway_violations, ledger_violations, violations
from billing.charging.attempts.charge_now import charge_now
from billing.charging.cases.retry_now import retry_now
from billing.charging.cases.ways_out import pay_elsewhere, void
from billing.domain.closing import PaidBy
from billing.domain.decisions import Decision
from billing.domain.dunning import Scope, preview
from billing.mailing.send import send_due
from billing.models import Invoice, Message, PaymentAttempt, PaymentMethod, Subscription
from billing.models.bulk.dunning import policy_value
from billing.subscriptions.cards import make_default
from tests.charging.days import DAY, NOON, Days
from tests.conftest import Shop
from tests.factories import make_mail, make_policy, set_dunning
from tests.mailing.sink import Sink

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
WHY = Decision("mei", "the customer called")
GOOD = "4111111111111111"
LAST_DAY = 30


def new_card(days: Days, invoice: Invoice) -> None:
    """As by the link in a mail: the customer saves a card, and it becomes the default."""
    make_default(card=days.shop.card(GOOD, invoice.customer), now=days.now)


def paid_in_cash(days: Days, invoice: Invoice) -> None:
    pay_elsewhere(
        invoice=invoice,
        method=PaidBy.CASH,
        reference="receipt 7",
        paid_date=days.now.date(),
        decision=WHY,
        now=days.now,
    )


def voided(days: Days, invoice: Invoice) -> None:
    void(invoice=invoice, decision=WHY, now=days.now)


def retried(days: Days, invoice: Invoice) -> None:
    retry_now(invoice=invoice, decision=WHY, now=days.now)


@dataclass(frozen=True, slots=True)
class Life:
    """A customer, and what is expected. `acts`: on a day of the month, before anything is charged. `by_hand`: days on
    which a try was somebody's wish and not the policy's."""

    who: str
    outcomes: tuple[str, ...]
    tried: tuple[int, ...]
    invoice: str
    subscription: str
    mails: tuple[str, ...]
    plan: str = "default"
    acts: tuple[tuple[int, Callable[[Days, Invoice], None]], ...] = ()
    by_hand: tuple[int, ...] = ()


FAILED, WARNED, RECEIPT, ENDED, PAUSED = "payment_failed", "last_warning", "receipt", "ended", "paused"
DECLINED = ("decline_51",)
LIVES = [
    Life("soft, once", ("decline_51", "success"), (0, 3), "paid", "active", (FAILED, RECEIPT)),
    Life("soft, twice", (*DECLINED * 2, "success"), (0, 3, 7), "paid", "active", (FAILED, FAILED, RECEIPT)),
    Life("stolen", ("decline_43",), (0,), "uncollectible", "canceled", (FAILED, WARNED, ENDED)),
    Life("silent", ("decline_9010",), (0, 3, 7, 14), "uncollectible", "canceled", (FAILED, FAILED, WARNED, ENDED)),
    Life(
        "expired, pays by the card link", ("decline_54",), (0, 5), "paid", "active", (FAILED, RECEIPT),
        acts=((5, new_card),), by_hand=(5,),
    ),
    Life("pays elsewhere", DECLINED, (0, 3), "paid", "active", (FAILED, FAILED), acts=((4, paid_in_cash),)),
    Life("owes nothing", DECLINED, (0,), "void", "active", (FAILED,), acts=((1, voided),)),
    Life(
        "retried by a person", ("decline_51", "decline_51", "success"), (0, 1, 3), "paid", "active",
        (FAILED, FAILED, RECEIPT), acts=((1, retried),), by_hand=(1,),
    ),
    Life(
        "soft, paid on a pay day", (*DECLINED * 3, "success"), (0, 3, 7, 23), "paid", "active",
        (WARNED, RECEIPT), plan="pay days",
    ),
    Life(
        "declined to the end", DECLINED, (0, 3, 7, 23), "uncollectible", "paused", (WARNED, FAILED, PAUSED),
        plan="pay days",
    ),
    Life(
        "pays in the grace", DECLINED, (0, 3, 7, 23, 26), "paid", "active", (WARNED, FAILED, RECEIPT), plan="pay days",
        acts=((26, new_card),), by_hand=(26,),
    ),
    Life("one-off", DECLINED, (0,), "uncollectible", "", (FAILED,), plan=""),
]  # fmt: skip


@pytest.fixture
def days(shop: Shop) -> Iterator[Days]:
    shop.tuning = replace(shop.tuning, total=timedelta(seconds=100))
    shop.simulator.reset()
    found = Days(shop)
    found.go_to(NOON)
    yield found
    shop.simulator.clock(real=True, skew=0)


def begin(days: Days) -> dict[str, Invoice]:
    """Each customer's first charge, by name."""
    account = days.shop.account
    set_dunning(account, one_off_retry_days=[])
    plans = {"default": days.plan(code="club"), "pay days": days.plan(code="tea")}
    pay_days = make_policy(
        account,
        retry_days=[3, 7, 20],
        prefer_days=[*range(1, 8), *range(25, 32)],
        grace_days=5,
        final_action="pause",
        quiet_tries=[1, 2],
    )
    assign_policy(policy=pay_days, scope=Scope.PLAN, plan_code="tea", reason="wages", actor="mei", now=days.now)
    cards: dict[str, PaymentMethod] = {}
    for life in LIVES:
        cards[life.who] = card = days.shop.card(GOOD)
        days.charges_will(card, *life.outcomes)
        if life.plan:
            days.subscribe(plans[life.plan], card)
        else:
            charge_now(
                customer=card.customer, amount_minor=1990, currency="MYR", description="Beans", actor="mei",
                now=days.now, payment_method=card,
            )  # fmt: skip
    days.run()
    return {who: Invoice.objects.get(customer=card.customer) for who, card in cards.items()}


def live_a_month(days: Days, invoices: dict[str, Invoice]) -> None:
    for day in range(LAST_DAY + 1):
        days.go_to(NOON + day * DAY)
        for life in LIVES:
            for when, act in life.acts:
                if when == day:
                    act(days, Invoice.objects.select_related("account").get(pk=invoices[life.who].pk))
        days.run()
        send_due(clock=lambda: days.now, should_stop=lambda: False)


def tried_on(invoice: Invoice) -> tuple[int, ...]:
    tried = PaymentAttempt.objects.filter(invoice=invoice).order_by("number").values_list("armed_at", flat=True)
    return tuple((at - NOON).days for at in tried)


def named_by_the_preview(invoice: Invoice) -> list[int]:
    policy = invoice.dunning_policy
    assert policy is not None
    assert invoice.first_tried_at is not None
    shown = preview(policy_value(policy), invoice.first_tried_at, subscription=invoice.subscription is not None)
    return [(one.at - NOON).days for one in shown.tries]


def test_a_month_of_declines_goes_as_the_previews_say(days: Days, sink: Sink) -> None:
    make_mail(days.shop.account)
    before = dict(days.shop.simulator.requests()["by_marker"])
    invoices = begin(days)
    live_a_month(days, invoices)

    for life in LIVES:
        invoice = Invoice.objects.select_related("subscription", "dunning_policy__account").get(
            pk=invoices[life.who].pk
        )
        assert tried_on(invoice) == life.tried, life.who
        by_policy = [day for day in life.tried if day not in life.by_hand]
        assert by_policy == named_by_the_preview(invoice)[: len(by_policy)], life.who
        state = invoice.subscription.state if invoice.subscription else ""
        assert (invoice.state, state) == (life.invoice, life.subscription), life.who
        sent = Message.objects.filter(customer_id=invoice.customer_id, state="sent").exclude(kind="notice")
        assert Counter(sent.values_list("kind", flat=True)) == Counter(life.mails), life.who

    assert len(sink.mails) == Message.objects.filter(state="sent").count()
    paid = [life for life in LIVES if life.invoice == "paid" and (4, paid_in_cash) not in life.acts]
    taken = [one for one in days.shop.simulator.charges() if one["status"] == "SUCCESS"]
    assert len(taken) == len(paid)
    assert Subscription.objects.filter(state="past_due").count() == 0
    assert violations(now=days.now, tuning=days.shop.tuning) == []
    assert gateway_violations(now=days.now) == []
    posts = days.shop.simulator.requests()["by_marker"]
    since = {marker: count - before.get(marker, 0) for marker, count in posts.items() if count > before.get(marker, 0)}
    judged = ledger_violations(account_id=days.shop.account.pk, charges=days.shop.simulator.charges(), posts=since)
    assert list(judged) == []
