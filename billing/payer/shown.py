"""What the customer page shows of a customer: nothing that names them, and of cards the last four digits."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from django.db.models import Prefetch, Q, QuerySet

from billing.charging.cases.pay_now import as_shown, means_of, owed_by, standing_of
from billing.domain.attempts import UNRESOLVED, AttemptState
from billing.domain.declines import decline_of
from billing.domain.messages import Language, day_in_words, how_often
from billing.domain.money import display
from billing.domain.paying import PAID_ON_A_PAGE, Standing
from billing.domain.subscriptions import ENDED, Collector, InvoiceState, SubscriptionState
from billing.models import Customer, Invoice, PaymentAttempt, PaymentMethod, Subscription
from billing.payer import words
from billing.payer.forms import Act, Form, token_of
from billing.subscriptions.cards import is_charged_at_once

MOST_OWED, MOST_PAID, MOST_SUBSCRIPTIONS = 50, 24, 50
# The page of a payment that takes longer than this is no longer refreshed by itself.
REFRESHED_FOR = timedelta(minutes=10)
REFRESH_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Owed:
    """One invoice. `button` and `form` are empty unless the card can be charged now, `other_way` and `other_form`
    unless it can be paid on the gateway's page."""

    what: str
    amount: str
    due: str
    why: str
    next_try: str
    state: str
    button: str = ""
    form: str = ""
    charged_on: str = ""
    other_way: str = ""
    other_form: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """A subscription that has not ended. `cancel` is its id where the customer may cancel it."""

    what: str
    price: str
    next_charge: str
    cancel: str


@dataclass(frozen=True, slots=True)
class PaidInvoice:
    what: str
    amount: str
    paid_on: str
    invoice: str


@dataclass(frozen=True, slots=True)
class Shown:
    """`refresh` is in how many seconds the page asks again, 0: not by itself."""

    owed: list[Owed]
    total: str
    cards: list[str]
    card_button: str
    card_explain: str
    card_form: str
    running: list[Running]
    paid: list[PaidInvoice] = field(default_factory=list)
    processing: bool = False
    refresh: int = 0


def page_of(customer: Customer, language: Language, *, now: datetime) -> Shown:
    """Reads all that the page shows."""
    means, found = means_of(customer), list(owed_by(customer)[:MOST_OWED])
    standings = [standing_of(one, means, now=now) for one in found]
    in_work = [one for one, at in zip(found, standings, strict=True) if at in _IN_WORK]
    recent = any(_since(one, now) > now - REFRESHED_FOR for one in in_work)
    running = _running(customer)
    used = _in_use(means.cards, running)
    return Shown(
        owed=[
            _owed(one, at, means.card_for(one), customer, language, now)
            for one, at in zip(found, standings, strict=True)
        ],
        total=display(sum(one.amount_minor for one in found), found[0].currency) if len(found) > 1 else "",
        cards=[_card_words(card, language) for card in used],
        card_button=words.text("replace" if used else "save", language),
        card_explain=words.text(_explains(customer, owes=bool(found)), language),
        card_form=token_of(Form(Act.SAVE_CARD), customer, now=now),
        running=[_shown(one, customer, language) for one in running],
        paid=_paid(customer, language),
        processing=bool(in_work),
        refresh=REFRESH_SECONDS if recent else 0,
    )


_IN_WORK = (Standing.PROCESSING, Standing.BEING_CHECKED, Standing.BEHIND_ANOTHER, Standing.ON_A_PAGE)


def zone_of(invoice: Invoice) -> str:
    return invoice.subscription.time_zone if invoice.subscription else invoice.account.time_zone


def digits(card: PaymentMethod) -> str:
    """The last four digits of a card; nothing where the gateway gave none."""
    return card.label[-4:] if card.label[-4:].isdigit() else ""


