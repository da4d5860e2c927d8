"""Objects as the API shows them, set by set: for the bodies of events."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import Model, QuerySet

from billing.api.access import PREFIXES, with_related
from billing.api.serializers.account import AccountSerializer
from billing.api.serializers.customers import CustomerSerializer
from billing.api.serializers.invoices import AttemptSerializer, InvoiceSerializer, ProposalSerializer
from billing.api.serializers.payment_methods import PaymentMethodSerializer
from billing.api.serializers.plans import PlanSerializer
from billing.api.serializers.refunds import RefundSerializer
from billing.api.serializers.subscriptions import SubscriptionSerializer
from billing.domain.events import ObjectType, subject_of
from billing.models import (
    Customer,
    GatewayAccount,
    Invoice,
    PaymentAttempt,
    PaymentMethod,
    Plan,
    Proposal,
    Refund,
    Subscription,
)

SHOWN: dict[ObjectType, tuple[type[Model], Any]] = {
    ObjectType.ACCOUNT: (GatewayAccount, AccountSerializer),
    ObjectType.CUSTOMER: (Customer, CustomerSerializer),
    ObjectType.PAYMENT_METHOD: (PaymentMethod, PaymentMethodSerializer),
    ObjectType.PLAN: (Plan, PlanSerializer),
    ObjectType.SUBSCRIPTION: (Subscription, SubscriptionSerializer),
    ObjectType.INVOICE: (Invoice, InvoiceSerializer),
    ObjectType.ATTEMPT: (PaymentAttempt, AttemptSerializer),
    ObjectType.REFUND: (Refund, RefundSerializer),
    ObjectType.PROPOSAL: (Proposal, ProposalSerializer),
}
PUBLIC_PREFIXES = {
    **{object_type: PREFIXES[model] for object_type, (model, _) in SHOWN.items() if model in PREFIXES},
    ObjectType.ACCOUNT: "acct",
    ObjectType.PROPOSAL: "prop",
}


def subject_named(account: GatewayAccount, public_id: str) -> tuple[str, int] | None:
    """The subject of history that a public id of the account names; None when there is none."""
    for object_type, (model, _) in SHOWN.items():
        if public_id.partition("_")[0] == PUBLIC_PREFIXES[object_type]:
            named = _rows(model, account.pk).filter(public_id=public_id)
            number = named.values_list("pk", flat=True).first()
            return None if number is None else (subject_of(object_type), number)
    return None


def show(account_id: int, object_type: str, ids: Sequence[int]) -> Mapping[int, dict[str, Any]]:
    """The account's objects of one type by row id; none of a type that the API does not show."""
    if object_type not in SHOWN:
        return {}
    model, serializer = SHOWN[ObjectType(object_type)]
    rows = list(_rows(model, account_id).filter(pk__in=ids))
    return dict(zip((row.pk for row in rows), serializer(rows, many=True).data, strict=True))


def _rows(model: type[Model], account_id: int) -> QuerySet[Any]:
    """The account's own rows, itself included."""
    rows = with_related(model)
    return rows.filter(pk=account_id) if model is GatewayAccount else rows.filter(account_id=account_id)
