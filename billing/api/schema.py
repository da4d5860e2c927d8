"""OpenAPI from the code: what every operation has in common, and the words of each."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiRequest, OpenApiResponse, extend_schema
from rest_framework import serializers

from billing.api.access import PREFIXES
from billing.api.problems import CODES, CONTENT_TYPE, FieldError, Problem
from billing.api.serializers.common import ProblemSerializer

PREFIX = "/api/v1/"

_KEY_PARAMETER = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]{1,255}$"},
    OpenApiParameter.HEADER,
    description=(
        "Your own unique name for this request, such as a random UUID. The same key with the same body returns the "
        "first response again (with the header `Idempotent-Replayed: true`), and nothing is done twice. While the "
        "first request runs the response is 409; with another path or body it is 422. A request that was refused or "
        "failed leaves its key free. Optional, and recommended on every POST: without it, a repeated POST acts "
        "twice."
    ),
)
_ALWAYS = (
    "invalid_request", "malformed_json", "unknown_parameter", "key_missing", "key_invalid", "scope_missing",
    "internal_error", "database_unavailable",
)  # fmt: skip
_WITH_BODY = ("state_conflict", "body_too_large", "unsupported_media_type")
_POST = ("invalid_idempotency_key", "request_in_progress", "idempotency_key_reused")


def operation(
    operation_id: str,
    summary: str,
    description: str,
    *,
    answer: type[serializers.Serializer[Any]],
    request: type[serializers.Serializer[Any]] | None = None,
    status: int = 200,
    lists: bool = False,
    examples: Sequence[OpenApiExample] = (),
    parameters: Sequence[OpenApiParameter] = (),
    codes: Sequence[str] = (),
) -> Callable[[Any], Any]:
    """Describes one method of a view; `codes` are problems that not every operation has."""
    response = OpenApiResponse(answer(many=True) if lists else answer, description=summary)

    def decorate(method: Any) -> Any:
        method.problem_codes = tuple(codes)
        method.lists = lists
        return extend_schema(
            operation_id=operation_id,
            summary=summary,
            description=description,
            request=OpenApiRequest(request, examples=list(examples)) if request else None,
            responses={status: response},
            parameters=list(parameters),
        )(method)

    return decorate


class Schema(AutoSchema):
    """Adds what all operations share: tags, problems, the id in the path and the idempotency header."""

    def get_tags(self) -> list[str]:
        return [cast("Any", self.view).tag]

    def _is_list_view(self, serializer: Any = None) -> bool:  # noqa: ARG002
        """A list is wrapped in its description and would not be seen as one: its parameters would be missing."""
        return bool(getattr(getattr(self.view, self.method.lower()), "lists", False))

    def get_override_parameters(self) -> list[Any]:
        shared: list[Any] = []
        if "{id}" in self.path:
            prefix = PREFIXES[cast("Any", self.view).model]
            pattern = f"^{prefix}_[0-9a-z]{{26}}$"
            shared.append(
                OpenApiParameter(
                    "id",
                    {"type": "string", "pattern": pattern, "example": f"{prefix}_06cs5z1n2tbrvg3p9k4qj7m8xe"},
                    OpenApiParameter.PATH,
                    description=f"The object's id, `{prefix}_…`.",
                )
            )
        if self.method == "POST":
            shared.append(_KEY_PARAMETER)
        return shared

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        by_status: dict[int, list[str]] = {}
        for code in self._codes():
            by_status.setdefault(CODES[code][0], []).append(code)
        for status, codes in sorted(by_status.items()):
            words = "; ".join(f"`{code}`: {CODES[code][1]}" for code in codes)
            response = OpenApiResponse(ProblemSerializer, description=words, examples=[_example(codes[0])])
            body = self._get_response_for_code(  # type: ignore[no-untyped-call]
                response, str(status), [CONTENT_TYPE], direction
            )
            bodies[str(status)] = body
        return bodies

    def _codes(self) -> list[str]:
        method = getattr(self.view, self.method.lower())
        codes = [*_ALWAYS, *getattr(method, "problem_codes", ())]
        if "{id}" in self.path:
            codes.append("not_found")
        if self.method in ("POST", "PATCH"):
            codes += _WITH_BODY
        else:
            codes.remove("malformed_json")
        return codes + (list(_POST) if self.method == "POST" else [])


def _example(code: str) -> OpenApiExample:
    if code != "invalid_request":
        return OpenApiExample(code, Problem(code, CODES[code][1]).body())
    wrong = FieldError("amount_minor", "min_value", "Ensure this value is greater than or equal to 10.")
    return OpenApiExample(code, Problem(code, f"{wrong.field}: {wrong.message}", [wrong]).body())


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "billing.api.authentication.KeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:  # noqa: ARG002
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "kit_…",
            "description": "An API key from `manage.py create_api_key`. Scopes: read, write, charge.",
        }


def only_the_api(endpoints: list[Any]) -> list[Any]:
    """Preprocessing: the schema describes the API and nothing else of this server."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith(PREFIX)]


def close_bodies(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Postprocessing: members that a body does not know are refused, and the schema says so."""
    for name, component in result.get("components", {}).get("schemas", {}).items():
        if name.endswith("Request"):
            component.setdefault("properties", {})
            component["additionalProperties"] = False
        if name.startswith("Paginated"):
            order = "oldest" if name == "PaginatedEventList" else "newest"
            component["properties"]["data"]["description"] = f"At most `limit` objects, {order} first."
        if name.startswith("Patched"):
            for member in component["properties"].values():
                member.pop("default", None)  # what is left out of a PATCH stays as it is
    return result


def share_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Postprocessing: the same refusal of many operations is described once."""
    shared: dict[str, Any] = result["components"].setdefault("responses", {})
    for operations in result["paths"].values():
        for method in operations.values():
            for status, response in method["responses"].items():
                if CONTENT_TYPE in response.get("content", {}):
                    method["responses"][status] = {"$ref": f"#/components/responses/{_share(shared, status, response)}"}
    return result


def _share(shared: dict[str, Any], status: str, response: dict[str, Any]) -> str:
    number = 1
    while True:
        name = f"Problem{status}" if number == 1 else f"Problem{status}Variant{number}"
        if shared.setdefault(name, response) == response:
            return name
        number += 1
