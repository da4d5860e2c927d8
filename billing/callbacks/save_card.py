"""`/card/<token>/`: where the link in a message leads. Opening it shows a page with a button and does nothing else, for
scanners of mail open links; the button takes the customer to the gateway's page, where the card is entered."""

from csp.decorators import csp_update
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from billing.domain.messages import Language
from billing.domain.subscriptions import CardState
from billing.gateway.connection import GatewayUnavailableError
from billing.mailing.change_settings import settings_of
from billing.mailing.links import customer_of
from billing.models import Customer
from billing.models.clock import database_now
from billing.subscriptions.cards import is_charged_at_once, page_to_save_a_card

_WORDS = {
    Language.ENGLISH: {
        "title": "Save another card",
        "title_none": "Save a card",
        "explain": "You enter the card on a secure page. Nothing is charged when you save it. Later payments to {} are "
        "charged to it.",
        "explain_first": "You enter the card on a secure page. Your first payment to {} is charged to it at once, and "
        "later payments too.",
        "button": "Continue",
        "expired": "This link has expired",
        "expired_explain": "Please reply to the e-mail that it came from.",
        "unsure": "We could not reach the bank just now. Nothing was changed. Please try again in a moment.",
    },
    Language.MALAY: {
        "title": "Simpan kad lain",
        "title_none": "Simpan kad",
        "explain": "Anda memasukkan maklumat kad di halaman yang selamat. Tiada caj dikenakan semasa kad disimpan. "
        "Bayaran akan datang kepada {} akan dicaj pada kad itu.",
        "explain_first": "Anda memasukkan maklumat kad di halaman yang selamat. Bayaran pertama anda kepada {} akan "
        "terus dicaj pada kad itu, begitu juga bayaran akan datang.",
        "button": "Teruskan",
        "expired": "Pautan ini telah tamat tempoh",
        "expired_explain": "Sila balas e-mel yang mengandungi pautan ini.",
        "unsure": "Kami tidak dapat menghubungi bank buat masa ini. Tiada apa-apa yang berubah. Sila cuba "
        "sebentar lagi.",
    },
}

# The button leads to the gateway: to a simulator without TLS only where nothing is real.
_LEADS_TO = ["https:"] if settings.KITARAN_PRODUCTION else ["https:", "http:"]


@never_cache
@csp_update({"form-action": _LEADS_TO})  # type: ignore[arg-type]  # it takes any view
@require_http_methods(["GET", "HEAD", "POST"])
def save_card(request: HttpRequest, token: str) -> HttpResponse:
    customer = customer_of(token) if "\x00" not in token else None
    if customer is None:
        return _page(request, {"title_key": "expired", "text_key": "expired_explain"}, Language.ENGLISH, status=404)
    look = settings_of(customer.account)
    language = Language(customer.language or look.language)
    if request.method == "POST":
        try:
            return _to_the_gateway(customer)
        except GatewayUnavailableError:
            context = {"title_key": "title", "text_key": "unsure", "merchant": look.sender_name, "color": look.color}
            return _page(request, context, language)
    text_key = "explain_first" if is_charged_at_once(customer) else "explain"
    has_card = customer.payment_methods.filter(state=CardState.ACTIVE.value).exists()
    title_key = "title" if has_card else "title_none"
    context = {"title_key": title_key, "text_key": text_key, "merchant": look.sender_name, "color": look.color}
    return _page(request, context, language)


def _to_the_gateway(customer: Customer) -> HttpResponse:
    return_url = f"{settings.KITARAN_PUBLIC_URL}/bind"
    url = page_to_save_a_card(customer=customer, return_url=return_url, now=database_now())
    response = HttpResponseRedirect(url)
    response.status_code = 303
    response["Referrer-Policy"] = "no-referrer"
    return response


def _page(request: HttpRequest, context: dict[str, str], language: Language, *, status: int = 200) -> HttpResponse:
    words, merchant = _WORDS[language], context.get("merchant", "")
    shown = {
        "language": language.value,
        "merchant": merchant,
        "title": words[context["title_key"]],
        "text": words[context["text_key"]].format(merchant),
        "color": context.get("color", ""),
        "button": words["button"] if context["title_key"] != "expired" else "",
    }
    response = render(request, "billing/save_card.html", shown, status=status)
    response["Referrer-Policy"] = "no-referrer"
    return response
