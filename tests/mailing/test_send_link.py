"""A person has the mail about a declined payment sent again."""

from typing import Any

import pytest

from billing.mailing.send import send_due
from billing.mailing.send_link import LinkError, send_link
from billing.models import Invoice, Message, Transition
from tests.factories import NOW, make_card, make_customer, make_invoice, make_mail
from tests.mailing.sink import Sink

pytestmark = pytest.mark.django_db(transaction=True)
BY: dict[str, Any] = {"reason": "she asked on the phone", "actor": "mei", "now": NOW}


def declined(*, mail: bool = True, **customer: Any) -> Invoice:
    """Declined for lack of money, and uncollectible."""
    card = make_card(make_customer(**customer))
    if mail:
        make_mail(card.account)
    invoice = make_invoice(card, next_attempt_at=None, state="uncollectible", closed_at=NOW)
    Invoice.objects.filter(pk=invoice.pk).update(tries=1, decline_code="51", first_tried_at=NOW)
    invoice.refresh_from_db()
    return invoice


def test_the_customer_gets_the_link_and_history_says_who_wanted_it(sink: Sink) -> None:
    invoice = declined()
    send_link(invoice=invoice, **BY)
    assert send_due(clock=lambda: NOW, should_stop=lambda: False) == 1
    (mail,) = sink.mails
    body = mail.get_body(("plain",))
    assert body is not None
    assert "/pay/" in body.get_content()
    assert "not enough money" in body.get_content()
    line = Transition.objects.get(subject_type="invoice", subject_id=invoice.pk)
    assert (line.from_state, line.to_state, line.actor) == ("uncollectible", "uncollectible", "mei")
    assert line.reason == "link sent: she asked on the phone"


def test_one_that_is_on_its_way_is_not_sent_twice() -> None:
    invoice = declined()
    send_link(invoice=invoice, **BY)
    with pytest.raises(LinkError, match="on its way already"):
        send_link(invoice=invoice, **BY)
    Message.objects.update(state="sending")
    Message.objects.update(state="sent", next_try_at=None, sent_at=NOW)
    send_link(invoice=invoice, **BY)
    assert Message.objects.count() == 2


@pytest.mark.parametrize(
    ("changes", "customer", "mail", "message"),
    [
        ({"tries": 0}, {}, True, "must be declined and still owed"),
        ({"state": "paid"}, {}, True, "must be declined and still owed"),
        ({}, {"email": ""}, True, "must have an e-mail address"),
        ({}, {"silenced": True}, True, "must not be silenced"),
        ({}, {}, False, "it is switched off"),
    ],
)
def test_what_cannot_be_sent_is_refused(
    changes: dict[str, Any], customer: dict[str, Any], mail: bool, message: str
) -> None:
    invoice = declined(mail=mail, **customer)
    Invoice.objects.filter(pk=invoice.pk).update(**changes)
    with pytest.raises(LinkError, match=message):
        send_link(invoice=invoice, **BY)
    assert not Message.objects.exists()
    assert not Transition.objects.exists()
