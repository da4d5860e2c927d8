"""`/pay/<token>/`: where a payment link leads. Opening a page changes nothing, for scanners of mail open links too.

1. Count the visitor, by address and by customer.
2. Whose link is it? Nobody's: one page, whatever is wrong with it.
3. GET shows. POST carries a signed form, does one act by one use case, and sends the browser back to the page."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from csp.decorators import csp_update
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from billing.charging.cases.cancel import cancel
from billing.charging.cases.pay_now import REQUESTED, page_to_pay_on, pay_now
from billing.domain.decisions import Decision
from billing.domain.errors import RefusedError
from billing.domain.messages import Language
from billing.domain.paying import PAYER
from billing.domain.subscriptions import OpenInvoices
from billing.gateway.connection import GatewayUnavailableError
from billing.mailing.change_settings import settings_of
from billing.models import Customer, Invoice, Subscription
from billing.models.clock import database_now
from billing.payer import limits, words
from billing.payer.forms import Act, Form, read_form, token_of
from billing.payer.shown import cancellable, ending_of, page_of, receipt_of
from billing.subscriptions.cards import page_to_save_a_card
from billing.subscriptions.payment_links import CAME_FROM, LONGEST, customer_of

# A form leads on to the gateway: to a simulator without TLS only where nothing is real.
_LEADS_TO = ["https:"] if settings.KITARAN_PRODUCTION else ["https:", "http:"]
# How long a customer may take on the gateway's page, and still be brought back here.
_AWAY_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Visit:
    """One request with a link that is good. `query` carries a language that the customer chose."""

    request: HttpRequest
    token: str
    customer: Customer
    language: Language
    query: str
    merchant: str
    color: str
    now: datetime

    @property
    def address(self) -> str:
        return f"/pay/{self.token}/"


View = Callable[..., HttpResponseBase]


def _door(*methods: str) -> Callable[[View], View]:
    """Lets a request with a good link in; the view gets a Visit."""

    def decorate(view: View) -> View:
        @csrf_exempt  # each form has a token of its own: there is no session, and no cookie that decides anything
        @never_cache
        @csp_update({"form-action": _LEADS_TO})  # type: ignore[arg-type]  # it takes any view
        @require_http_methods(list(methods))
        @wraps(view)
        def enter(request: HttpRequest, token: str, **names: str) -> HttpResponseBase:
            response = _enter(view, request, token, names)
            response["Referrer-Policy"] = "no-referrer"
            response["X-Robots-Tag"] = "noindex, nofollow"
            return response

        return enter

    return decorate


def _enter(view: View, request: HttpRequest, token: str, names: dict[str, str]) -> HttpResponseBase:
    now = database_now()
    if limits.address_is_over(request, now=now):
        return _busy(request)
    customer = customer_of(token, now=now)
    if customer is None:
        return _closed(request, "gone", status=404)
    if limits.customer_is_over(customer, acts=request.method == "POST", now=now):
        return _busy(request)
    look = settings_of(customer.account)
    chosen = request.GET.get("lang", "")
    language = Language(chosen if chosen in list(Language) else customer.language or look.language)
    query = urlencode({"lang": chosen}) if chosen in list(Language) else ""
    return view(Visit(request, token, customer, language, query, look.sender_name, look.color, now), **names)


@_door("GET", "HEAD", "POST")
def customer_page(visit: Visit) -> HttpResponse:
    """The page; or an act: pay an invoice, save a card."""
    if visit.request.method == "POST":
        return _act(visit)
    shown = page_of(visit.customer, visit.language, now=visit.now)
    note = words.note(visit.request.GET.get("note", ""), visit.language)
    return _page(visit, "page", {"shown": shown, "note": note, "title": words.text("title", visit.language)})


@_door("GET", "HEAD")
def receipt(visit: Visit, invoice: str) -> HttpResponse:
    """A paid invoice, to be printed."""
    found = None if "\x00" in invoice else receipt_of(visit.customer, invoice, visit.language)
    if found is None:
        return _closed(visit.request, "gone", status=404)
    return _page(visit, "receipt", {"receipt": found, "title": words.text("receipt", visit.language)})


@_door("GET", "HEAD")
def cancel_page(visit: Visit, subscription: str) -> HttpResponse:
    """Asks whether the customer means it: cancelling takes two steps."""
    row = None if "\x00" in subscription else _cancellable(visit, subscription)
    if row is None:
        return _back(visit, "changed")
    ending = ending_of(row, visit.language)
    context = {
        "title": words.text("cancel_title", visit.language, what=ending.what),
        "stays": ending.stays,
        "under_way": ending.under_way,
        "form": token_of(Form(Act.CANCEL, row.public_id), visit.customer, now=visit.now),
    }
    return _page(visit, "cancel", context)


def old_link(request: HttpRequest, token: str) -> HttpResponse:
    """`/card/<token>/`, the link of older messages: it leads to the customer page."""
    if len(token) > LONGEST:
        return _closed(request, "gone", status=404)
    response = HttpResponseRedirect(f"/pay/{token}/")
    response.status_code = 303
    response["Referrer-Policy"] = "no-referrer"
    return response


old_link = never_cache(csrf_exempt(old_link))


def _act(visit: Visit) -> HttpResponse:
    form = read_form(visit.request.POST.get("form", ""), visit.customer, now=visit.now)
    match form:
        case Form(Act.PAY, target, seen):
            return _pay(visit, target, seen)
        case Form(Act.OTHER_WAY, target):
            return _pay_another_way(visit, target)
        case Form(Act.SAVE_CARD):
            return _save_card(visit)
        case Form(Act.CANCEL, target):
            return _cancel(visit, target)
        case _:
            return _back(visit, "changed")


def _cancel(visit: Visit, target: str) -> HttpResponse:
    row = _cancellable(visit, target)
    if row is None:
        return _back(visit, "changed")
    try:
        cancel(subscription=row, open_invoices=OpenInvoices.REVIEW, decision=Decision(PAYER, REQUESTED), now=visit.now)
    except RefusedError:
        return _back(visit, "not_possible")
    return _back(visit, "canceled")


def _cancellable(visit: Visit, public_id: str) -> Subscription | None:
    return cancellable(visit.customer).select_related("plan").filter(public_id=public_id).first()


def _pay(visit: Visit, target: str, seen: str) -> HttpResponse:
    try:
        pay_now(invoice=_invoice(visit, target), seen=seen, now=visit.now)
    except RefusedError as error:  # the page says of each invoice how it stands
        return _back(visit, "changed" if error.rule == "changed" else "not_possible")
    return _back(visit, "paying")


def _pay_another_way(visit: Visit, target: str) -> HttpResponse:
    try:
        checkout = page_to_pay_on(invoice=_invoice(visit, target), now=visit.now)
    except RefusedError:
        return _back(visit, "not_possible")
    except GatewayUnavailableError:
        return _back(visit, "bank_away")
    return _leave(visit, checkout.url, back="/checkout/")


def _invoice(visit: Visit, public_id: str) -> Invoice:
    return Invoice.objects.select_related("customer").get(customer=visit.customer, public_id=public_id)


def _save_card(visit: Visit) -> HttpResponse:
    return_url = f"{settings.KITARAN_PUBLIC_URL}/bind"
    try:
        url = page_to_save_a_card(customer=visit.customer, return_url=return_url, now=visit.now)
    except GatewayUnavailableError:
        return _back(visit, "bank_away")
    return _leave(visit, url, back="/bind/")


def _leave(visit: Visit, url: str, *, back: str) -> HttpResponse:
    """To a page of the gateway's, from where the browser comes `back` to one of ours, which leads it here."""
    response = _see_other(url)
    response.set_cookie(
        CAME_FROM,
        visit.token,
        max_age=_AWAY_SECONDS,
        path=back,
        secure=settings.KITARAN_PRODUCTION,
        httponly=True,
        samesite="Lax",
    )
    return response