def _owed(
    invoice: Invoice,
    at: Standing,
    card: PaymentMethod | None,
    customer: Customer,
    language: Language,
    now: datetime,
) -> Owed:
    zone, amount = zone_of(invoice), display(invoice.amount_minor, invoice.currency)
    payable = at is Standing.PAYABLE
    next_at = invoice.next_attempt_at if payable and invoice.refusal is None else None
    number = digits(card) if card else ""
    on_page = at is Standing.ON_A_PAGE
    other = Form(Act.OTHER_WAY, invoice.public_id) if at in PAID_ON_A_PAGE else None
    return Owed(
        what=invoice.description,
        amount=amount,
        due=words.text("due", language, day=day_in_words(invoice.due_at, zone, language)),
        why=_why(list(invoice.attempts.all()), zone, language),
        next_try=words.text("next_try", language, day=day_in_words(next_at, zone, language)) if next_at else "",
        state=words.of_standing(at, language),
        button=words.text("pay", language, amount=amount) if payable else "",
        form=token_of(Form(Act.PAY, invoice.public_id, as_shown(invoice)), customer, now=now) if payable else "",
        charged_on=words.text("charged_on" if number else "charged", language, card=number) if payable else "",
        other_way=words.text("other_way_on" if on_page else "other_way", language) if other else "",
        other_form=token_of(other, customer, now=now) if other else "",
    )


def _why(attempts: list[PaymentAttempt], zone: str, language: Language) -> str:
    """What the bank said of the last attempt, if it declined it."""
    last = attempts[-1] if attempts else None
    if last is None or last.state != AttemptState.DECLINED:
        return ""
    day = day_in_words(last.armed_at, zone, language)
    return words.text("declined", language, day=day, why=decline_of(last.state_reason).payer[language])


def _since(invoice: Invoice, now: datetime) -> datetime:
    """When the charge that is in work was started, or became due."""
    started = [one.armed_at for one in invoice.attempts.all() if one.settled_at is None]
    started += [page.created_at for page in invoice.checkouts.all()]
    return max(started, default=invoice.next_attempt_at or now)


def _running(customer: Customer) -> list[Subscription]:
    rows = Subscription.objects.filter(customer=customer).exclude(state__in=sorted(ENDED))
    return list(rows.select_related("plan", "payment_method").order_by("pk")[:MOST_SUBSCRIPTIONS])


def _in_use(cards: Sequence[PaymentMethod], running: list[Subscription]) -> list[PaymentMethod]:
    """The customer's default card, and those that a subscription is charged on."""
    pinned = {one.payment_method_id for one in running}
    return [card for card in cards if card.is_default or card.pk in pinned]


def _card_words(card: PaymentMethod, language: Language) -> str:
    number = digits(card)
    return words.text("card_ending", language, card=number) if number else words.text("card_saved", language)


def _explains(customer: Customer, *, owes: bool) -> str:
    if owes:
        return "replace_explain"
    return "first_explain" if is_charged_at_once(customer) else "save_explain"


def _shown(row: Subscription, customer: Customer, language: Language) -> Running:
    may_cancel = customer.account.payers_may_cancel and row.collector == Collector.ENGINE
    due = row.next_due_at if row.state != SubscriptionState.PAUSED else None
    day = day_in_words(due, row.time_zone, language) if due else ""
    return Running(
        what=row.plan.name,
        price=f"{display(row.amount_minor, row.currency)} {how_often(row.interval, row.every, language)}",
        next_charge=words.text("next_charge", language, day=day) if due else words.text("no_next_charge", language),
        cancel=row.public_id if may_cancel else "",
    )


@dataclass(frozen=True, slots=True)
class Ending:
    """A subscription that the customer may cancel. `stays`: what is owed afterwards all the same; `under_way`: a charge
    of it is in work."""

    what: str
    stays: str
    under_way: bool


