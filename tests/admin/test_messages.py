"""Mail in the admin: its settings with previews, a test to oneself, what was sent, and a customer's silence."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client
from django.urls import reverse

from billing.domain.messages import TO_CUSTOMERS, Language
from billing.models import Customer, GatewayAccount, MailSettings, Message, Transition
from tests.admin.test_actions import token
from tests.admin.test_pages import text, url
from tests.factories import NOW, make_account, make_card, make_customer, make_invoice, make_mail, make_message

pytestmark = pytest.mark.django_db
FORM = {
    "enabled": "on",
    "sender_name": "Kedai Kopi",
    "sender_address": "billing@kedai.example",
    "language": "ms",
    "color": "#112233",
    "kinds": ["receipt", "notice", "enrolled"],
    "reason": "we begin",
}


def change(client: Client, account: GatewayAccount, **values: Any) -> Any:
    address = url(GatewayAccount, "change", account.pk) + "mail/"
    return client.post(address, {**FORM, **values, "token": token(client, address)})


def test_mail_is_switched_on_with_a_reason(boss: Client) -> None:
    account = make_account()
    assert change(boss, account).status_code == 302
    look = MailSettings.objects.get()
    assert (look.enabled, look.language, look.color) == (True, "ms", "#112233")
    assert set(TO_CUSTOMERS) - set(look.kinds_off) == {"receipt", "notice", "enrolled"}
    changed, line = Transition.objects.filter(subject_type="mail").order_by("pk")
    assert (changed.from_state, changed.to_state, changed.actor) == ("mail off", "mail off", "aisyah")
    assert "color: #0f766e → #112233; " in changed.reason
    assert changed.reason.endswith(": we begin")
    assert (line.from_state, line.to_state, line.reason, line.actor) == ("mail off", "mail on", "we begin", "aisyah")
    assert change(boss, account, enabled="", kinds=[]).status_code == 302
    assert not MailSettings.objects.get().enabled
    lines = Transition.objects.filter(subject_type="mail").count()
    assert change(boss, account, enabled="", kinds=[]).status_code == 302
    assert Transition.objects.filter(subject_type="mail").count() == lines, "nothing changed"


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("sender_name", "", "required"),
        ("sender_address", "", "Must be set before mail is sent"),
        ("sender_address", "billing", "Must be an e-mail address"),
        ("sender_address", "a@b.example\r\nBcc: c@d.example", ""),
        ("sender_name", "Kedai\x7fKopi", "one line"),
        ("reply_to", "nobody", "Must be an e-mail address"),
        ("logo_url", "http://kedai.example/logo.png", "begins with https://"),
        ("cancel_url", "javascript:alert(1)", "begins with https://"),
        ("color", "red;a", "six digits"),
        ("language", "tlh", ""),
        ("kinds", ["poem"], ""),
    ],
)
def test_settings_that_cannot_be_used_change_nothing(boss: Client, field: str, value: Any, says: str) -> None:
    response = change(boss, make_account(), **{field: value})
    assert response.status_code == 422
    assert says in response.content.decode()
    assert not MailSettings.objects.exists()


def test_the_settings_are_saved_by_a_button_that_says_so(boss: Client) -> None:
    page = text(boss.get(url(GatewayAccount, "change", make_account().pk) + "mail/"))
    assert re.findall(r'<button type="submit" class="k-button k-primary">([^<]+)</button>', page) == ["Save"]


def test_mail_stays_off_without_a_mail_server(boss: Client, settings: Any) -> None:
    settings.KITARAN_SENDS_MAIL = False
    response = change(boss, make_account())
    assert response.status_code == 422
    assert "EMAIL_HOST" in response.content.decode()


@pytest.mark.parametrize("kind", TO_CUSTOMERS)
@pytest.mark.parametrize("language", Language)
def test_every_message_has_a_preview(boss: Client, kind: str, language: str) -> None:
    account = make_account()
    address = reverse("admin:billing_gatewayaccount_mail_preview", args=[account.pk, kind, language])
    assert "Kedai Kopi" in text(boss.get(address))
    assert address in text(boss.get(url(GatewayAccount, "change", account.pk)))


def test_a_preview_shows_what_the_account_has(boss: Client) -> None:
    card = make_card(make_customer(name="Tan Wei Ming"))
    make_invoice(card, state="paid", closed_at=NOW, next_attempt_at=None, amount_minor=77700)
    args = [card.account_id, "receipt", "en"]
    shown = text(boss.get(reverse("admin:billing_gatewayaccount_mail_preview", args=args)))
    assert "RM 777.00" in shown
    assert "Tan Wei Ming" in shown


@pytest.mark.parametrize("args", [["poem", "en"], ["receipt", "tlh"], ["staff", "en"]])
def test_what_is_no_message_has_no_preview(boss: Client, args: list[str]) -> None:
    address = reverse("admin:billing_gatewayaccount_mail_preview", args=[make_account().pk, *args])
    assert boss.get(address).status_code == 404


def test_a_preview_needs_permission(stranger: Client) -> None:
    address = reverse("admin:billing_gatewayaccount_mail_preview", args=[make_account().pk, "receipt", "en"])
    assert stranger.get(address).status_code == 403


def test_a_test_goes_to_oneself(boss: Client) -> None:
    account = make_mail().account
    address = url(GatewayAccount, "change", account.pk) + "test-mail/"
    form = {"kind": "notice", "language": "ms"}
    response = boss.post(address, {**form, "token": token(boss, address)})
    assert (response.status_code, len(mail.outbox)) == (422, 0)
    User.objects.update(email="aisyah@kedai.example")
    response = boss.post(address, {**form, "token": token(boss, address)})
    assert response.status_code == 302
    assert [sent.to for sent in mail.outbox] == [["aisyah@kedai.example"]]
    assert not Message.objects.exists()


def test_a_message_is_shown_as_it_was_sent(boss: Client) -> None:
    message = make_message(
        state="sent", next_try_at=None, sent_at=NOW, subject="Receipt for RM 19.90", text="Hello <b>Aminah</b>"
    )
    page = text(boss.get(url(Message, "change", message.pk)))
    assert "Receipt for RM 19.90" in page
    assert "Hello &lt;b&gt;Aminah&lt;/b&gt;" in page


def test_a_refusal_is_shown_on_the_customer(boss: Client) -> None:
    message = make_message(state="refused", next_try_at=None, state_reason="550 no such user")
    assert "550 no such user" in text(boss.get(url(Customer, "change", message.customer_id)))


def test_a_customer_is_silenced_in_a_language(boss: Client) -> None:
    customer = make_customer()
    address = url(Customer, "change", customer.pk) + "edit/"
    names = ("name", "email", "country_code", "phone_number")
    form = {name: getattr(customer, name) for name in names} | {"language": "ms", "silenced": "on"}
    assert boss.post(address, {**form, "token": token(boss, address)}).status_code == 302
    customer.refresh_from_db()
    assert (customer.language, customer.silenced) == ("ms", True)
    page = text(boss.get(url(Customer, "change", customer.pk)))
    assert "only what card networks require" in page
    assert "Malay" in page


def test_an_unknown_message_is_sent_again_with_a_reason(boss: Client) -> None:
    message = make_message(state="unknown", next_try_at=None)
    address = url(Message, "change", message.pk)
    again = f"{address}send-again/"
    assert again in text(boss.get(address))
    assert "may look like a second payment" in text(boss.get(again))
    assert boss.post(again, {"reason": "", "token": token(boss, again)}).status_code == 422
    assert boss.post(again, {"reason": "she lacks it", "token": token(boss, again)}).status_code == 302
    message.refresh_from_db()
    assert message.state == "pending"
    assert Transition.objects.get(subject_type="message").actor == "aisyah"
    for page in (url(Message, "changelist"), address, url(Customer, "change", message.customer_id)):
        assert "may have arrived twice" in text(boss.get(page))
    assert again not in text(boss.get(address)), "it is on its way"


def test_whoever_may_only_look_sends_nothing_again(viewer: Client) -> None:
    message = make_message(state="unknown", next_try_at=None)
    again = url(Message, "change", message.pk) + "send-again/"
    assert viewer.post(again, {"reason": "x"}).status_code == 403
    message.refresh_from_db()
    assert message.state == "unknown"
