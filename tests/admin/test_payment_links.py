"""The link in the admin: shown once, shared with words that name no one, and ended."""

import html
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from billing.models import Customer, Transition
from tests.factories import make_card, make_customer, make_invoice, make_mail

pytestmark = pytest.mark.django_db


def address(row: Model, action: str) -> str:
    return reverse(f"admin:billing_{row._meta.model_name}_change", args=[row.pk]) + f"{action}/"


def act(boss: Client, row: Model, action: str, **data: str) -> str:
    asked = boss.get(address(row, action)).content.decode()
    token = asked.partition('name="token" value="')[2].partition('"')[0]
    answer = boss.post(address(row, action), {"token": token, **data}, follow=True)
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


def link_in(text: str) -> str:
    return re.findall(r"http://127.0.0.1:8000(/pay/[^<\s]+)</code>", text)[0]


@pytest.mark.parametrize("of", ["customer", "invoice"])
def test_a_link_is_made_on_the_page_of(of: str, boss: Client) -> None:
    card = make_card()
    row = card.customer if of == "customer" else make_invoice(card)
    said = act(boss, row, "payment-link")
    assert Client().get(link_in(said)).status_code == 200
    assert "It works until " in said
    assert "Copy" in said
    assert not Transition.objects.exists()


@pytest.mark.parametrize(
    ("language", "words"), [("en", "Your payments to Kedai Kopi: "), ("ms", "Bayaran anda kepada ")]
)
def test_what_is_shared_by_whatsapp_names_no_one(language: str, words: str, boss: Client) -> None:
    customer = make_customer(language=language, reference="member-77", phone_number="198765432")
    make_mail(customer.account)
    said = act(boss, customer, "payment-link")
    shared = urlsplit(re.findall(r'href="(https://wa\.me/[^"]+)"', said)[0])
    (text,) = parse_qs(shared.query)["text"]
    assert (shared.netloc, shared.path) == ("wa.me", "/")
    assert text.startswith(words)
    assert text.endswith(f"http://127.0.0.1:8000{link_in(said)}")
    for word in (customer.name, customer.email, customer.phone_number, customer.reference):
        assert word not in text


def test_ending_the_links_takes_a_reason_and_ends_them(boss: Client) -> None:
    customer = make_customer()
    link = link_in(act(boss, customer, "payment-link"))
    act(boss, customer, "end-payment-links", reason="wrong number")
    assert Client().get(link).status_code == 404
    assert Transition.objects.get().reason == "all payment links ended: wrong number"
    assert Customer.objects.get().link_epoch


def test_who_may_not_change_customers_gets_no_link(viewer: Client) -> None:
    card = make_card()
    for row, action in (
        (card.customer, "payment-link"),
        (card.customer, "end-payment-links"),
        (make_invoice(card), "payment-link"),
    ):
        assert viewer.get(address(row, action)).status_code == 403
        assert viewer.post(address(row, action), {}).status_code == 403
