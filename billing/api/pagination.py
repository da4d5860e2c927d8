"""Pages of a list: newest first, by keyset, so that they neither shift nor slow down while rows are added."""

from typing import Any

from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.problems import invalid

DEFAULT_LIMIT = 25
MOST = 100
LIMIT: dict[str, Any] = {
    "name": "limit",
    "in": "query",
    "description": "The most objects on a page.",
    "schema": {"type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT_LIMIT},
}


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
            LIMIT,
            {
                "name": "cursor",
                "in": "query",
                "description": "The `next_cursor` of the previous page. Leave out for the first page.",
                "schema": {"type": "string"},
            },
        ]


class FeedPagination(BasePagination):
    """The feed: oldest first, after the event that a reader has handled last. The order never changes, so a reader that
    keeps `last_id` sees each event once."""

    parameters = frozenset({"limit", "after"})

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        limit = _limit(request.query_params.get("limit"))
        self.last_id = request.query_params.get("after") or None
        if self.last_id is not None:
            handled = view.get_queryset().filter(public_id=self.last_id.replace("\x00", ""))
            last = handled.values_list("sequence", flat=True).first()
            if last is None:
                raise invalid("after", "unknown_cursor", "must be the id of an event of this account, or left out")
            queryset = queryset.filter(sequence__gt=last)
        page = list(queryset.order_by("sequence")[: limit + 1])
        self.has_more = len(page) > limit
        if page:
            self.last_id = page[:limit][-1].public_id
        return page[:limit]

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"data": data, "last_id": self.last_id, "has_more": self.has_more})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        last = "Send it as `after` to continue. On an empty page it is the `after` of the request; null at the start."
        return {
            "type": "object",
            "required": ["data", "last_id", "has_more"],
            "properties": {
                "data": schema,
                "last_id": {
                    "type": "string",
                    "nullable": True,
                    "example": "evt_06cs5zg4n1t8k5r2w7x0c3h6vd",
                    "description": last,
                },
                "has_more": {
                    "type": "boolean",
                    "example": False,
                    "description": "Whether another page is there already.",
                },
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:  # noqa: ARG002
        after = "The id of the last event that you handled. Leave out to begin with the first event."
        return [LIMIT, {"name": "after", "in": "query", "description": after, "schema": {"type": "string"}}]


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MOST):
        raise invalid("limit", "out_of_range", f"must be a whole number from 1 to {MOST}")
    return int(text)
