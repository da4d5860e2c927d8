"""The site itself: its menu, its look-ups, its start page."""

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.db.models import Model
from django.http import HttpRequest, HttpResponseBase
from django.templatetags.static import static
from django.urls import reverse_lazy

from billing.admin.toolkit.formats import choice_words

Entry = tuple[str, str, str]  # title, icon of the theme's own font, model

MENU: Sequence[tuple[str, Sequence[Entry]]] = (
    (
        "Customers",
        (
            ("Customers", "group", "customer"),
            ("Cards", "credit_card", "paymentmethod"),
            ("Subscriptions", "autorenew", "subscription"),
            ("Plans", "sell", "plan"),
            ("Dunning policies", "event_repeat", "dunningpolicy"),
            ("Messages", "mail", "message"),
        ),
    ),
    (
        "Money",
        (
            ("Invoices", "receipt_long", "invoice"),
            ("Failed payments", "running_with_errors", "failedpayment"),
            ("Attempts", "bolt", "paymentattempt"),
            ("Payment pages", "qr_code_2", "checkout"),
            ("Refunds", "undo", "refund"),
            ("Decline codes", "credit_card_off", "declineruling"),
            ("Answers without a charge", "help", "orphananswer"),
            ("Approvals", "how_to_vote", "proposal"),
            ("Found payments", "travel_explore", "foundpayment"),
            ("Gateway orders", "list_alt", "gatewayorder"),
            ("Gateway transactions", "swap_horiz", "gatewaytransaction"),
        ),
    ),
    (
        "History",
        (
            ("Changes of state", "timeline", "transition"),
            ("Evidence", "fact_check", "evidence"),
            ("Evidence about refunds", "rule", "refundevidence"),
            ("Events", "campaign", "event"),
            ("Runs", "play_circle", "chargerun"),
            ("Requests with a key", "key_vertical", "idempotencyrecord"),
        ),
    ),
    (
        "Operations",
        (
            ("Stop switch", "front_hand", "installation"),
            ("Workers", "monitor_heart", "heartbeat"),
            ("Daily reports", "summarize", "reportday"),
            ("Accounts", "store", "gatewayaccount"),
            ("API keys", "key", "apikey"),
            ("Webhook endpoints", "webhook", "webhookendpoint"),
            ("Webhook deliveries", "outbox", "webhookdelivery"),
        ),
    ),
)
STAFF: Sequence[tuple[str, str, str, str]] = (
    ("People", "person", "auth", "user"),
    ("Groups", "shield_person", "auth", "group"),
    ("Locked log-ins", "lock_person", "axes", "accessattempt"),
)


def menu(request: HttpRequest) -> list[dict[str, Any]]:
    """The side bar: what the user may see, in groups."""
    groups: list[dict[str, Any]] = [
        {"items": [{"title": "Dashboard", "icon": "home", "link": reverse_lazy("admin:index")}]}
    ]
    for title, entries in MENU:
        items = [_item(request, name, icon, "billing", model) for name, icon, model in entries]
        if title == "Money":
            items.insert(2, _recovery(request))
        groups.append({"title": title, "separator": True, "items": [item for item in items if item]})
    people = [_item(request, *entry) for entry in STAFF]
    groups.append({"title": "Staff", "separator": True, "items": [item for item in people if item]})
    return [group for group in groups if group["items"]]


def _item(request: HttpRequest, title: str, icon: str, app: str, model: str) -> dict[str, Any] | None:
    if not admin.site.get_model_admin(apps.get_model(app, model)).has_view_permission(request):
        return None
    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{app}_{model}_changelist")}


def _recovery(request: HttpRequest) -> dict[str, Any] | None:
    """A page of figures, for those who see the policies that they are about."""
    policies = _item(request, "Recovery", "monitoring", "billing", "dunningpolicy")
    return policies and {**policies, "link": reverse_lazy("admin:billing_dunningpolicy_recovery")}


def favicon(_: HttpRequest) -> str:
    return static("billing/favicon.svg")


def styles(_: HttpRequest) -> str:
    return static("billing/admin.css")


class NamedChoices(AutocompleteJsonView):
    """Look-ups of forms, which show names instead of ids."""

    def serialize_result(self, obj: Model, to_field_name: str) -> dict[str, str]:
        return {"id": str(getattr(obj, to_field_name)), "text": choice_words(obj)}


def look_up(request: HttpRequest) -> HttpResponseBase:
    return NamedChoices.as_view(admin_site=admin.site)(request)


def dress(site: Any) -> None:
    """Gives the site its start page and look-ups; nobody deletes lists of rows."""
    site.index_template = "billing/admin/index.html"
    site.autocomplete_view = look_up
    site.disable_action("delete_selected")
