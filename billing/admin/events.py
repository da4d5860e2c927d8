"""The feed of events, read-only: what each account's own system reads, and where its place is."""

import json
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from billing.admin.history import SubjectAdmin, subject_link
from billing.admin.toolkit.filters import days
from billing.admin.toolkit.formats import NOTHING, Label, code, moment
from billing.admin.toolkit.pages import Facts, Page, Verbatim
from billing.domain.events import BY_NAME, KINDS, object_type
from billing.models import Event, GatewayAccount

if TYPE_CHECKING:
    from django.contrib.admin import SimpleListFilter as DropdownFilter
else:
    from unfold.contrib.filters.admin import DropdownFilter


class TypeFilter(DropdownFilter):
    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind.name, kind.name) for kind in KINDS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


class OwnerFilter(DropdownFilter):
    """By account: events have no foreign key to it."""

    title = "account"
    parameter_name = "account"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(pk), name) for pk, name in GatewayAccount.objects.order_by("pk").values_list("pk", "name")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = str(self.value() or "")
        return queryset.filter(account_id=int(chosen)) if chosen.isdecimal() and len(chosen) < 19 else queryset


@admin.register(Event)
class EventAdmin(SubjectAdmin):
    noun, nouns = "event", "events"
    list_display = ("when", "type", "about", "place", "of_object", "named")
    list_display_links = ("when",)
    list_filter = (OwnerFilter, TypeFilter, days("created", prefix="evt"))
    search_help_text = "Id of an event, or of the object that it is about"
    noted_at = "created_at"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if search_term.strip().startswith("evt_"):
            return queryset.filter(public_id=search_term.strip()), False
        return super().get_search_results(request, queryset, search_term)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("body", "payload")

    @admin.display(description="Type")
    def type(self, row: Event) -> str:
        return row.kind

    @admin.display(description="Place in the feed")
    def place(self, row: Event) -> str:
        return str(row.sequence or NOTHING)

    @admin.display(description="Of its object")
    def of_object(self, row: Event) -> str:
        return str(row.object_sequence or NOTHING)

    @admin.display(description="Id")
    def named(self, row: Event) -> str:
        return row.public_id

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.shown_zone or "UTC"
        kind = BY_NAME.get(row.kind)
        facts = [
            ("Type", row.kind),
            ("Recorded when", kind.when if kind else NOTHING),
            ("About", subject_link(row)),
            ("When", moment(row.created_at, zone)),
            ("Published", moment(row.published_at, zone)),
            ("Place in the feed", self.place(row)),
            (f"Among events of the {object_type(row.subject_type).replace('_', ' ')}", self.of_object(row)),
            ("Id", code(row.public_id)),
        ]
        label = None if row.sequence else Label("not published yet", "warning")
        body = row.payload if row.body is None else row.body
        shown = Verbatim("Body", json.dumps(body, indent=2, ensure_ascii=False))
        return Page(row.kind, label=label, main=[Facts("Event", facts), shown])
