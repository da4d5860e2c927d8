"""`GET /bind/<token>/`: where the gateway's bind page sends the customer's browser.

The query (`status`, `customerId`, `reason`) is unsigned and decides nothing: the gateway is asked.
"""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from billing.gateway.connection import GatewayUnavailableError
from billing.models import PaymentMethod
from billing.models.clock import database_now
from billing.subscriptions.cards import confirm_binding

_TITLES = {
    "bound": "Your card is saved",
    "not_bound": "Your card was not saved",
    "unsure": "We are checking your card",
}


@never_cache
@require_safe
def bind_return(request: HttpRequest, token: str) -> HttpResponse:
    """A plain page that says how the binding went, by the gateway's own word on a query."""
    card = get_object_or_404(PaymentMethod.objects.select_related("account", "customer"), return_token=token)
    try:
        outcome = "bound" if confirm_binding(card=card, now=database_now()) else "not_bound"
    except GatewayUnavailableError:
        outcome = "unsure"
    context = {
        "title": _TITLES[outcome],
        "outcome": outcome,
        "merchant": card.account.name,
        "payment_url": card.payment_url,
    }
    response = render(request, "billing/bind_return.html", context)
    response["Referrer-Policy"] = "no-referrer"
    return response
