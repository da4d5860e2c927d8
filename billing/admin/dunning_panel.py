"""What follows for a declined invoice, on the pages of the invoice and of its subscription; and asking for payment."""

from collections.abc import Sequence

from billing.admin.toolkit.actions import Done, Given, PersonAction
from billing.admin.toolkit.formats import money
from billing.admin.toolkit.pages import Words
from billing.domain.subscriptions import InvoiceState
from billing.explaining.dunning import sentences
from billing.mailing.send_link import send_link
from billing.models import Invoice
from billing.models.bulk.dunning import policies_of_invoices

FAILED = (InvoiceState.OPEN.value, InvoiceState.UNCOLLECTIBLE.value)


def panel(invoices: Sequence[Invoice], zone: str, *, named: bool = False) -> list[Words]:
    """What follows for each of these that was declined and is still owed. `named`: several may be on one page.

    The invoices have their subscription selected and their attempts prefetched."""
    declined = [one for one in invoices if is_failed(one)]
    policies = policies_of_invoices([one.pk for one in declined]) if declined else {}
    return [
        Words(
            (f"{one.description}, {money(one)}. " if named else "") + sentences(one, policies[one.pk].policy, zone),
            "warning" if one.state == InvoiceState.OPEN else "danger",
        )
        for one in declined
    ]


def is_failed(row: Invoice) -> bool:
    """Declined at least once, and still owed."""
    return row.tries > 0 and row.state in FAILED


def _send(row: Invoice, given: Given) -> Done:
    send_link(invoice=row, reason=given.reason, actor=given.actor, now=given.now)
    return Done("The mail is on its way.")


SEND_LINK = PersonAction(
    name="send-link",
    label="Send link",
    icon="forward_to_inbox",
    permission="billing.change_invoice",
    offered=is_failed,
    explain=lambda row: (
        f"{row.customer.name} gets the mail about the declined payment of {money(row)} again, with the link to save "
        "another card. A card that is saved is charged at once."
    ),
    carry_out=_send,
)
