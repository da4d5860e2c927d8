"""Messages: the list of what was sent, and how an account writes to its customers."""

from collections.abc import Sequence
from typing import Any

from csp.decorators import csp_update
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.toolkit import fields
from billing.admin.toolkit.actions import Done, Given, PersonAction
from billing.admin.toolkit.base import RecordAdmin
from billing.admin.toolkit.fields import ActionForm, ReasonForm
from billing.admin.toolkit.filters import AccountFilter, StateFilter, days
from billing.admin.toolkit.formats import (
    BAD,
    CARE,
    GOOD,
    NEWS,
    NOTHING,
    QUIET,
    Label,
    code,
    link,
    list_of,
    moment,
    state_column,
)
from billing.admin.toolkit.pages import Cell, Facts, Page, Table, Timeline, Verbatim, Words, timeline
from billing.admin.toolkit.search import Search
from billing.domain.errors import RefusedError
from billing.domain.messages import TO_CUSTOMERS, Language, MessageKind, MessageState
from billing.mailing.change_settings import change_mail_settings, settings_of
from billing.mailing.preview import preview, send_preview
from billing.mailing.send_again import send_again
from billing.models import Customer, GatewayAccount, MailSettings, Message
from billing.models.clock import database_now

KINDS: dict[str, str] = {
    MessageKind.ENROLLED: "enrolment",
    MessageKind.NOTICE: "notice before a charge",
    MessageKind.RECEIPT: "receipt",
    MessageKind.PAYMENT_FAILED: "payment failed",
    MessageKind.LAST_WARNING: "last warning",
    MessageKind.PAUSED: "subscription paused",
    MessageKind.ENDED: "subscription ended",
    MessageKind.EXPIRED: "subscription not started",
    MessageKind.CARD_NEEDED: "card needed",
    MessageKind.CARD_SWITCHED_OFF: "card switched off",
    MessageKind.REFUNDED: "refund",
    MessageKind.STAFF: "news for the staff",
}
LANGUAGES: dict[str, str] = {Language.ENGLISH: "English", Language.MALAY: "Malay"}
LABELS: dict[str, Label] = {
    MessageState.PENDING: Label("waiting", NEWS),
    MessageState.SENDING: Label("being sent", NEWS),
    MessageState.SENT: Label("sent", GOOD),
    MessageState.BOUNCED: Label("bounced", BAD),
    MessageState.REFUSED: Label("refused", BAD),
    MessageState.UNKNOWN: Label("unknown", CARE),
    MessageState.CANCELED: Label("not sent", QUIET),
    MessageState.SILENCED: Label("silenced", QUIET),
}
EXPLAINED: dict[str, str] = {
    MessageState.UNKNOWN: "The worker stopped while it was sending this message, so it may have arrived. It is not "
    "sent again automatically: a second receipt would look like a second payment.",
    MessageState.REFUSED: "The mail server refused it. Check the customer's address.",
    MessageState.BOUNCED: "It was accepted and then returned. Check the customer's address.",
}


MAY_ARRIVE_TWICE = "may have arrived twice"


def _why(row: Message) -> str:
    """Why it is in its state, and whether a person had it sent once more."""
    return "; ".join(filter(None, [row.state_reason, MAY_ARRIVE_TWICE if row.sent_again_at else ""]))


def _send_again(row: Message, given: Given) -> Done:
    send_again(message=row, reason=given.reason, actor=given.actor, now=given.now)
    return Done("It is sent again within a few seconds.")


SEND_AGAIN = PersonAction(
    name="send-again",
    label="Send again",
    icon="outgoing_mail",
    permission="billing.change_message",
    offered=lambda row: row.state == MessageState.UNKNOWN and row.customer_id is not None,
    explain=lambda row: (
        f"Whether {row.customer.name} got this {KINDS[row.kind]} is not known: the worker stopped while it was sending "
        "it. If it arrived, it arrives twice, and may look like a second payment. Ask the customer first."
    ),
    carry_out=_send_again,
    danger=True,
)