def ending_of(row: Subscription, language: Language) -> Ending:
    """What cancelling it would mean."""
    found = list(row.invoices.filter(state=InvoiceState.OPEN.value).prefetch_related(Prefetch("attempts", _UNRESOLVED)))
    in_work = [one for one in found if one.attempts.all()]
    # What has not started owes nothing, unless its first charge is in work.
    owed = in_work if row.state == SubscriptionState.INCOMPLETE else found
    amount = display(sum(one.amount_minor for one in owed), row.currency)
    return Ending(row.plan.name, words.text("cancel_owed", language, amount=amount) if owed else "", bool(in_work))


def cancellable(customer: Customer) -> QuerySet[Subscription]:
    """The subscriptions that the customer may cancel: not those that the gateway charges on a schedule of its own,
    which only staff can end there."""
    rows = Subscription.objects.filter(customer=customer, collector=Collector.ENGINE.value)
    return rows.exclude(state__in=sorted(ENDED)) if customer.account.payers_may_cancel else rows.none()


_UNRESOLVED = PaymentAttempt.objects.filter(state__in=sorted(UNRESOLVED)).defer("request_body")


def _paid(customer: Customer, language: Language) -> list[PaidInvoice]:
    rows = Invoice.objects.filter(customer=customer, state=InvoiceState.PAID.value)
    return [
        PaidInvoice(
            one.description,
            display(one.amount_minor, one.currency),
            words.text("paid_on", language, day=day_in_words(one.closed_at or one.due_at, zone_of(one), language)),
            one.public_id,
        )
        for one in rows.select_related("account", "subscription").order_by("-pk")[:MOST_PAID]
    ]


@dataclass(frozen=True, slots=True)
class Receipt:
    """A paid invoice, to be printed. `refunded` and `kept` are empty unless money went back."""

    number: str
    paid_on: str
    lines: list[tuple[str, str]]
    amount: str
    how: str
    refunded: str
    kept: str


def receipt_of(customer: Customer, public_id: str, language: Language) -> Receipt | None:
    """The receipt of one of the customer's paid invoices; None for any other."""
    money = Q(state=AttemptState.SUCCEEDED.value)
    attempts = PaymentAttempt.objects.filter(money).select_related("payment_method").defer("request_body")
    rows = Invoice.objects.filter(customer=customer, state=InvoiceState.PAID.value, public_id=public_id)
    rows = rows.select_related("account", "subscription").prefetch_related(
        Prefetch("attempts", attempts), "outside_payments"
    )
    invoice = rows.first()
    if invoice is None:
        return None
    how, day = _how(invoice, language)
    back = invoice.amount_refunded_minor
    return Receipt(
        number=invoice.public_id,
        paid_on=day_in_words(day, zone_of(invoice), language),
        lines=_lines(invoice),
        amount=display(invoice.amount_minor, invoice.currency),
        how=how,
        refunded=display(back, invoice.currency) if back else "",
        kept=display(invoice.amount_minor - back, invoice.currency) if back else "",
    )


def _how(invoice: Invoice, language: Language) -> tuple[str, datetime | date]:
    """How it was paid, and when. A reference that staff wrote is not repeated."""
    closed_at = invoice.closed_at or invoice.due_at
    outside = next(iter(invoice.outside_payments.all()), None)
    if outside is not None:
        return words.text(f"by_{outside.method}", language), outside.paid_date
    paid = next(iter(invoice.attempts.all()), None)
    if paid is not None and paid.payment_method is None:
        return words.text("by_page", language), closed_at
    number = digits(paid.payment_method) if paid and paid.payment_method else ""
    return words.text("by_card_ending" if number else "by_card", language, card=number), closed_at


def _lines(invoice: Invoice) -> list[tuple[str, str]]:
    lines = [
        (str(line.get("description", "")), display(int(line.get("amount_minor", 0)), invoice.currency))
        for line in invoice.lines
    ]
    return lines or [(invoice.description, display(invoice.amount_minor, invoice.currency))]
