"""docs/integrate.md works: its blocks run in order against a live server, the simulator, and the engine."""

import json
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from billing.models import PaymentMethod, WebhookDelivery
from billing.models.clock import database_now
from billing.notifying.deliver import Delivering, deliver_due
from tests.api.calls import api_for
from tests.conftest import Shop
from tests.factories import NOW, make_mail

PAGE = Path(__file__).resolve().parents[2] / "docs/integrate.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)

HOW = Delivering(timedelta(seconds=2), at_once=4, of_one_endpoint=4, allow_private=True)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def visit(address: str) -> tuple[int, str]:
    """The status, and where the browser would go next."""
    try:
        with urllib.request.build_opener(_Stay).open(address, timeout=20) as page:
            return page.status, page.headers.get("Location", "")
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.headers.get("Location", "")


def inbox(page: dict[str, Any]) -> list[tuple[str, int]]:
    """What the receiver kept, once there is something; and that it keeps what it gets twice once."""
    until = time.monotonic() + 30
    while not (rows := page["inbox"].execute("SELECT body FROM event").fetchall()):
        assert time.monotonic() < until, "no webhook came"
        time.sleep(0.1)
    WebhookDelivery.objects.filter(state="delivered").update(state="pending", next_try_at=NOW, closed_at=None)
    while WebhookDelivery.objects.filter(state="pending").exists():
        assert time.monotonic() < until, "no webhook came twice"
        time.sleep(0.1)
    rows = page["inbox"].execute("SELECT body FROM event").fetchall()
    bodies = [json.loads(body) for (body,) in rows]
    return [(body["type"], body["data"]["object"]["amount_minor"]) for body in bodies]


def forged(url: str) -> int:
    """What a stranger's request gets."""
    signed = {"webhook-id": "evt_1", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,AAAA"}
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(url, b"{}", signed), timeout=5)  # noqa: S310
    refused.value.close()
    return refused.value.code


@pytest.fixture
def engine(shop: Shop) -> Iterator[None]:
    """Workers: they open what is due and collect it, again and again."""
    stop = threading.Event()

    def work() -> None:
        try:
            while not stop.wait(0.2):
                shop.open()
                shop.collect()
                deliver_due(how=HOW, clock=database_now, should_stop=lambda: False)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.django_db(transaction=True)
def test_the_page_runs_from_top_to_bottom(
    shop: Shop,
    engine: None,
    live_server: LiveServer,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    settings.KITARAN_PUBLIC_URL = live_server.url
    make_mail(shop.account)
    api = api_for(shop.account)
    monkeypatch.setenv("KITARAN_URL", live_server.url)
    monkeypatch.setenv("KITARAN_KEY", api.key or "")
    settings.KITARAN_WEBHOOKS_ALLOW_PRIVATE = True
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("PORT", str(port))
    monkeypatch.setenv("WEBHOOK_URL", f"http://127.0.0.1:{port}/hooks")
    monkeypatch.setenv("WEBHOOK_SECRET", "")
    monkeypatch.setenv("INBOX", str(tmp_path / "inbox.db"))
    connect, bind, check, subscribe, see, pay, receive, register, once, give_back, mails, feed = BLOCKS
    page: dict[str, Any] = {}
    try:
        for block in (connect, bind):
            exec(compile(block, str(PAGE), "exec"), page)  # noqa: S102
        came_back = shop.simulator.bind(page["card"]["payment_url"])
        assert came_back.startswith(f"{live_server.url}/bind/")
        expected = f"https://shop.example/cards/done?payment_method={page['card']['id']}&status=active"
        assert visit(came_back) == (303, expected)
        for block in (check, subscribe, see, pay, receive, register, once, once, give_back, give_back, mails, feed):
            exec(compile(block, str(PAGE), "exec"), page)  # noqa: S102
        assert inbox(page) == [("invoice.paid", 3500)]
        assert forged(f"http://127.0.0.1:{port}/hooks") == 401
    finally:
        if "server" in page:
            page["server"].shutdown()
            page["server"].server_close()
            page["inbox"].close()
        if "http" in page:
            page["http"].close()
    said = capsys.readouterr().out
    assert "every month on the last day at 09:00, Asia/Kuala_Lumpur" in said
    assert re.search(r"^paid succeeded \d+$", said, re.MULTILINE)
    with urllib.request.urlopen(page["link"]["url"], timeout=5) as paying:  # noqa: S310
        assert "Kad anda" in paying.read().decode()  # the customer's language is Malay
    feed_lines = re.findall(r"^(\d+) (\S+) (\S+) ", said, re.MULTILINE)
    assert [int(number) for number, _, _ in feed_lines] == list(range(1, len(feed_lines) + 1))
    assert [k for _, k, _ in feed_lines][:3] == ["customer.created", "payment_method.created", "payment_method.saved"]
    assert {"subscription.active", "invoice.opened", "attempt.succeeded", "invoice.paid", "refund.requested"} <= {
        kind for _, kind, _ in feed_lines
    }
    assert re.search(r"^incomplete every month", said, re.MULTILINE)
    assert re.search(r"^active \['20", said, re.MULTILINE)
    assert re.search(r"^enrolled ms pending $", said, re.MULTILINE)
    assert page["newest"] == page["messages"][0]
    invoices = api.get("/invoices/").json()["data"]
    assert [invoice["amount_minor"] for invoice in invoices] == [3500, 1990], "order 7 was sent twice and issued once"
    (refund,) = api.get("/refunds/").json()["data"]
    assert (refund["amount_minor"], refund["state"]) == (500, "requested"), "sent twice, asked for once"


def test_the_page_is_short() -> None:
    lines = [line for block in BLOCKS for line in block.splitlines() if line.strip()]
    assert len(lines) <= 115
    receiver = [line for line in BLOCKS[5].splitlines() if line.strip()]
    assert len(receiver) <= 25


@pytest.mark.django_db
def test_docs_are_served_where_the_page_links_them() -> None:
    assert Client().get("/api/docs/").status_code == 200
    assert PaymentMethod.objects.count() == 0
