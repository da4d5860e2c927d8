"""The life of an invoice in sentences: whole lives, word for word, and what single things are called."""

from datetime import UTC, datetime, timedelta

import pytest

from billing.accounts.gateway_accounts import start_account, stop_account
from billing.charging.attempts.avoid import avoid
from billing.charging.attempts.charge_now import charge_now
from billing.charging.cases.resolve import Resolution, collect_held, release_card, resolve
from billing.domain.attempts import AttemptState, Finding, Source, Verdict
from billing.domain.decisions import Decision
from billing.domain.schedules import Schedule
from billing.domain.subscriptions import Hold
from billing.explaining.explain import Answer, NothingFoundError, explain, find_invoice
from billing.explaining.wording import consequence, decided, decided_by, held_because, shown_by, span, which_day
from billing.models import Invoice
from billing.models.bulk.history import record_transition
from billing.subscriptions.lifecycle import cancel, pause, resume
from tests.audit.books import Books
from tests.conftest import SHORT
from tests.factories import NOTHING_TO_SEE
from tests.promises.attacks import run

pytestmark = pytest.mark.django_db


def story(books: Books, invoice: Invoice, *, to_staff: bool = True) -> list[str]:
    """`kind: sentence` of every line."""
    invoice = find_invoice(invoice.public_id)
    return [f"{line.kind}: {line.text}" for line in explain(invoice=invoice, now=books.now, to_staff=to_staff).lines]


def answer(books: Books, invoice: Invoice) -> tuple[Answer, str]:
    told = explain(invoice=find_invoice(invoice.public_id), now=books.now, to_staff=True)
    return told.answer, told.summary


def on_the_last_day_of_march(books: Books):
    """A monthly subscription from 2 March 2026 whose first charge is under way on the 31st."""
    books.subscribe(at_start=False, interval="MONTHLY", target=-1)
    books.wait(days=29, seconds=3)
    books.open()
    books.wait(seconds=2)
    (attempt,) = books.arm()
    return attempt


BEGINNING = [
    "rule: The subscription to Coffee club began: RM 19.90 every month on the last day at 09:00, Asia/Kuala_Lumpur.",
    (
        "due: Period 1 was due on Tuesday, 31 March 2026 at 09:00: the last day of the month, in the time zone "
        "Asia/Kuala_Lumpur."
    ),
    "opened: The invoice over RM 19.90 was issued 3 seconds later.",
    "armed: Attempt 1: a request for RM 19.90 was recorded, to be sent once.",
]


def test_a_charge_that_went_as_it_should(books: Books) -> None:
    attempt = on_the_last_day_of_march(books)
    books.wait(seconds=31)
    books.pay(attempt)
    assert story(books, attempt.invoice) == [
        *BEGINNING,
        (
            "paid: Attempt 1: the gateway answered that the money was taken, 31 seconds after it was recorded. This "
            "paid the invoice."
        ),
        "now: The invoice is paid.",
        (
            "next: Nothing more will be charged for this invoice automatically. The next period of the subscription "
            "is due on Thursday, 30 April 2026 at 09:00."
        ),
    ]
    assert answer(books, attempt.invoice) == (
        Answer.CHARGED,
        "The card was charged RM 19.90 once for period 1 of Coffee club, on Tuesday, 31 March 2026 at 09:00.",
    )
    lines = explain(invoice=attempt.invoice, now=books.now, to_staff=True).lines
    assert lines[4].at == books.now
    assert lines[4].evidence == (
        attempt.public_id,
        f"evidence {attempt.last_evidence_id}",
        f"transaction {attempt.gateway_transaction_id}",
        f"order {attempt.gateway_order_id}",
    )


