"""Plans, and subscriptions as one story."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join

from billing.admin.cancel import CANCEL
from billing.admin.customers import CHARGE_NOW
from billing.admin.dunning_panel import panel
from billing.admin.toolkit import fields, tables
from billing.admin.toolkit.actions import Creation, Done, Given, PersonAction
from billing.admin.toolkit.base import RecordAdmin
from billing.admin.toolkit.fields import ActionForm
from billing.admin.toolkit.filters import AccountFilter, CustomerFilter, StateFilter, days
from billing.admin.toolkit.formats import (
    CARD_LABELS,
    FIRST_PAYMENT,
    NOTHING,
    STANDING_LABELS,
    card_words,
    code,
    day_text,
    link,
    list_of,
    moment,
    moment_text,
    money,
    page_of,
    price_words,
    schedule_words,
    standing,
    state_column,
    zone_city,
)
from billing.admin.toolkit.pages import Facts, Page, Words, timeline
from billing.admin.toolkit.search import Search
from billing.domain.catch_up import CatchUp
from billing.domain.money import Price
from billing.domain.plurals import counted
from billing.domain.reason_words import reason_words
from billing.domain.recurrence import Recurrence
from billing.domain.schedules import Interval
from billing.domain.subscriptions import (
    ENDED,
    RUNNING,
    ActivatesOn,
    CardState,
    Collector,
    InvoiceState,
    SubscriptionState,
)
from billing.models import Customer, GatewayAccount, Invoice, PaymentMethod, Plan, Subscription
from billing.subscriptions.lifecycle import pause, resume
from billing.subscriptions.plans import create_plan
from billing.subscriptions.start import start_subscription
from billing.subscriptions.upcoming import next_dates
from billing.subscriptions.update import update_subscription

DATES_SHOWN = 5
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
CATCH_UP_WORDS: dict[str, str] = {
    CatchUp.ALL: "charge all, at most three at once",
    CatchUp.LATEST_ONLY: "charge only the latest",
    CatchUp.SKIP: "skip them",
    CatchUp.ASK: "ask a person",
}


ACTIVATES_ON_WORDS: dict[str, str] = {
    ActivatesOn.PAYMENT: "when its first charge is paid",
    ActivatesOn.CARD: "when the customer has a card",
}


class PlanForm(ActionForm):
    account = fields.one_of("Account", GatewayAccount.objects.order_by("pk"))
    code = fields.text(
        "Code", help_text="Your own short name. Using the same code again creates a new version.", most=60
    )
    name = fields.text("Name", help_text="Customers see it.", most=100)
    amount = fields.amount("Price in RM")
    interval = fields.choice("Interval", [(i.value, i.value.lower()) for i in Interval], initial="MONTHLY")
    weekday = fields.choice(
        "Day of the week", list(enumerate(_WEEKDAYS)), required=False, help_text="For weekly plans.", initial=1
    )
    month_day = fields.choice(
        "Day of the month",
        [(-1, "the last day"), *((day, f"day {day}") for day in range(1, 29))],
        required=False,
        help_text="For monthly plans.",
        initial=-1,
    )
    every = fields.number("Every", least=1, initial=1, help_text="2 with weekly means every second week.")
    charge_time = fields.text("Charge time", help_text="Such as 09:00, in the account's time zone.", most=8)
    trial_days = fields.number("Trial days", initial=0)
    repetitions = fields.number("Repetitions", required=False, least=1, help_text="Leave empty for no end.")
    activates_on = fields.choice(
        "A subscription starts",
        list(ACTIVATES_ON_WORDS.items()),
        initial=ActivatesOn.PAYMENT.value,
        help_text="Counts only where the first period is charged at the start and there is no trial. A first charge "
        "that is declined leaves the subscription waiting for another card, and it expires if none is charged in time.",
    )

    def prepare(self, row: Any) -> None:
        self.initial.setdefault("charge_time", "09:00")


def _create_plan(given: Given) -> Done:
    data = given.data
    target = {"DAILY": None, "WEEKLY": data["weekday"], "MONTHLY": data["month_day"]}[data["interval"]]
    plan = create_plan(
        account=data["account"],
        code=data["code"],
        name=data["name"],
        price=Price(fields.minor(data["amount"])),
        recurrence=Recurrence.parse(
            interval=data["interval"],
            target=target,
            every=data["every"],
            charge_time=data["charge_time"],
            zone=data["account"].time_zone,
        ),
        trial_days=data["trial_days"],
        repetitions=data["repetitions"],
        actor=given.actor,
        activates_on=ActivatesOn(data["activates_on"]),
        now=given.now,
    )
    return Done(f"{plan.name}, version {plan.version}, created.", page_of(plan))


@admin.register(Plan)
class PlanAdmin(RecordAdmin):
    noun, nouns = "plan", "plans"
    list_display = ("name", "code", "version", "price", "account", "since")
    list_select_related = ("account",)
    list_filter = (("account", AccountFilter), days("created", prefix="plan"))
    search_fields = ("code", "name")
    search_help_text = "Name, code or id"
    creation = Creation(
        label="Add a plan",
        explain="Plans are never edited. A change creates a new version of the same code.",
        form=PlanForm,
        carry_out=_create_plan,
        button="Add plan",
    )

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        # There are as many plans as a merchant sells, so they may be read through.
        term = search_term.strip()
        if term.startswith("plan_"):
            return queryset.filter(public_id=term), False
        return super(RecordAdmin, self).get_search_results(request, queryset, term)

    @admin.display(description="Price")
    def price(self, row: Plan) -> str:
        return price_words(row)

    @admin.display(description="Since")
    def since(self, row: Plan) -> str:
        return moment(row.created_at, row.account.time_zone)

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.account.time_zone
        sold = list(row.subscription_set.select_related("customer", "plan").order_by("-pk")[: tables.MOST_ROWS])
        facts = [
            ("Price", money(row)),
            ("Schedule", schedule_words(row)),
            ("Trial", counted(row.trial_days, "day") if row.trial_days else "none"),
            ("Repetitions", row.repetitions or "no end"),
            ("Starts, if charged at the start", ACTIVATES_ON_WORDS[row.activates_on]),
            ("Code", f"{row.code}, version {row.version}"),
            ("Account", link(row.account, row.account.name)),
            ("Since", moment(row.created_at, zone)),
            ("Id", code(row.public_id)),
        ]
        table = tables.subscriptions(sold, zone, list_of(Subscription, f"plan__id__exact={row.pk}"))
        return Page(
            row.name, price_words(row), main=[table], side=[Facts("Plan", facts), timeline([("plan", [row.pk])], zone)]
        )


class CardForm(ActionForm):
    card = fields.one_of(
        "Card",
        PaymentMethod.objects.none(),
        required=False,
        help_text="Leave empty to use the customer's default card.",
    )

    def prepare(self, row: Any) -> None:
        cards = PaymentMethod.objects.filter(customer_id=row.customer_id, state=CardState.ACTIVE.value)
        self.fields["card"].queryset = cards.order_by("-is_default", "pk")  # type: ignore[attr-defined]
        self.initial.setdefault("card", row.payment_method_id)


class StartForm(ActionForm):
    customer = fields.found_by_name(
        "Customer", Subscription._meta.get_field("customer"), Customer.objects.order_by("pk")
    )
    plan = fields.found_by_name("Plan", Subscription._meta.get_field("plan"), Plan.objects.order_by("pk"))
    reference = fields.text("Reference", help_text="Your own id for the subscription. Unique in the account.")
    charge_at_start = fields.tick(
        "Charge once at the start",
        help_text="Otherwise the first charge is on the first scheduled day. On most plans the subscription then "
        "starts when this charge is paid.",
    )


def _start(given: Given) -> Done:
    data = {name: given.data[name] for name in ("customer", "plan", "reference", "charge_at_start")}
    started = start_subscription(**data, now=given.now, actor=given.actor)
    how = {
        SubscriptionState.INCOMPLETE: "It starts when the customer saves a card.",
        FIRST_PAYMENT: "It starts when its first charge is paid.",
    }.get(standing(started), "It has started.")
    return Done(f"Subscription created. {how}", page_of(started))


def _pause(row: Subscription, given: Given) -> Done:
    pause(subscription=row, reason=given.reason, actor=given.actor, now=given.now)
    return Done("Subscription paused.")


def _resume(row: Subscription, given: Given) -> Done:
    resume(subscription=row, reason=given.reason, actor=given.actor, now=given.now)
    return Done("Subscription resumed.")


def _change_card(row: Subscription, given: Given) -> Done:
    update_subscription(subscription=row, payment_method=given.data["card"], actor=given.actor, now=given.now)
    return Done("Card changed.")


@admin.register(Subscription)
class SubscriptionAdmin(RecordAdmin):
    noun, nouns = "subscription", "subscriptions"
    list_display = ("who", "what", "state_label", "price", "next_due", "reference", "account")
    list_select_related = ("account", "customer", "plan", "payment_method")
    list_filter = (
        ("state", StateFilter),
        ("account", AccountFilter),
        ("customer", CustomerFilter),
        ("plan", CustomerFilter),
        days("created", prefix="sub"),
    )
    search_fields = ("public_id",)
    search_help_text = "Customer, reference or id"
    search = Search(exact=("public_id",), in_account=("reference",), customer="customer_id")
    state_label = state_column(STANDING_LABELS, standing)
    creation = Creation(
        label="Start a subscription",
        explain="Price and schedule come from the plan. Without a card it waits until the customer saves one.",
        form=StartForm,
        carry_out=_start,
        button="Start subscription",
    )
    person_actions = (
        PersonAction(
            **CHARGE_NOW,  # type: ignore[arg-type]
            offered=lambda row: row.state not in ENDED,
            explain=lambda row: f"Charges {row.customer.name} once, in addition to the subscription.",
        ),
        PersonAction(
            name="pause",
            label="Pause",
            icon="pause",
            permission="billing.change_subscription",
            offered=lambda row: row.state in RUNNING,
            explain=lambda row: (
                "Nothing falls due and nothing is charged until it is resumed. Nothing is owed for the time in "
                "between. Open invoices wait."
            ),
            carry_out=_pause,
        ),
        PersonAction(
            name="resume",
            label="Resume",
            icon="play_arrow",
            permission="billing.change_subscription",
            offered=lambda row: row.state == SubscriptionState.PAUSED,
            explain=lambda row: "The next charge is on the next scheduled day. Open invoices are tried again.",
            carry_out=_resume,
        ),
        PersonAction(
            name="change-card",
            label="Change card",
            icon="credit_card",
            permission="billing.change_subscription",
            offered=lambda row: row.state not in ENDED,
            explain=lambda row: "Open and later invoices of this subscription are charged to the new card.",
            form=CardForm,
            carry_out=_change_card,
        ),
        CANCEL,
    )

    @admin.display(description="Customer")
    def who(self, row: Subscription) -> str:
        return row.customer.name

    @admin.display(description="Plan")
    def what(self, row: Subscription) -> str:
        return row.plan.name

    @admin.display(description="Price")
    def price(self, row: Subscription) -> str:
        return price_words(row)

    @admin.display(description="Next due")
    def next_due(self, row: Subscription) -> str:
        return moment(row.next_due_at, row.time_zone)

    def subject(self, row: Any) -> str:
        return f"{row.plan.name} for {row.customer.name}"

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.time_zone
        owed = list(
            Invoice.objects.filter(subscription=row)
            .select_related("subscription")
            .prefetch_related("attempts")
            .order_by("-period_index")[: tables.MOST_ROWS]
        )
        card = row.payment_method or PaymentMethod.objects.filter(customer=row.customer, is_default=True).first()
        tried = [attempt.pk for invoice in owed for attempt in invoice.attempts.all()]
        subjects = [("subscription", [row.pk]), ("invoice", [one.pk for one in owed]), ("attempt", tried)]
        main: list[Any] = [Words(text, colour) for text, colour in notices(row, card, owed)]
        main += panel(owed, zone, named=True)
        main.append(tables.invoices(owed, zone, more=list_of(Invoice, f"subscription__id__exact={row.pk}")))
        return Page(
            self.subject(row),
            price_words(row),
            STANDING_LABELS[standing(row)],
            main=[*main, timeline(subjects, zone)],
            side=[_dates_of(row), _card_of(card, row), _facts_of(row)],
        )


def notices(row: Subscription, card: PaymentMethod | None, owed: list[Invoice]) -> Iterator[tuple[str, str]]:
    """What to know about the subscription before anything else."""
    if row.state == SubscriptionState.INCOMPLETE and row.first_payment_ends_at is None:
        yield "It starts when the customer has a card that can be charged. Nothing is owed until then.", "info"
    elif row.state == SubscriptionState.INCOMPLETE and row.first_payment_ends_at is not None:
        first = next((invoice for invoice in owed if invoice.state == InvoiceState.OPEN), None)
        now = f" Now: {tables.what_is_next(first, row.time_zone)}." if first else ""
        until = moment_text(row.first_payment_ends_at, row.time_zone)
        yield (
            f"It starts when its first charge is paid, and expires otherwise, on {until} at the earliest.{now}",
            "info",
        )
    if row.state == SubscriptionState.EXPIRED:
        yield "Its first charge was not paid in time. It never started, and nothing is owed for it.", "info"
    if row.open_failed_at is not None and row.open_again_at is not None and row.next_due_at is not None:
        due, again = (moment_text(at, row.time_zone) for at in (row.next_due_at, row.open_again_at))
        waits = f"The period due on {due} could not be opened, so it is not charged: {row.open_error}."
        yield f"{waits} Kitaran tries again at {again}.", "danger"
    elif row.open_failed_at is not None:
        yield f"A period due before it stopped could not be opened and was not charged: {row.open_error}.", "danger"
    if row.state == SubscriptionState.PAUSED:
        yield "Paused: nothing falls due and nothing is charged until it is resumed.", "warning"
    if row.collector == Collector.GATEWAY.value:
        yield "The gateway charges this subscription on its own schedule. Kitaran charges nothing.", "info"
    if card is not None and card.held_at and row.state not in ENDED:
        yield f"The card is on hold ({reason_words(card.held_reason)}). It is not charged.", "danger"
    if any(attempt.state == "needs_review" for invoice in owed for attempt in invoice.attempts.all()):
        yield "An attempt needs review. Check the evidence and resolve it.", "danger"


def _dates_of(row: Subscription) -> Facts:
    dates = next_dates(row, count=DATES_SHOWN)
    listed = format_html_join("", "<span>{}</span><br>", ((moment(at, row.time_zone),) for at in dates))
    if not dates:
        over = "Ended" if row.state in ENDED else "None while it is not running"
        return Facts("Next dates", [("Due", over)])
    rows: list[tuple[str, Any]] = [("Due", listed), ("Amount", f"{money(row)} each")]
    if row.repetitions:
        rows.append(("Charged", f"{row.periods_charged} of {row.repetitions} times"))
    return Facts(f"Next dates ({zone_city(row.time_zone)})", rows)


def _card_of(card: PaymentMethod | None, row: Subscription) -> Facts:
    if card is None:
        return Facts("Card", [("Card", format_html("none; save one for {}", link(row.customer, row.customer.name)))])
    chosen = "of this subscription" if row.payment_method_id else "the customer's default"
    return Facts(
        "Card", [("Card", link(card, card_words(card))), ("State", CARD_LABELS[card.state].text), ("Use", chosen)]
    )


def _facts_of(row: Subscription) -> Facts:
    zone = row.time_zone
    anchor = day_text(row.anchor_date) if row.anchor_date else NOTHING
    return Facts(
        "Subscription",
        [
            ("Customer", link(row.customer, row.customer.name)),
            ("Plan", link(row.plan, row.plan)),
            ("Reference", row.reference),
            ("Account", link(row.account, row.account.name)),
            ("Created", moment(row.created_at, zone)),
            ("Started", moment(row.activated_at, zone)),
            *([("Trial ends", moment(row.trial_ends_at, zone))] if row.trial_ends_at else []),
            *([("First payment by", moment(row.first_payment_ends_at, zone))] if row.first_payment_ends_at else []),
            *([("Ended", moment(row.ended_at, zone))] if row.ended_at else []),
            ("Counted from", anchor),
            ("Missed periods", CATCH_UP_WORDS[row.catch_up]),
            ("Id", code(row.public_id)),
            *((str(name), str(value)) for name, value in sorted(row.metadata.items())),
        ],
    )
