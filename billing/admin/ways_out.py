"""What a person can do about an invoice that is owed, in one place: each way says what it causes before it does."""

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.widgets import UnfoldAdminSingleDateWidget

from billing.admin.case_parts import KIND_WORDS, DecideForm, as_shown
from billing.admin.toolkit import fields
from billing.admin.toolkit.actions import Done, Given, PersonAction
from billing.admin.toolkit.fields import ReasonForm
from billing.admin.toolkit.formats import moment, moment_text, money, page_of, quoted
from billing.admin.toolkit.pages import Cell, Table, Words
from billing.charging.cases import approvals
from billing.charging.cases.resolve import ResolutionError, collect_held
from billing.charging.cases.retry_now import retry_now
from billing.charging.cases.ways_out import (
    Closing,
    confirm_closing,
    pay_elsewhere,
    record_found_payment,
    reject_closing,
    void,
    write_off,
)
from billing.domain.arming import Refusal
from billing.domain.attempts import AttemptState
from billing.domain.closing import CLOSABLE, PaidBy, refuse_closing
from billing.domain.money import display
from billing.domain.reason_words import reason_words
from billing.domain.resolution import ProposalKind
from billing.domain.subscriptions import Hold, InvoiceState, SubscriptionState
from billing.explaining.wording import PAID_BY
from billing.models import Invoice, Proposal
from billing.models.clock import database_now

MAY_CHANGE = "billing.change_invoice"
NO_MORE_ASKING = "No card is charged for it any more. Money that still arrives is an overpayment."


# --- what each causes ---------------------------------------------------------------------------------------


def _after(row: Invoice, to: InvoiceState) -> str:
    paid = to is not InvoiceState.UNCOLLECTIBLE
    if row.subscription is None:
        return ""
    if row.subscription.state == SubscriptionState.INCOMPLETE:
        return {
            InvoiceState.PAID: " The subscription starts by it.",
            InvoiceState.VOID: " The subscription has not started, and expires.",
        }.get(to, " The subscription still waits for its first payment.")
    if row.subscription.state == SubscriptionState.PAST_DUE:
        return (
            " The subscription is active again, unless another of its invoices is declined."
            if paid
            else " The subscription stays past due until an invoice is paid."
        )
    return " The subscription is unchanged."


def _second(row: Invoice) -> str:
    if not approvals.is_needed(row.account, row.amount_minor):
        return ""
    return (
        " The amount needs a second person: your decision is sent for approval, and nothing is charged until another "
        "person confirms or rejects it."
    )


def _explain_paid(row: Invoice) -> str:
    return (
        f"{money(row)} was paid without this card: in cash, by transfer or in another system. The invoice is closed "
        f"as paid. {NO_MORE_ASKING}{_after(row, InvoiceState.PAID)}{_second(row)}"
    )


def _explain_found(row: Invoice) -> str:
    return (
        f"An unexplained charge of {money(row)} at the gateway is the payment of this invoice. Kitaran reads the "
        "transaction and compares it, then closes the invoice as paid. The card is released once none of its orders "
        f"is unexplained. Nobody is charged.{_after(row, InvoiceState.PAID)}{_second(row)}"
    )


def _explain_void(row: Invoice) -> str:
    return (
        f"Nothing is owed: the invoice of {money(row)} becomes void and is not collected. This cannot be undone. "
        f"{NO_MORE_ASKING}{_after(row, InvoiceState.VOID)}{_second(row)}"
    )


def _explain_write_off(row: Invoice) -> str:
    return (
        f"{money(row)} stays owed but is no longer collected. A late payment still pays the invoice, and it can be "
        f"collected again later.{_after(row, InvoiceState.UNCOLLECTIBLE)}{_second(row)}"
    )


def _explain_retry(row: Invoice) -> str:
    return (
        f"Charges {display(row.amount_minor, row.currency)} now instead of at the next try. All the usual checks "
        "apply. An unresolved attempt comes first."
    )


def _explain_collect_again(row: Invoice) -> str:
    return (
        f"Reopens the invoice and charges {money(row)} now, even if its subscription is not running. All the usual "
        "checks apply."
    )


def _explain_collect(row: Invoice) -> str:
    why = f"needs review: {reason_words(row.hold)}" if row.hold else "is not waiting"
    return f"The invoice {why}. Collecting it charges {money(row)} now."


# --- forms and acts -----------------------------------------------------------------------------------------


