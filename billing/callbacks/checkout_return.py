"""`GET /checkout/<id>/`: where the gateway's payment page sends the payer's browser.

The query (`status`, `orderId`, `reason`) is unsigned and decides nothing: the gateway is asked, at most once in ten
seconds for one page. What the payer reads is what the gateway said.
"""

from datetime import datetime, timedelta

from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from billing.callbacks.bind_return import customer_page_of, with_parameters
from billing.charging.checkouts.look import look_now
from billing.domain.checkouts import LEAST_LEFT, LIVE, CheckoutState
from billing.domain.messages import Language
from billing.domain.money import display
from billing.gateway.connection import GatewayUnavailableError
from billing.mailing.change_settings import settings_of
from billing.models import Checkout
from billing.models.clock import database_now
from billing.operating.tuning import Tuning

LOOKS_APART = timedelta(seconds=10)
_STATUS = {CheckoutState.CREATING: "open"}
_WORDS = {
    Language.ENGLISH: {
        "paid": ("Thank you", "Your payment of {amount} to {merchant} was received. You may close this page."),
        "open": (
            "We are checking your payment",
            "If you have paid, your bank confirms it in a moment. Please do not pay again.",
        ),
        "closed": ("Nothing was paid", "No payment of {amount} was received on this page. You may close it."),
        "again": "Back to the payment page",
    },
    Language.MALAY: {
        "paid": ("Terima kasih", "Bayaran {amount} kepada {merchant} telah diterima. Anda boleh menutup halaman ini."),
        "open": (
            "Bayaran anda sedang disemak",
            "Jika anda telah membayar, bank anda akan mengesahkannya sebentar lagi. Sila jangan bayar sekali lagi.",
        ),
        "closed": ("Tiada bayaran dibuat", "Tiada bayaran {amount} diterima di halaman ini. Anda boleh menutupnya."),
        "again": "Kembali ke halaman bayaran",
    },
}


@never_cache
@require_safe
def checkout_return(request: HttpRequest, public_id: str) -> HttpResponseBase:
    """Says whether the payment was received, by the gateway's own word on a query; or sends the browser on."""
    if "\x00" in public_id:
        return HttpResponse(status=404)
    rows = Checkout.objects.select_related("account", "invoice__customer")
    checkout = get_object_or_404(rows, public_id=public_id)
    now = database_now()
    state = _ask(checkout, now)
    status = _STATUS.get(state, state.value)
    if checkout.return_url:
        response: HttpResponse = HttpResponseRedirect(
            with_parameters(checkout.return_url, {"checkout": checkout.public_id, "status": status})
        )
        response.status_code = 303
    elif page := customer_page_of(request, checkout.invoice.customer_id, now):
        response = HttpResponseRedirect(with_parameters(page, {"note": f"page_{status}"}))
        response.status_code = 303
    else:
        response = render(request, "billing/checkout_return.html", _context(checkout, status, now))
    response["Referrer-Policy"] = "no-referrer"
    return response


def _ask(checkout: Checkout, now: datetime) -> CheckoutState:
    """The state after a look at the gateway; as it was, where one was made a moment ago or is not needed."""
    state = CheckoutState(checkout.state)
    not_lately = Q(looked_at=None) | Q(looked_at__lte=now - LOOKS_APART)
    if state not in LIVE or not Checkout.objects.filter(not_lately, pk=checkout.pk).update(looked_at=now):
        return state
    try:
        return look_now(checkout, tuning=Tuning.from_settings(), now=now)
    except GatewayUnavailableError:
        return state


def _context(checkout: Checkout, status: str, now: datetime) -> dict[str, str]:
    look = settings_of(checkout.account)
    language = Language(checkout.invoice.customer.language or look.language)
    words = _WORDS[language]
    title, text = words[status]
    merchant = look.sender_name or checkout.account.name
    amount = display(checkout.amount_minor, checkout.currency)
    usable = status == "open" and bool(checkout.url) and now < checkout.expires_at - LEAST_LEFT
    return {
        "language": language.value,
        "merchant": merchant,
        "title": title,
        "text": text.format(amount=amount, merchant=merchant),
        "color": look.color,
        "again": str(words["again"]) if usable else "",
        "url": checkout.url if usable else "",
    }
