"""`/messages/`"""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.filters import MessageFilters
from billing.api.schema import operation
from billing.api.serializers.messages import MessageSerializer
from billing.api.views.base import AccountView, ListView
from billing.models import Message


class MessageListView(ListView):
    tag = "Messages"
    model = Message
    answer_serializer = MessageSerializer
    filterset_class = MessageFilters

    @operation(
        "list_messages",
        "List messages",
        "Newest first: the e-mails to your customers, and the outcome of each. None where the account has mail off.",
        answer=MessageSerializer,
        lists=True,
    )
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return self.page()


class MessageView(AccountView):
    tag = "Messages"
    model = Message
    answer_serializer = MessageSerializer

    @operation("read_message", "Read a message", "One message.", answer=MessageSerializer)
    def get(self, request: Request, **_: Any) -> Response:  # noqa: ARG002
        return Response(self.answer_serializer(self.target()).data)
