"""Gateway accounts, their API keys, and the stop switches."""

from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html

from billing.accounts.api_keys import create_api_key, revoke_api_key
from billing.accounts.change_account import CHARGE_PATHS, change_account
from billing.accounts.gateway_accounts import (
    open_account,
    start_account,
    start_installation,
    stop_account,
    stop_installation,
)
from billing.admin import fields
from billing.admin.actions import Creation, Done, Given, PersonAction
from billing.admin.base import RecordAdmin
from billing.admin.customers import EmptyForm
from billing.admin.fields import ActionForm, ReasonForm
from billing.admin.filters import AccountFilter, StateFilter
from billing.admin.formats import (
    NOTHING,
    SWITCH_LABELS,
    Label,
    code,
    link,
    list_of,
    moment,
    page_of,
    state_column,
    words,
)
from billing.admin.pages import Cell, Facts, Page, Table, Words, timeline
from billing.admin.search import Search
from billing.domain.arming import Environment
from billing.domain.dunning import FinalAction
from billing.domain.matching import MarkerEcho
from billing.domain.money import display
from billing.models import ApiKey, GatewayAccount, Installation

KEY_LABELS = {"live": Label("live", "success"), "revoked": Label("revoked")}
FINAL_WORDS = {
    FinalAction.CANCEL: "cancel the subscription",
    FinalAction.PAUSE: "pause the subscription",
    FinalAction.KEEP: "keep it past due; later periods are charged as they come",
}
SCOPE_WORDS = [("read", "read"), ("write", "write"), ("charge", "charge: may take money")]


class OpenForm(ActionForm):
    name = fields.text("Name", help_text="Customers see it on the bind page.", most=60)
    environment = fields.choice("Environment", [(e.value, e.value) for e in Environment], initial="sandbox")
    client_id = fields.text("Client id")
    client_secret = fields.secret("Client secret", help_text="Stored encrypted and never shown again.")
    private_key_pem = fields.secret_text("Private key (PEM)", help_text="Stored encrypted and never shown again.")
    gateway_public_key = fields.long_text("Gateway's public key (PEM)", required=False, rows=4)
    store_id = fields.text("Store id")
    time_zone = fields.text("Time zone", help_text="IANA name. Days and charge times are meant in it.")
    oauth_url = fields.text("OAuth address", required=False, help_text="Only for a simulator on this machine.")
    api_url = fields.text("API address", required=False, help_text="Only for a simulator on this machine.")

    def prepare(self, row: Any) -> None:
        self.initial.setdefault("time_zone", "Asia/Kuala_Lumpur")


class SettingsForm(ReasonForm):
    name = fields.text("Name", help_text="Customers see it on the bind page.", most=60)
    client_id = fields.text("Client id")
    client_secret = fields.secret("New client secret", required=False, help_text="Left empty: stays as it is.")
    private_key_pem = fields.secret_text(
        "New private key (PEM)", required=False, help_text="Left empty: stays as it is."
    )
    gateway_public_key = fields.long_text("Gateway's public key (PEM)", required=False, rows=4)
    store_id = fields.text("Store id")
    time_zone = fields.text("Time zone")
    charge_path = fields.choice("Charge path", [(path, path) for path in CHARGE_PATHS])
    charge_limit = fields.amount("Highest charge in RM")
    second_person_above = fields.amount(
        "A second person decides above, in RM",
        required=False,
        least_minor=0,
        help_text="What one person decides about an attempt or a card above it waits for another. Empty: never.",
    )
    preflight_always = fields.tick("Read the card's orders before every charge")
    marker_echo = fields.choice("Markers are echoed", [(echo.value, words(echo.value)) for echo in MarkerEcho])
    retry_after_absence_hours = fields.number(
        "Hours of absence that permit another try",
        required=False,
        help_text="Empty, the safe choice: a person decides. Only where it was proved in the sandbox that the gateway "
        "executes nothing after its own window.",
    )
    retry_days = fields.DaysField(
        label="Retry days",
        required=False,
        help_text="Days after the first try, at most three, such as 3, 7, 14.",
    )
    final_action = fields.choice("When the last try is declined", [(a.value, text) for a, text in FINAL_WORDS.items()])
    field_order = ("name", "client_id", "client_secret", "private_key_pem")

    def prepare(self, row: Any) -> None:
        other = {"client_secret", "private_key_pem", "charge_limit", "second_person_above", "retry_days"}
        plain = set(self.fields) - other - {"reason", "token"}
        self.initial.update({name: getattr(row, name) for name in plain})
        self.initial["retry_days"] = ", ".join(map(str, row.retry_days))
        self.initial["charge_limit"] = Decimal(row.charge_limit_minor).scaleb(-2)
        if row.second_person_above_minor is not None:
            self.initial["second_person_above"] = Decimal(row.second_person_above_minor).scaleb(-2)
        self.order_fields([name for name in self.fields if name != "reason"])  # the reason comes last