def test_decline_unknown_decision_and_late_money_are_explained(books: Books) -> None:
    first = on_the_last_day_of_march(books)
    books.wait(seconds=30)
    books.decline(first)
    assert story(books, first.invoice)[-2:] == [
        "now: The invoice is open: RM 19.90 is still owed.",
        "next: It is tried again on Friday, 3 April 2026 at 09:00.",
    ]
    assert answer(books, first.invoice)[1].endswith("it was declined, and is tried again.")
    books.wait(days=3)
    (second,) = books.arm()
    books.wait(seconds=20)
    books.lose(second)
    assert answer(books, first.invoice)[0] is Answer.NOT_KNOWN
    books.wait(minutes=2)
    books.absent(second, 1)
    books.wait(minutes=5)
    books.give_to_a_person(second)
    release_card(attempt=second, decision=Decision("siti", "the customer waits."), now=books.wait(minutes=1))
    resolve(
        attempt=second,
        resolution=Resolution.NOT_CHARGED,
        decision=Decision("siti", "nothing in the merchant portal"),
        tuning=SHORT,
        now=books.wait(hours=1),
        **NOTHING_TO_SEE,
    )
    (third,) = books.arm()
    books.wait(seconds=9)
    books.pay(third)
    books.wait(days=1)
    books.pay(second, Source.ORDER_LIST)
    after = [
        (
            "declined: Attempt 1: the gateway answered that the charge was declined (code 9010), 30 seconds after it "
            "was recorded. The subscription is past due until it is paid."
        ),
        "armed: Attempt 2: a request for RM 19.90 was recorded, to be sent once.",
        (
            "answered: Attempt 2: the outcome of the request is not known: no response in time. The invoice and the "
            "card wait, and the gateway is checked until the outcome is known."
        ),
        (
            "checked: Attempt 2: at check 1 the gateway's complete list of the card's orders shows nothing of it. That "
            "alone does not prove that no money was taken."
        ),
        (
            "with_a_person: Attempt 2: the gateway's complete list of the card's orders was read for the last time: "
            "nothing was found, and nothing proves that no money was taken. It needs review; until then the invoice "
            "and the card wait."
        ),
        "decided: siti released the card for other invoices: the customer waits.",
        (
            "decided: Attempt 2: siti decided that the card was not charged: nothing in the merchant portal. The "
            "invoice may be tried again."
        ),
        "preflight: Before another try, the gateway's orders of every card involved were read: no money was there yet.",
        "armed: Attempt 3: a request for RM 19.90 was recorded, to be sent once.",
        (
            "paid: Attempt 3: the gateway answered that the money was taken, 9 seconds after it was recorded. This "
            "paid the invoice."
        ),
        (
            "surplus: Attempt 2: the gateway's complete list of the card's orders shows that the money was taken. "
            "The invoice did not need this money any more: it is an overpayment, to be refunded."
        ),
        "now: The invoice is paid.",
        (
            "next: Nothing more will be charged for this invoice automatically. The next period of the subscription "
            "is due on Thursday, 30 April 2026 at 09:00."
        ),
    ]
    assert story(books, first.invoice) == [*BEGINNING, *after]
    assert answer(books, first.invoice) == (
        Answer.CHARGED_TOO_OFTEN,
        "The card was charged RM 19.90 twice for period 1 of Coffee club. Only one of the charges may stay.",
    )
    books.reverse(third)
    assert story(books, first.invoice)[-4:-2] == [
        (
            "reversed: Attempt 3: the gateway's complete list of the card's orders shows that the gateway reversed "
            "the charge. The money was returned to the customer. The invoice is open again, and is collected only if "
            "a person decides so."
        ),
        "paid: Attempt 2: the attempt that the invoice was waiting for ended without money. This paid the invoice.",
    ]
    assert answer(books, first.invoice)[0] is Answer.CHARGED


def test_explanation_hides_staff_names_and_notes_from_others(books: Books) -> None:
    attempt = on_the_last_day_of_march(books)
    books.give_to_a_person(books.lose(attempt))
    release_card(attempt=attempt, decision=Decision("siti", "call 012-3456789"), now=books.wait(minutes=1))
    resolve(
        attempt=attempt,
        resolution=Resolution.DECLINED,
        decision=Decision("siti", "Aminah said so"),
        tuning=SHORT,
        now=books.wait(minutes=1),
        **NOTHING_TO_SEE,
    )
    subscription = attempt.invoice.subscription
    pause(subscription=subscription, reason="Aminah is ill", actor="siti", now=books.wait(minutes=1))
    resume(subscription=subscription, reason="Aminah is well", actor="siti", now=books.wait(minutes=1))
    stop_account(account=books.account, reason="Aminah complains", actor="siti", now=books.wait(minutes=1))
    start_account(account=books.account, reason="Aminah is calm", actor="siti", now=books.wait(minutes=1))
    said = story(books, attempt.invoice, to_staff=False)
    assert said[6:12] == [
        "decided: A person released the card for other invoices.",
        (
            "decided: Attempt 1: a person decided that the charge was declined. The subscription is past due "
            "until it is paid."
        ),
        "subscription: A person paused the subscription.",
        "subscription: A person resumed the subscription.",
        "stopped: A person stopped all charging of the account.",
        "stopped: A person restarted all charging of the account.",
    ]
    assert not {word for word in ("siti", "Aminah", "012") if word in " ".join(said)}
    to_staff = " ".join(story(books, attempt.invoice))
    assert "siti paused the subscription: Aminah is ill." in to_staff
    assert attempt.invoice.customer.name not in to_staff


