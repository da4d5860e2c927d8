"""Everything that was found, about attempts and about refunds, as it was found."""

import json
from typing import Any

from django.contrib import admin
from django.db.models import Model, OuterRef, QuerySet, Subquery
from django.http import HttpRequest

from billing.admin.attempts import AttemptAdmin
from billing.admin.refunds import RefundAdmin
from billing.admin.toolkit.base import HistoryAdmin
from billing.admin.toolkit.filters import StateFilter, days
from billing.admin.toolkit.formats import NOTHING, link, moment, verdict_words, why_of_evidence, with_zone, words
from billing.admin.toolkit.pages import Facts, Page, Verbatim
from billing.admin.toolkit.search import Search
from billing.models import Evidence, PaymentAttempt, Refund, RefundEvidence


class _EvidenceAdmin(HistoryAdmin):
    """Evidence keeps only the key of what it is about, named `about_id`; its public id comes along as `named`."""

    about: type[Model]
    about_id: str
    search_of_about: Search
    list_display = ("subject", "origin", "result", "why", "recorded")
    list_filter = (("source", StateFilter), days("recorded", column="recorded_at"))
    search_fields = ("pk",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return self._named(super().get_queryset(request).defer("content"))

    def page_queryset(self) -> QuerySet[Any]:
        return self._named(self.model._default_manager.all())

    def _named(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        about = self.about._default_manager.filter(pk=OuterRef(self.about_id))
        found: QuerySet[Any] = with_zone(rows).annotate(named=Subquery(about.values("public_id")[:1]))
        return found

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term.strip():
            return queryset, False
        everything = self.about._default_manager.order_by()
        found = self.search_of_about.narrow(everything, search_term).values_list("pk", flat=True)
        return queryset.filter(**{f"{self.about_id}__in": list(found)}), False

    @admin.display(description="About")
    def subject(self, row: Any) -> str:
        return str(row.named)

    @admin.display(description="Source")
    def origin(self, row: Any) -> str:
        return words(row.source)

    @admin.display(description="Result")
    def result(self, row: Any) -> str:
        return verdict_words(row.verdict)

    @admin.display(description="Reason")
    def why(self, row: Any) -> str:
        return why_of_evidence(row) or NOTHING

    @admin.display(description="Recorded")
    def recorded(self, row: Any) -> str:
        return moment(row.recorded_at, row.zone)

    def page(self, request: HttpRequest, row: Any) -> Page:
        about = self.about(pk=getattr(row, self.about_id))
        facts = Facts(
            "Evidence",
            [
                ("About", link(about, row.named)),
                ("Source", words(row.source)),
                ("Result", verdict_words(row.verdict)),
                ("Reason", why_of_evidence(row) or NOTHING),
                ("Recorded", moment(row.recorded_at, row.zone)),
            ],
        )
        verbatim = Verbatim("Verbatim, without personal data", json.dumps(row.content, indent=2, ensure_ascii=False))
        title = f"{words(row.source).capitalize()}: {verdict_words(row.verdict)}"
        return Page(title, row.named, main=[facts, verbatim])


@admin.register(Evidence)
class EvidenceAdmin(_EvidenceAdmin):
    noun, nouns = "piece of evidence", "evidence"
    about, about_id = PaymentAttempt, "attempt_id"
    search_of_about = Search(AttemptAdmin.search.exact, AttemptAdmin.search.in_account)
    search_help_text = "Attempt: id, marker, transaction or order"


@admin.register(RefundEvidence)
class RefundEvidenceAdmin(_EvidenceAdmin):
    noun, nouns = "evidence about a refund", "evidence about refunds"
    about, about_id = Refund, "refund_id"
    search_of_about = RefundAdmin.search
    search_help_text = "Refund id"
