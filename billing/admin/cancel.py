"""Cancelling a subscription, and what becomes of its open invoices."""

from typing import Any

from billing.admin.toolkit import fields
from billing.admin.toolkit.actions import Done, Given, PersonAction
from billing.admin.toolkit.fields import ReasonForm
from billing.charging.cases.cancel import cancel
from billing.domain.plurals import counted
from billing.domain.subscriptions import ENDED, InvoiceState, OpenInvoices
from billing.models import Subscription

OPEN_INVOICES = {
    OpenInvoices.REVIEW: "a person decides about each",
    OpenInvoices.COLLECT: "collect them as before",
    OpenInvoices.VOID: "void: nothing is owed",
    OpenInvoices.WRITE_OFF: "write off: owed, but not collected",
}


class CancelForm(ReasonForm):
    open_invoices = fields.choice(
        "Open invoices", [(one.value, text) for one, text in OPEN_INVOICES.items()], required=False
    )
    field_order = ("open_invoices", "reason", "token")

    def prepare(self, row: Any) -> None:
        if not row.invoices.filter(state=InvoiceState.OPEN.value).exists():
            del self.fields["open_invoices"]


def _explain(row: Subscription) -> str:
    many = row.invoices.filter(state=InvoiceState.OPEN.value).count()
    ends = "The subscription ends now and cannot be resumed."
    if not many:
        return f"{ends} It has no open invoice."
    return (
        f"{ends} It has {counted(many, 'open invoice')}. A first invoice that was never paid is void. An attempt under "
        "way is followed to its end, and its invoice is left for review."
    )


def _cancel(row: Subscription, given: Given) -> Done:
    wish = OpenInvoices(given.data.get("open_invoices") or OpenInvoices.REVIEW)
    left = cancel(subscription=row, open_invoices=wish, decision=given.decision, now=given.now)
    waits = f" For review, on the dashboard: {counted(len(left), 'open invoice')}." if left else ""
    return Done(f"Subscription cancelled.{waits}")


CANCEL = PersonAction(
    name="cancel",
    label="Cancel",
    icon="cancel",
    permission="billing.change_subscription",
    offered=lambda row: row.state not in ENDED,
    explain=_explain,
    form=CancelForm,
    carry_out=_cancel,
    danger=True,
    button="Cancel subscription",
)
