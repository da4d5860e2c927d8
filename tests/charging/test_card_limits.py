"""Cards that decline: how often they are tried, tries that are not made, and what frees a card."""

from datetime import datetime, timedelta

import pytest

from billing.charging.attempts import avoid as avoiding
from billing.charging.attempts.avoid import avoid
from billing.charging.attempts.charge_now import ChargeNowError, charge_now
from billing.charging.attempts.settle import AttemptFinding, settle
from billing.charging.cases.retry_now import RetryError, retry_now
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.decisions import Decision
from billing.domain.declines import DeclineKind
from billing.models import Event, Invoice, Message, PaymentAttempt, PaymentMethod, Transition
from billing.models.clock import database_now
from billing.subscriptions.cards import make_default
from tests.conftest import SHORT, Shop
from tests.factories import NOW, make_attempt, make_card, make_invoice, make_subscription, set_dunning

DECLINES, STOLEN, DECLINES_ONCE = "4000000000000002", "4000000000000192", "4000000000000366"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
WHY = Decision("siti", "the customer asked")


def period(card: PaymentMethod, index: int = 0) -> Invoice:
    """A due period of a running subscription on the card."""
    subscription = make_subscription(card, payment_method=card)
    return make_invoice(subscription=subscription, period_index=index, next_attempt_at=database_now())


def seen(invoice: Invoice) -> tuple[str, str | None, int, int]:
    invoice.refresh_from_db()
    return invoice.state, invoice.refusal, invoice.tries, invoice.tries_avoided


def decline(attempt: PaymentAttempt, code: str = "51", now: datetime = NOW) -> None:
    finding = Finding(Verdict.DECLINED, Source.ANSWER, reason=code)
    settle([AttemptFinding(attempt.marker, finding)], tuning=SHORT, now=now)


def pay(attempt: PaymentAttempt) -> None:
    found = Finding(
        Verdict.PAID,
        Source.ANSWER,
        amount_minor=attempt.amount_minor,
        currency=attempt.currency,
        store_id=attempt.account.store_id,
        marker=attempt.marker,
        transaction_id=f"tx{attempt.pk}",
        order_id=f"or{attempt.pk}",
    )
    settle([AttemptFinding(attempt.marker, found)], tuning=SHORT, now=NOW)


@pytest.mark.django_db(transaction=True)
def test_second_invoice_of_a_declined_card_waits_for_the_next_day(shop: Shop) -> None:
    card = shop.card(DECLINES)
    first = period(card)
    shop.collect()
    second = period(card)
    shop.collect()
    assert first.attempts.count() == 1
    assert seen(second) == ("open", "card_rests", 0, 0)
    card.refresh_from_db()
    assert second.next_attempt_at == card.rests_until == first.attempts.get().armed_at + DAY
    assert len([one for one in shop.simulator.charges() if one["customer_id"] == card.gateway_customer_id]) == 1


@pytest.mark.django_db(transaction=True)
def test_stolen_card_is_never_sent_to_the_bank_again(shop: Shop) -> None:
    card = shop.card(STOLEN)
    first, second = period(card), period(card)
    shop.collect()
    card.refresh_from_db()
    assert card.frozen_by == "43"
    assert seen(second) == ("open", "card_frozen", 1, 1)
    assert second.first_tried_at is not None
    assert second.next_attempt_at == second.first_tried_at + 3 * DAY, "as after a decline: the next retry day"
    second.subscription.refresh_from_db()
    assert second.subscription.state == "past_due"
    failed = Event.objects.get(kind="invoice.payment_failed", subject_id=second.pk)
    assert failed.payload["attempt"] is None
    assert failed.payload["avoided"] is True
    assert (failed.payload["code"], failed.payload["decline_kind"]) == ("43", "hard")
    assert failed.payload["tries_left"] == 3
    assert Event.objects.filter(kind="payment_method.frozen", subject_id=card.pk).count() == 1
    assert len([one for one in shop.simulator.charges() if one["customer_id"] == card.gateway_customer_id]) == 1
    assert first.attempts.count() + second.attempts.count() == 1


