"""The door for staff: Django's admin. Importing it registers every noun."""

from django.contrib import admin

from billing.admin import (
    accounts,
    api_keys,
    attempts,
    customers,
    declines,
    events,
    evidence,
    history,
    invoices,
    late_money,
    messages,
    orphans,
    proposals,
    refunds,
    staff,
    subscriptions,
    webhook_deliveries,
    webhooks,
)
from billing.admin.site import dress

dress(admin.site)

__all__ = [
    "accounts",
    "api_keys",
    "attempts",
    "customers",
    "declines",
    "events",
    "evidence",
    "history",
    "invoices",
    "late_money",
    "messages",
    "orphans",
    "proposals",
    "refunds",
    "staff",
    "subscriptions",
    "webhook_deliveries",
    "webhooks",
]
