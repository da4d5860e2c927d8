"""A real browser (Debian's chromium), a live server, and a watch over everything that pages ask for."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.db import connections
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

CHROMIUM = Path("/usr/bin/chromium")
WAIT_MILLISECONDS = 15_000  # for whatever a page shows; a busy machine takes its time
PASSWORD = "correct horse battery staple"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
os.environ.setdefault("DJANGO_LIVE_TEST_SERVER_ADDRESS", "127.0.0.1")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing: apt-get install chromium, or make browser as root")
    # Playwright's loop runs in this thread from now on; what tests ask of the database is quick.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        expect.set_options(timeout=WAIT_MILLISECONDS)
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield chromium
        chromium.close()


@dataclass
class Watch:
    """What went wrong on any page: console errors, missing assets, requests to elsewhere."""

    wrong: list[str] = field(default_factory=list)
    seen: int = 0

    def over(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.wrong.append(f"script failed: {error}"))
        page.on("request", self._request)
        page.on("response", self._response)
        page.on("requestfailed", self._failed)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"console {message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            self.wrong.append(f"asked elsewhere: {request.url}")

    def _response(self, response: Response) -> None:
        self.seen += 1
        if response.status >= 400:
            self.wrong.append(f"{response.status}: {response.url}")

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the browser itself leaves a page
            self.wrong.append(f"failed: {request.url} {request.failure}")


@pytest.fixture
def watch() -> Iterator[Watch]:
    found = Watch()
    yield found
    assert found.wrong == []


@pytest.fixture
def site(live_server: LiveServer, settings: object, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the live server, which is also where binding comes back to."""
    # A thread answers each connection of the browser, and must not keep one to the database.
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)
    settings.KITARAN_PUBLIC_URL = live_server.url  # type: ignore[attr-defined]
    return str(live_server.url)


@pytest.fixture
def people(site: str) -> User:
    return User.objects.create_superuser("aisyah", password=PASSWORD)


def open_page(browser: Browser, site: str, watch: Watch, *, width: int = 1280, dark: bool = False) -> Page:
    """A page in a browser of its own, logged out."""
    context = browser.new_context(
        base_url=site,
        viewport={"width": width, "height": 844 if width < 600 else 900},
        color_scheme="dark" if dark else "light",
        locale="en-GB",
    )
    context.set_default_timeout(WAIT_MILLISECONDS)
    page = context.new_page()
    watch.over(page)
    return page


def log_in(page: Page, name: str = "aisyah") -> None:
    page.goto("/admin/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/admin/")


def scrolls_sideways(page: Page) -> bool:
    """Whether the page, or anything on it that should fit, is wider than its place."""
    page.wait_for_load_state("networkidle")
    return bool(
        page.evaluate(
            """() => [document.documentElement, ...document.querySelectorAll('#main, .k-page, .k-card, .k-tile')]
                .some(part => part.scrollWidth > part.clientWidth + 1)"""
        )
    )
