"""Answers to refunds that no refund in the database accounts for."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from billing.charging.reading.orphans import match_orphans
from billing.charging.refunds.settle import AskedBack, settle_refund_answer
from billing.domain.refunds import RefundFinding, RefundSource, RefundVerdict
from billing.models import Event, OrphanAnswer, Refund
from billing.operating.health import check
from tests.conftest import SHORT
from tests.factories import NOW, make_refund, move_refund

pytestmark = pytest.mark.django_db


def answer(refund: Refund, verdict: RefundVerdict = RefundVerdict.REFUNDED, **changes: Any) -> OrphanAnswer | None:
    """An answer that comes to this database; the orphan that it was kept as."""
    given = {
        "account_id": refund.account_id,
        "public_id": refund.public_id,
        "nonce": "of a request that the database forgot",
        "transaction_id": refund.attempt.gateway_transaction_id,
        "amount_minor": refund.amount_minor,
        "currency": refund.currency,
    }
    finding = RefundFinding(verdict, RefundSource.ANSWER, reason="as it was answered")
    settle_refund_answer(AskedBack(**{**given, **changes}), finding, tuning=SHORT, now=NOW)
    return OrphanAnswer.objects.first()


def match(refund: Refund) -> tuple[str, str | None]:
    """State of the refund, and how its answer is accounted for, after what the sweeper does."""
    match_orphans(tuning=SHORT, now=NOW)
    refund.refresh_from_db()
    return refund.state, OrphanAnswer.objects.get().matched_how


def test_orphan_answer_is_kept_and_settled_once_refund_is_back() -> None:
    refund = move_refund(make_refund(), "sending")
    orphan = answer(refund)
    assert orphan is not None
    assert (orphan.kind, orphan.marker, orphan.verdict) == ("refund", refund.public_id, "refunded")
    assert Event.objects.filter(kind="refund.orphan_answer").count() == 1
    assert any(refund.public_id in problem for problem in check(NOW).problems)
    assert match(refund) == ("succeeded", "row")
    refund.attempt.refresh_from_db()
    assert refund.attempt.amount_refunded_minor == refund.amount_minor


def test_request_restored_before_arming_takes_no_orphan_answer() -> None:
    """It would settle nothing: that the money went back already would be told nowhere."""
    refund = make_refund()
    answer(refund)
    assert match(refund) == ("requested", None)
    move_refund(refund, "not_sent")
    assert match(refund) == ("not_sent", "row")
    assert Event.objects.filter(kind="refund.alarm", occasion="refunded_after_all").count() == 1


@pytest.mark.parametrize("verdict", [RefundVerdict.REFUSED, RefundVerdict.NOT_SENT])
def test_an_answer_that_gave_nothing_back_alarms_nobody(verdict: RefundVerdict) -> None:
    orphan = answer(make_refund(), verdict)
    assert orphan is not None
    assert orphan.matched_how == "no_money"
    assert not Event.objects.filter(kind="refund.orphan_answer").exists()


def test_another_refund_of_that_amount_takes_no_answer() -> None:
    refund = move_refund(make_refund(), "sending")
    answer(refund, public_id="ref_0000000000000000000000000a")
    assert match(refund) == ("sending", None)


def test_its_page_does_not_promise_what_happens_to_charges_only() -> None:
    refund = make_refund()
    orphan = answer(refund)
    client = Client()
    boss = User.objects.create(username="aisyah", is_staff=True, is_superuser=True, password="!")
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    assert orphan is not None
    page = client.get(f"/admin/billing/orphananswer/{orphan.pk}/change/").content.decode()
    assert "The money may have been refunded" in page
    assert "its card is read" not in page
