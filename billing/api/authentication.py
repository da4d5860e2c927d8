"""Who calls: `Authorization: Bearer kit_…`, and which scopes the key has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from billing.accounts.api_keys import find_api_key
from billing.api.problems import Problem
from billing.models import ApiKey, GatewayAccount

READ, WRITE, CHARGE = "read", "write", "charge"
LONGEST_KEY = 200


@dataclass(frozen=True, slots=True)
class Caller:
    """The key that a request came with; DRF's `request.user`."""

    key: ApiKey
    is_authenticated: bool = True

    @property
    def account(self) -> GatewayAccount:
        return self.key.account

    @property
    def actor(self) -> str:
        """How the history names it."""
        return f"api:{self.key.public_id}"

    def require(self, scope: str) -> None:
        """Raises Problem `scope_missing` unless the key has the scope."""
        if scope not in self.key.scopes:
            held = ", ".join(self.key.scopes)
            raise Problem("scope_missing", f"The scope {scope} is required; the key has {held}.", scope=scope)


class KeyAuthentication(BaseAuthentication):
    """Takes a live API key; raises for a wrong one, and passes a request without one on, to be refused."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        words = get_authorization_header(request).split()
        if not words:
            return None
        if len(words) != 2 or words[0].lower() != b"bearer" or len(words[1]) > LONGEST_KEY:
            raise AuthenticationFailed
        key = find_api_key(words[1].decode("latin-1"))
        if key is None:
            raise AuthenticationFailed
        return Caller(key), key

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        return 'Bearer realm="kitaran"'


class HasScope(BasePermission):
    """The key has the scope that the view asks for this method (`scopes`)."""

    def has_permission(self, request: Request, view: Any) -> bool:
        caller = request.user
        if not isinstance(caller, Caller):
            raise NotAuthenticated
        scopes: Mapping[str, str] = view.scopes
        needed = scopes.get(request.method or "")
        if needed is not None:
            caller.require(needed)
        return True
