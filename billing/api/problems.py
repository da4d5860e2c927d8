"""Refusals as problem details (RFC 9457): every error of the API has this one shape."""

import logging
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response

from billing.domain.errors import RefusedError
from billing.gateway.connection import GatewayUnavailableError
from billing.models.bulk.sql import HeldError

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"

# Every code that the API answers with: its HTTP status and its title, which never change for a code.
CODES: dict[str, tuple[int, str]] = {
    "malformed_json": (400, "The request body is not JSON"),
    "invalid_request": (400, "The request is not valid"),
    "unknown_parameter": (400, "Unknown or repeated query parameter"),
    "invalid_idempotency_key": (400, "The Idempotency-Key is not valid"),
    "key_missing": (401, "The API key is missing"),
    "key_invalid": (401, "The API key is unknown or revoked"),
    "scope_missing": (403, "The API key lacks a scope"),
    "not_found": (404, "Not found"),
    "method_not_allowed": (405, "Method not allowed"),
    "reference_taken": (409, "The reference is already in use"),
    "state_conflict": (409, "The state does not allow this"),
    "request_in_progress": (409, "The first request with this Idempotency-Key is still running"),
    "body_too_large": (413, "The request body is too large"),
    "unsupported_media_type": (415, "The request body must be application/json"),
    "idempotency_key_reused": (422, "The Idempotency-Key was used for another request"),
    "internal_error": (500, "Internal error"),
    "gateway_unavailable": (502, "The payment gateway gave no usable response"),
    "database_unavailable": (503, "The database is unavailable"),
}

# What passes by itself, and when it is worth asking again.
RETRY_AFTER_SECONDS = {"request_in_progress": 1, "gateway_unavailable": 30, "database_unavailable": 5}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One rule that one field breaks. `field` is a path such as `metadata.color`; empty for the whole body."""

    field: str
    rule: str
    message: str

    def as_dict(self) -> dict[str, str]:
        return {"field": self.field, "rule": self.rule, "message": self.message}


class Problem(exceptions.APIException):
    """A refusal with one of `CODES`; `more` are further members of the answer, such as `existing`."""

    def __init__(self, code: str, detail: str, errors: Iterable[FieldError] = (), **more: Any) -> None:
        self.status_code, self.title = CODES[code]
        self.code = code
        self.errors = [error.as_dict() for error in errors]
        self.more = more
        super().__init__(detail, code)

    def body(self) -> dict[str, Any]:
        return {
            "type": f"urn:kitaran:problem:{self.code}",
            "title": self.title,
            "status": self.status_code,
            "code": self.code,
            "detail": str(self.detail),
            "errors": self.errors,
            **self.more,
        }


def invalid(field: str, rule: str, message: str) -> Problem:
    """A refusal for one field."""
    return Problem("invalid_request", f"{field}: {message}", [FieldError(field, rule, message)])


def handler(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception handler: whatever a view raises becomes a problem; nothing unexpected is shown outside."""
    problem = as_problem(error)
    if problem is None:
        _log_unexpected(error, context)
        problem = Problem(
            "internal_error", "The error was logged. You can send the request again with its Idempotency-Key."
        )
    headers = {"WWW-Authenticate": error.auth_header} if hasattr(error, "auth_header") else {}
    if problem.code in RETRY_AFTER_SECONDS:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS[problem.code])
    return Response(problem.body(), status=problem.status_code, headers=headers, content_type=CONTENT_TYPE)


def as_problem(error: Exception) -> Problem | None:
    """The problem that the caller gets for `error`; None for what was not expected."""
    match error:
        case Problem():
            return error
        case exceptions.APIException() | Http404() | PermissionDenied():
            return _of_framework(error)
        case GatewayUnavailableError():
            return Problem("gateway_unavailable", "Nothing was changed and no money moved. Try again later.")
        case OperationalError() | InterfaceError() | HeldError():
            return Problem("database_unavailable", "Nothing was changed. Try again later.")
        case RefusedError():
            return _of_use_case(error)
        case _:
            return None


def _of_framework(error: Exception) -> Problem | None:
    match error:
        case exceptions.ValidationError():
            errors = list(_flatten(error.get_full_details(), ""))
            return Problem("invalid_request", "; ".join(map(_sentence, errors)), errors)
        case exceptions.NotAuthenticated():
            return Problem("key_missing", "Send the header `Authorization: Bearer kit_…`.")
        case exceptions.AuthenticationFailed():
            return Problem("key_invalid", "The key in the Authorization header is unknown or revoked.")
        case exceptions.MethodNotAllowed():
            return Problem("method_not_allowed", "The Allow header lists the allowed methods.")
        case exceptions.UnsupportedMediaType():
            return Problem("unsupported_media_type", "Send JSON with the header `Content-Type: application/json`.")
        case exceptions.ParseError():
            return Problem("malformed_json", str(error.detail))
        case exceptions.NotFound() | Http404():
            return Problem("not_found", "This path, or the object that it names, does not exist.")
        case _:
            return None


# Fields that the API calls by another name.
_FIELDS = {"zone": "time_zone", "kinds": "types"}


def _of_use_case(error: RefusedError) -> Problem:
    if error.rule == "state":
        return Problem("state_conflict", error.message if error.field == "state" else str(error))
    return invalid(_FIELDS.get(error.field, error.field), error.rule, error.message)


def _flatten(details: Any, path: str) -> Iterable[FieldError]:
    """DRF's tree of errors as a list with paths."""
    if isinstance(details, list):
        for detail in details:
            yield from _flatten(detail, path)
    elif isinstance(details, dict) and set(details) == {"message", "code"} and isinstance(details["code"], str):
        yield FieldError(path, str(details["code"]), str(details["message"]))
    else:
        for name, inner in details.items():
            below = "" if name == "non_field_errors" else str(name)
            yield from _flatten(inner, ".".join(part for part in (path, below) if part))


def _sentence(error: FieldError) -> str:
    return f"{error.field}: {error.message}" if error.field else error.message


def _log_unexpected(error: Exception, context: dict[str, Any]) -> None:
    """Logs where it happened. The error's own words stay out: they may carry a customer's data."""
    request = context.get("request")
    match = getattr(request, "resolver_match", None)
    frames = "".join(traceback.format_list(traceback.extract_tb(error.__traceback__)))
    logger.error(
        "api: %s %s failed: %s\n%s",
        getattr(request, "method", "?"),
        getattr(match, "route", "?"),
        type(error).__name__,
        frames,
    )
