"""The content security policy of the admin: its theme needs inline styles and Alpine's `eval`. Nothing else does."""

from collections.abc import Callable

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.decorators import csp
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

DIRECTIVES = {
    "default-src": [SELF],
    "img-src": [SELF, "data:"],
    "style-src": [SELF, UNSAFE_INLINE],
    "script-src": [SELF, UNSAFE_EVAL],
    "frame-ancestors": [NONE],
    "base-uri": [NONE],
    "form-action": [SELF],
}


class AdminPolicyMiddleware:
    """Stands inside the middleware that writes the header."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response
        self._get_admin_response = csp(DIRECTIVES)(get_response)
        self._prefix = reverse("admin:index")

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        is_admin = request.path.startswith(self._prefix)
        return self._get_admin_response(request) if is_admin else self._get_response(request)
