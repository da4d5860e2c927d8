"""Filters of lists. A parameter that is not listed here is refused, so that no filter is silently ignored."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import django_filters  # type: ignore[import-untyped]
from django import forms
from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend  # type: ignore[import-untyped]
from rest_framework.request import Request

from billing.api.fields import read_instant
from billing.api.objects import subject_named
from billing.api.problems import FieldError, Problem
from billing.domain.attempts import AttemptState
from billing.domain.events import BY_NAME, KINDS
from billing.domain.messages import MessageState
from billing.domain.refunds import RefundState
from billing.domain.subscriptions import CardState, InvoiceState, SubscriptionState
from billing.domain.webhooks import DeliveryState, EndpointState


class StrictFilterBackend(DjangoFilterBackend):  # type: ignore[misc]
    """Applies the view's filters; what they refuse becomes a problem."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        filterset = self.get_filterset(request, queryset, view)
        if filterset is None:
            return queryset
        if not filterset.is_valid():
            errors = [
                FieldError(field, str(error.code), "; ".join(error.messages))
                for field, mistakes in filterset.errors.as_data().items()
                for error in mistakes
            ]
            raise Problem("invalid_request", "; ".join(f"{e.field}: {e.message}" for e in errors), errors)
        filtered: QuerySet[Any] = filterset.qs
        return filtered


class InstantField(forms.Field):
    """An RFC 3339 instant with its offset, between the years 1970 and 9000."""

    default_error_messages = {  # noqa: RUF012
        "instant": "must be a date and time with an offset, such as 2026-01-31T00:00:00Z"
    }

    def to_python(self, value: Any) -> datetime | None:
        if value in self.empty_values:
            return None
        # In an address a plus sign that was not escaped arrives as a space.
        moment = read_instant(str(value).replace(" ", "+"))
        if moment is not None:
            return moment
        raise forms.ValidationError(self.error_messages["instant"], code="instant")


class InstantFilter(django_filters.Filter):  # type: ignore[misc]
    field_class = InstantField


def states(enum: type[StrEnum]) -> django_filters.ChoiceFilter:
    return django_filters.ChoiceFilter(
        field_name="state",
        choices=[(member.value, member.value) for member in enum],
        help_text="Only this state.",
        error_messages={"invalid_choice": f"must be one of {', '.join(enum)}; got %(value)s"},
    )


def named(field: str, words: str) -> django_filters.CharFilter:
    return django_filters.CharFilter(field_name=field, max_length=200, help_text=words)


def since(field: str, words: str) -> InstantFilter:
    return InstantFilter(field_name=field, lookup_expr="gte", help_text=words)


def before(field: str, words: str) -> InstantFilter:
    return InstantFilter(field_name=field, lookup_expr="lt", help_text=words)


class Created(django_filters.FilterSet):  # type: ignore[misc]
    created_from = since("created_at", "Created at or after this time.")
    created_before = before("created_at", "Created before this time.")


class CustomerFilters(Created):
    reference = named("reference", "The merchant's own reference, exact match.")
    email = named("email", "The e-mail address, exact match.")


class PaymentMethodFilters(Created):
    state = states(CardState)
    customer = named("customer__public_id", "Only this customer's (`cus_…`).")


class PlanFilters(Created):
    code = named("code", "All versions of this code.")


class DunningPolicyFilters(Created):
    code = named("code", "Only the policy of this code.")


class SubscriptionFilters(Created):
    state = states(SubscriptionState)
    customer = named("customer__public_id", "Only this customer's (`cus_…`).")
    plan = named("plan__public_id", "Only on this plan (`plan_…`).")
    reference = named("reference", "The merchant's own reference, exact match.")
    next_due_from = since("next_due_at", "Next due at or after this time.")
    next_due_before = before("next_due_at", "Next due before this time.")


class InvoiceFilters(Created):
    state = states(InvoiceState)
    customer = named("customer__public_id", "Only this customer's (`cus_…`).")
    subscription = named("subscription__public_id", "Only of this subscription (`sub_…`).")
    due_from = since("due_at", "Due at or after this time.")
    due_before = before("due_at", "Due before this time.")


class AttemptFilters(django_filters.FilterSet):  # type: ignore[misc]
    state = states(AttemptState)
    invoice = named("invoice__public_id", "Only of this invoice (`inv_…`).")
    customer = named("invoice__customer__public_id", "Only this customer's (`cus_…`).")
    payment_method = named("payment_method__public_id", "Only on this card (`pm_…`).")
    armed_from = since("armed_at", "Started at or after this time.")
    armed_before = before("armed_at", "Started before this time.")


class EventFilters(django_filters.FilterSet):  # type: ignore[misc]
    type = django_filters.ChoiceFilter(
        field_name="kind",
        choices=[(kind.name, kind.name) for kind in KINDS],
        help_text="Only this type of event.",
        error_messages={"invalid_choice": f"must be one of {', '.join(sorted(BY_NAME))}; got %(value)s"},
    )
    object = django_filters.CharFilter(
        method="of_object", max_length=40, help_text="Only the events of this object, such as `inv_…`."
    )

    def of_object(self, events: QuerySet[Any], _: str, public_id: str) -> QuerySet[Any]:
        """By the object's row, which an index finds. An object of another account has no events here."""
        named = subject_named(self.request.user.account, public_id)
        return events.filter(subject_type=named[0], subject_id=named[1]) if named else events.none()


class RefundFilters(Created):
    state = states(RefundState)
    attempt = named("attempt__public_id", "Only of this attempt (`att_…`).")
    invoice = named("invoice__public_id", "Only of this invoice (`inv_…`).")
    customer = named("invoice__customer__public_id", "Only this customer's (`cus_…`).")


class WebhookEndpointFilters(Created):
    state = states(EndpointState)


class WebhookDeliveryFilters(Created):
    state = states(DeliveryState)
    endpoint = named("endpoint__public_id", "Only to this endpoint (`whe_…`).")
    event = named("event_public_id", "Only of this event (`evt_…`).")
    type = named("kind", "Only of this type of event, such as `invoice.paid`.")


class MessageFilters(Created):
    state = states(MessageState)
    customer = named("customer__public_id", "Only to this customer (`cus_…`).")