class PaidForm(ReasonForm):
    method = fields.choice(
        "How it was paid",
        [("", "Choose…"), *((one.value, text) for one, text in PAID_BY.items() if one is not PaidBy.GATEWAY)],
    )
    reference = fields.text("Reference", help_text="A receipt, a line of a bank statement.")
    paid_date = forms.DateField(label="Paid on", widget=UnfoldAdminSingleDateWidget)
    field_order = ("method", "reference", "paid_date", "reason", "token")

    def prepare(self, row: Any) -> None:
        self.initial.setdefault("paid_date", _today(row))


def _today(row: Invoice) -> date:
    return database_now().astimezone(ZoneInfo(row.account.time_zone)).date()


class FoundForm(ReasonForm):
    transaction_id = fields.text(
        "Transaction id", help_text="The gateway's id. The transaction is read and compared.", most=64
    )
    field_order = ("transaction_id", "reason", "token")


def _done(closing: Closing, done: str) -> Done:
    if closing.proposal:
        return Done("Sent for approval. Nothing is charged until another person confirms it.")
    return Done(done)


def _pay(row: Invoice, given: Given) -> Done:
    closing = pay_elsewhere(
        invoice=row,
        method=PaidBy(given.data["method"]),
        reference=given.data["reference"],
        paid_date=given.data["paid_date"],
        decision=given.decision,
        now=given.now,
    )
    return _done(closing, "Invoice paid. The card is not charged for it any more.")


def _found(row: Invoice, given: Given) -> Done:
    closing = record_found_payment(
        invoice=row, transaction_id=given.data["transaction_id"], decision=given.decision, now=given.now
    )
    return _done(closing, "Invoice paid by that transaction. Nobody is charged.")


def _void(row: Invoice, given: Given) -> Done:
    return _done(void(invoice=row, decision=given.decision, now=given.now), "Invoice void. Nothing is owed.")


def _write_off(row: Invoice, given: Given) -> Done:
    return _done(
        write_off(invoice=row, decision=given.decision, now=given.now),
        "Invoice written off. It is no longer collected.",
    )


def _retry(row: Invoice, given: Given) -> Done:
    at = retry_now(invoice=row, decision=given.decision, now=given.now)
    if at > given.now:
        when = moment_text(at, row.account.time_zone)
        return Done(f"The invoice is tried at {when}: {reason_words(Refusal.LISTS_MAY_LAG)}.")
    return Done("The invoice is due now. A worker charges the card in a moment.")


def _collect(row: Invoice, given: Given) -> Done:
    collect_held(invoice=row, decision=given.decision, now=given.now)
    return Done("Invoice collected again. A worker charges the card in a moment.")


def _confirm(row: Invoice, given: Given) -> Done:
    confirm_closing(proposal=as_shown(_proposal(row), given), decision=given.decision, now=given.now)
    return Done("Confirmed. The decision took effect.")


def _reject(row: Invoice, given: Given) -> Done:
    reject_closing(proposal=as_shown(_proposal(row), given), decision=given.decision, now=given.now)
    return Done("Rejected. The invoice is collected as before.")


def _proposal(row: Invoice) -> Proposal:
    found = open_proposal(row)
    if found is None:
        raise ResolutionError("proposal", "state", "this invoice has none")
    return found


# --- which is possible --------------------------------------------------------------------------------------


def open_proposal(row: Invoice) -> Proposal | None:
    """What waits for another person; asked for once a page, and only while something is owed."""
    if "_proposal" not in row.__dict__:
        row.__dict__["_proposal"] = approvals.open_proposal(row) if row.state in CLOSABLE else None
    found: Proposal | None = row.__dict__["_proposal"]
    return found


def _why_not(row: Invoice, to: InvoiceState) -> str:
    """Why it cannot be closed so now; "" when it can."""
    if row.state not in CLOSABLE:
        return f"The invoice is {row.state}."
    if "_states" not in row.__dict__:
        row.__dict__["_states"] = list(row.attempts.values_list("public_id", "state"))
    attempts = [(name, AttemptState(state)) for name, state in row.__dict__["_states"]]
    proposal = open_proposal(row)
    proposed_by = proposal.proposed_by if proposal else ""
    refused = refuse_closing(InvoiceState(row.state), to, attempts, proposed_by=proposed_by)
    return f"{refused.message[:1].upper()}{refused.message[1:]}." if refused else ""


def _may_retry(row: Invoice) -> bool:
    waits = row.next_attempt_at or row.grace_ends_at or row.refusal == Refusal.FIRST_CHARGE_DECLINED
    return bool(waits) and row.hold is None and row.state == InvoiceState.OPEN