# --- answers ----------------------------------------------------------------------------------------------


def _back(visit: Visit, note: str) -> HttpResponse:
    """To the page, which says what came of the act."""
    return _see_other(f"{visit.address}?{'&'.join(filter(None, [visit.query, urlencode({'note': note})]))}")


def _see_other(url: str) -> HttpResponse:
    response = HttpResponseRedirect(url)
    response.status_code = 303
    return response


def _page(visit: Visit, name: str, context: dict[str, Any]) -> HttpResponse:
    other = words.OTHER[visit.language]
    query = f"?{visit.query}" if visit.query else ""
    return render(
        visit.request,
        f"billing/payer/{name}.html",
        {
            "language": visit.language.value,
            "other": other.value,
            "other_name": words.NAMES[other],
            "merchant": visit.merchant,
            "color": visit.color,
            "home": f"{visit.address}{query}",
            "address": visit.address,
            "query": query,
            "words": words.all_of(visit.language),
            **context,
        },
    )


def _closed(request: HttpRequest, what: str, *, status: int) -> HttpResponse:
    """A page without a customer, in both languages."""
    both = [
        {"language": one.value, "title": words.text(what, one), "text": words.text(f"{what}_explain", one)}
        for one in Language
    ]
    return render(request, "billing/payer/closed.html", {"title": both[0]["title"], "both": both}, status=status)


def _busy(request: HttpRequest) -> HttpResponse:
    response = _closed(request, "busy", status=429)
    response["Retry-After"] = str(int(limits.WINDOW.total_seconds()))
    return response
