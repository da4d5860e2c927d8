"""`/events/`"""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.filters import EventFilters
from billing.api.pagination import FeedPagination
from billing.api.schema import operation
from billing.api.serializers.events import EventSerializer
from billing.api.views.base import AccountView, ListView
from billing.models import Event
from billing.notifying.publish import publish_now


class EventListView(ListView):
    tag = "Events"
    model = Event
    answer_serializer = EventSerializer
    filterset_class = EventFilters
    pagination_class = FeedPagination

    @operation(
        "list_events",
        "Follow the feed",
        "Oldest first, in an order that never changes. Keep `last_id`, and send it as `after` for what happened since. "
        "Whatever was committed before the request is in the feed.",
        answer=EventSerializer,
        lists=True,
    )
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        publish_now(self.account.pk, now=self.now)
        return self.page()


class EventView(AccountView):
    tag = "Events"
    model = Event
    answer_serializer = EventSerializer

    @operation("read_event", "Read an event", "The body never changes once the event is published.",
               answer=EventSerializer)  # fmt: skip
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return Response(EventSerializer(self.target()).data)