def _absence(hours: int | None) -> str:
    return "goes to a person" if hours is None else f"permits another try after {hours} hours"


def _open(given: Given) -> Done:
    data = {name: given.data[name] for name in OpenForm.base_fields if name not in ("token", "environment")}
    account = open_account(**data, environment=Environment(given.data["environment"]), now=given.now)
    return Done(f"The account {account.name} was opened.", page_of(account))


def _settings(row: GatewayAccount, given: Given) -> Done:
    changes = {name: given.data[name] for name in SettingsForm.base_fields if name not in ("token", "reason")}
    changes["charge_limit_minor"] = fields.minor(changes.pop("charge_limit"))
    above = changes.pop("second_person_above")
    changes["second_person_above_minor"] = None if above is None else fields.minor(above)
    changed = change_account(account=row, changes=changes, reason=given.reason, actor=given.actor, now=given.now)
    return Done(f"Changed: {', '.join(map(words, changed))}." if changed else "Nothing was different.")


def _stop(row: GatewayAccount, given: Given) -> Done:
    stopped = stop_account(account=row, reason=given.reason, actor=given.actor, now=given.now)
    return Done("Stopped: nothing is charged for this account." if stopped else "It was stopped already.")


def _start(row: GatewayAccount, given: Given) -> Done:
    started = start_account(account=row, reason=given.reason, actor=given.actor, now=given.now)
    return Done("The account charges again." if started else "It was not stopped.")


@admin.register(GatewayAccount)
class AccountAdmin(RecordAdmin):
    noun, nouns = "account", "accounts"
    list_display = ("name", "environment", "switch", "store_id", "time_zone", "since")
    list_filter = (("environment", StateFilter),)
    search_fields = ("public_id",)
    search_help_text = "Account id or client id"
    search = Search(exact=("public_id", "client_id"))
    switch = state_column(SWITCH_LABELS, lambda row: "stopped" if row.stopped_at else "running", "Switch")
    creation = Creation(
        label="Open an account",
        explain="A merchant's application at the gateway. Every customer, plan and key belongs to one.",
        form=OpenForm,
        carry_out=_open,
        button="Open account",
    )
    person_actions = (
        PersonAction(
            name="settings",
            label="Change settings",
            icon="settings",
            permission="billing.change_gatewayaccount",
            explain=lambda row: "What was charged before keeps its amounts; what comes next uses the new values.",
            form=SettingsForm,
            carry_out=_settings,
        ),
        PersonAction(
            name="stop",
            label="Stop charging",
            icon="front_hand",
            permission="billing.change_gatewayaccount",
            offered=lambda row: row.stopped_at is None,
            explain=lambda row: (
                f"Nothing is charged for {row.name} from now on. What is on its way already is followed to its end. "
                "Invoices still fall due and wait."
            ),
            carry_out=_stop,
            danger=True,
        ),
        PersonAction(
            name="start",
            label="Charge again",
            icon="play_arrow",
            permission="billing.change_gatewayaccount",
            offered=lambda row: row.stopped_at is not None,
            explain=lambda row: f"{row.name} charges again; what fell due meanwhile is charged now.",
            carry_out=_start,
        ),
    )

    @admin.display(description="Since")
    def since(self, row: GatewayAccount) -> str:
        return moment(row.created_at, row.time_zone)

    def page(self, request: HttpRequest, row: Any) -> Page:
        facts = [
            ("Environment", row.environment),
            ("Time zone", row.time_zone),
            ("Client id", code(row.client_id)),
            ("Store id", code(row.store_id)),
            ("Secrets", "client secret and private key are stored encrypted"),
            ("Gateway", code(row.api_url)),
            ("Charge path", row.charge_path),
            ("Highest charge", display(row.charge_limit_minor, "MYR")),
            ("Second person", _second_person(row)),
            ("Orders read before", "every charge" if row.preflight_always else "every charge but an invoice's first"),
            ("Markers are echoed", words(row.marker_echo)),
            ("Absence at the gateway", _absence(row.retry_after_absence_hours)),
            ("Opened", moment(row.created_at, row.time_zone)),
            ("Id", code(row.public_id)),
        ]
        dunning = [
            ("Tried again", f"after {', '.join(map(str, row.retry_days))} days" if row.retry_days else "never"),
            ("After the last", FINAL_WORDS[row.final_action]),
        ]
        return Page(
            row.name,
            f"{row.environment} account",
            SWITCH_LABELS["stopped" if row.stopped_at else "running"],
            main=[
                *stop_notice(row, row.time_zone),
                Facts("Account", facts),
                timeline([("account", [row.pk])], row.time_zone),
            ],
            side=[Facts("When a charge is declined", dunning), _keys(row)],
        )


def _second_person(row: GatewayAccount) -> str:
    above = row.second_person_above_minor
    return "never asked" if above is None else f"confirms decisions above {display(above, 'MYR')}"


