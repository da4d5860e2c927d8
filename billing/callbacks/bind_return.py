"""`GET /bind/<token>/`: where the gateway's bind page sends the customer's browser.

The query (`status`, `customerId`, `reason`) is unsigned and decides nothing: the gateway is asked. A claim that it
failed or was cancelled is shown and kept as a claim, when it names this card's holder.
"""

from datetime import datetime
from urllib.parse import unquote_plus, urlencode, urlsplit, urlunsplit

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from billing.domain.subscriptions import CardState
from billing.gateway.connection import GatewayUnavailableError
from billing.models import PaymentMethod
from billing.models.clock import database_now
from billing.subscriptions.cards import confirm_binding, record_claim
from billing.subscriptions.payment_links import CAME_FROM, address_of, customer_of
from rm_gateway.notifications import BindOutcome, parse_redirect
from rm_gateway.parsing import ParseError

BOUND, PENDING, FAILED, CANCELLED, UNSURE, REVOKED = "bound", "pending", "failed", "cancelled", "unsure", "revoked"
_TITLES = {
    BOUND: "Your card is saved",
    PENDING: "Your card was not saved",
    FAILED: "Your card was not saved",
    CANCELLED: "You did not save a card",
    UNSURE: "We are checking your card",
    REVOKED: "This card is no longer in use",
}
# What the merchant's own page gets: the words of the API, and pending while nobody knows better.
_STATUS = {
    BOUND: "active",
    PENDING: "pending",
    FAILED: "failed",
    CANCELLED: "cancelled",
    UNSURE: "pending",
    REVOKED: "revoked",
}
_CLAIMS = {BindOutcome.FAILED: FAILED, BindOutcome.CANCELLED: CANCELLED}


@never_cache
@require_safe
def bind_return(request: HttpRequest, token: str) -> HttpResponseBase:
    """Says how the binding went, by the gateway's own word on a query; or sends the browser on to the merchant."""
    if "\x00" in token:
        return HttpResponse(status=404)
    card = get_object_or_404(PaymentMethod.objects.select_related("account", "customer"), return_token=token)
    now = database_now()
    claim, reason = _claim(request.META.get("QUERY_STRING", ""), card)
    try:
        outcome = BOUND if confirm_binding(card=card, now=now) else claim or PENDING
    except GatewayUnavailableError:
        outcome = claim or UNSURE
    if outcome != BOUND and card.state == CardState.REVOKED:
        outcome = REVOKED
    if outcome in _CLAIMS.values():
        record_claim(card=card, outcome=outcome, reason=reason, now=now)
    if card.merchant_return_url:
        response: HttpResponse = HttpResponseRedirect(
            with_parameters(card.merchant_return_url, {"payment_method": card.public_id, "status": _STATUS[outcome]})
        )
        response.status_code = 303
    elif card.takes_over and (page := customer_page_of(request, card.customer_id, now)):
        response = HttpResponseRedirect(with_parameters(page, {"note": f"card_{_STATUS[outcome]}"}))
        response.status_code = 303
    else:
        context = {
            "title": _TITLES[outcome],
            "outcome": outcome,
            "reason": reason,
            "merchant": card.account.name,
            "payment_url": card.payment_url,
        }
        response = render(request, "billing/bind_return.html", context)
    response["Referrer-Policy"] = "no-referrer"
    return response


def customer_page_of(request: HttpRequest, customer_id: int, now: datetime) -> str:
    """The customer page that this browser left for the gateway's, by the cookie that it got there; "" for others."""
    token = request.COOKIES.get(CAME_FROM, "")
    customer = customer_of(token, now=now) if token else None
    return address_of(token) if customer is not None and customer.pk == customer_id else ""


def _claim(query: str, card: PaymentMethod) -> tuple[str, str]:
    """`failed` or `cancelled` with its reason, when the query says so of this card; else nothing."""
    try:
        hint = parse_redirect(query)
    except ParseError:
        return "", ""
    outcome = _CLAIMS.get(hint.claimed_outcome, "")
    if not outcome or hint.customer_id != card.gateway_customer_id:
        return "", ""
    return outcome, hint.reason if outcome == FAILED else ""


def with_parameters(url: str, parameters: dict[str, str]) -> str:
    """`url` with these query parameters: its own stay as they were written, ones of the same name are replaced."""
    parts = urlsplit(url)
    kept = [
        piece for piece in parts.query.split("&") if piece and unquote_plus(piece.partition("=")[0]) not in parameters
    ]
    return urlunsplit(parts._replace(query="&".join([*kept, urlencode(parameters)])))
