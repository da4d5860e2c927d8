"""What was proposed, as a list with pages."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from billing.admin.base import HistoryAdmin
from billing.admin.case_parts import KIND_WORDS
from billing.admin.filters import AccountFilter, StateFilter, days
from billing.admin.formats import (
    NOTHING,
    PROPOSAL_LABELS,
    code,
    link,
    moment,
    money,
    state_column,
)
from billing.admin.pages import Facts, Page
from billing.admin.search import Search
from billing.domain.resolution import ProposalKind
from billing.models import Proposal


@admin.register(Proposal)
class ProposalAdmin(HistoryAdmin):
    noun, nouns = "proposal", "proposals"
    list_display = ("what", "outcome_label", "proposed_by", "proposed", "decided_by", "account")
    list_select_related = ("account", "attempt")
    list_filter = (("outcome", StateFilter), ("account", AccountFilter), days("proposed", prefix="prop"))
    search_fields = ("public_id",)
    search_help_text = "Proposal id"
    search = Search(exact=("public_id",))
    outcome_label = state_column(PROPOSAL_LABELS, lambda row: str(row.outcome), "Outcome")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("attempt__request_body")

    @admin.display(description="Proposal")
    def what(self, row: Proposal) -> str:
        return KIND_WORDS[ProposalKind(row.kind)]

    @admin.display(description="Proposed")
    def proposed(self, row: Proposal) -> str:
        return moment(row.proposed_at, row.account.time_zone)

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.account.time_zone
        facts = [
            ("About", link(row.attempt, f"attempt {row.attempt.number}, {money(row.attempt)}")),
            ("Transaction", code(row.transaction_id)),
            ("Decided despite", ", ".join(row.orders) or NOTHING),
            ("Reason", row.reason),
            ("Proposed", format_html("{} by {}", moment(row.proposed_at, zone), row.proposed_by)),
            ("Decided", format_html("{} by {}", moment(row.decided_at, zone), row.decided_by or NOTHING)),
            ("Said", row.decided_reason or NOTHING),
            ("Account", link(row.account, row.account.name)),
            ("Id", code(row.public_id)),
        ]
        title = KIND_WORDS[ProposalKind(row.kind)]
        return Page(title, row.public_id, PROPOSAL_LABELS[row.outcome], main=[Facts("Proposal", facts)])