def test_missed_periods_and_what_the_rule_for_them_does(books: Books) -> None:
    books.subscribe()
    books.wait(days=5, hours=1)
    invoices = books.open()
    assert "opened: The period had been missed: its invoice over RM 19.90 was issued 5 days late." in story(
        books, invoices[0]
    )
    assert story(books, invoices[1])[-1] == "next: It is charged on Sunday, 8 March 2026 at 10:00."
    waits = story(books, invoices[3])
    assert waits[1] == (
        "due: Period 4 was due on Thursday, 5 March 2026 at 09:00: it is due every day, in the time zone "
        "Asia/Kuala_Lumpur."
    )
    assert waits[2].endswith("issued 2 days late. By the subscription's rule for missed periods it needs review.")
    assert waits[-1] == (
        "next: Nothing happens automatically: its period was missed, and a person decides whether it is collected."
    )
    collect_held(invoice=invoices[3], decision=Decision("siti", "the customer agrees"), now=books.wait(minutes=1))
    assert story(books, invoices[3])[-3:] == [
        "decided: siti had it collected anyway: the customer agrees.",
        "now: The invoice is open: RM 19.90 is still owed.",
        "next: It is due now, and is charged as soon as a worker takes it up.",
    ]


def test_a_skipped_period(books: Books) -> None:
    subscription = books.subscribe()
    type(subscription).objects.update(catch_up="skip")
    books.wait(days=5, hours=1)
    skipped = books.open()[0]
    assert answer(books, skipped) == (
        Answer.NOT_CHARGED,
        "The card was not charged RM 19.90 for period 1 of Coffee club: the period was skipped.",
    )
    assert "now: The invoice is void: nothing is owed for it." in story(books, skipped)


def test_a_charge_at_the_start_and_one_after_the_trial(books: Books) -> None:
    books.subscribe()
    (at_start,) = books.open()
    assert "due: Period 1 was due on Monday, 2 March 2026 at 09:00: the subscription began then." in story(
        books, at_start
    )
    books.subscribe(trial_days=3)
    books.wait(days=3)
    after_trial = books.open()[-1]
    said = story(books, after_trial)
    assert said[0].endswith(
        "It began with a trial until Thursday, 5 March 2026. Its first charge is made when the trial ends."
    )
    assert said[1] == "due: Period 1 was due on Thursday, 5 March 2026 at 09:00: the trial ended then."


def test_a_single_charge(books: Books) -> None:
    card = books.card()
    invoice = charge_now(
        customer=card.customer, amount_minor=3500, currency="MYR", description="Grinder", actor="siti", now=books.now
    )
    assert story(books, invoice)[0] == "opened: siti requested a single charge of RM 35.00 for Grinder."
    (attempt,) = books.arm()
    assert story(books, invoice)[-1] == ("next: The attempt is being sent; nothing else happens before its outcome.")
    books.wait(minutes=1)
    books.sweep()
    assert story(books, invoice)[-3].startswith(
        "lost: Attempt 1: the program that was to send the request was lost, so it is not known whether it left."
    )
    books.pay(attempt, Source.ORDER_LIST, amount_minor=3600)
    said = story(books, invoice)
    assert said[-3] == (
        "with_a_person: Attempt 1: the gateway's complete list of the card's orders shows that the money was taken. "
        "It does not fit the attempt: the amount differs. It needs review; until then the invoice and the card wait."
    )
    assert said[-1].startswith("next: Nothing happens automatically: the attempt needs review")


