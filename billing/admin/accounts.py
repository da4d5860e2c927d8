"""Gateway accounts and the stop switches."""

from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils.html import format_html

from billing.accounts.add_account import add_account
from billing.accounts.change_account import CHARGE_PATHS, change_account, prove_account
from billing.accounts.gateway_accounts import (
    start_account,
    start_installation,
    stop_account,
    stop_installation,
)
from billing.admin import quarantine
from billing.admin.api_keys import keys_of
from billing.admin.declines import declines_table
from billing.admin.dunning_policies import policies_of
from billing.admin.messages import MAIL_ACTIONS, mail_table, preview_urls
from billing.admin.pace import LET_RUN, pace_facts, pace_notice, pace_of, runs
from billing.admin.toolkit import fields
from billing.admin.toolkit.actions import Creation, Done, Given, PersonAction
from billing.admin.toolkit.base import RecordAdmin
from billing.admin.toolkit.fields import ActionForm, ReasonForm
from billing.admin.toolkit.filters import StateFilter
from billing.admin.toolkit.formats import (
    BAD,
    NOTHING,
    PACE_LABELS,
    SWITCH_LABELS,
    Label,
    code,
    link,
    moment,
    page_of,
    state_column,
    words,
)
from billing.admin.toolkit.pages import Cell, Facts, Page, Table, Words, timeline
from billing.admin.toolkit.search import Search
from billing.domain.arming import Environment
from billing.domain.first_payment import MOST_HOURS
from billing.domain.matching import MarkerEcho
from billing.domain.money import display
from billing.domain.paying import MOST_LINK_DAYS
from billing.domain.plurals import counted
from billing.models import GatewayAccount, Installation
from billing.models.clock import database_now
from billing.operating import troubles
from billing.operating.pauses import PAUSED

UNPROVED_HELP = (
    "Credentials are checked with the gateway before they are saved. Tick this to save them even if the gateway does "
    "not answer. The account then stays stopped until the check succeeds."
)


class OpenForm(ActionForm):
    name = fields.text("Name", help_text="Customers see it on the page where they save a card.", most=60)
    environment = fields.choice("Environment", [(e.value, e.value) for e in Environment], initial="sandbox")
    client_id = fields.text("Client id")
    client_secret = fields.secret("Client secret", help_text="Stored encrypted and never shown again.")
    private_key_pem = fields.secret_text("Private key (PEM)", help_text="Stored encrypted and never shown again.")
    gateway_public_key = fields.long_text("Gateway's public key (PEM)", required=False, rows=4)
    store_id = fields.text("Store id")
    time_zone = fields.text("Time zone", help_text="IANA name. Days and charge times use this zone.")
    oauth_url = fields.text("OAuth address", required=False, help_text="Only for a simulator on this machine.")
    api_url = fields.text("API address", required=False, help_text="Only for a simulator on this machine.")
    may_be_unproved = fields.tick("Save even if the gateway does not answer", help_text=UNPROVED_HELP)

    def prepare(self, row: Any) -> None:
        self.initial.setdefault("time_zone", "Asia/Kuala_Lumpur")