def stop_notice(row: GatewayAccount | Installation, zone: str) -> list[Words]:
    if row.stopped_at is None:
        return []
    what = row.name if isinstance(row, GatewayAccount) else "Everything"
    at = moment(row.stopped_at, zone)
    return [
        Words(format_html("{} is stopped since {} by {}: {}", what, at, row.stopped_by, row.stopped_reason), "danger")
    ]


def _keys(row: GatewayAccount) -> Table:
    rows = [
        [
            Cell(link(key, key.name)),
            Cell(f"{key.prefix}…"),
            Cell("", KEY_LABELS["revoked" if key.revoked_at else "live"]),
        ]
        for key in row.api_keys.order_by("-pk")[:10]
    ]
    more = list_of(ApiKey, f"account__id__exact={row.pk}")
    return Table("API keys", ["Name", "Begins with", "State"], rows, "No key yet.", more)


class KeyForm(ActionForm):
    account = fields.one_of("Account", GatewayAccount.objects.order_by("pk"))
    name = fields.text("Name", help_text="Who or what uses it.", most=60)
    scopes = fields.several("Scopes", SCOPE_WORDS)


def _create_key(given: Given) -> Done:
    data = {name: given.data[name] for name in ("account", "name", "scopes")}
    row, key = create_api_key(**data, now=given.now)
    return Done(
        "Copy the key now: it is stored only as a hash and is never shown again.", page_of(row), ("API key", key)
    )


def _revoke_key(row: ApiKey, given: Given) -> Done:
    revoked = revoke_api_key(api_key=row, now=given.now)
    return Done("The key is revoked and opens nothing any more." if revoked else "It was revoked already.")


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
        explain="A key reaches one account. It is shown once, on the next page.",
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
            explain=lambda row: f"Programs that use the key {row.name!r} are refused at once. This cannot be undone.",
            form=EmptyForm,
            carry_out=_revoke_key,
            danger=True,
        ),
    )

    @admin.display(description="Begins with")
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
            ("Begins with", code(f"{row.prefix}…")),
            ("Scopes", ", ".join(row.scopes)),
            ("Account", link(row.account, row.account.name)),
            ("Created", moment(row.created_at, zone)),
            ("Last used", moment(row.last_used_at, zone)),
            ("Revoked", moment(row.revoked_at, zone)),
            ("Id", code(row.public_id)),
        ]
        return Page(
            row.name, "API key", KEY_LABELS["revoked" if row.revoked_at else "live"], main=[Facts("API key", facts)]
        )


def _stop_all(row: Installation, given: Given) -> Done:
    stopped = stop_installation(reason=given.reason, actor=given.actor, now=given.now)
    return Done("Everything is stopped: nothing is charged." if stopped else "Everything was stopped already.")


def _start_all(row: Installation, given: Given) -> Done:
    started = start_installation(reason=given.reason, actor=given.actor, now=given.now)
    return Done("Accounts that are not stopped themselves charge again." if started else "Nothing was stopped.")


@admin.register(Installation)
class InstallationAdmin(RecordAdmin):
    noun, nouns = "stop switch", "stop switch"
    person_actions = (
        PersonAction(
            name="stop",
            label="Stop everything",
            icon="front_hand",
            permission="billing.change_installation",
            offered=lambda row: row.stopped_at is None,
            explain=lambda row: (
                "No account charges anything from now on. What is on its way already is followed to its end; "
                "subscriptions still fall due and their invoices wait."
            ),
            carry_out=_stop_all,
            danger=True,
        ),
        PersonAction(
            name="start",
            label="Charge again",
            icon="play_arrow",
            permission="billing.change_installation",
            offered=lambda row: row.stopped_at is not None,
            explain=lambda row: "Accounts that are not stopped themselves charge again; what fell due is charged now.",
            carry_out=_start_all,
        ),
    )

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """There is one installation: its page is the list."""
        return HttpResponseRedirect(reverse("admin:billing_installation_change", args=[1]))

    def subject(self, row: Any) -> str:
        return "Stop switch"

    def page(self, request: HttpRequest, row: Any) -> Page:
        accounts = list(GatewayAccount.objects.order_by("pk"))
        zone = accounts[0].time_zone if accounts else "UTC"
        rows = [
            [
                Cell(link(one, one.name)),
                Cell("", SWITCH_LABELS["stopped" if one.stopped_at else "running"]),
                Cell(one.stopped_reason or NOTHING),
            ]
            for one in accounts
        ]
        return Page(
            "Stop switch",
            "of the whole installation",
            SWITCH_LABELS["stopped" if row.stopped_at else "running"],
            main=[
                *stop_notice(row, zone),
                Table("Accounts", ["Account", "Switch", "Why"], rows, "No account yet."),
                timeline([("installation", [1])], zone),
            ],
        )