def test_giving_up_and_what_it_does_to_the_subscription(books: Books) -> None:
    first = on_the_last_day_of_march(books)
    books.decline(first)
    for days in (3, 4, 7):
        books.wait(days=days)
        (again,) = [attempt for attempt in books.arm() if attempt.invoice_id == first.invoice_id]
        books.decline(again, "51")
    assert story(books, first.invoice)[-3:] == [
        (
            "declined: Attempt 4: the gateway answered that the charge was declined (not enough money, code 51), less "
            "than a second after it was recorded. It was the last try: the invoice is uncollectible. The subscription "
            "was cancelled for it."
        ),
        "now: The invoice is uncollectible: its last try was declined.",
        "next: Nothing more will be charged for this invoice automatically.",
    ]
    assert answer(books, first.invoice)[1].endswith("all 4 tries were declined.")


def test_a_cancelled_subscription_and_a_refusal(books: Books) -> None:
    subscription = books.subscribe()
    (invoice,) = books.open()
    Invoice.objects.filter(pk=invoice.pk).update(
        refusal="card_held", refused_at=books.now, next_attempt_at=books.now + timedelta(minutes=15)
    )
    said = story(books, invoice)
    why = "the card is held until a person has reviewed it"
    assert f"refused: It was due, and was not charged: {why}." in said
    assert said[-1] == "next: It is checked again on Monday, 2 March 2026 at 09:15."
    cancel(subscription=subscription, reason="moved", actor="siti", now=books.wait(minutes=1))
    assert "subscription: siti cancelled the subscription: moved." in story(books, invoice)
    assert "the subscription was cancelled, and a person decides" in answer(books, invoice)[1]


def test_an_invoice_that_the_gateway_always_refuses_is_explained(books: Books) -> None:
    books.subscribe()
    (invoice,) = books.open()
    Invoice.objects.filter(pk=invoice.pk).update(hold="always_refused", next_attempt_at=None)
    record_transition(
        account_id=invoice.account_id, subject_type="invoice", subject_id=invoice.pk, from_state="open",
        to_state="open (always_refused)", reason="validation", actor="engine", now=books.wait(minutes=1),
    )  # fmt: skip
    why = "the gateway rejects its request as invalid every time, and a person decides whether it is collected"
    assert f"with_a_person: It was put on hold: {why}." in story(books, invoice)


def test_alarm_is_explained_with_the_alert_to_staff(books: Books) -> None:
    attempt = books.pay(on_the_last_day_of_march(books))
    books.wait(hours=1)
    books.tell(attempt, Finding(Verdict.DECLINED, Source.ORDER_LIST, reason="9010"))
    assert story(books, attempt.invoice)[-3] == (
        "alarm: Attempt 1: the gateway's complete list of the card's orders shows that it was declined (code 9010). "
        "That contradicts what is recorded (a payment is on record, and the gateway now calls it declined), so an "
        "alarm was raised."
    )


def test_alarm_of_an_older_version_is_explained_as_the_same(books: Books) -> None:
    attempt = books.pay(on_the_last_day_of_march(books))
    books.wait(hours=1)
    books.tell(attempt, Finding(Verdict.DECLINED, Source.ORDER_LIST, reason="9010"))
    now = story(books, attempt.invoice)
    run("SET CONSTRAINTS ALL IMMEDIATE")
    run("ALTER TABLE billing_transition DISABLE TRIGGER USER")
    run("UPDATE billing_transition SET reason = 'alarm: ' || reason WHERE from_state = to_state")
    assert story(books, attempt.invoice) == now


# --- names ------------------------------------------------------------------------------------------------


def test_an_invoice_is_found_by_every_id_that_somebody_may_have(books: Books) -> None:
    attempt = books.pay(books.armed())
    refund = books.ask_back(attempt)
    for name in (
        attempt.invoice.public_id,
        attempt.public_id,
        refund.public_id,
        attempt.gateway_transaction_id,
        attempt.gateway_order_id,
    ):
        assert find_invoice(name or "") == attempt.invoice
        with pytest.raises(NothingFoundError):
            find_invoice(name or "", account=Books().account)
    for name in ("inv_x", "att_x", "ref_x", "1", ""):
        with pytest.raises(NothingFoundError, match="no invoice is known by"):
            find_invoice(name)


def test_gateway_id_of_two_accounts_is_refused_as_ambiguous(books: Books) -> None:
    first, other = books.armed(), Books()
    second = other.armed()
    books.pay(first, transaction_id="same")
    other.pay(second, transaction_id="same")
    with pytest.raises(NothingFoundError, match="more than one invoice"):
        find_invoice("same")
    assert find_invoice("same", account=other.account) == second.invoice