class SettingsForm(ReasonForm):
    name = fields.text("Name", help_text="Customers see it on the page where they save a card.", most=60)
    client_id = fields.text("Client id")
    client_secret = fields.secret(
        "New client secret", required=False, help_text="Leave empty to keep the current value."
    )
    private_key_pem = fields.secret_text(
        "New private key (PEM)", required=False, help_text="Leave empty to keep the current value."
    )
    may_be_unproved = fields.tick("Save new credentials even if the gateway does not answer", help_text=UNPROVED_HELP)
    gateway_public_key = fields.long_text("Gateway's public key (PEM)", required=False, rows=4)
    store_id = fields.text("Store id")
    time_zone = fields.text("Time zone")
    charge_path = fields.choice("Charge path", [(path, words(path)) for path in CHARGE_PATHS])
    charge_limit = fields.amount("Highest charge in RM")
    second_person_above = fields.amount(
        "Amount above which a second person confirms, in RM",
        required=False,
        least_minor=0,
        help_text=(
            "Decisions about an attempt or a card above this amount wait for a second person. Empty: no second person."
        ),
    )
    preflight_always = fields.tick("Read the card's orders before every charge")
    reads_reports = fields.tick("Read the gateway's daily reports to find late payments")
    marker_echo = fields.choice("Gateway returns markers", [(echo.value, words(echo.value)) for echo in MarkerEcho])
    list_lag_seconds = fields.number(
        "Longest delay of the gateway's lists, in seconds",
        help_text="After a refusal that may be false, the next try waits this long, so that the list shows a charge "
        "that went through. Use 3600 unless the gateway's support gives another value. At most 172800.",
    )
    retry_after_absence_hours = fields.number(
        "Hours not found before another try",
        required=False,
        help_text="Leave empty to be safe: a person decides. Set it only if sandbox tests proved that the gateway "
        "executes nothing after its own window.",
    )
    charges_per_second = fields.number(
        "Most charges per second",
        required=False,
        least=1,
        help_text="For all workers together. Empty: no limit here.",
    )
    max_in_flight = fields.number(
        "Most charges at once",
        required=False,
        least=1,
        help_text="For all workers together. If the gateway breaks, up to this many charges may need review. Empty: "
        "one for each sender.",
    )
    first_payment_hours = fields.number(
        "Hours for a first payment",
        least=1,
        help_text=f"For plans whose subscriptions start when the first charge is paid. The time begins again with each "
        f"declined charge; when it is over, the subscription expires. At most {MOST_HOURS}.",
    )
    payment_link_days = fields.number(
        "Days that a payment link is good for", least=1, help_text=f"At most {MOST_LINK_DAYS}."
    )
    payers_may_cancel = fields.tick("Customers may cancel on their own page")
    field_order = ("name", "client_id", "client_secret", "private_key_pem", "may_be_unproved")

    def prepare(self, row: Any) -> None:
        other = {"client_secret", "private_key_pem", "may_be_unproved"}
        other |= {"charge_limit", "second_person_above"}
        plain = set(self.fields) - other - {"reason", "token"}
        self.initial.update({name: getattr(row, name) for name in plain})
        self.initial["charge_limit"] = Decimal(row.charge_limit_minor).scaleb(-2)
        if row.second_person_above_minor is not None:
            self.initial["second_person_above"] = Decimal(row.second_person_above_minor).scaleb(-2)
        self.order_fields([name for name in self.fields if name != "reason"])  # the reason comes last


def _absence(hours: int | None) -> str:
    return "needs review" if hours is None else f"another try after {hours} hours"


def _open(given: Given) -> Done:
    data = {name: given.data[name] for name in OpenForm.base_fields if name not in ("token", "environment")}
    account = add_account(**data, environment=Environment(given.data["environment"]), actor=given.actor, now=given.now)
    if account.credentials_unproved_at:
        return Done(
            f"Account {account.name} opened. It is stopped because the gateway did not answer.", page_of(account)
        )
    return Done(f"Account {account.name} opened. The gateway accepts its credentials.", page_of(account))


def _settings(row: GatewayAccount, given: Given) -> Done:
    changes = {name: given.data[name] for name in SettingsForm.base_fields if name not in ("token", "reason")}
    changes["charge_limit_minor"] = fields.minor(changes.pop("charge_limit"))
    above = changes.pop("second_person_above")
    changes["second_person_above_minor"] = None if above is None else fields.minor(above)
    unproved = bool(changes.pop("may_be_unproved"))
    changed = change_account(
        account=row,
        changes=changes,
        reason=given.reason,
        actor=given.actor,
        now=given.now,
        may_be_unproved=unproved,
    )
    return Done(f"Changed: {', '.join(map(words, changed))}." if changed else "No changes to save.")


def _stop(row: GatewayAccount, given: Given) -> Done:
    stopped = stop_account(account=row, reason=given.reason, actor=given.actor, now=given.now)
    return Done("Account stopped. It charges nothing." if stopped else "The account is already stopped.")


def _prove(row: GatewayAccount, given: Given) -> Done:
    proved = prove_account(account=row, reason=given.reason, actor=given.actor, now=given.now)
    accepted = "The gateway accepts the credentials. The account is still stopped: choose “Charge again”."
    return Done(accepted if proved else "The credentials were already checked.")


