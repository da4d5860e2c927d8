"""Codes of declines: what this account's charges say about each, and of which kind its staff say that it is."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from billing.admin.toolkit import fields
from billing.admin.toolkit.actions import Creation, Done, Given, PersonAction
from billing.admin.toolkit.base import RecordAdmin
from billing.admin.toolkit.fields import ReasonForm
from billing.admin.toolkit.filters import AccountFilter
from billing.admin.toolkit.formats import NOTHING, Label, code, link, list_of, moment, page_of, state_column
from billing.admin.toolkit.pages import Cell, Facts, Page, Table, Words
from billing.admin.toolkit.search import Search
from billing.charging.cases.decline_rulings import JudgedCode, learnt, rule
from billing.domain.card_limits import Standing, why_held
from billing.domain.declines import DeclineKind, decline_of
from billing.domain.reason_words import reason_words
from billing.models import DeclineRuling, GatewayAccount, PaymentMethod
from billing.models.clock import database_now

KINDS: dict[str, Label] = {
    DeclineKind.HARD: Label("hard", "danger"),
    DeclineKind.SOFT: Label("soft", "warning"),
    DeclineKind.UNKNOWN: Label("unknown"),
}
KIND_CHOICES = [
    (DeclineKind.SOFT.value, "soft: another day may help; at most 8 tries in 30 days"),
    (DeclineKind.UNKNOWN.value, "unknown: at most 4 tries in 30 days"),
    (DeclineKind.HARD.value, "hard: never try the card again; only another card helps"),
]
EXPLAIN = (
    "Revenue Monster publishes no list of its decline codes. If your charges, or your bank, show what a code means, "
    "say so here. Cards that were declined with it are frozen or freed at once, and later declines follow it."
)


def declines_table(row: GatewayAccount, now: datetime) -> Table:
    """What came of declines by code, for the account's page."""
    rows = [_row(one) for one in learnt(row.pk, now=now)]
    headers = ["Code", "Meaning", "Kind", "Declined", "Tried again", "Then paid"]
    more = list_of(DeclineRuling, f"account__id__exact={row.pk}")
    return Table("Declines of 180 days, by code", headers, rows, "No declines in 180 days.", more)


def _row(one: JudgedCode) -> list[Cell]:
    found = one.outcome
    share = f"{found.paid} ({100 * found.paid // found.tried_again} %)" if found.tried_again else NOTHING
    return [
        Cell(code(found.code)),
        Cell(one.meaning or NOTHING),
        Cell("decided by your staff" if one.is_ruled else "", KINDS[one.kind]),
        Cell(found.declined, number=True),
        Cell(found.tried_again, number=True),
        Cell(share, number=True),
    ]


def declines_notice(row: PaymentMethod, zone: str) -> list[Words]:
    """What a card's declines mean for the next charge."""
    if row.frozen_by is not None:
        why = reason_words(row.frozen_by)
        return [Words(f"Declined for good: {why}. It is not charged until the customer saves another card.", "danger")]
    if row.rests_until is None and row.capped_until is None:
        return []
    found = Standing(None, row.rests_until, row.capped_until, row.declined_at)
    held = why_held(found, asked_for=False, now=database_now())
    if held is None:
        return []
    return [Words(f"Declined lately. It is not charged automatically before {moment(held[1], zone)}.", "warning")]


class KindForm(ReasonForm):
    kind = fields.choice("Kind", KIND_CHOICES)
    field_order: Iterable[str] | None = ("kind", "reason")


class RulingForm(KindForm):
    account = fields.one_of("Account", GatewayAccount.objects.order_by("pk"))
    code = fields.text("Code", help_text="As the gateway passes it on, for example 9010.", most=40)
    field_order: Iterable[str] | None = ("account", "code", "kind", "reason")


def _rule(account: GatewayAccount, name: str, given: Given) -> Done:
    kind = DeclineKind(given.data["kind"])
    cards = rule(account=account, code=name, kind=kind, decision=given.decision, now=given.now)
    row = DeclineRuling.objects.get(account=account, code=name.strip().upper())
    return Done(f"Code {row.code} counts as {kind.value}. Cards checked: {cards}.", page_of(row))


@admin.register(DeclineRuling)
class DeclineRulingAdmin(RecordAdmin):
    noun, nouns = "decline code", "decline codes"
    list_display = ("code", "kind_label", "usually", "account", "decided_by", "decided")
    list_select_related = ("account",)
    list_filter = (("account", AccountFilter),)
    search_fields = ("code",)
    search_help_text = "Code"
    search = Search(exact=("code",))
    kind_label = state_column(KINDS, lambda row: row.kind, "Kind")
    creation = Creation(
        label="Decide about a decline code",
        explain=EXPLAIN,
        form=RulingForm,
        carry_out=lambda given: _rule(given.data["account"], given.data["code"], given),
        button="Save",
    )
    person_actions = (
        PersonAction(
            name="change",
            label="Change kind",
            icon="edit",
            permission="billing.add_declineruling",
            explain=lambda _: EXPLAIN,
            form=KindForm,
            carry_out=lambda row, given: _rule(row.account, row.code, given),
            button="Save",
        ),
    )

    @admin.display(description="Without a decision")
    def usually(self, row: DeclineRuling) -> str:
        return decline_of(row.code).kind.value

    @admin.display(description="Decided")
    def decided(self, row: DeclineRuling) -> str:
        return moment(row.decided_at, row.account.time_zone)

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.account.time_zone
        facts = [
            ("Code", code(row.code)),
            ("Meaning", decline_of(row.code).staff or "not published"),
            ("Without a decision", self.usually(row)),
            ("Reason", row.reason),
            ("Decided", f"{moment(row.decided_at, zone)} by {row.decided_by}"),
            ("Account", link(row.account, row.account.name)),
        ]
        main = [Facts("Decline code", facts), declines_table(row.account, database_now())]
        return Page(f"Decline code {row.code}", row.account.name, KINDS[row.kind], main=main)
