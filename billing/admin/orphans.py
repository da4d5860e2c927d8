"""Answers of the gateway that no charge or refund in the database accounts for."""

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from billing.admin.toolkit.actions import Done, Given, PersonAction
from billing.admin.toolkit.base import RecordAdmin
from billing.admin.toolkit.filters import StateFilter, days
from billing.admin.toolkit.formats import (
    NOTHING,
    code,
    link,
    moment,
    money,
    verdict_words,
    why_words,
    with_zone,
    words,
)
from billing.admin.toolkit.pages import Facts, Page, Verbatim, Words
from billing.admin.toolkit.search import Search
from billing.charging.reading.orphans import close_orphan
from billing.domain.orphans import OrphanKind, OrphanMatch
from billing.models import OrphanAnswer, PaymentAttempt, Refund

WAITS = "unexplained"
MATCHES: dict[str, str] = {
    OrphanMatch.NO_MONEY: "no money moved",
    OrphanMatch.ROW: "settled",
    OrphanMatch.TRANSACTION: "found at the gateway",
    OrphanMatch.PERSON: "closed by a person",
}
EXPLAINED: dict[str, str] = {
    OrphanKind.CHARGE: "The gateway answered a request that is not in this database, for example after a backup was "
    "restored. The customer may have paid. Kitaran settles it when the charge is recovered or its "
    "card is read.",
    OrphanKind.REFUND: "The gateway answered a refund that is not in this database, for example after a backup was "
    "restored. The money may have been refunded. Check the Revenue Monster portal before you "
    "refund more, then close this answer. Kitaran settles it only if the same refund is in the "
    "database again.",
}


def _close(row: OrphanAnswer, given: Given) -> Done:
    close_orphan(orphan=row, decision=given.decision, now=given.now)
    return Done("Answer closed.")


@admin.register(OrphanAnswer)
class OrphanAnswerAdmin(RecordAdmin):
    noun, nouns = "answer without a charge", "answers without a charge"
    list_display = ("marker", "amount", "says", "outcome", "recorded")
    list_filter = (("matched_how", StateFilter), days("recorded", column="recorded_at"))
    search_fields = ("marker",)
    search_help_text = "Marker or transaction"
    search = Search(exact=("marker", "transaction_id"))
    person_actions = (
        PersonAction(
            name="close",
            label="Close",
            icon="task_alt",
            permission="billing.change_orphananswer",
            offered=lambda row: row.matched_at is None,
            explain=lambda row: (
                f"Find {money(row)} in the Revenue Monster portal first, then give the result as the reason. Nothing "
                "is charged or refunded. The alarm ends."
            ),
            carry_out=_close,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return with_zone(super().get_queryset(request).defer("content"))

    def page_queryset(self) -> QuerySet[Any]:
        return with_zone(super().page_queryset())

    @admin.display(description="Amount")
    def amount(self, row: OrphanAnswer) -> str:
        return money(row)

    @admin.display(description="Gateway's answer")
    def says(self, row: OrphanAnswer) -> str:
        return verdict_words(row.verdict)

    @admin.display(description="Outcome")
    def outcome(self, row: OrphanAnswer) -> str:
        return MATCHES[row.matched_how] if row.matched_how else WAITS

    @admin.display(description="Recorded")
    def recorded(self, row: Any) -> str:
        return moment(row.recorded_at, row.zone or "UTC")

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.zone or "UTC"
        asked = [
            ("Request", words(row.kind)),
            ("Amount", money(row)),
            ("Title", row.title or NOTHING),
            ("Description", row.description or NOTHING),
            ("Card at the gateway", code(row.gateway_customer_id) if row.gateway_customer_id else NOTHING),
            ("Marker", code(row.marker)),
        ]
        answered = [
            ("Gateway's answer", verdict_words(row.verdict)),
            ("Reason", why_words(row.reason) or NOTHING),
            ("Transaction", code(row.transaction_id) if row.transaction_id else NOTHING),
            ("Order", code(row.order_id) if row.order_id else NOTHING),
            ("Recorded", moment(row.recorded_at, zone)),
            ("Outcome", self.outcome(row)),
            *self._accounted(row, zone),
        ]
        verbatim = Verbatim("Verbatim, without personal data", json.dumps(row.content, indent=2, ensure_ascii=False))
        notice = [Words(EXPLAINED[row.kind], "danger")] if row.matched_at is None else []
        main: list[Any] = [*notice, Facts("Request as sent", asked), Facts("Response as received", answered), verbatim]
        return Page(f"Answer to {row.marker}", money(row), main=main)

    def _accounted(self, row: Any, zone: str) -> list[tuple[str, Any]]:
        if row.matched_at is None:
            return []
        facts: list[tuple[str, Any]] = [("Since", moment(row.matched_at, zone)), ("By", row.matched_by or NOTHING)]
        if row.matched_how == OrphanMatch.ROW:
            charge = row.kind == OrphanKind.CHARGE
            facts.append(("Belongs to", link((PaymentAttempt if charge else Refund)(pk=row.matched_id), row.marker)))
        if row.matched_note:
            facts.append(("Reason given", row.matched_note))
        return facts
