"""docs/integrate.md works: its blocks run in order against a live server, the simulator, and the engine."""

import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from billing.models import PaymentMethod
from tests.api.calls import api_for
from tests.conftest import Shop

PAGE = Path(__file__).resolve().parents[2] / "docs/integrate.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


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


@pytest.fixture
def engine(shop: Shop) -> Iterator[None]:
    """Workers: they open what is due and collect it, again and again."""
    stop = threading.Event()

    def work() -> None:
        try:
            while not stop.wait(0.2):
                shop.open()
                shop.collect()
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
) -> None:
    settings.KITARAN_PUBLIC_URL = live_server.url
    api = api_for(shop.account)
    monkeypatch.setenv("KITARAN_URL", live_server.url)
    monkeypatch.setenv("KITARAN_KEY", api.key or "")
    connect, bind, check, subscribe, see, once, give_back = BLOCKS
    page: dict[str, Any] = {}
    try:
        for block in (connect, bind):
            exec(compile(block, str(PAGE), "exec"), page)  # noqa: S102
        came_back = shop.simulator.bind(page["card"]["payment_url"])
        assert came_back.startswith(f"{live_server.url}/bind/")
        expected = f"https://shop.example/cards/done?payment_method={page['card']['id']}&status=active"
        assert visit(came_back) == (303, expected)
        for block in (check, subscribe, see, once, once, give_back, give_back):
            exec(compile(block, str(PAGE), "exec"), page)  # noqa: S102
    finally:
        if "http" in page:
            page["http"].close()
    said = capsys.readouterr().out
    assert "every month on the last day at 09:00, Asia/Kuala_Lumpur" in said
    assert re.search(r"^paid succeeded \d+$", said, re.MULTILINE)
    assert re.search(r"^incomplete every month", said, re.MULTILINE)
    assert re.search(r"^active \['20", said, re.MULTILINE)
    invoices = api.get("/invoices/").json()["data"]
    assert [invoice["amount_minor"] for invoice in invoices] == [3500, 1990], "order 7 was sent twice and issued once"
    (refund,) = api.get("/refunds/").json()["data"]
    assert (refund["amount_minor"], refund["state"]) == (500, "requested"), "sent twice, asked for once"


def test_the_page_is_short() -> None:
    lines = [line for block in BLOCKS for line in block.splitlines() if line.strip()]
    assert len(lines) <= 80


@pytest.mark.django_db
def test_docs_are_served_where_the_page_links_them() -> None:
    assert Client().get("/api/docs/").status_code == 200
    assert PaymentMethod.objects.count() == 0