def _proposed_by_another(row: Invoice, request: HttpRequest) -> bool:
    proposal = open_proposal(row)
    return proposal is not None and proposal.proposed_by_user_id != request.user.pk


def _action(name: str, label: str, icon: str, **given: Any) -> PersonAction:
    return PersonAction(name=name, label=label, icon=icon, permission=MAY_CHANGE, **given)


RETRY = _action("retry-now", "Retry now", "replay", offered=_may_retry, explain=_explain_retry, carry_out=_retry)
COLLECT_AGAIN = _action(
    "collect-again",
    "Collect again",
    "replay",
    offered=lambda row: row.state == InvoiceState.UNCOLLECTIBLE and open_proposal(row) is None,
    explain=_explain_collect_again,
    carry_out=_retry,
)
COLLECT = _action(
    "collect",
    "Collect now",
    "bolt",
    offered=lambda row: (
        row.state == InvoiceState.OPEN and row.hold not in (None, Hold.PROPOSAL.value) and open_proposal(row) is None
    ),
    explain=_explain_collect,
    carry_out=_collect,
)
PAY = _action(
    "paid-elsewhere",
    "Paid elsewhere",
    "payments",
    offered=lambda row: not _why_not(row, InvoiceState.PAID),
    explain=_explain_paid,
    form=PaidForm,
    carry_out=_pay,
)
FOUND = _action(
    "found-payment",
    "Payment found",
    "receipt_long",
    offered=lambda row: not _why_not(row, InvoiceState.PAID),
    explain=_explain_found,
    form=FoundForm,
    carry_out=_found,
)
VOID = _action(
    "void",
    "Void",
    "block",
    offered=lambda row: not _why_not(row, InvoiceState.VOID),
    explain=_explain_void,
    carry_out=_void,
    danger=True,
)
WRITE_OFF = _action(
    "write-off",
    "Write off",
    "money_off",
    offered=lambda row: row.state == InvoiceState.OPEN and not _why_not(row, InvoiceState.UNCOLLECTIBLE),
    explain=_explain_write_off,
    carry_out=_write_off,
)
CONFIRM = PersonAction(
    name="confirm",
    label="Confirm",
    icon="done_all",
    permission=approvals.PERMISSION,
    offered=lambda row: open_proposal(row) is not None,
    offered_to=_proposed_by_another,
    explain=lambda row: "The decision takes effect now and is recorded under both names.",
    form=DecideForm,
    carry_out=_confirm,
    before=lambda row: notices(row),
    danger=True,
)
REJECT = PersonAction(
    name="reject",
    label="Reject",
    icon="undo",
    permission=approvals.PERMISSION,
    offered=lambda row: open_proposal(row) is not None,
    explain=lambda row: (
        "The invoice stays open and is collected as before. Use this also to withdraw your own proposal."
    ),
    form=DecideForm,
    carry_out=_reject,
    before=lambda row: notices(row),
)
WAYS = (RETRY, COLLECT_AGAIN, COLLECT, PAY, FOUND, VOID, WRITE_OFF)
INVOICE_ACTIONS = (*WAYS, CONFIRM, REJECT)


# --- parts of the invoice's page ----------------------------------------------------------------------------


def notices(row: Invoice) -> list[Words]:
    """An open proposal is the first thing to read."""
    proposal = open_proposal(row)
    if proposal is None:
        return []
    what = KIND_WORDS[ProposalKind(proposal.kind)]
    at = moment(proposal.proposed_at, row.account.time_zone)
    details = proposal.details
    found = details.get("gateway_transaction_id") or details.get("reference")
    decided = f"{what} ({found}, {details['paid_date']})" if found else what
    text = format_html(
        "{} proposed on {}: {}. Reason: {} Another person confirms or rejects it.",
        proposal.proposed_by,
        at,
        decided,
        quoted(proposal.reason),
    )
    return [Words(text, "warning")]


def what_can_be_done(row: Invoice, request: HttpRequest) -> list[Table]:
    """The decisions that are possible now, each with what it causes; nothing for an invoice that is not owed."""
    if row.state not in CLOSABLE:
        return []
    rows = [[Cell(_named(row, action, request)), Cell(action.explain(row))] for action in WAYS if action.offered(row)]
    empty = _why_not(row, InvoiceState.VOID) or "No actions now."
    return [Table("Available actions", ["Decision", "Effect"], rows, empty)]


def _named(row: Invoice, action: PersonAction, request: HttpRequest) -> str:
    if not action.allowed(request):
        return action.label
    return format_html('<a class="k-link" href="{}{}/">{}</a>', page_of(row), action.name, action.label)
