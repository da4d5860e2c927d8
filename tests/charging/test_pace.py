"""The pace of an account in the database: held and let run, manifests, prices that jumped, the pool of senders."""

from datetime import timedelta
from itertools import pairwise

import pytest

from billing.accounts.change_account import change_account
from billing.accounts.gateway_accounts import AccountError
from billing.charging.attempts.pace import LetRunError, let_run
from billing.charging.cases.holds import collect_held
from billing.charging.protocol.senders import Job, Senders
from billing.models import AccountDay, AccountPace, Event, Invoice, PaymentAttempt, RunManifest, Transition
from billing.models.clock import database_now
from tests.conftest import Shop
from tests.factories import make_account, make_invoice, make_subscription

pytestmark = pytest.mark.django_db


def with_history(shop: Shop, *, most: int, days: int = 7) -> None:
    today = database_now().date()
    for ago in range(1, days + 1):
        AccountDay.objects.create(
            account=shop.account, day=today - timedelta(days=ago), currency="MYR", charges=most, sum_minor=most * 1990
        )


def test_a_run_writes_its_manifest_and_its_day(shop: Shop) -> None:
    invoice = make_invoice(shop.card(), next_attempt_at=database_now())
    make_invoice(shop.card(), next_attempt_at=database_now(), amount_minor=500)
    shop.collect()
    shop.collect()
    manifest = RunManifest.objects.get()
    assert (manifest.charges, manifest.sums_minor) == (2, {"MYR": invoice.amount_minor + 500})
    assert (manifest.largest_minor, manifest.held_reason) == (invoice.amount_minor, "")
    day = AccountDay.objects.get()
    assert (day.day, day.charges, day.sum_minor) == (manifest.began_at.date(), 2, invoice.amount_minor + 500)
    pace = AccountPace.objects.get()
    assert (pace.shares, pace.tried) == ({}, 2)


def test_run_many_times_its_history_waits_until_it_is_let_run(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.domain.manifests.RUN_FLOOR", 5)
    with_history(shop, most=0)
    AccountDay.objects.update(charges=0)
    for _ in range(6):
        make_invoice(shop.card(), next_attempt_at=database_now())
    assert shop.collect().armed == 0
    pace = AccountPace.objects.get()
    assert (pace.state, pace.kind) == ("held", "size")
    assert "6 charges are due" in pace.reason
    assert RunManifest.objects.get().held_reason == pace.reason
    assert Event.objects.get(kind="account.held").payload["reason"] == pace.reason
    assert set(Invoice.objects.values_list("refusal", flat=True)) == {"account_paused"}

    let_run(account=shop.account, reason="a new campaign", actor="siti", now=database_now())
    assert shop.collect().armed == 6
    step = Transition.objects.get(subject_type="pace", to_state="closed")
    assert (step.from_state, step.actor, step.reason) == ("held", "siti", "a new campaign")


def test_let_run_needs_a_reason_and_an_account_that_waits(shop: Shop) -> None:
    with pytest.raises(LetRunError, match="reason"):
        let_run(account=shop.account, reason=" ", actor="siti", now=database_now())
    with pytest.raises(LetRunError, match="must be paused"):
        let_run(account=shop.account, reason="why not", actor="siti", now=database_now())


def test_invoice_of_a_hundred_times_the_usual_amount_is_held(shop: Shop) -> None:
    card = shop.card()
    subscription = make_subscription(card, next_due_at=None)
    make_invoice(card, subscription, state="paid", closed_at=database_now(), next_attempt_at=None, amount_minor=1990)
    jumped = make_invoice(card, subscription, next_attempt_at=database_now(), amount_minor=199_000, period_index=1)
    usual = make_invoice(shop.card(), next_attempt_at=database_now())
    shop.collect()
    jumped.refresh_from_db()
    usual.refresh_from_db()
    assert (jumped.hold, jumped.next_attempt_at, jumped.attempts.count()) == ("price_jumped", None, 0)
    assert usual.state == "paid"
    held = Event.objects.get(kind="invoice.held").payload
    assert (held["invoice"], held["hold"]) == (jumped.public_id, "price_jumped")

    collect_held(invoice=jumped, reason="the yearly plan", actor="siti", now=database_now())
    shop.collect()
    jumped.refresh_from_db()
    assert jumped.state == "paid"


def test_limits_of_an_account_are_whole_and_above_nothing() -> None:
    account = make_account()
    for name in ("charges_per_second", "max_in_flight"):
        with pytest.raises(AccountError, match=name):
            change_account(account=account, changes={name: 0}, reason="x", actor="siti", now=database_now())
        changes = {name: 5}
        assert change_account(account=account, changes=changes, reason="x", actor="siti", now=database_now()) == [name]


def test_the_accounts_limit_holds_for_charges_at_once(shop: Shop) -> None:
    type(shop.account).objects.update(max_in_flight=1)
    for _ in range(3):
        make_invoice(shop.card(), next_attempt_at=database_now())
    shop.simulator.set(latency=[0.1, 0.1])
    assert shop.collect().armed == 3
    attempts = list(PaymentAttempt.objects.order_by("pk").values_list("armed_at", "settled_at"))
    assert all(later[0] >= earlier[1] for earlier, later in pairwise(attempts))  # type: ignore[operator]


def test_job_that_was_taken_back_is_started_by_nobody() -> None:
    senders: Senders[int] = Senders(1)
    assert senders.ready(2) == 1
    done: list[int] = []
    first, second = Job(lambda: done.append(1) or 1), Job(lambda: done.append(2) or 2)
    assert first.claim(), "the loop is quicker than the sender"
    senders.submit(first)
    assert not senders.take_back(first), "once"
    senders._busy -= 1
    senders.submit(second)
    assert senders.result(wait=timedelta(seconds=5)) == 2
    senders.close()
    assert done == [2]


def test_a_job_is_given_to_an_idle_sender_alone() -> None:
    senders: Senders[int] = Senders(1)
    with pytest.raises(RuntimeError, match="idle"):
        senders.submit(Job(lambda: 1))
    assert (senders.busy, senders.room) == (0, 1)
