"""Customers and their cards."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

from billing.admin.declines import declines_notice
from billing.admin.held_cards import HOLD_ACTIONS, open_card_proposal, what_it_charges
from billing.admin.messages import LANGUAGES, mail_facts, messages_of
from billing.admin.payment_links import END_LINKS, LINK_OF_CUSTOMER
from billing.admin.toolkit import fields, tables
from billing.admin.toolkit.actions import Button, Creation, Done, Given, PersonAction, Shortcut
from billing.admin.toolkit.base import RecordAdmin
from billing.admin.toolkit.fields import ActionForm, ReasonForm
from billing.admin.toolkit.filters import AccountFilter, CustomerFilter, StateFilter, days
from billing.admin.toolkit.formats import (
    CARD_LABELS,
    card_words,
    code,
    link,
    list_of,
    moment,
    money,
    page_of,
    state_column,
    words,
)
from billing.admin.toolkit.pages import Facts, Page, Table, Words, timeline
from billing.admin.toolkit.search import Search
from billing.charging.attempts.charge_now import charge_now
from billing.charging.cases.clear_hold import clear_hold, preview_hold
from billing.charging.cases.holds import go_on_without, to_go_on_without, waiting_for_card
from billing.domain.money import display
from billing.domain.plurals import counted
from billing.domain.reason_words import reason_words
from billing.domain.subscriptions import CardState
from billing.models import Customer, GatewayAccount, GatewayOrder, Invoice, PaymentMethod, Subscription
from billing.models.clock import database_now
from billing.subscriptions.cards import confirm_binding, make_default, revoke_card, start_binding
from billing.subscriptions.customers import create_customer, update_customer


class CustomerForm(ActionForm):
    account = fields.one_of("Account", GatewayAccount.objects.order_by("pk"))
    reference = fields.text("Reference", help_text="Your own id for the customer. Unique in the account.")
    name = fields.text("Name")
    email = fields.email("E-mail")
    country_code = fields.text("Country code", most=4)
    phone_number = fields.text("Phone number", help_text="Without the country code.", most=20)

    def prepare(self, row: Any) -> None:
        self.initial.setdefault("country_code", "60")


class EditForm(ActionForm):
    name = fields.text("Name")
    email = fields.email("E-mail")
    country_code = fields.text("Country code", most=4)
    phone_number = fields.text("Phone number", help_text="Without the country code.", most=20)
    language = fields.choice("Language of mail", [("", "that of the account"), *LANGUAGES.items()], required=False)
    silenced = fields.tick(
        "Send only what card networks require", help_text="The enrolment, and notices before a charge."
    )

    def prepare(self, row: Any) -> None:
        self.initial.update({name: getattr(row, name) for name in self.fields if name != "token"})


class ChargeForm(ReasonForm):
    amount = fields.amount()
    description = fields.text("Description", help_text="What the charge is for. The customer sees it.", most=100)
    card = fields.one_of(
        "Card", PaymentMethod.objects.none(), required=False, help_text="Leave empty to use the default card."
    )
    field_order = ("amount", "description", "card", "reason", "token")

    def prepare(self, row: Any) -> None:
        customer_id = row.customer_id if isinstance(row, Subscription) else row.pk
        cards = PaymentMethod.objects.filter(customer_id=customer_id, state=CardState.ACTIVE.value)
        self.fields["card"].queryset = cards.order_by("-is_default", "pk")  # type: ignore[attr-defined]


class EmptyForm(ActionForm):
    """Nothing to fill in: the confirmation is all."""


def _create(given: Given) -> Done:
    data = {name: given.data[name] for name in ("account", "reference", "name", "email", "phone_number")}
    customer = create_customer(**data, country_code=given.data["country_code"], actor=given.actor, now=given.now)
    return Done(f"Customer {customer.name} added.", page_of(customer))


def charge(row: Customer | Subscription, given: Given) -> Done:
    """Charge now, of a customer or (the same) of a subscription's customer."""
    customer = row.customer if isinstance(row, Subscription) else row
    invoice = charge_now(
        customer=customer,
        amount_minor=fields.minor(given.data["amount"]),
        currency="MYR",
        description=given.data["description"],
        actor=given.actor,
        now=given.now,
        payment_method=given.data["card"],
        reason=given.reason,
    )
    return Done("Invoice created. A worker charges the card in a moment.", page_of(invoice))