def _start(row: GatewayAccount, given: Given) -> Done:
    started = start_account(account=row, reason=given.reason, actor=given.actor, now=given.now)
    return Done("Account started. It charges again." if started else "The account is not stopped.")


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
        explain="A merchant's application at the gateway. Every customer, plan and API key belongs to one account.",
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
            explain=lambda row: "Past charges keep their amounts. New charges use the new values.",
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
                f"{row.name} charges nothing from now on. Charges under way are followed to their end. Invoices still "
                "fall due, and wait."
            ),
            carry_out=_stop,
            danger=True,
        ),
        PersonAction(
            name="prove",
            label="Check credentials",
            icon="verified_user",
            permission="billing.change_gatewayaccount",
            offered=lambda row: row.credentials_unproved_at is not None,
            explain=lambda row: (
                f"Checks with the gateway that the credentials of {row.name} work and belong to the merchant whose "
                "cards it charges. No money moves. Then the account can be started again."
            ),
            carry_out=_prove,
        ),
        PersonAction(
            name="start",
            label="Charge again",
            icon="play_arrow",
            permission="billing.change_gatewayaccount",
            offered=lambda row: row.stopped_at is not None and row.credentials_unproved_at is None,
            explain=lambda row: f"{row.name} charges again. Invoices that fell due meanwhile are charged now.",
            carry_out=_start,
        ),
        LET_RUN,
        quarantine.LIFT,
        *MAIL_ACTIONS,
    )

    def get_urls(self) -> list[URLPattern]:
        return [*preview_urls(self), *super().get_urls()]

    @admin.display(description="Since")
    def since(self, row: GatewayAccount) -> str:
        return moment(row.created_at, row.time_zone)

    def page(self, request: HttpRequest, row: Any) -> Page:
        now = database_now()
        facts = [
            ("Environment", row.environment),
            ("Time zone", row.time_zone),
            ("Client id", code(row.client_id)),
            ("Store id", code(row.store_id)),
            ("Secrets", "client secret and private key are stored encrypted"),
            ("Gateway", code(row.api_url)),
            ("Charge path", words(row.charge_path)),
            ("Highest charge", display(row.charge_limit_minor, "MYR")),
            ("Second person", _second_person(row)),
            (
                "Orders read before charging",
                "every charge" if row.preflight_always else "every charge except an invoice's first",
            ),
            ("Gateway returns markers", words(row.marker_echo)),
            ("Longest delay of lists", f"{row.list_lag_seconds // 60} minutes"),
            ("Not found at RM", _absence(row.retry_after_absence_hours)),
            ("Opened", moment(row.created_at, row.time_zone)),
            ("Id", code(row.public_id)),
        ]
        payers = "pay, change the card and cancel" if row.payers_may_cancel else "pay and change the card"
        facts.append(("Payment links", f"good for {counted(row.payment_link_days, 'day')}; customers may {payers}"))
        dunning = [*policies_of(row), ("A first payment may take", counted(row.first_payment_hours, "hour"))]
        return Page(
            row.name,
            f"{row.environment} account",
            _label(row),
            main=[
                *quarantine.notice(row),
                *stop_notice(row, row.time_zone),
                *(Words(f"{one[:1].upper()}{one[1:]}.", "warning") for one in troubles.of_account(row.pk)),
                *pace_notice(row),
                Facts("Account", facts),
                runs(row),
                declines_table(row, now),
                mail_table(row),
                timeline(
                    [("account", [row.pk]), ("pace", [row.pk]), ("quarantine", [row.pk]), ("mail", [row.pk])],
                    row.time_zone,
                ),
            ],
            side=[pace_facts(row, now), Facts("When a charge is declined", dunning), keys_of(row)],
        )


def _label(row: GatewayAccount) -> Label:
    """Whether the account charges, and if not, why: a stop switch first, then a quarantine, then its pace."""
    if row.stopped_at is not None:
        return SWITCH_LABELS["stopped"]
    if quarantine.in_quarantine(row):
        return Label("in quarantine", BAD)
    pace = pace_of(row)
    return PACE_LABELS[pace.state] if pace is not None and pace.state in PAUSED else SWITCH_LABELS["running"]


def _second_person(row: GatewayAccount) -> str:
    above = row.second_person_above_minor
    return "not needed" if above is None else f"confirms decisions above {display(above, 'MYR')}"


def stop_notice(row: GatewayAccount | Installation, zone: str) -> list[Words]:
    if row.stopped_at is None:
        return []
    what = row.name if isinstance(row, GatewayAccount) else "Everything"
    at = moment(row.stopped_at, zone)
    return [
        Words(format_html("{} was stopped on {} by {}: {}", what, at, row.stopped_by, row.stopped_reason), "danger")
    ]


def _stop_all(row: Installation, given: Given) -> Done:
    stopped = stop_installation(reason=given.reason, actor=given.actor, now=given.now)
    return Done("All accounts are stopped. Nothing is charged." if stopped else "All accounts are already stopped.")


def _start_all(row: Installation, given: Given) -> Done:
    started = start_installation(reason=given.reason, actor=given.actor, now=given.now)
    return Done(
        "Started. Accounts without a stop of their own charge again." if started else "The stop switch is not on."
    )


@admin.register(Installation)
class InstallationAdmin(RecordAdmin):
    noun, nouns = "stop switch", "stop switches"
    person_actions = (
        PersonAction(
            name="stop",
            label="Stop everything",
            icon="front_hand",
            permission="billing.change_installation",
            offered=lambda row: row.stopped_at is None,
            explain=lambda row: (
                "No account charges anything from now on. Charges under way are followed to their end. Subscriptions "
                "still fall due, and their invoices wait."
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
            explain=lambda row: (
                "Accounts without a stop of their own charge again. Invoices that fell due are charged now."
            ),
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
                Table("Accounts", ["Account", "Switch", "Reason"], rows, "No accounts yet."),
                timeline([("installation", [1])], zone),
            ],
        )
