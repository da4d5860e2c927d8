"""Customers and their cards."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

from billing.admin import fields, tables
from billing.admin.actions import Button, Creation, Done, Given, PersonAction, Shortcut
from billing.admin.base import RecordAdmin
from billing.admin.fields import ActionForm, ReasonForm
from billing.admin.filters import AccountFilter, CustomerFilter, StateFilter, days
from billing.admin.formats import (
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
from billing.admin.pages import Facts, Page, Table, Words, timeline
from billing.admin.search import Search
from billing.charging.charge_now import charge_now
from billing.charging.holds import clear_hold, unexplained_orders
from billing.domain.subscriptions import CardState
from billing.models import Customer, GatewayAccount, Invoice, PaymentMethod, Subscription
from billing.subscriptions.cards import confirm_binding, make_default, revoke_card, start_binding
from billing.subscriptions.customers import create_customer, update_customer


class CustomerForm(ActionForm):
    account = fields.one_of("Account", GatewayAccount.objects.order_by("pk"))
    reference = fields.text("Reference", help_text="Your own name for the customer; once per account.")
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

    def prepare(self, row: Any) -> None:
        self.initial.update({name: getattr(row, name) for name in self.fields if name != "token"})


class ChargeForm(ReasonForm):
    amount = fields.amount()
    description = fields.text("Description", help_text="What is charged for; the customer sees it.", most=100)
    card = fields.one_of("Card", PaymentMethod.objects.none(), required=False, help_text="Default card when left out.")
    field_order = ("amount", "description", "card", "reason", "token")

    def prepare(self, row: Any) -> None:
        customer_id = row.customer_id if isinstance(row, Subscription) else row.pk
        cards = PaymentMethod.objects.filter(customer_id=customer_id, state=CardState.ACTIVE.value)
        self.fields["card"].queryset = cards.order_by("-is_default", "pk")  # type: ignore[attr-defined]


class EmptyForm(ActionForm):
    """Nothing to fill in: the confirmation is all."""


def _create(given: Given) -> Done:
    data = {name: given.data[name] for name in ("account", "reference", "name", "email", "phone_number")}
    customer = create_customer(**data, country_code=given.data["country_code"], now=given.now)
    return Done(f"{customer.name} was added.", page_of(customer))


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
    return Done("The invoice is open; a worker charges the card in a moment.", page_of(invoice))


def _edit(customer: Customer, given: Given) -> Done:
    update_customer(
        customer=customer, changes={name: given.data[name] for name in EditForm.base_fields if name != "token"}
    )
    return Done("The details were changed.")


def _bind(customer: Customer, given: Given) -> Done:
    return_url = f"{settings.KITARAN_PUBLIC_URL}/bind"
    card = start_binding(customer=customer, return_url=return_url, actor=given.actor, now=given.now)
    return Done(
        f"Send this address to {customer.name}. The card is entered on the gateway's page, and nothing is charged.",
        page_of(card),
        ("Address of the bind page", card.payment_url),
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
        explain="Somebody who pays. A card is bound afterwards, by the customer, on the gateway's own page.",
        form=CustomerForm,
        carry_out=_create,
        button="Add customer",
    )
    person_actions = (
        PersonAction(
            **CHARGE_NOW,  # type: ignore[arg-type]
            explain=lambda row: f"{row.name} is charged once, outside any subscription.",
        ),
        PersonAction(
            name="bind-card",
            label="Bind a card",
            icon="add_card",
            permission="billing.add_paymentmethod",
            explain=lambda row: (
                f"The gateway gives an address where {row.name} enters a card. Send it to the customer; "
                "the card can be charged once they have entered it."
            ),
            form=EmptyForm,
            carry_out=_bind,
        ),
        PersonAction(
            name="edit",
            label="Edit details",
            icon="edit",
            permission="billing.change_customer",
            explain=lambda row: "The gateway keeps what it was told when a card was bound.",
            form=EditForm,
            carry_out=_edit,
        ),
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
            ("Reference", row.reference),
            ("Account", link(row.account, row.account.name)),
            ("Since", moment(row.created_at, zone)),
            ("Id", code(row.public_id)),
            *((str(name), str(value)) for name, value in sorted(row.metadata.items())),
        ]
        begin = reverse("admin:billing_subscription_add") + f"?customer={row.pk}"
        subscriptions = tables.subscriptions(started, zone, list_of(Subscription, only))
        history = timeline([("card", [card.pk for card in cards])], zone, "Cards: what happened")
        side = [Facts("Customer", facts), tables.cards(cards, zone, list_of(PaymentMethod, only)), history]
        page = Page(row.name, row.email, main=[subscriptions, _owed(owed, zone, only)], side=side)
        if request.user.has_perm("billing.add_subscription"):
            page.actions.append(Button(begin, Shortcut("Start a subscription", "autorenew")))
        return page


def _owed(found: list[Invoice], zone: str, only: str) -> Table:
    return tables.invoices(found, zone, more=list_of(Invoice, only))


def _default(card: PaymentMethod, given: Given) -> Done:
    make_default(card=card, now=given.now)
    return Done("This is the default card now.")


def _check(card: PaymentMethod, given: Given) -> Done:
    if confirm_binding(card=card, now=given.now):
        return Done("The gateway says that the card is bound. It may be charged.")
    return Done("The gateway says that the card is not bound yet.")


def _revoke(card: PaymentMethod, given: Given) -> Done:
    revoke_card(card=card, reason=given.reason, actor=given.actor, now=given.now)
    return Done("The card is revoked and is not charged any more.")


def _free(card: PaymentMethod, given: Given) -> Done:
    looked_at = clear_hold(card=card, reason=given.reason, actor=given.actor, now=given.now)
    named = f" Looked at: {', '.join(looked_at)}." if looked_at else ""
    return Done(f"The card may be charged again.{named}")


def _explain_free(card: PaymentMethod) -> str:
    found = [
        f"{order.gateway_order_id} ({money(order)}, {order.status.lower()})"
        for order in unexplained_orders(card.pk).order_by("pk")[:20]
    ]
    orders = f" Orders at the gateway that nothing explains: {', '.join(found)}." if found else ""
    return (
        f"The card is held: {words(card.held_reason)}.{orders} Say what you found out; from then on they count as "
        "looked at, and the card may be charged again."
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
            label="Check at the gateway",
            icon="sync",
            permission="billing.change_paymentmethod",
            offered=lambda row: row.state == CardState.PENDING,
            explain=lambda row: "The gateway is asked whether the card was bound. Nothing is charged.",
            form=EmptyForm,
            carry_out=_check,
        ),
        PersonAction(
            name="make-default",
            label="Make default",
            icon="star",
            permission="billing.change_paymentmethod",
            offered=lambda row: row.state == CardState.ACTIVE and not row.is_default,
            explain=lambda row: "Open and later invoices are charged on this card, unless they name another.",
            form=EmptyForm,
            carry_out=_default,
        ),
        PersonAction(
            name="free",
            label="Release the hold",
            icon="lock_open",
            permission="billing.change_paymentmethod",
            offered=lambda row: row.held_at is not None,
            explain=_explain_free,
            carry_out=_free,
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
            ("Bound", moment(row.activated_at, zone)),
            ("Gateway's id", code(row.gateway_customer_id)),
            ("Id", code(row.public_id)),
        ]
        if row.state == CardState.PENDING:
            facts.append(("Bind page", code(row.payment_url)))
        if row.bind_outcome:
            facts.append(("Last try to bind", " ".join((row.bind_outcome, words(row.bind_reason).lower())).strip()))
        notices = [Words(f"This card is held since it is unexplained: {words(row.held_reason)}.", "danger")]
        table = tables.attempts(
            tried,
            zone,
            title="Attempts",
            empty="Never charged.",
            more=list_of(tried[0].__class__, f"q={row.public_id}") if tried else "",
        )
        return Page(
            card_words(row),
            row.customer.name,
            CARD_LABELS[row.state],
            main=[*(notices if row.held_at else []), table],
            side=[Facts("Card", facts), timeline([("card", [row.pk])], zone)],
        )
