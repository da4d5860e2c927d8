"""`/callbacks/rm/notify/`: the gateway, or anybody, says that something happened to a card or a checkout.

It is answered 200 whatever it says, it is never believed, and it is not kept: it carries personal data. All it does
is to make us ask the gateway sooner.
"""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from billing.callbacks.hints import Hint, check_sooner
from billing.models.clock import database_now
from rm_gateway.notifications import MAX_BODY_BYTES, parse_notify
from rm_gateway.parsing import ParseError


@csrf_exempt
@require_http_methods(["GET", "POST"])
def notify(request: HttpRequest) -> HttpResponse:
    """200 for all that can be read and all that cannot; 413 for what is too large to be read."""
    body = request.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        return HttpResponse("too large", status=413, content_type="text/plain")
    try:
        notification = parse_notify(method=request.method or "", query=request.META.get("QUERY_STRING", ""), body=body)
    except ParseError:
        return HttpResponse("OK", content_type="text/plain")
    hint = Hint(
        gateway_customer_id=notification.customer_id,
        gateway_order_id=notification.order_id,
        our_order_id=notification.order_id_text,
    )
    check_sooner(hint=hint, now=database_now())
    return HttpResponse("OK", content_type="text/plain")
