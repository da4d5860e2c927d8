"""What staff decide about a code of declines, and what the account's own charges show of it."""

from datetime import timedelta

import pytest

from billing.charging.attempts.settle import AttemptFinding, settle
from billing.charging.cases import decline_rulings
from billing.charging.cases.decline_rulings import RulingError, learnt, rule
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.decisions import Decision
from billing.domain.declines import DeclineKind
from billing.models import DeclineRuling, Event, Invoice, PaymentAttempt, PaymentMethod, Transition
from tests.conftest import SHORT
from tests.factories import NOW, make_account, make_attempt, make_card, make_customer, make_invoice, move_attempt

DAY = timedelta(days=1)
WHY = Decision("siti", "the bank says so")


def declined(card: PaymentMethod, code: str, days_ago: int = 1) -> PaymentAttempt:
    attempt = make_attempt(make_invoice(card), armed_at=NOW - days_ago * DAY)
    finding = Finding(Verdict.DECLINED, Source.ANSWER, reason=code)
    settle([AttemptFinding(attempt.marker, finding)], tuning=SHORT, now=NOW)
    return attempt


@pytest.mark.django_db(transaction=True)
def test_ruling_freezes_the_cards_that_it_says_something_about_and_no_others() -> None:
    account = make_account()
    cards = [make_card(make_customer(account)) for _ in range(3)]
    declined(cards[0], "9010")
    declined(cards[1], "51")
    declined(cards[2], "9010", days_ago=40)
    other = make_card()
    declined(other, "9010")

    assert rule(account=account, code=" 9010 ", kind=DeclineKind.HARD, decision=WHY, now=NOW) == 1
    frozen = set(PaymentMethod.objects.exclude(frozen_at=None).values_list("pk", flat=True))
    assert frozen == {cards[0].pk}
    assert DeclineRuling.objects.get().decided_by == "siti"
    changed = Event.objects.get(kind="account.updated").payload["changes"]
    assert changed == {"decline 9010": {"from": "unknown", "to": "hard"}}
    line = Transition.objects.get(subject_type="card", to_state="frozen")
    assert (line.subject_id, line.actor, line.reason) == (cards[0].pk, "siti", "9010")


@pytest.mark.django_db(transaction=True)
def test_ruling_that_takes_a_freeze_back_wakes_what_waited() -> None:
    card = make_card()
    declined(card, "43", days_ago=40)
    card.refresh_from_db()
    assert card.frozen_by == "43"
    waiting = make_invoice(card, refusal="card_frozen", refused_at=NOW, next_attempt_at=NOW + 3 * DAY)
    assert rule(account=card.account, code="43", kind=DeclineKind.SOFT, decision=WHY, now=NOW) == 1
    card.refresh_from_db()
    assert not PaymentMethod.objects.exclude(frozen_at=None).exists()
    assert Invoice.objects.get(pk=waiting.pk).next_attempt_at == NOW


@pytest.mark.django_db(transaction=True)
def test_later_declines_follow_the_ruling() -> None:
    card = make_card()
    rule(account=card.account, code="51", kind=DeclineKind.HARD, decision=WHY, now=NOW)
    declined(card, "51")
    card.refresh_from_db()
    assert card.frozen_by == "51"
    failed = Event.objects.get(kind="invoice.payment_failed")
    assert failed.payload["decline_kind"] == "hard"


@pytest.mark.django_db(transaction=True)
def test_cards_are_decided_anew_in_parts_until_all_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decline_rulings, "CARDS_AT_ONCE", 2)
    account = make_account()
    for _ in range(5):
        declined(make_card(make_customer(account)), "9010")
    assert rule(account=account, code="9010", kind=DeclineKind.HARD, decision=WHY, now=NOW) == 5
    assert PaymentMethod.objects.exclude(frozen_at=None).count() == 5


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("code", "reason", "field"), [("", "why", "code"), ("x" * 41, "why", "code"), ("51", "", "reason")]
)
def test_a_ruling_says_which_code_and_why(code: str, reason: str, field: str) -> None:
    with pytest.raises(RulingError) as error:
        rule(account=make_account(), code=code, kind=DeclineKind.SOFT, decision=Decision("siti", reason), now=NOW)
    assert error.value.field == field
    assert not DeclineRuling.objects.exists()


@pytest.mark.django_db
def test_what_came_of_a_code_counts_the_next_try_on_the_same_card() -> None:
    account = make_account()

    def tries(*states: str, code: str = "9010", other_card: bool = False) -> None:
        card = make_card(make_customer(account))
        invoice = make_invoice(card)
        for number, state in enumerate(states, start=1):
            used = make_card(card.customer, is_default=False) if other_card and number > 1 else card
            attempt = make_attempt(invoice, used, number=number, armed_at=NOW - DAY)
            move_attempt(attempt, state)
            PaymentAttempt.objects.filter(pk=attempt.pk).update(state_reason=code)

    tries("declined", "succeeded")
    tries("declined", "not_sent", "declined", "succeeded")
    tries("declined")
    tries("declined", "succeeded", other_card=True)
    tries("declined", "declined", code="51")
    found = {one.outcome.code: one for one in learnt(account.pk, now=NOW)}
    first = found["9010"].outcome
    assert (first.declined, first.tried_again, first.paid) == (5, 3, 2)
    assert (found["9010"].kind, found["9010"].is_ruled) == (DeclineKind.UNKNOWN, False)
    assert (found["51"].outcome.declined, found["51"].outcome.tried_again, found["51"].outcome.paid) == (2, 1, 0)
    assert learnt(account.pk, now=NOW + 200 * DAY) == []
