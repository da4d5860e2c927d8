"""What is on its way to webhook endpoints, each try with its answer, and sending it again."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from billing.admin.customers import EmptyForm
from billing.admin.toolkit.actions import Done, Given, PersonAction, carry_out_on_page
from billing.admin.toolkit.base import RecordAdmin
from billing.admin.toolkit.filters import AccountFilter, StateFilter, days
from billing.admin.toolkit.formats import DELIVERY_LABELS, NOTHING, Label, code, link, list_of, moment, state_column
from billing.admin.toolkit.pages import Cell, Facts, Page, Table, Words
from billing.admin.toolkit.search import Search
from billing.domain.errors import RefusedError
from billing.domain.webhooks import DeliveryState, TryError
from billing.models import Event, WebhookDelivery, WebhookTry
from billing.notifying.resend import resend_delivery

MAY_RESEND = "billing.change_webhookdelivery"
MOST_AT_ONCE = 100
MOST_TRIES_SHOWN = 30
ERROR_WORDS = {
    TryError.STATUS: "answered with an error",
    TryError.REDIRECT: "answered with a redirect, which is not followed",
    TryError.TIMEOUT: "did not answer in time",
    TryError.NAME: "its name could not be resolved",
    TryError.CONNECTION: "no connection, or it broke",
    TryError.TLS: "its certificate is not trusted",
    TryError.FORBIDDEN_ADDRESS: "its address is not a public one",
    TryError.BAD_ANSWER: "did not answer in HTTP",
    TryError.NOT_SENT: "nothing could be sent",
}


class SeveralForm(EmptyForm):
    ids = forms.CharField(widget=forms.HiddenInput, max_length=3000)


def _resend(row: WebhookDelivery, given: Given) -> Done:
    resend_delivery(delivery=row, now=given.now)
    return Done("It is sent again now, up to ten times.")


def _is_over(row: WebhookDelivery) -> bool:
    return row.state != DeliveryState.PENDING and row.endpoint.state != "deleted"


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(RecordAdmin):
    noun, nouns = "webhook delivery", "webhook deliveries"
    list_display = ("kind", "goes_to", "state_label", "tries", "handed_out", "next_try", "account")
    list_select_related = ("account", "endpoint")
    list_filter = (
        ("state", StateFilter),
        ("endpoint", AccountFilter),
        ("account", AccountFilter),
        days("handed out", prefix="whd"),
    )
    search_fields = ("public_id", "event_public_id")
    search_help_text = "Delivery id"
    search = Search(exact=("public_id",))
    state_label = state_column(DELIVERY_LABELS)
    person_actions = (
        PersonAction(
            name="resend",
            label="Resend",
            icon="replay",
            permission=MAY_RESEND,
            offered=_is_over,
            explain=lambda row: f"The event {row.kind} is sent to {row.endpoint} once more, with the same webhook-id.",
            form=EmptyForm,
            carry_out=_resend,
        ),
    )

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        if not request.user.has_perm(MAY_RESEND):
            return {}
        return {"resend_several": (_choose_several, "resend_several", "Resend several")}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.several)
        return [path("several/resend/", view, name="billing_webhookdelivery_several"), *super().get_urls()]

    def several(self, request: HttpRequest) -> HttpResponse:
        """What is chosen, the question, and then what came of each."""
        if not (self.has_view_permission(request) and request.user.has_perm(MAY_RESEND)):
            raise PermissionDenied
        rows = _named(request.POST.get("ids") or request.GET.get("ids") or "")
        if not rows:
            messages.warning(request, "Choose deliveries first.")
            return HttpResponseRedirect(list_of(WebhookDelivery))
        return carry_out_on_page(
            self,
            request,
            form=SeveralForm,
            carry_out=lambda given: Done("", page=_results(rows, given)),
            account_id=rows[0].account_id,
            back=list_of(WebhookDelivery),
            context={
                "title": "Resend several",
                "explain": "Each is sent once more, with the same webhook-id. One that is pending is left unchanged.",
                "button": "Resend",
                "below": [_table(f"Chosen: {len(rows)}", [(row, DELIVERY_LABELS[row.state], "") for row in rows])],
            },
        )

    @admin.display(description="Endpoint")
    def goes_to(self, row: WebhookDelivery) -> str:
        return str(row.endpoint)

    @admin.display(description="Handed out")
    def handed_out(self, row: WebhookDelivery) -> str:
        return moment(row.created_at, row.account.time_zone)

    @admin.display(description="Next try")
    def next_try(self, row: WebhookDelivery) -> str:
        return moment(row.next_try_at, row.account.time_zone)

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.account.time_zone
        event = Event.objects.get(pk=row.event_id)
        facts = [
            ("Event", link(event, row.event_public_id)),
            ("Endpoint", link(row.endpoint, str(row.endpoint))),
            ("Tries", f"{row.tries} of ten"),
            ("Handed out", moment(row.created_at, zone)),
            ("Next try", moment(row.next_try_at, zone)),
            ("Ended", moment(row.closed_at, zone)),
            ("Id", code(row.public_id)),
        ]
        main = [*_waits(row), Facts("Webhook delivery", facts), _tries(row, zone)]
        return Page(row.kind, "Webhook delivery", DELIVERY_LABELS[row.state], main=main)


def _waits(row: WebhookDelivery) -> list[Words]:
    """Why a pending delivery does not leave."""
    if row.state != DeliveryState.PENDING:
        return []
    if row.endpoint.state != "active":
        return [Words(f"The endpoint is {row.endpoint.state}. It is sent once the endpoint is resumed.", "warning")]
    earlier = WebhookDelivery.objects.filter(
        endpoint=row.endpoint,
        state=DeliveryState.PENDING.value,
        subject_type=row.subject_type,
        subject_id=row.subject_id,
        sequence__lt=row.sequence,
    ).order_by("sequence")
    first = earlier.first()
    if first is None:
        return []
    text = format_html("It waits for an earlier event of the same object: {}.", link(first, first.kind))
    return [Words(text, "info")]


def _tries(row: WebhookDelivery, zone: str) -> Table:
    rows = [
        [
            Cell(moment(one.at, zone)),
            Cell(f"{one.duration_ms} ms", number=True),
            Cell(_outcome(one)),
            Cell(one.answer or NOTHING),
        ]
        for one in row.log.order_by("-number")[:MOST_TRIES_SHOWN]
    ]
    headers = ["Sent", "Took", "Outcome", "Answer, without personal data"]
    return Table("Tries, newest first", headers, rows, "Not tried yet.")


def _outcome(one: WebhookTry) -> str:
    status = f"HTTP {one.status}" if one.status is not None else "No answer"
    return f"{status}: {ERROR_WORDS[TryError(one.error)]}" if one.error else status


def _choose_several(model_admin: Any, request: HttpRequest, chosen: QuerySet[WebhookDelivery]) -> HttpResponseRedirect:
    ids = list(chosen.order_by("pk").values_list("pk", flat=True)[: MOST_AT_ONCE + 1])
    if len(ids) > MOST_AT_ONCE:
        messages.warning(request, f"Choose at most {MOST_AT_ONCE} deliveries, or resend a span on the endpoint's page.")
        return HttpResponseRedirect(request.get_full_path())
    address = reverse("admin:billing_webhookdelivery_several")
    return HttpResponseRedirect(f"{address}?ids={'-'.join(map(str, ids))}")


def _named(ids: str) -> list[WebhookDelivery]:
    keys = [int(key) for key in ids.split("-")[:MOST_AT_ONCE] if key.isdecimal() and len(key) < 19]
    return list(WebhookDelivery.objects.filter(pk__in=keys).select_related("account", "endpoint").order_by("pk"))


def _results(rows: list[WebhookDelivery], given: Given) -> Page:
    lines: list[tuple[WebhookDelivery, Label, str]] = []
    for row in rows:
        try:
            resend_delivery(delivery=row, now=given.now)
            lines.append((row, Label("resent", "success"), ""))
        except RefusedError as error:
            lines.append((row, Label("refused", "danger"), error.message))
    done = sum(label.text == "resent" for _, label, _ in lines)
    return Page("Resend several", f"{done} of {len(lines)} resent", main=[_table("Results", lines)])


def _table(title: str, lines: list[tuple[WebhookDelivery, Label, str]]) -> Table:
    rows = [
        [
            Cell(link(row, row.kind)),
            Cell(str(row.endpoint)),
            Cell(moment(row.created_at, row.account.time_zone)),
            Cell(text, label),
        ]
        for row, label, text in lines
    ]
    return Table(title, ["Event", "Endpoint", "Handed out", "State"], rows, "")