@admin.register(Message)
class MessageAdmin(RecordAdmin):
    noun, nouns = "message", "messages"
    list_display = ("what", "to", "state_shown", "why", "written")
    list_select_related = ("account", "customer")
    list_filter = (
        ("state", StateFilter),
        ("kind", StateFilter),
        ("account", AccountFilter),
        days("written", prefix="msg"),
    )
    search_fields = ("public_id",)
    search_help_text = "Name, e-mail, reference or id of the customer, or a message's id"
    search = Search(exact=("public_id",), customer="customer")
    state_shown = state_column(LABELS)
    person_actions = (SEND_AGAIN,)

    @admin.display(description="Message")
    def what(self, row: Message) -> str:
        return KINDS[row.kind]

    @admin.display(description="To")
    def to(self, row: Message) -> str:
        return row.customer.name if row.customer else "staff"

    @admin.display(description="Reason")
    def why(self, row: Message) -> str:
        return _why(row) or NOTHING

    @admin.display(description="Written")
    def written(self, row: Message) -> str:
        return moment(row.created_at, _zone(row))

    def subject(self, row: Any) -> str:
        return KINDS[row.kind]

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = _zone(row)
        facts = [
            ("To", link(row.customer, row.customer.name) if row.customer else "staff"),
            ("Address", row.to_address or NOTHING),
            ("Language", LANGUAGES[row.language]),
            ("Account", link(row.account, row.account.name) if row.account else NOTHING),
            ("Written", moment(row.created_at, zone)),
            ("Sent", moment(row.sent_at, zone)),
            ("Next try", moment(row.next_try_at, zone)),
            ("Sent again by a person", moment(row.sent_again_at, zone)),
            ("Tries", str(row.tries)),
            ("Reason", _why(row) or NOTHING),
            ("Id", code(row.public_id)),
        ]
        note = [Words(EXPLAINED[row.state], "warning")] if row.state in EXPLAINED else []
        sent = [Verbatim(row.subject, row.text, folded=False)] if row.text else []
        return Page(
            row.subject or KINDS[row.kind].capitalize(),
            KINDS[row.kind],
            LABELS[row.state],
            main=[*note, *sent],
            side=[Facts("Message", facts), *_history(row, zone)],
        )


def _history(row: Message, zone: str) -> list[Timeline]:
    return [timeline([("message", [row.pk])], zone)] if row.sent_again_at else []


def _zone(row: Message) -> str:
    return row.account.time_zone if row.account else "UTC"


def messages_of(customer: Customer, zone: str, *, most: int) -> Table:
    """The newest messages to a customer, with what kept one from being delivered."""
    rows = [
        [
            Cell(format_html('{}<span class="k-sub">{}</span>', link(one, KINDS[one.kind]), _why(one))),
            Cell("", label=LABELS[one.state]),
            Cell(moment(one.sent_at or one.created_at, zone)),
        ]
        for one in customer.messages.order_by("-pk")[:most]
    ]
    more = list_of(Message, f"q={customer.public_id}")
    return Table("Messages", ["Message", "State", "When"], rows, "No messages yet.", more)


# --- an account's mail --------------------------------------------------------------------------------------


class MailForm(ReasonForm):
    enabled = fields.tick("Write to customers", help_text="Off: no customer of this account gets mail from Kitaran.")
    sender_name = fields.text("Sender's name", most=60)
    sender_address = fields.text(
        "Sender's address", required=False, help_text="Your mail server must be allowed to send for its domain."
    )
    reply_to = fields.text("Replies go to", required=False, help_text="Empty: to the sender's address.")
    language = fields.choice("Language", list(LANGUAGES.items()), help_text="Of customers who have none of their own.")
    cancel_url = fields.text("Address where customers cancel", required=False, help_text="Empty: they reply.")
    logo_url = fields.text("Address of the logo", required=False, help_text="https:// only. 40 pixels high.")
    color = fields.text("Colour", most=7, help_text="Of the buttons, such as #0f766e.")
    sentence_en = fields.long_text("A sentence of your own, in English", required=False, most=500)
    sentence_ms = fields.long_text("A sentence of your own, in Malay", required=False, most=500)
    kinds = fields.several(
        "Messages",
        [(kind.value, KINDS[kind].capitalize()) for kind in TO_CUSTOMERS],
        help_text="The enrolment and the notice before a charge satisfy rules of the card networks.",
    )
    notice_every_charge = fields.tick(
        "Send a notice before every charge",
        help_text="Otherwise only before a trial ends, a price changes, or a charge for half a year or more.",
    )

    def prepare(self, row: Any) -> None:
        self.fields["kinds"].required = False
        look = settings_of(row)
        plain = set(self.fields) - {"kinds", "reason", "token"}
        self.initial.update({name: getattr(look, name) for name in plain})
        self.initial["kinds"] = [kind.value for kind in TO_CUSTOMERS if kind.value not in look.kinds_off]
        self.order_fields([name for name in self.fields if name != "reason"])  # the reason comes last


