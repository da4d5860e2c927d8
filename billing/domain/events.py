"""Which events there are: one table of kinds, each with its object and what it means."""

from enum import StrEnum


class ObjectType(StrEnum):
    """What an event is about, as the API calls it."""

    ACCOUNT = "account"
    CUSTOMER = "customer"
    PAYMENT_METHOD = "payment_method"
    PLAN = "plan"
    SUBSCRIPTION = "subscription"
    INVOICE = "invoice"
    ATTEMPT = "attempt"
    REFUND = "refund"
    PROPOSAL = "proposal"
    ORPHAN = "orphan"
    WEBHOOK_ENDPOINT = "webhook_endpoint"


# History calls some of them otherwise.
_OF_SUBJECT = {"card": ObjectType.PAYMENT_METHOD, "pace": ObjectType.ACCOUNT}


def object_type(subject_type: str) -> ObjectType:
    """What a subject of history is to the merchant's system."""
    return _OF_SUBJECT.get(subject_type) or ObjectType(subject_type)
