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

from billing.charging.charge_now import ChargeNowError
from billing.charging.holds import ResolutionError
from billing.charging.refund import RefundError
from billing.domain.money import MoneyError
from billing.domain.schedules import ScheduleError
from billing.gateway.connection import GatewayUnavailableError
from billing.subscriptions.cards import CardError
from billing.subscriptions.plans import PlanError
from billing.subscriptions.start import SubscriptionError

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"

# Every code that the API answers with: its HTTP status and its title, which never change for a code.
CODES: dict[str, tuple[int, str]] = {
    "malformed_json": (400, "The body is not JSON"),
    "invalid_request": (400, "The request breaks a rule"),
    "unknown_parameter": (400, "The address has a query parameter that means nothing here"),
    "invalid_idempotency_key": (400, "The Idempotency-Key cannot be used"),
    "key_missing": (401, "No API key was given"),
    "key_invalid": (401, "The API key is wrong or was revoked"),
    "scope_missing": (403, "The API key lacks a scope"),
    "not_found": (404, "There is nothing here"),
    "method_not_allowed": (405, "This address does not take that method"),
    "reference_taken": (409, "The reference is in use"),
    "state_conflict": (409, "The state does not permit it"),
    "request_in_progress": (409, "The first request with this Idempotency-Key is still running"),
    "body_too_large": (413, "The body is too large"),
    "unsupported_media_type": (415, "The body must be application/json"),
    "idempotency_key_reused": (422, "The Idempotency-Key belongs to another request"),
    "internal_error": (500, "Something went wrong on our side"),
    "gateway_unavailable": (502, "The payment gateway gave no usable answer"),
    "database_unavailable": (503, "The database is not reachable"),
}


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
    """DRF's exception handler: whatever a view raises becomes a problem; nothing unexpected is told outside."""
    problem = as_problem(error)
    if problem is None:
        _log_unexpected(error, context)
        problem = Problem("internal_error", "It was logged. The request may be sent again with its Idempotency-Key.")
    headers = {"WWW-Authenticate": error.auth_header} if hasattr(error, "auth_header") else {}
    return Response(problem.body(), status=problem.status_code, headers=headers, content_type=CONTENT_TYPE)


def as_problem(error: Exception) -> Problem | None:
    """What the caller is told of `error`; None for what was not expected."""
    match error:
        case Problem():
            return error
        case exceptions.APIException() | Http404() | PermissionDenied():
            return _of_framework(error)
        case GatewayUnavailableError():
            return Problem("gateway_unavailable", "Nothing was changed and no money has moved. Try again later.")
        case OperationalError() | InterfaceError():
            return Problem("database_unavailable", "Nothing was changed. Try again later.")
        case _:
            return _of_use_case(error)


def _of_framework(error: Exception) -> Problem | None:
    match error:
        case exceptions.ValidationError():
            errors = list(_flatten(error.get_full_details(), ""))
            return Problem("invalid_request", "; ".join(map(_sentence, errors)), errors)
        case exceptions.NotAuthenticated():
            return Problem("key_missing", "Send the header `Authorization: Bearer kit_…`.")
        case exceptions.AuthenticationFailed():
            return Problem("key_invalid", "The key in the Authorization header is not one that is in use.")
        case exceptions.MethodNotAllowed():
            return Problem("method_not_allowed", "The Allow header lists the methods that this address takes.")
        case exceptions.UnsupportedMediaType():
            return Problem("unsupported_media_type", "Send JSON, and the header `Content-Type: application/json`.")
        case exceptions.ParseError():
            return Problem("malformed_json", str(error.detail))
        case exceptions.NotFound() | Http404():
            return Problem("not_found", "This address, or the object that it names, does not exist.")
        case _:
            return None


# The domain's words for a schedule's fields, as (field of the API, rule).
_SCHEDULE_FIELDS = {
    "zone": ("time_zone", "unknown_time_zone"),
    "target": ("target", "target_of_interval"),
    "interval": ("interval", "invalid_choice"),
    "every": ("every", "out_of_range"),
    "charge_time": ("charge_time", "time_of_day"),
}


def _of_use_case(error: Exception) -> Problem | None:
    match error:
        case ScheduleError():
            field, rule = _SCHEDULE_FIELDS.get(error.field, (error.field, "invalid"))
            return invalid(field, rule, error.rule)
        case MoneyError():
            return invalid(error.field, "invalid", error.rule)
        case SubscriptionError() | CardError() | PlanError() | ChargeNowError() | RefundError():
            field, _, message = str(error).partition(": ")
            if field == "state" or isinstance(error, CardError):
                return Problem("state_conflict", message)
            return invalid(field, "not_usable", message)
        case ResolutionError():
            if error.rule == "state":
                return Problem("state_conflict", str(error))
            return invalid(error.field, error.rule, error.message)
        case _:
            return None


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