@pytest.mark.django_db(transaction=True)
def test_avoided_tries_end_as_declined_ones_do(shop: Shop) -> None:
    set_dunning(shop.account, retry_days=[])
    card = shop.card(STOLEN)
    period(card)
    shop.collect()
    second = period(card)
    shop.collect()
    assert seen(second) == ("uncollectible", "card_frozen", 1, 1)
    second.subscription.refresh_from_db()
    assert second.subscription.state == "canceled"
    assert Transition.objects.filter(subject_type="invoice", subject_id=second.pk, to_state="uncollectible").exists()


@pytest.mark.django_db(transaction=True)
def test_new_card_is_charged_at_once_for_a_try_that_was_avoided(shop: Shop) -> None:
    card = shop.card(STOLEN)
    period(card)
    shop.collect()
    customer = card.customer
    waiting = make_invoice(card, payment_method=None, next_attempt_at=database_now())
    set_dunning(shop.account, one_off_retry_days=[3])
    make_default(card=card, now=database_now())
    shop.collect()
    assert seen(waiting) == ("open", "card_frozen", 1, 1)
    make_default(card=shop.card(customer=customer), now=database_now())
    shop.collect()
    assert seen(waiting) == ("paid", None, 1, 1)


@pytest.mark.django_db(transaction=True)
def test_staff_try_a_resting_card_today_and_a_frozen_one_never(shop: Shop) -> None:
    resting = period(shop.card(DECLINES))
    shop.collect()
    retry_now(invoice=resting, decision=WHY, now=database_now())
    shop.collect()
    assert (resting.attempts.count(), seen(resting)) == (2, ("open", None, 2, 0))
    resting.refresh_from_db()
    assert not resting.asked_for, "the wish is used up by the try"

    frozen = period(shop.card(STOLEN))
    shop.collect()
    with pytest.raises(RetryError, match="declined for good"):
        retry_now(invoice=frozen, decision=WHY, now=database_now())
    assert frozen.attempts.count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_off_that_is_asked_for_does_not_wait_for_the_next_day(shop: Shop) -> None:
    card = shop.card(DECLINES_ONCE)
    period(card)
    shop.collect()
    asked = charge(shop, card)
    shop.collect()
    assert seen(asked) == ("paid", None, 0, 0)


@pytest.mark.django_db(transaction=True)
def test_one_off_on_a_frozen_card_is_refused_when_it_is_asked_for(shop: Shop) -> None:
    card = shop.card(STOLEN)
    period(card)
    shop.collect()
    with pytest.raises(ChargeNowError, match="declined for good"):
        charge(shop, card)
    assert Invoice.objects.filter(customer=card.customer).count() == 1


def charge(shop: Shop, card: PaymentMethod) -> Invoice:
    return charge_now(
        customer=card.customer,
        payment_method=card,
        amount_minor=500,
        currency="MYR",
        description="Beans",
        actor="siti",
        now=database_now(),
    )


@pytest.mark.django_db(transaction=True)
def test_payment_on_the_card_wakes_what_waited_for_its_next_day(shop: Shop) -> None:
    card = shop.card(DECLINES_ONCE)
    first = period(card)
    shop.collect()
    second = period(card)
    shop.collect()
    assert seen(second)[:2] == ("open", "card_rests")
    retry_now(invoice=first, decision=WHY, now=database_now())
    shop.collect()
    assert seen(first)[0] == "paid"
    assert seen(second)[0] == "paid"
    card.refresh_from_db()
    assert (card.rests_until, card.frozen_by) == (None, None)


@pytest.mark.django_db(transaction=True)
def test_used_up_card_goes_on_to_the_next_retry_day(shop: Shop) -> None:
    card = shop.card(DECLINES)
    for days in (9, 6, 3, 2):
        attempt = make_attempt(make_invoice(card, next_attempt_at=None), armed_at=database_now() - days * DAY)
        decline(attempt, "9010", database_now())
    waiting = period(card)
    shop.collect()
    assert seen(waiting) == ("open", "card_rests", 1, 1)
    assert not waiting.attempts.exists()
    assert waiting.next_attempt_at is not None
    assert waiting.next_attempt_at > database_now() + 2 * DAY