def _edit(customer: Customer, given: Given) -> Done:
    changes = {name: given.data[name] for name in EditForm.base_fields if name != "token"}
    changes["language"] = changes["language"] or None
    update_customer(customer=customer, changes=changes, actor=given.actor, now=given.now)
    return Done("Details saved.")


def _bind(customer: Customer, given: Given) -> Done:
    return_url = f"{settings.KITARAN_PUBLIC_URL}/bind"
    card = start_binding(customer=customer, return_url=return_url, actor=given.actor, now=given.now)
    return Done(
        f"Send this link to {customer.name}. The customer enters the card on the gateway's page. Nothing is charged.",
        page_of(card),
        ("Link to the card page", card.payment_url),
    )


CHARGE_NOW = {
    "name": "charge-now",
    "label": "Charge now",
    "icon": "bolt",
    "permission": "billing.add_invoice",
    "form": ChargeForm,
    "carry_out": charge,
}


@admin.register(Customer)
class CustomerAdmin(RecordAdmin):
    noun, nouns = "customer", "customers"
    list_display = ("name", "email", "reference", "account", "since")
    list_select_related = ("account",)
    list_filter = (("account", AccountFilter), days("created", prefix="cus"))
    search_fields = ("public_id",)
    search_help_text = "Name, e-mail, reference or id"
    search = Search(customer="pk")
    creation = Creation(
        label="Add a customer",
        explain="Who is billed. The customer saves a card afterwards, on the gateway's own page.",
        form=CustomerForm,
        carry_out=_create,
        button="Add customer",
    )
    person_actions = (
        PersonAction(
            **CHARGE_NOW,  # type: ignore[arg-type]
            explain=lambda row: f"Charges {row.name} once, outside any subscription.",
        ),
        PersonAction(
            name="bind-card",
            label="Save a card",
            icon="add_card",
            permission="billing.add_paymentmethod",
            explain=lambda row: (
                f"The gateway gives a link where {row.name} enters a card. Send it to the customer. The card can be "
                "charged once the customer has entered it."
            ),
            form=EmptyForm,
            carry_out=_bind,
        ),
        PersonAction(
            name="edit",
            label="Edit details",
            icon="edit",
            permission="billing.change_customer",
            explain=lambda row: "The gateway keeps the details that it received when a card was saved.",
            form=EditForm,
            carry_out=_edit,
        ),
        LINK_OF_CUSTOMER,
        END_LINKS,
    )

    @admin.display(description="Since")
    def since(self, row: Customer) -> str:
        return moment(row.created_at, row.account.time_zone)

    def subject(self, row: Any) -> str:
        return str(row.name)

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.account.time_zone
        cards = list(PaymentMethod.objects.filter(customer=row).order_by("-is_default", "-pk")[: tables.MOST_ROWS])
        started = list(
            Subscription.objects.filter(customer=row).select_related("plan").order_by("-pk")[: tables.MOST_ROWS]
        )
        owed = list(
            Invoice.objects.filter(customer=row).prefetch_related("attempts").order_by("-pk")[: tables.MOST_ROWS]
        )
        only = f"customer__id__exact={row.pk}"
        facts = [
            ("E-mail", row.email),
            ("Phone", f"+{row.country_code} {row.phone_number}"),
            *mail_facts(row),
            ("Reference", row.reference),
            ("Account", link(row.account, row.account.name)),
            ("Since", moment(row.created_at, zone)),
            ("Id", code(row.public_id)),
            *((str(name), str(value)) for name, value in sorted(row.metadata.items())),
        ]
        begin = reverse("admin:billing_subscription_add") + f"?customer={row.pk}"
        subscriptions = tables.subscriptions(started, zone, list_of(Subscription, only))
        history = timeline([("customer", [row.pk]), ("card", [card.pk for card in cards])], zone)
        mail = messages_of(row, zone, most=tables.MOST_ROWS)
        side = [Facts("Customer", facts), tables.cards(cards, zone, list_of(PaymentMethod, only)), mail, history]
        page = Page(row.name, row.email, main=[subscriptions, _owed(owed, zone, only)], side=side)
        if request.user.has_perm("billing.add_subscription"):
            page.actions.append(Button(begin, Shortcut("Start a subscription", "autorenew")))
        return page


