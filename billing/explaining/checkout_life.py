"""What became of the pages on which an invoice could be paid, in sentences."""

from collections.abc import Iterator

from billing.domain.checkouts import CheckoutState
from billing.domain.reasons import Reason
from billing.explaining.lines import Kind, Line
from billing.explaining.wording import decided_by, moment, sentence
from billing.models import Checkout, Invoice, Transition

_OVER = {
    Reason.PAGE_NOT_MADE: "The gateway made no payment page. Nobody could pay on one.",
    Reason.PAGE_OVER: "The payment page is over, and nothing was paid on it. The gateway is checked again for a week.",
    Reason.PAGE_UNANSWERED: "For a day the gateway did not say whether somebody was paying on the page. The card is "
    "charged again; money that still comes is an overpayment.",
}


def checkout_lines(*, invoice: Invoice, zone: str, to_staff: bool) -> Iterator[Line]:
    """That a page was asked for, handed out, and over. What was paid on it is an attempt, and told there."""
    pages = {row.pk: row for row in Checkout.objects.filter(invoice=invoice).order_by("pk")}
    moves = Transition.objects.filter(subject_type="checkout", subject_id__in=pages).order_by("id") if pages else ()
    for move in moves:
        row = pages[move.subject_id]
        text = _text(row, move, zone, to_staff=to_staff)
        if text:
            yield Line(move.at, text, Kind.CHECKOUT, (row.public_id, f"order {row.order_id}"))


def _text(row: Checkout, move: Transition, zone: str, *, to_staff: bool) -> str:
    match CheckoutState(move.to_state):
        case CheckoutState.CREATING:
            text = decided_by(move.actor, "requested a payment page", "", to_staff=to_staff)
            return text if to_staff else sentence(text)
        case CheckoutState.OPEN:
            until = moment(row.expires_at, zone)
            return f"The payment page was handed out until {until}. No card is charged while somebody may be paying."
        case CheckoutState.CLOSED:
            return _OVER.get(Reason(move.reason), "The payment page is over.")
        case CheckoutState.PAID:
            return ""
