"""What all lists and pages of the admin share: no counting, no deleting, no editing of what happened."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Page as DjangoPage
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils.functional import cached_property

from billing.admin.toolkit.actions import Button, Creation, PersonAction, action_urls, create
from billing.admin.toolkit.formats import NOTHING, list_of, page_of
from billing.admin.toolkit.pages import Page
from billing.admin.toolkit.search import Search
from billing.models import (
    Customer,
    Event,
    GatewayAccount,
    Invoice,
    PaymentAttempt,
    PaymentMethod,
    Plan,
    Proposal,
    Refund,
    Subscription,
)
from billing.models.clock import database_now

if TYPE_CHECKING:
    ThemedAdmin = admin.ModelAdmin[Any]
else:
    from unfold.admin import ModelAdmin as ThemedAdmin

MOST_PAGES = 200
# What events are about; each has a public id, by which the list of events is searched.
HAVE_EVENTS = (
    Customer, GatewayAccount, Invoice, PaymentAttempt, PaymentMethod, Plan, Proposal, Refund, Subscription,
)  # fmt: skip


class OpenPage(DjangoPage):  # type: ignore[type-arg]
    """A page that knows whether there is another, though nobody knows how many."""

    paginator: "InfinitePaginator"

    def has_next(self) -> bool:
        return self.paginator.more


class InfinitePaginator(Paginator):  # type: ignore[type-arg]
    """Pages without counting the table: one row more than the page shows says whether there is another.

    The theme leaves out counts for a paginator of this name."""

    template_name = "billing/admin/pagination.html"
    more = False

    @cached_property
    def count(self) -> int:
        return self.per_page * MOST_PAGES

    def page(self, number: int | str) -> DjangoPage[Any]:
        number = self.validate_number(number)
        first = (number - 1) * self.per_page
        rows = list(self.object_list[first : first + self.per_page + 1])
        self.more = len(rows) > self.per_page and number < MOST_PAGES
        return OpenPage(rows[: self.per_page], number, self)


class NamedList(ChangeList):
    """A list that is called what its admin calls the rows."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.opts = self.model_admin.opts


class RecordAdmin(ThemedAdmin):
    """A list, and for each row a page that tells its story. Nothing is edited in place: what a person may do is an
    action with a confirmation, which calls a use case."""

    paginator = InfinitePaginator
    show_full_result_count = False
    list_per_page = 50
    list_filter_submit = True
    list_fullwidth = True
    ordering = ("-id",)
    sortable_by = ()
    empty_value_display = NOTHING
    actions = None
    noun, nouns = "", ""  # said instead of the model's own names, when given
    search = Search(exact=("pk",))
    person_actions: Sequence[PersonAction] = ()
    creation: Creation | None = None

    def __init__(self, model: type[Model], admin_site: admin.AdminSite) -> None:
        super().__init__(model, admin_site)
        if self.nouns:
            self.opts = copy.copy(model._meta)
            self.opts.verbose_name, self.opts.verbose_name_plural = self.noun, self.nouns

    # --- who may ------------------------------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.creation is not None and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        meta = self.model._meta
        return any(request.user.has_perm(f"{meta.app_label}.{verb}_{meta.model_name}") for verb in ("view", "change"))

    # --- lists --------------------------------------------------------------------------------------------

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return self.search.narrow(queryset, search_term), False

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[ChangeList]:
        return NamedList

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {}

    # --- pages --------------------------------------------------------------------------------------------

    def page(self, request: HttpRequest, row: Any) -> Page:
        """The row's page."""
        raise NotImplementedError

    def page_queryset(self) -> QuerySet[Any]:
        """What the page needs of the row, in one query."""
        queryset: QuerySet[Any] = self.model._default_manager.all()
        if isinstance(self.list_select_related, Sequence):
            queryset = queryset.select_related(*self.list_select_related)
        return queryset

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        row = self.row(object_id)
        if row is None:
            messages.warning(request, f"No such {self.noun or self.opts.verbose_name}.")
            return HttpResponseRedirect(reverse(self.list_url()))
        page = self.page(request, row)
        page.actions += [
            Button(f"{page_of(row)}{action.name}/", action)
            for action in self.person_actions
            if action.allowed(request) and action.offered(row) and action.offered_to(row, request)
        ]
        events = self.events_url(row) if request.user.has_perm("billing.view_event") else None
        return self.render(request, "billing/admin/record.html", page=page, row=row, title=page.title, events=events)

    def events_url(self, row: Any) -> str | None:
        """The list of the row's events; None for what has none."""
        return list_of(Event, urlencode({"q": row.public_id})) if isinstance(row, HAVE_EVENTS) else None

    def row(self, object_id: str) -> Any:
        """The row of that key; None when there is none."""
        try:
            return self.page_queryset().filter(pk=int(object_id)).first()
        except (ValueError, OverflowError):
            return None

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if self.creation is None or not self.has_add_permission(request):
            raise PermissionDenied
        return create(self, request, self.creation, now=database_now())

    def render(self, request: HttpRequest, template: str, **context: Any) -> TemplateResponse:
        """A page of the site; the list that it belongs to is named above it."""
        request.current_app = self.admin_site.name
        named = {
            "list_name": self.nouns or self.opts.verbose_name_plural,
            "list_url": self.list_url(),
            "granted": {action.permission for action in self.person_actions if action.allowed(request)},
        }
        return TemplateResponse(request, template, {**self.admin_site.each_context(request), **named, **context})

    def subject(self, row: Any) -> str:
        """What the row is called on a confirmation."""
        return str(row)

    def list_url(self) -> str:
        return f"admin:{self.model._meta.app_label}_{self.model._meta.model_name}_changelist"

    def get_urls(self) -> list[URLPattern]:
        return [*action_urls(self), *super().get_urls()]


class HistoryAdmin(RecordAdmin):
    """What happened: nobody adds, changes or deletes it."""

    creation = None
    person_actions = ()
