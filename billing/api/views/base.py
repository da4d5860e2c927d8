"""What every address shares: the key, its scope, the one reading of the clock, strict parameters, rendering."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from django.db.models import Model, QuerySet
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.accounts.api_keys import note_use
from billing.api.access import find, rows_of
from billing.api.authentication import CHARGE, READ, WRITE, Caller, HasScope, KeyAuthentication
from billing.api.filters import StrictFilterBackend
from billing.api.pagination import KeysetPagination
from billing.api.parsers import AlwaysJSON, StrictJSONParser
from billing.api.problems import FieldError, Problem
from billing.models import GatewayAccount
from billing.models.clock import database_now

Serializer = type[serializers.Serializer[Any]]
Row = TypeVar("Row", bound=Model)

__all__ = ["CHARGE", "READ", "WRITE", "AccountView", "ListView", "NoSuchAddress"]


class AccountView(GenericAPIView[Any]):
    """An address of one noun. `now` is read once per request; `account` and `caller` come from the key."""

    authentication_classes = (KeyAuthentication,)
    permission_classes = (HasScope,)
    parser_classes = (StrictJSONParser,)
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = AlwaysJSON
    metadata_class = None
    http_method_names = ("get", "head", "post", "patch")
    filter_backends: Any = ()
    pagination_class: Any = None

    tag: ClassVar[str]
    model: ClassVar[type[Any]]
    answer_serializer: ClassVar[Serializer]
    scopes: ClassVar[Mapping[str, str]] = {"GET": READ, "HEAD": READ, "POST": WRITE, "PATCH": WRITE}
    parameters: ClassVar[frozenset[str]] = frozenset()
    now: datetime

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.now = database_now()
        super().initial(request, *args, **kwargs)
        note_use(api_key=self.caller.key, now=self.now)
        self._check_parameters(request)

    @property
    def caller(self) -> Caller:
        caller = self.request.user
        if not isinstance(caller, Caller):
            raise TypeError("a request without a key got past authentication")
        return caller

    @property
    def account(self) -> GatewayAccount:
        return self.caller.account

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):
            nothing: QuerySet[Any] = self.model.objects.none()
            return nothing
        return rows_of(self.account, self.model)

    def target(self) -> Any:
        """The row that the address names. Raises Problem `not_found`."""
        return find(self.account, self.model, self.kwargs["id"])

    def body(self, serializer: Serializer, *, partial: bool = False) -> dict[str, Any]:
        """The request body, validated. Raises ValidationError."""
        judge = serializer(data=self.request.data, partial=partial)
        judge.is_valid(raise_exception=True)
        body: dict[str, Any] = dict(judge.validated_data)
        return body

    def answer(self, row: Model, *, status: int = 200) -> Response:
        """The row as it is now, read again with everything that its answer names."""
        fresh = self.get_queryset().get(pk=row.pk)
        return Response(self.answer_serializer(fresh).data, status=status)

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        finished = super().finalize_response(request, response, *args, **kwargs)
        finished["Cache-Control"] = "no-store"
        return finished

    def _check_parameters(self, request: Request) -> None:
        if request.method not in self.allowed_methods:
            return  # the method is what is refused
        known = self.parameters_known()
        errors = [
            FieldError(name[:100], "unknown", "unknown parameter") for name in request.query_params if name not in known
        ]
        errors += [
            FieldError(name, "repeated", "must appear only once")
            for name, values in request.query_params.lists()
            if name in known and len(values) > 1
        ]
        if errors:
            names = ", ".join(error.field for error in errors)
            allowed = ", ".join(sorted(known)) or "none"
            raise Problem("unknown_parameter", f"{names}: allowed here are {allowed}, each once.", errors)

    def parameters_known(self) -> frozenset[str]:
        return self.parameters if self.request.method in ("GET", "HEAD") else frozenset()


class ListView(AccountView):
    """An address of a list: filters and pages; newest first, unless its pagination says otherwise."""

    filter_backends = (StrictFilterBackend,)
    pagination_class: Any = KeysetPagination
    filterset_class: ClassVar[Any]

    def parameters_known(self) -> frozenset[str]:
        if self.request.method not in ("GET", "HEAD"):
            return frozenset()
        return frozenset({*self.filterset_class.base_filters, *self.pagination_class.parameters})

    def page(self) -> Response:
        rows = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.answer_serializer(rows, many=True).data)


class NoSuchAddress(APIView):
    """Whatever else is asked for below `/api/v1/`."""

    schema = None
    authentication_classes = ()
    permission_classes = ()
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = AlwaysJSON
    metadata_class = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002
        raise Problem("not_found", "No such path. Paths end with a slash.")