def _owed(found: list[Invoice], zone: str, only: str) -> Table:
    return tables.invoices(found, zone, more=list_of(Invoice, only))


def _default(card: PaymentMethod, given: Given) -> Done:
    make_default(card=card, actor=given.actor, now=given.now)
    return Done("This is now the default card.")


def _check(card: PaymentMethod, given: Given) -> Done:
    if confirm_binding(card=card, now=given.now):
        return Done("The card is saved at the gateway. It can be charged.")
    return Done("The customer has not saved the card at the gateway yet.")


def _revoke(card: PaymentMethod, given: Given) -> Done:
    revoke_card(card=card, reason=given.reason, actor=given.actor, now=given.now)
    return Done("Card revoked. It is not charged any more.")


class FreeForm(ReasonForm):
    although = fields.tick(
        "I reviewed each order that may be a payment: none of them is. Charge anyway",
        help_text="Required only if such orders are shown above.",
    )
    seen_orders = forms.CharField(widget=forms.HiddenInput, required=False, max_length=10_000)
    field_order = ("although", "reason", "seen_orders", "token")

    def prepare(self, row: Any) -> None:
        found = preview_hold(row, now=database_now()).candidates
        self.initial["seen_orders"] = " ".join(sorted({one.named for one in found}))
        if not found and not self.is_bound:
            del self.fields["although"]


def _free(card: PaymentMethod, given: Given) -> Done:
    although = given.data["seen_orders"].split() if given.data.get("although") else ()
    cleared = clear_hold(
        card=card,
        decision=given.decision,
        now=given.now,
        charge_although=although,
    )
    if cleared.proposal:
        return Done("Sent for approval. The card stays held until another person confirms it.")
    looked_at = cleared.orders
    named = f" Reviewed: {', '.join(looked_at)}." if looked_at else ""
    return Done(f"Hold released. The card can be charged again.{named}")


def _in_words(order: GatewayOrder) -> str:
    return f"{money(order)}, {order.status.lower()}" if order.currency else "a record that could not be read"


def _go_on(card: PaymentMethod, given: Given) -> Done:
    tried = go_on_without(card=card, decision=given.decision, now=given.now)
    return Done(f"The customer's other cards are charged without checking this one. Invoices tried now: {tried}.")


def _explain_go_on(card: PaymentMethod) -> str:
    waiting = [f"{one.public_id} ({money(one)})" for one in waiting_for_card(card).order_by("pk")[:20]]
    named = f" Next on another card: {', '.join(waiting)}." if waiting else ""
    return (
        "The gateway has not shown this card's orders for a long time, so a charge on it may have gone through. "
        f"Check the card in the Revenue Monster portal first. If the portal shows a payment, do not continue.{named} "
        "This card is not charged until the gateway shows its orders again."
    )


def _explain_free(card: PaymentMethod) -> str:
    seen = preview_hold(card, now=database_now())
    found = [f"{one.gateway_order_id} ({_in_words(one)})" for one in seen.orders[:20]]
    orders = f" Unexplained orders at the gateway: {', '.join(found)}." if found else ""
    many = len(seen.due)
    charges = "No invoice waits for this card."
    if many:
        invoices = counted(many, "invoice")
        charges = f"The card is charged {display(seen.total_minor, seen.currency)} now, for {invoices}."
    return (
        f"This card is on hold: {reason_words(card.held_reason)}.{orders} Give the reason for releasing it. The "
        f"orders then count as reviewed, and the card can be charged again. {charges}"
    )