@pytest.mark.django_db
def test_payment_frees_a_frozen_card_and_says_so() -> None:
    card = make_card()
    decline(make_attempt(make_invoice(card), armed_at=NOW - DAY), "43")
    card.refresh_from_db()
    assert (card.frozen_at, card.frozen_by) == (NOW, "43")
    pay(make_attempt(make_invoice(card)))
    card.refresh_from_db()
    assert (card.frozen_at, card.frozen_by) == (None, None)
    lines = Transition.objects.filter(subject_type="card", subject_id=card.pk).order_by("pk")
    assert [(line.to_state, line.reason) for line in lines] == [("frozen", "43"), ("free", "declines_forgiven")]


@pytest.mark.django_db
def test_late_money_of_the_decline_itself_frees_the_card() -> None:
    card = make_card()
    attempt = make_attempt(make_invoice(card), armed_at=NOW - DAY)
    decline(attempt, "43")
    pay(attempt)
    card.refresh_from_db()
    assert (card.frozen_by, card.rests_until) == (None, None)


@pytest.mark.django_db
def test_second_saved_copy_of_a_card_shares_the_networks_cap_alone() -> None:
    old = make_card(label="555555****4444")
    new = make_card(old.customer, label="555555****4444", is_default=False)
    for hour in range(9):
        decline(make_attempt(make_invoice(old), armed_at=NOW - (10 - hour) * HOUR), "51")
    decline(make_attempt(make_invoice(new), armed_at=NOW), "51")
    new.refresh_from_db()
    assert new.capped_until == NOW - 10 * HOUR + DAY
    assert new.rests_until == NOW + DAY


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("rests_until", [NOW, NOW + HOUR])
def test_try_is_not_avoided_once_the_card_may_be_tried_soon(rests_until: datetime) -> None:
    card = make_card()
    decline(make_attempt(make_invoice(card), armed_at=NOW - DAY), "43")
    waiting = make_invoice(card, refusal="card_frozen", refused_at=NOW)
    PaymentMethod.objects.filter(pk=card.pk).update(frozen_at=None, frozen_by=None, rests_until=rests_until)
    assert avoid([waiting.pk], now=NOW) == 0
    assert seen(waiting) == ("open", "card_frozen", 0, 0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "change", [{"hold": "proposal", "next_attempt_at": None}, {"refusal": None, "refused_at": None}]
)
def test_try_is_not_avoided_for_what_changed_meanwhile(change: dict[str, object]) -> None:
    card = make_card()
    decline(make_attempt(make_invoice(card), armed_at=NOW - DAY), "43")
    waiting = make_invoice(card, refusal="card_frozen", refused_at=NOW)
    Invoice.objects.filter(pk=waiting.pk).update(**change)
    assert avoid([waiting.pk], now=NOW) == 0


@pytest.mark.django_db(transaction=True)
def test_try_that_could_not_be_avoided_is_refused_again_later(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies between the refusal and what follows from it."""
    card = shop.card(STOLEN)
    period(card)
    shop.collect()
    monkeypatch.setattr("billing.charging.collecting.collect.avoid", lambda *_, **__: 0)
    waiting = period(card)
    shop.collect()
    assert seen(waiting) == ("open", "card_frozen", 0, 0)
    monkeypatch.setattr("billing.charging.collecting.collect.avoid", avoiding.avoid)
    Invoice.objects.filter(pk=waiting.pk).update(next_attempt_at=database_now())
    shop.collect()
    assert seen(waiting) == ("open", "card_frozen", 1, 1)


@pytest.mark.django_db
def test_avoided_try_writes_to_the_customer_only_at_first_and_before_the_end(shop: Shop) -> None:
    from billing.domain.messages import MessageKind, message_of

    def sent(**details: object) -> MessageKind | None:
        return message_of("invoice.payment_failed", {"avoided": True, "first": False, "tries_left": 2, **details})

    assert sent(first=True) is MessageKind.PAYMENT_FAILED
    assert sent() is None
    assert sent(tries_left=1) is MessageKind.LAST_WARNING
    assert sent(tries_left=0, ends_subscription=True) is None
    assert sent(avoided=False) is MessageKind.PAYMENT_FAILED
    assert Message.objects.count() == 0


def test_kinds_that_staff_decided_about_come_before_the_tables() -> None:
    from billing.domain.declines import kind_of

    assert kind_of("9010", {}) is DeclineKind.UNKNOWN
    assert kind_of(" 9010 ", {"9010": DeclineKind.HARD}) is DeclineKind.HARD
    assert kind_of("r0", {"R0": DeclineKind.SOFT}) is DeclineKind.SOFT