class TestForm(ActionForm):
    kind = fields.choice("Message", [(kind.value, KINDS[kind]) for kind in TO_CUSTOMERS])
    language = fields.choice("Language", list(LANGUAGES.items()))


def _change(row: GatewayAccount, given: Given) -> Done:
    names = [name for name in MailForm.base_fields if name not in ("token", "reason", "kinds")]
    changes = {name: given.data[name] for name in names}
    changes["kinds_off"] = [kind.value for kind in TO_CUSTOMERS if kind.value not in given.data["kinds"]]
    look = change_mail_settings(account=row, changes=changes, reason=given.reason, actor=given.actor, now=given.now)
    return Done("Saved. Customers get mail from now on." if look.enabled else "Saved. Customers get no mail.")


def _test(row: GatewayAccount, given: Given) -> Done:
    address = getattr(given.request.user, "email", "")
    look = settings_of(row)
    if not address:
        raise RefusedError("", "not_usable", "your user must have an e-mail address; set it under People")
    if not look.sender_address:
        raise RefusedError("", "required", "the sender's address must be set first")
    kind, language = MessageKind(given.data["kind"]), Language(given.data["language"])
    content = preview(row, look, kind, language, now=given.now)
    if not send_preview(content, look, address=address, now=given.now):
        raise RefusedError("", "not_usable", "the mail server must accept the message; it did not")
    return Done(f"Sent to {address}.")


MAIL_ACTIONS = (
    PersonAction(
        name="mail",
        label="Mail to customers",
        icon="mail",
        permission="billing.change_gatewayaccount",
        explain=lambda row: "How this account writes to its customers. Messages that were sent stay as they are.",
        form=MailForm,
        carry_out=_change,
        button="Save",
    ),
    PersonAction(
        name="test-mail",
        label="Send me a test",
        icon="outgoing_mail",
        permission="billing.change_gatewayaccount",
        explain=lambda row: "Sends one message to your own address, as a customer would get it. No customer gets it.",
        form=TestForm,
        carry_out=_test,
    ),
)


def mail_table(row: GatewayAccount) -> Table:
    """Which messages the account sends, each with its preview."""
    look = MailSettings.objects.filter(account=row).first()
    rows = [
        [Cell(KINDS[kind].capitalize()), Cell("", label=_switch(look, kind)), Cell(_previews(row, kind))]
        for kind in TO_CUSTOMERS
    ]
    return Table("Mail to customers", ["Message", "Sent", "Preview"], rows, "")


def _switch(look: MailSettings | None, kind: MessageKind) -> Label:
    return Label("on", GOOD) if look and look.enabled and kind.value not in look.kinds_off else Label("off", QUIET)


def _previews(row: GatewayAccount, kind: MessageKind) -> SafeString:
    links: Sequence[SafeString] = [
        format_html(
            '<a class="k-link" href="{}" target="_blank" rel="noopener">{}</a>',
            reverse("admin:billing_gatewayaccount_mail_preview", args=[row.pk, kind.value, language.value]),
            LANGUAGES[language],
        )
        for language in Language
    ]
    return format_html("{} · {}", *links)


def preview_urls(model_admin: Any) -> list[URLPattern]:
    @csp_update({"img-src": ["https:"]})  # type: ignore[arg-type]  # it takes any view
    def view(request: HttpRequest, object_id: int, kind: str, language: str) -> HttpResponse:
        if not model_admin.has_view_permission(request):
            raise PermissionDenied
        row = model_admin.row(str(object_id))
        if row is None or kind not in TO_CUSTOMERS or language not in list(Language):
            raise Http404
        content = preview(row, settings_of(row), MessageKind(kind), Language(language), now=database_now())
        return HttpResponse(content.html)

    address = "<int:object_id>/change/mail/<str:kind>/<str:language>/"
    return [path(address, model_admin.admin_site.admin_view(view), name="billing_gatewayaccount_mail_preview")]


def mail_facts(row: Customer) -> list[tuple[str, str]]:
    return [
        ("Language of mail", LANGUAGES.get(row.language or "", "that of the account")),
        ("Mail", "only what card networks require" if row.silenced else "all messages"),
    ]