@admin.register(PaymentMethod)
class CardAdmin(RecordAdmin):
    noun, nouns = "card", "cards"
    list_display = ("card", "holder", "state_label", "default", "account", "since")
    list_select_related = ("account", "customer")
    list_filter = (
        ("state", StateFilter),
        ("account", AccountFilter),
        ("customer", CustomerFilter),
        days("created", prefix="pm"),
    )
    search_fields = ("public_id",)
    search_help_text = "Customer, card id or the gateway's customer id"
    search = Search(exact=("public_id",), in_account=("gateway_customer_id",), customer="customer_id")
    state_label = state_column(CARD_LABELS)
    person_actions = (
        PersonAction(
            name="check",
            label="Check with the gateway",
            icon="sync",
            permission="billing.change_paymentmethod",
            offered=lambda row: row.state == CardState.PENDING,
            explain=lambda row: "Checks with the gateway whether the customer saved the card. Nothing is charged.",
            form=EmptyForm,
            carry_out=_check,
        ),
        PersonAction(
            name="make-default",
            label="Make default",
            icon="star",
            permission="billing.change_paymentmethod",
            offered=lambda row: row.state == CardState.ACTIVE and not row.is_default,
            explain=lambda row: "Open and later invoices are charged to this card, unless they name another.",
            form=EmptyForm,
            carry_out=_default,
        ),
        PersonAction(
            name="free",
            label="Release the hold",
            icon="lock_open",
            permission="billing.change_paymentmethod",
            offered=lambda row: row.held_at is not None and open_card_proposal(row) is None,
            explain=_explain_free,
            form=FreeForm,
            carry_out=_free,
            before=what_it_charges,
        ),
        *HOLD_ACTIONS,
        PersonAction(
            name="go-on-without",
            label="Charge another card without its orders",
            icon="fast_forward",
            permission="billing.change_paymentmethod",
            offered=lambda row: row.unreadable_at is not None and to_go_on_without().filter(pk=row.pk).exists(),
            explain=_explain_go_on,
            carry_out=_go_on,
            danger=True,
        ),
        PersonAction(
            name="revoke",
            label="Revoke",
            icon="credit_card_off",
            permission="billing.change_paymentmethod",
            offered=lambda row: row.state != CardState.REVOKED,
            explain=lambda row: "The card is never charged again. Attempts under way are followed to their end.",
            carry_out=_revoke,
            danger=True,
        ),
    )

    @admin.display(description="Card")
    def card(self, row: PaymentMethod) -> str:
        return card_words(row)

    @admin.display(description="Customer")
    def holder(self, row: PaymentMethod) -> str:
        return link(row.customer, row.customer.name)

    @admin.display(description="Default", boolean=True)
    def default(self, row: PaymentMethod) -> bool:
        return row.is_default

    @admin.display(description="Since")
    def since(self, row: PaymentMethod) -> str:
        return moment(row.activated_at or row.created_at, row.account.time_zone)

    def subject(self, row: Any) -> str:
        return f"{card_words(row)} of {row.customer.name}"

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.account.time_zone
        tried = list(row.paymentattempt_set.select_related("invoice__customer").order_by("-pk")[: tables.MOST_ROWS])
        facts = [
            ("Customer", link(row.customer, row.customer.name)),
            ("Account", link(row.account, row.account.name)),
            ("Environment", row.environment),
            ("Default", "yes" if row.is_default else "no"),
            ("Kind", row.kind),
            ("Saved", moment(row.activated_at, zone)),
            ("Gateway's id", code(row.gateway_customer_id)),
            ("Id", code(row.public_id)),
        ]
        if row.state == CardState.PENDING:
            facts.append(("Card page", code(row.payment_url)))
        if row.bind_outcome:
            facts.append(
                ("Last attempt to save it", " ".join((row.bind_outcome, words(row.bind_reason).lower())).strip())
            )
        notices = declines_notice(row, zone)
        if row.held_at:
            notices.append(Words(f"This card is on hold: {reason_words(row.held_reason)}.", "danger"))
        if row.unreadable_at:
            notices.append(
                Words(f"The gateway has not shown its orders since {moment(row.unread_since, zone)}.", "danger")
            )
        table = tables.attempts(
            tried,
            zone,
            title="Attempts",
            empty="Not charged yet.",
            more=list_of(tried[0].__class__, f"q={row.public_id}") if tried else "",
        )
        return Page(
            card_words(row),
            row.customer.name,
            CARD_LABELS[row.state],
            main=[*notices, *(what_it_charges(row) if row.held_at else []), table],
            side=[Facts("Card", facts), timeline([("card", [row.pk])], zone)],
        )
