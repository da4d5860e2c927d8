"""What was proposed, as a list with pages."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from billing.admin.case_parts import KIND_WORDS
from billing.admin.toolkit.base import HistoryAdmin
from billing.admin.toolkit.filters import AccountFilter, StateFilter, days
from billing.admin.toolkit.formats import (
    NOTHING,
    PROPOSAL_LABELS,
    card_words,
    code,
    link,
    moment,
    moment_by,
    money,
    state_column,
)
from billing.admin.toolkit.pages import Facts, Page
from billing.admin.toolkit.search import Search
from billing.domain.resolution import ProposalKind
from billing.models import Proposal


def _about(row: Proposal) -> str:
    if row.attempt is not None:
        return link(row.attempt, f"attempt {row.attempt.number}, {money(row.attempt)}")
    if row.invoice is not None:
        return link(row.invoice, f"invoice {row.invoice.description}, {money(row.invoice)}")
    return link(row.payment_method, card_words(row.payment_method)) if row.payment_method else NOTHING


@admin.register(Proposal)
class ProposalAdmin(HistoryAdmin):
    noun, nouns = "approval", "approvals"
    list_display = ("what", "outcome_label", "proposed_by", "proposed", "decided_by", "account")
    list_select_related = ("account", "attempt", "invoice", "payment_method")
    list_filter = (("outcome", StateFilter), ("account", AccountFilter), days("proposed", prefix="prop"))
    search_fields = ("public_id",)
    search_help_text = "Approval id"
    search = Search(exact=("public_id",))
    outcome_label = state_column(PROPOSAL_LABELS, lambda row: str(row.outcome), "Outcome")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("attempt__request_body")

    @admin.display(description="Approval")
    def what(self, row: Proposal) -> str:
        return KIND_WORDS[ProposalKind(row.kind)]

    @admin.display(description="Proposed")
    def proposed(self, row: Proposal) -> str:
        return moment(row.proposed_at, row.account.time_zone)

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.account.time_zone
        facts = [
            ("About", _about(row)),
            ("Transaction", code(row.transaction_id)),
            ("Orders set aside", ", ".join(row.orders) or NOTHING),
            ("Reason", row.reason),
            ("Proposed", moment_by(row.proposed_at, row.proposed_by, zone)),
            ("Decided", moment_by(row.decided_at, row.decided_by, zone)),
            ("Reason given", row.decided_reason or NOTHING),
            ("Account", link(row.account, row.account.name)),
            ("Id", code(row.public_id)),
        ]
        title = KIND_WORDS[ProposalKind(row.kind)]
        return Page(title, row.public_id, PROPOSAL_LABELS[row.outcome], main=[Facts("Approval", facts)])
