"""Keys to the API: made, shown once, revoked."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from billing.accounts.api_keys import create_api_key, revoke_api_key
from billing.admin.customers import EmptyForm
from billing.admin.toolkit import fields
from billing.admin.toolkit.actions import Creation, Done, Given, PersonAction
from billing.admin.toolkit.base import RecordAdmin
from billing.admin.toolkit.fields import ActionForm
from billing.admin.toolkit.filters import AccountFilter
from billing.admin.toolkit.formats import Label, code, link, list_of, moment, page_of, state_column
from billing.admin.toolkit.pages import Cell, Facts, Page, Table, timeline
from billing.admin.toolkit.search import Search
from billing.models import ApiKey, GatewayAccount

KEY_LABELS = {"live": Label("live", "success"), "revoked": Label("revoked")}
SCOPE_WORDS = [("read", "read"), ("write", "write"), ("charge", "charge: may take money")]


def keys_of(row: GatewayAccount) -> Table:
    """The account's newest keys, for its page."""
    rows = [
        [
            Cell(link(key, key.name)),
            Cell(f"{key.prefix}…"),
            Cell("", KEY_LABELS["revoked" if key.revoked_at else "live"]),
        ]
        for key in row.api_keys.order_by("-pk")[:10]
    ]
    more = list_of(ApiKey, f"account__id__exact={row.pk}")
    return Table("API keys", ["Name", "Starts with", "State"], rows, "No keys yet.", more)


class KeyForm(ActionForm):
    account = fields.one_of("Account", GatewayAccount.objects.order_by("pk"))
    name = fields.text("Name", help_text="Who or what uses it.", most=60)
    scopes = fields.several("Scopes", SCOPE_WORDS)


def _create_key(given: Given) -> Done:
    data = {name: given.data[name] for name in ("account", "name", "scopes")}
    row, key = create_api_key(**data, actor=given.actor, now=given.now)
    return Done(
        "Copy the key now. Only its hash is stored, so it is never shown again.", page_of(row), ("API key", key)
    )


def _revoke_key(row: ApiKey, given: Given) -> Done:
    revoked = revoke_api_key(api_key=row, actor=given.actor, now=given.now)
    return Done("Key revoked. Requests with it are refused." if revoked else "The key is already revoked.")


@admin.register(ApiKey)
class ApiKeyAdmin(RecordAdmin):
    noun, nouns = "API key", "API keys"
    list_display = ("name", "begins_with", "state_label", "scope_words", "account", "made", "used")
    list_select_related = ("account",)
    list_filter = (("account", AccountFilter),)
    search_fields = ("prefix",)
    search_help_text = "Prefix or id"
    search = Search(exact=("public_id", "prefix"))
    state_label = state_column(KEY_LABELS, lambda row: "revoked" if row.revoked_at else "live")
    creation = Creation(
        label="Create an API key",
        explain="A key gives access to one account. It is shown once, on the next page.",
        form=KeyForm,
        carry_out=_create_key,
        button="Create key",
    )
    person_actions = (
        PersonAction(
            name="revoke",
            label="Revoke",
            icon="key_off",
            permission="billing.change_apikey",
            offered=lambda row: row.revoked_at is None,
            explain=lambda row: f"Requests with the key {row.name!r} are refused from now on. This cannot be undone.",
            form=EmptyForm,
            carry_out=_revoke_key,
            danger=True,
        ),
    )

    @admin.display(description="Starts with")
    def begins_with(self, row: ApiKey) -> str:
        return f"{row.prefix}…"

    @admin.display(description="Scopes")
    def scope_words(self, row: ApiKey) -> str:
        return ", ".join(row.scopes)

    @admin.display(description="Created")
    def made(self, row: ApiKey) -> str:
        return moment(row.created_at, row.account.time_zone)

    @admin.display(description="Last used")
    def used(self, row: ApiKey) -> str:
        return moment(row.last_used_at, row.account.time_zone)

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.account.time_zone
        facts = [
            ("Starts with", code(f"{row.prefix}…")),
            ("Scopes", ", ".join(row.scopes)),
            ("Account", link(row.account, row.account.name)),
            ("Created", moment(row.created_at, zone)),
            ("Last used", moment(row.last_used_at, zone)),
            ("Revoked", moment(row.revoked_at, zone)),
            ("Id", code(row.public_id)),
        ]
        return Page(
            row.name,
            "API key",
            KEY_LABELS["revoked" if row.revoked_at else "live"],
            main=[Facts("API key", facts)],
            side=[timeline([("api_key", [row.pk])], zone)],
        )
