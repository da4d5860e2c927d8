"""How often a visitor may ask for customer pages: by address, and by customer whoever holds the link.

An address stands for a machine only where it is known which proxies add to X-Forwarded-For (`KITARAN_PROXIES`). What is
counted is a digest, in PostgreSQL."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, IPv6Network, ip_address

from django.conf import settings
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from billing.models import Customer
from billing.models.bulk.visiting import count_visit, forget_visits

WINDOW = timedelta(minutes=10)
# An office or a mobile network shares an address; a page that is being refreshed asks six times a minute.
BY_ADDRESS, BY_CUSTOMER, ACTS_BY_CUSTOMER = 600, 200, 30
FORGOTTEN_AT_ONCE = 5000


def address_is_over(request: HttpRequest, *, now: datetime) -> bool:
    """Counts the request, and says whether its address has made too many."""
    return _count("address", address_of(request), now) > BY_ADDRESS


def customer_is_over(customer: Customer, *, acts: bool, now: datetime) -> bool:
    """Counts a request with one of the customer's links; `acts`: it asks for more than a page."""
    if acts and _count("acts", customer.public_id, now) > ACTS_BY_CUSTOMER:
        return True
    return _count("customer", customer.public_id, now) > BY_CUSTOMER


def forget_old_visits(*, now: datetime) -> int:
    """Deletes counters of windows that are over, some at a time; how many."""
    return forget_visits(before=window_of(now), limit=FORGOTTEN_AT_ONCE)


def window_of(now: datetime) -> datetime:
    """When the window that `now` is in began."""
    seconds = int(WINDOW.total_seconds())
    return datetime.fromtimestamp(int(now.timestamp()) // seconds * seconds, UTC)


def address_of(request: HttpRequest) -> str:
    """The address that the outermost of our own proxies saw; all of one household of IPv6 is one."""
    named = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if part.strip()]
    seen = [request.META.get("REMOTE_ADDR", ""), *reversed(named)]
    text = str(seen[min(settings.KITARAN_PROXIES, len(seen) - 1)])
    try:
        address = ip_address(text)
    except ValueError:
        return text
    return str(IPv6Network((address, 64), strict=False)) if isinstance(address, IPv6Address) else str(address)


def _count(kind: str, who: str, now: datetime) -> int:
    digest = salted_hmac("kitaran.visits", f"{kind} {who}", algorithm="sha256").hexdigest()
    return count_visit(digest, window_at=window_of(now))
