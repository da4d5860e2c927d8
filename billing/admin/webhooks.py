"""Webhook endpoints: where events are sent, with what may be done about it."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html

from billing.admin.customers import EmptyForm
from billing.admin.toolkit import fields
from billing.admin.toolkit.actions import Creation, Done, Given, PersonAction
from billing.admin.toolkit.base import RecordAdmin
from billing.admin.toolkit.fields import ActionForm, ReasonForm
from billing.admin.toolkit.filters import AccountFilter, StateFilter, days
from billing.admin.toolkit.formats import (
    DELIVERY_LABELS,
    ENDPOINT_LABELS,
    NOTHING,
    code,
    link,
    list_of,
    moment,
    page_of,
    state_column,
)
from billing.admin.toolkit.pages import Cell, Facts, Page, Table, Words, timeline
from billing.admin.toolkit.search import Search
from billing.domain.events import KINDS
from billing.domain.plurals import counted
from billing.domain.webhooks import BOTH_SECRETS_FOR, DISABLED_AFTER, Disabled, EndpointState
from billing.models import GatewayAccount, WebhookDelivery, WebhookEndpoint
from billing.notifying.endpoints import (
    SUBJECT,
    create_endpoint,
    delete_endpoint,
    end_old_secret,
    pause_endpoint,
    resume_endpoint,
    rotate_secret,
    send_test,
    update_endpoint,
)
from billing.notifying.resend import MOST_EVENTS, resend_span

MAY_CHANGE = "billing.change_webhookendpoint"
SECRET_NOTE = "Copy the signing secret now. It is stored encrypted and never shown again."  # noqa: S105
WHY_DISABLED = {
    Disabled.GONE: "It answered 410 Gone: it wants no more requests.",
    Disabled.FAILING: f"No request to it has succeeded for {DISABLED_AFTER.days} days.",
}
EACH_ON_A_LINE = "One on each line, such as invoice.paid. Empty: all."


class TypesField(forms.CharField):
    """Types of events, one on each line."""

    def clean(self, value: Any) -> list[str]:
        return str(super().clean(value)).split()


def _types(help_text: str = EACH_ON_A_LINE) -> TypesField:
    return TypesField(label="Types of events", required=False, help_text=help_text, widget=fields.long_text("").widget)


class EndpointForm(ActionForm):
    account = fields.one_of("Account", GatewayAccount.objects.order_by("pk"))
    url = fields.text("Address", help_text="https://…", most=2000)
    kinds = _types()
    description = fields.text("Description", required=False, help_text="Which system it is.")
    email = fields.text("E-mail", required=False, help_text="Who gets a mail when the endpoint is disabled.", most=254)

    def clean_email(self) -> str:
        text: str = self.cleaned_data["email"]
        return str(forms.EmailField().clean(text)) if text else ""


class ChangeForm(EndpointForm):
    account = None

    def prepare(self, row: WebhookEndpoint) -> None:
        for name in ("url", "description", "email"):
            self.fields[name].initial = getattr(row, name)
        self.fields["kinds"].initial = "\n".join(row.kinds)


class ResumeForm(ReasonForm):
    skip_missed = fields.tick("Skip what was missed", help_text="Deliver only what happens from now on.")
    field_order = ("skip_missed", "reason", "token")


class RotateForm(ActionForm):
    end_old_at_once = fields.tick(
        "End the present secret now",
        help_text=f"Otherwise both sign for {BOTH_SECRETS_FOR // timedelta(hours=1)} hours.",
    )


class ResendForm(ActionForm):
    created_from = fields.instant("Created from, UTC")
    created_before = fields.instant("Created before, UTC")
    kinds = _types()


def _create(given: Given) -> Done:
    names = ("account", "url", "kinds", "description", "email")
    row, secret = create_endpoint(**{name: given.data[name] for name in names}, actor=given.actor, now=given.now)
    return Done(SECRET_NOTE, page_of(row), ("Signing secret", secret))


def _change(row: WebhookEndpoint, given: Given) -> Done:
    changes = {name: given.data[name] for name in ("url", "kinds", "description", "email")}
    update_endpoint(endpoint=row, changes=changes, actor=given.actor, now=given.now)
    return Done("Endpoint changed.")


def _resume(row: WebhookEndpoint, given: Given) -> Done:
    skip = given.data["skip_missed"]
    resume_endpoint(endpoint=row, reason=given.reason, actor=given.actor, now=given.now, skip_missed=skip)
    return Done("Resumed. What happens from now on is delivered." if skip else "Resumed. What was missed is delivered.")


def _rotate(row: WebhookEndpoint, given: Given) -> Done:
    at_once = given.data["end_old_at_once"]
    _, secret = rotate_secret(endpoint=row, actor=given.actor, now=given.now, end_old_at_once=at_once)
    return Done(SECRET_NOTE, page_of(row), ("Signing secret", secret))


def _end_old(row: WebhookEndpoint, given: Given) -> Done:
    end_old_secret(endpoint=row, actor=given.actor, now=given.now)
    return Done("The previous secret signs no more.")


def _test(row: WebhookEndpoint, given: Given) -> Done:
    event = send_test(endpoint=row, now=given.now)
    return Done(f"Test event {event} is on its way. Its delivery shows what the endpoint answers.")


def _resend(row: WebhookEndpoint, given: Given) -> Done:
    count = resend_span(
        endpoint=row,
        since=given.data["created_from"],
        before=given.data["created_before"],
        kinds=given.data["kinds"],
        now=given.now,
    )
    return Done(f"{counted(count, 'event')} will be delivered once more.")


def _is(*states: EndpointState) -> Any:
    return lambda row: row.state in states


def _with_reason(use_case: Callable[..., WebhookEndpoint], words: str) -> Callable[[WebhookEndpoint, Given], Done]:
    """Carries out what needs a reason and nothing else."""

    def carry_out(row: WebhookEndpoint, given: Given) -> Done:
        use_case(endpoint=row, reason=given.reason, actor=given.actor, now=given.now)
        return Done(words)

    return carry_out


_for_live = partial(
    PersonAction,
    permission=MAY_CHANGE,
    offered=_is(EndpointState.ACTIVE, EndpointState.PAUSED, EndpointState.DISABLED),
)
_for_active = partial(PersonAction, permission=MAY_CHANGE, offered=_is(EndpointState.ACTIVE))
ACTIONS = (
    _for_active(
        name="test",
        label="Send a test",
        icon="send",
        explain=lambda row: "A test event is sent to this endpoint alone, whatever types of events it takes.",
        form=EmptyForm,
        carry_out=_test,
    ),
    _for_live(
        name="change",
        label="Change",
        icon="edit",
        explain=lambda row: "Pending deliveries go to the new address. Other types count for events from now on.",
        form=ChangeForm,
        carry_out=_change,
    ),
    _for_active(
        name="pause",
        label="Pause",
        icon="pause",
        explain=lambda row: "Nothing is sent until the endpoint is resumed. Events wait.",
        carry_out=_with_reason(pause_endpoint, "Paused. Events wait until the endpoint is resumed."),
    ),
    _for_live(
        name="resume",
        label="Resume",
        icon="play_arrow",
        offered=_is(EndpointState.PAUSED, EndpointState.DISABLED),
        explain=lambda row: f"The endpoint gets its events again. {_what_waits(row)}",
        form=ResumeForm,
        carry_out=_resume,
    ),
    _for_live(
        name="rotate",
        label="Rotate secret",
        icon="key",
        explain=lambda row: "A new signing secret is made and shown once, on the next page.",
        form=RotateForm,
        carry_out=_rotate,
    ),
    _for_live(
        name="end-old",
        label="End previous secret",
        icon="key_off",
        offered=lambda row: row.old_secret_ends_at is not None,
        explain=lambda row: (
            "Requests carry one signature from now on. A receiver with the previous secret refuses them."
        ),
        form=EmptyForm,
        carry_out=_end_old,
        danger=True,
    ),
    _for_live(
        name="resend",
        label="Resend a span",
        icon="replay",
        explain=lambda row: (
            "The account's events of the span are delivered once more, also those that the endpoint never got: at most "
            f"{MOST_EVENTS}."
        ),
        form=ResendForm,
        carry_out=_resend,
    ),
    _for_live(
        name="remove",
        label="Delete",
        icon="delete",
        explain=lambda row: (
            f"Nothing is sent there any more, for good, and what is pending is canceled. {_what_waits(row)}"
        ),
        carry_out=_with_reason(delete_endpoint, "Deleted. Nothing is sent there any more."),
        danger=True,
    ),
)


def _what_waits(row: WebhookEndpoint) -> str:
    pending = row.deliveries.filter(state="pending")[:1001].count()
    return f"Waiting for it now: {'more than 1000 events' if pending > 1000 else counted(pending, 'event')}."


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(RecordAdmin):
    noun, nouns = "webhook endpoint", "webhook endpoints"
    list_display = ("address", "described", "state_label", "failing", "account", "made")
    list_select_related = ("account",)
    list_filter = (("state", StateFilter), ("account", AccountFilter), days("created", prefix="whe"))
    search_fields = ("public_id",)
    search_help_text = "Endpoint id"
    search = Search(exact=("public_id",))
    state_label = state_column(ENDPOINT_LABELS)
    creation = Creation(
        label="Add a webhook endpoint",
        explain="Events of the account are sent there from now on. The signing secret is shown once, on the next page.",
        form=EndpointForm,
        carry_out=_create,
        button="Add endpoint",
    )
    person_actions = ACTIONS

    @admin.display(description="Address")
    def address(self, row: WebhookEndpoint) -> str:
        return row.url[:80]

    @admin.display(description="Description")
    def described(self, row: WebhookEndpoint) -> str:
        return row.description or NOTHING

    @admin.display(description="Failing since")
    def failing(self, row: WebhookEndpoint) -> str:
        return moment(row.failing_since, row.account.time_zone)

    @admin.display(description="Created")
    def made(self, row: WebhookEndpoint) -> str:
        return moment(row.created_at, row.account.time_zone)

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.account.time_zone
        facts = [
            ("Address", row.url),
            ("Types of events", ", ".join(row.kinds) or "all"),
            ("Failing since", moment(row.failing_since, zone)),
            ("E-mail when disabled", row.email or NOTHING),
            ("Previous secret signs until", moment(row.old_secret_ends_at, zone)),
            ("Account", link(row.account, row.account.name)),
            ("Created", moment(row.created_at, zone)),
            ("Id", code(row.public_id)),
        ]
        return Page(
            row.description or row.url[:80],
            "Webhook endpoint",
            ENDPOINT_LABELS[row.state],
            main=[*_notices(row), Facts("Webhook endpoint", facts), _deliveries(row, zone)],
            side=[timeline([(SUBJECT, [row.pk])], zone)],
        )


def _notices(row: WebhookEndpoint) -> list[Words]:
    known = {(known.name) for known in KINDS}
    stale = [kind for kind in row.kinds if kind not in known]
    notices = [Words(f"These types of events do not exist any more: {', '.join(stale)}.", "warning")] if stale else []
    if row.state == EndpointState.DISABLED:
        text = f"{why_disabled(row)} Events wait. Resume it once it works."
        return [Words(text, "danger"), *notices]
    if row.failing_since is not None and row.state == EndpointState.ACTIVE:
        text = "A request failed. Each event is tried ten times in three days; deliveries show what was answered."
        return [Words(text, "warning"), *notices]
    return notices


def disabled_endpoints() -> list[Words]:
    """A notice for each, for the dashboard."""
    rows = WebhookEndpoint.objects.filter(state=EndpointState.DISABLED.value).order_by("pk")[:5]
    return [
        Words(format_html("Webhook endpoint {} is disabled. {}", link(row, str(row)), why_disabled(row)), "warning")
        for row in rows
    ]


def why_disabled(row: WebhookEndpoint) -> str:
    return WHY_DISABLED[Disabled(row.disabled_reason)]


def _deliveries(row: WebhookEndpoint, zone: str) -> Table:
    """The newest, for the endpoint's page."""
    rows = [
        [
            Cell(link(one, one.kind)),
            Cell(moment(one.created_at, zone)),
            Cell(one.tries, number=True),
            Cell("", DELIVERY_LABELS[one.state]),
        ]
        for one in row.deliveries.order_by("-pk")[:10]
    ]
    more = list_of(WebhookDelivery, f"endpoint__id__exact={row.pk}")
    return Table("Newest deliveries", ["Event", "Handed out", "Tries", "State"], rows, "No deliveries yet.", more)
