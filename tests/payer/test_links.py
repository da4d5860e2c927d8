"""A link opens one customer's page until it expires or is ended, and nothing that looks like one opens anything."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import signing
from django.test import Client

from billing.models import Customer, Event, Transition
from billing.models.clock import database_now
from billing.subscriptions.payment_links import OLD_SALT, SALT, customer_of, end_links, payment_link
from tests.factories import NOW, make_account, make_customer, make_invoice, make_mail
from tests.payer.parts import HOST, path_of

pytestmark = pytest.mark.django_db
GONE = "This link no longer works"


def signed(*parts: str) -> str:
    return signing.Signer(salt=SALT, sep=".").sign(".".join(parts))


def later() -> str:
    return str(int(database_now().timestamp()) + 60)


def old_token(customer: Customer) -> str:
    return signing.TimestampSigner(salt=OLD_SALT).sign(customer.public_id)


def test_a_link_names_the_customer_by_the_public_id_alone() -> None:
    customer = make_customer(phone_number="198765432", reference="secret-reference")
    link = payment_link(customer, now=NOW)
    assert customer.public_id in link.url
    for word in (customer.email, customer.name, customer.phone_number, customer.reference):
        assert word not in link.url


@pytest.mark.parametrize("days", [30, 7])
def test_a_link_is_good_for_as_long_as_the_account_says(days: int) -> None:
    customer = make_customer(make_account(payment_link_days=days))
    link = payment_link(customer, now=NOW)
    assert link.expires_at == NOW + timedelta(days=days)
    token = link.url.split("/")[-2]
    assert customer_of(token, now=link.expires_at - timedelta(seconds=1)) == customer
    assert customer_of(token, now=link.expires_at) is None


def test_ending_the_links_ends_those_of_sent_mails_too(client: Client) -> None:
    customer, other = make_customer(), make_customer()
    before = [path_of(customer), f"/pay/{old_token(customer)}/"]
    assert [client.get(path).status_code for path in before] == [200, 200]
    end_links(customer=customer, reason="sent to a wrong number", actor="mei", now=NOW)
    assert [client.get(path).status_code for path in before] == [404, 404]
    assert client.get(path_of(customer)).status_code == 200
    assert client.get(path_of(other)).status_code == 200
    line = Transition.objects.get(subject_type="customer", subject_id=customer.pk)
    assert (line.actor, line.reason) == ("mei", "all payment links ended: sent to a wrong number")
    assert customer.link_epoch not in line.reason
    assert not Event.objects.exists()


def test_links_that_were_ended_stay_so_when_links_are_ended_again() -> None:
    customer = make_customer()
    tokens, epochs = [], set()
    for _ in range(3):
        tokens.append(payment_link(customer, now=NOW).url.split("/")[-2])
        epochs.add(customer.link_epoch)
        end_links(customer=customer, reason="again", actor="mei", now=NOW)
    assert len(epochs) == 3
    assert [customer_of(token, now=NOW) for token in tokens] == [None, None, None]


def bad_tokens(customer: Customer, other: Customer) -> dict[str, str]:
    good = path_of(customer).split("/")[2]
    head, _, signature = good.rpartition(".")
    flipped = signature[:-1] + ("A" if signature[-2:] != "A" else "B")
    swapped = good.replace(customer.public_id, other.public_id)
    return {
        "expired": signed(customer.public_id, "0", str(int(database_now().timestamp()) - 1)),
        "ended": signed(customer.public_id, "an-epoch-before", later()),
        "nobody's": signed("cus_00000000000000000000000000", "0", later()),
        "tampered": f"{head}.{flipped[::-1]}",
        "another customer's": swapped,
        "longer": head.rsplit(".", 1)[0] + f".{int(later()) + 10**8}.{signature}",
        "another form's signature": signing.Signer(salt="kitaran.payer-form", sep=".").sign(head),
        "unsigned": head,
        "unknown version": f"v9.{good}",
        "empty": ".",
        "NUL": f"{head}%00.{signature}",
        "not text": f"{head}%FF.{signature}",
        "very long": good + "A" * 5000,
    }


@pytest.mark.parametrize("method", ["get", "head", "post"])
def test_nothing_that_looks_like_a_link_opens_anything(method: str, client: Client) -> None:
    customer, other = make_customer(), make_customer()
    make_invoice(description="Coffee club", customer=customer)
    answers = {}
    for name, token in bad_tokens(customer, other).items():
        for path in (f"/pay/{token}/", f"/pay/{token}/receipts/inv_x/"):
            response = getattr(client, method)(path)
            if method == "post" and "receipts" in path:
                continue
            answers[name, path] = response.status_code
            assert "Coffee" not in response.content.decode()
            assert response["Referrer-Policy"] == "no-referrer"
            assert response["X-Robots-Tag"] == "noindex, nofollow"
    assert set(answers.values()) == {404}, answers


def test_a_wrong_link_says_so_in_both_languages(client: Client) -> None:
    text = client.get("/pay/x/").content.decode()
    assert GONE in text
    assert "Pautan ini tidak lagi berfungsi" in text


def test_a_link_of_an_older_message_leads_to_the_page(client: Client) -> None:
    customer = make_customer()
    make_mail(customer.account)
    for method in (client.get, client.post):
        response = method(f"/card/{old_token(customer)}/")
        assert (response.status_code, response["Referrer-Policy"]) == (303, "no-referrer")
        assert client.get(response["Location"]).status_code == 200
    assert client.get("/card/" + "A" * 5000 + "/").status_code == 404


def test_a_link_of_an_older_message_is_good_for_its_month(client: Client, monkeypatch: Any) -> None:
    token = old_token(make_customer())
    monkeypatch.setattr("billing.subscriptions.payment_links.OLD_VALID", timedelta(seconds=-1))
    assert client.get(f"/pay/{token}/").status_code == 404


def test_no_log_holds_a_link(client: Client, caplog: Any) -> None:
    token = path_of(make_customer()).split("/")[2]
    for path in (f"/pay/{token}x/", f"/pay/{token}/receipts/inv_x/", f"/bind/{token}/", f"/card/{token}{'A' * 300}/"):
        client.get(path)
    written = [record.getMessage() for record in caplog.records if record.name == "django.request"]
    assert written == [
        "Not Found: /pay/…/", "Not Found: /pay/…/receipts/inv_x/", "Not Found: /bind/…/", "Not Found: /card/…/",
    ]  # fmt: skip


def test_the_public_address_is_that_of_the_installation(settings: Any) -> None:
    settings.KITARAN_PUBLIC_URL = "https://billing.example.com"
    assert payment_link(make_customer(), now=NOW).url.startswith("https://billing.example.com/pay/cus_")
    assert HOST not in payment_link(make_customer(), now=NOW).url
