"""Visitors who ask too often, by address and by customer; what is counted is in PostgreSQL."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client, RequestFactory

from billing.models import VisitCount
from billing.models.bulk.visiting import count_visit, forget_visits
from billing.payer import limits, pages
from billing.subscriptions.payment_links import payment_link
from tests.factories import NOW, make_customer
from tests.payer.parts import HOST

pytestmark = pytest.mark.django_db
PROXY, THERE = "10.0.0.1", "203.0.113.7"


@pytest.fixture(autouse=True)
def few(monkeypatch: Any) -> None:
    """Limits that are soon reached, at a time that stands still."""
    for name, most in (("BY_ADDRESS", 6), ("BY_CUSTOMER", 4), ("ACTS_BY_CUSTOMER", 2)):
        monkeypatch.setattr(limits, name, most)
    moment = [NOW]
    monkeypatch.setattr(pages, "database_now", lambda: moment[0])
    few.moment = moment  # type: ignore[attr-defined]


def wait(by: timedelta) -> None:
    few.moment[0] += by  # type: ignore[attr-defined]


def path(customer: Any) -> str:
    return payment_link(customer, now=NOW).url.removeprefix(HOST)


def codes(client: Client, address: str, times: int, *, post: bool = False, **headers: str) -> list[int]:
    send = client.post if post else client.get
    return [send(address, **headers).status_code for _ in range(times)]


def test_a_customer_has_so_many_requests_from_any_address(client: Client) -> None:
    address = path(make_customer())
    answers = [client.get(address, REMOTE_ADDR=f"203.0.113.{number}") for number in range(5)]
    assert [one.status_code for one in answers] == [200, 200, 200, 200, 429]
    assert answers[-1]["Retry-After"] == "600"
    assert answers[-1]["Referrer-Policy"] == "no-referrer"
    assert codes(client, path(make_customer()), 1, REMOTE_ADDR="203.0.113.9") == [200]


def test_a_new_link_of_the_same_customer_opens_no_second_door(client: Client) -> None:
    customer = make_customer()
    assert codes(client, path(customer), 4) == [200] * 4
    wait(timedelta(seconds=1))
    fresh = payment_link(customer, now=NOW + timedelta(seconds=1)).url.removeprefix(HOST)
    assert codes(client, fresh, 1) == [429]


def test_acts_have_a_smaller_number(client: Client) -> None:
    address = path(make_customer())
    assert codes(client, address, 3, post=True) == [303, 303, 429]
    assert codes(client, address, 1) == [200]


def test_an_address_has_so_many_requests_with_any_link(client: Client) -> None:
    assert codes(client, "/pay/x/", 7) == [404] * 6 + [429]
    assert codes(client, path(make_customer()), 1) == [429]
    assert codes(client, path(make_customer()), 1, REMOTE_ADDR=THERE) == [200]


def test_the_door_opens_again(client: Client) -> None:
    address = path(make_customer())
    assert codes(client, address, 5)[-1] == 429
    wait(limits.WINDOW)
    assert codes(client, address, 4) == [200] * 4


@pytest.mark.parametrize(
    ("proxies", "forwarded", "seen"),
    [
        (0, "", PROXY),
        (0, THERE, PROXY),  # whoever writes the header chooses it
        (1, THERE, THERE),
        (1, f"198.51.100.1, {THERE}", THERE),  # what the visitor wrote stands before what the proxy adds
        (1, "", PROXY),
        (2, f"{THERE}, 10.0.0.2", THERE),
        (5, THERE, THERE),
        (1, "not an address", "not an address"),
        (1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ],
)
def test_the_address_is_what_our_own_proxy_saw(proxies: int, forwarded: str, seen: str, settings: Any) -> None:
    settings.KITARAN_PROXIES = proxies
    headers = {"HTTP_X_FORWARDED_FOR": forwarded} if forwarded else {}
    assert limits.address_of(RequestFactory().get("/", REMOTE_ADDR=PROXY, **headers)) == seen


def test_counters_begin_anew_and_are_forgotten() -> None:
    windows = [NOW + limits.WINDOW * number for number in range(3)]
    assert [count_visit("a", window_at=at) for at in (windows[0], windows[0], windows[1])] == [1, 2, 1]
    count_visit("b", window_at=windows[0])
    count_visit("c", window_at=windows[2])
    assert forget_visits(before=windows[1], limit=10) == 1
    assert set(VisitCount.objects.values_list("key", flat=True)) == {"a", "c"}


def test_a_window_begins_at_a_full_ten_minutes() -> None:
    at = datetime.fromisoformat("2026-03-02T01:09:59.5+00:00")
    assert limits.window_of(at) == datetime.fromisoformat("2026-03-02T01:00:00+00:00")
