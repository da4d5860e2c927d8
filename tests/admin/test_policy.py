"""What browsers are told: scripts may evaluate in the admin only, and nothing comes from elsewhere."""

import re

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse

from tests.admin.conftest import World

pytestmark = pytest.mark.django_db


def policy(client: Client, address: str) -> dict[str, str]:
    header = client.get(address)["Content-Security-Policy"]
    return {part.split()[0]: " ".join(part.split()[1:]) for part in header.split(";") if part.strip()}


def test_the_admin_gets_what_its_theme_needs_and_no_more(boss: Client) -> None:
    for address in (reverse("admin:index"), reverse("admin:login"), reverse("admin:billing_customer_changelist")):
        assert policy(boss, address) == {
            "default-src": "'self'",
            "img-src": "'self' data:",
            "style-src": "'self' 'unsafe-inline'",
            "script-src": "'self' 'unsafe-eval'",
            "frame-ancestors": "'none'",
            "base-uri": "'none'",
            "form-action": "'self'",
        }


@pytest.mark.parametrize("address", ["/health/", "/bind/nothing/", "/nothing/", "/administration/"])
def test_nothing_else_may_evaluate_scripts(address: str) -> None:
    assert "unsafe-eval" not in str(policy(Client(), address))


def test_pages_load_only_local_assets_and_every_asset_exists(boss: Client, world: World) -> None:
    pages = [
        reverse("admin:index"),
        reverse("admin:billing_invoice_changelist"),
        reverse("admin:billing_subscription_add"),
    ]
    for address in pages:
        page = boss.get(address).content.decode()
        asked = re.findall(r'<(?:script|link|img)[^>]*?(?:src|href)="([^"]+)"', page)
        assert asked
        for source in asked:
            assert source.startswith("/"), source
            if source.startswith("/static/"):
                assert finders.find(source.removeprefix("/static/")), source


def test_the_favicon_is_our_own(boss: Client) -> None:
    assert 'href="/static/billing/favicon.svg"' in boss.get(reverse("admin:index")).content.decode()