# --- words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"interval": "DAILY", "target": None}, "it is due every day"),
        ({"interval": "DAILY", "target": None, "every": 3}, "every 3 days, counted from 2 March 2026"),
        ({"interval": "WEEKLY", "target": 0}, "a Sunday"),
        ({"interval": "WEEKLY", "target": 1, "every": 2}, "a Monday, every 2 weeks, counted from 2 March 2026"),
        ({"interval": "MONTHLY", "target": 0}, "the first day of the month"),
        ({"interval": "MONTHLY", "target": 1}, "the first day of the month"),
        ({"interval": "MONTHLY", "target": -1}, "the last day of the month"),
        (
            {"interval": "MONTHLY", "target": 15, "every": 12},
            "day 15 of the month, every 12 months, counted from 2 March 2026",
        ),
    ],
)
def test_why_a_day_is_due(changes: dict[str, object], words: str) -> None:
    anchor = datetime(2026, 3, 2, tzinfo=UTC).date()
    assert which_day(Schedule.parse(anchor_date=anchor, **changes)) == words


@pytest.mark.parametrize(
    ("time", "words"),
    [
        (timedelta(milliseconds=300), "less than a second"),
        (timedelta(seconds=1), "1 second"),
        (timedelta(seconds=119), "119 seconds"),
        (timedelta(minutes=2), "2 minutes"),
        (timedelta(hours=47), "47 hours"),
        (timedelta(days=2), "2 days"),
    ],
)
def test_spans_of_time(time: timedelta, words: str) -> None:
    assert span(time) == words


def test_every_finding_refusal_and_hold_has_a_sentence() -> None:
    for source in Source:
        for verdict in Verdict:
            said = shown_by(source, verdict, "timeout", None)
            assert said.endswith(".")
            assert "_" not in said
    assert {consequence(state)[-1:] for state in AttemptState} == {"", "."}
    assert held_because(Hold.REVERSED) == "the payment was reversed, and a person decides whether it is collected"
    assert held_because(Hold.PROPOSAL).endswith("and another person decides whether it is collected")


def test_older_approved_decision_names_the_proposer_once() -> None:
    reason = "proposed by siti, confirmed by mei: the bank says so"
    text = decided_by("mei", "released the card", reason, to_staff=True, proposed_by="siti")
    assert text == "mei released the card (proposed by siti): the bank says so."


def test_two_persons_decisions_name_both_to_staff_only() -> None:
    decision = Decision("mei", "nothing in the portal.", proposed_by="siti")
    said = decided(Verdict.PERSON_NOT_CHARGED, decision, to_staff=True)
    assert said == "mei decided that the card was not charged (proposed by siti): nothing in the portal."
    assert decided(Verdict.DECLINED, decision, to_staff=False) == "a person decided that the charge was declined."


@pytest.mark.parametrize(
    ("actor", "who"),
    [("engine", "the engine"), ("siti", "a person"), ("api:key_1", "a program, by an API key,")],
)
def test_who_did_it_is_named_by_kind_to_anybody_but_staff(actor: str, who: str) -> None:
    assert decided_by(actor, "paused it", "on holiday", to_staff=False) == f"{who} paused it."
    assert decided_by(actor, "paused it", "on holiday", to_staff=True) == f"{actor} paused it: on holiday."


@pytest.mark.django_db(transaction=True)
def test_tries_that_are_not_made_are_told_as_such(books: Books) -> None:
    card = books.card()
    books.decline(books.armed(card), "43")
    books.wait(hours=1)
    books.subscribe(card, interval="DAILY", target=None)
    (invoice,) = books.open()
    for _ in range(4):
        books.arm()
        avoid([invoice.pk], now=books.now)
        invoice.refresh_from_db()
        books.now = invoice.next_attempt_at or books.now
    told = story(books, invoice)
    assert told.count("refused: A try was due and was not made: the bank would have declined it again.") == 4
    assert "refused: It was the last one: the invoice is uncollectible." in told
    assert "subscription: The engine cancelled the subscription, because no try was left." in told
    assert "now: The invoice is uncollectible: its last try was not made." in told
    assert not any("wrote it off" in line for line in told)
