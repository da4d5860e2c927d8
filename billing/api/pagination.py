"""Pages of a list: newest first, by keyset, so that they neither shift nor slow down while rows are added."""

from typing import Any

from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.problems import invalid

DEFAULT_LIMIT = 25
MOST = 100


class KeysetPagination(BasePagination):
    """`?limit=` rows; `?cursor=` goes on after the last row of the page before. No COUNT, no OFFSET."""

    parameters = frozenset({"limit", "cursor"})

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        limit = _limit(request.query_params.get("limit"))
        if cursor := request.query_params.get("cursor"):
            last = view.get_queryset().filter(public_id=cursor.replace("\x00", "")).values_list("pk", flat=True).first()
            if last is None:
                raise invalid("cursor", "unknown_cursor", "must be the next_cursor of a page of this list")
            queryset = queryset.filter(pk__lt=last)
        page = list(queryset.order_by("-pk")[: limit + 1])
        self.next_cursor = page[limit - 1].public_id if len(page) > limit else None
        return page[:limit]

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"data": data, "next_cursor": self.next_cursor})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["data", "next_cursor"],
            "properties": {
                "data": schema,
                "next_cursor": {
                    "type": "string",
                    "nullable": True,
                    "example": None,
                    "description": "Send it as `cursor` to get the next page; null on the last page.",
                },
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:  # noqa: ARG002
        return [
            {
                "name": "limit",
                "in": "query",
                "description": "The most objects on a page.",
                "schema": {"type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT_LIMIT},
            },
            {
                "name": "cursor",
                "in": "query",
                "description": "The `next_cursor` of the previous page. Leave out for the first page.",
                "schema": {"type": "string"},
            },
        ]


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MOST):
        raise invalid("limit", "out_of_range", f"must be a whole number from 1 to {MOST}")
    return int(text)
