"""One decision about several cases of the list."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html

from billing.admin.case_parts import KIND_WORDS
from billing.admin.toolkit import fields
from billing.admin.toolkit.actions import Done, Given, carry_out_on_page
from billing.admin.toolkit.fields import ActionForm, ReasonForm
from billing.admin.toolkit.formats import (
    ATTEMPT_LABELS,
    Label,
    card_words,
    link,
    list_of,
    moment,
    money,
)
from billing.admin.toolkit.pages import Cell, Page, Table
from billing.charging.cases.resolve_many import MOST_AT_ONCE, OneOfMany, release_many, resolve_many
from billing.domain.attempts import AttemptState
from billing.domain.resolution import ProposalKind, Resolution
from billing.models import PaymentAttempt
from billing.operating.tuning import Tuning


class SeveralForm(ReasonForm):
    ids = forms.CharField(widget=forms.HiddenInput, max_length=3000)


class ResolveSeveralForm(SeveralForm):
    resolution = fields.choice(
        "What happened to all of these attempts",
        [
            ("", "Choose…"),
            *((one.value, KIND_WORDS[ProposalKind(one)]) for one in (Resolution.DECLINED, Resolution.NOT_CHARGED)),
        ],
        help_text="“Charged” needs a transaction id for each attempt, so decide those one at a time.",
    )
    field_order = ("resolution", "reason", "ids", "token")


SEVERAL: dict[str, tuple[str, type[ActionForm], str]] = {
    "resolve": (
        "Resolve several",
        ResolveSeveralForm,
        (
            "Each attempt is checked and decided on its own evidence. An attempt that the gateway contradicts is left "
            "unchanged."
        ),
    ),
    "release": (
        "Release several cards",
        SeveralForm,
        "The cards are charged for their other invoices again. The attempts still need review.",
    ),
}


def choose_several(model_admin: Any, request: HttpRequest, chosen: QuerySet[PaymentAttempt], what: str) -> HttpResponse:
    """From the list to the page where one decision about the chosen ones is taken."""
    ids = list(chosen.filter(state=AttemptState.NEEDS_REVIEW.value).order_by("pk").values_list("pk", flat=True)[:101])
    if not 0 < len(ids) <= MOST_AT_ONCE:
        text = f"Choose at most {MOST_AT_ONCE} attempts." if ids else "None of the chosen attempts needs review."
        messages.warning(request, text)
        return HttpResponseRedirect(request.get_full_path())
    address = reverse("admin:billing_paymentattempt_several", args=[what])
    return HttpResponseRedirect(f"{address}?ids={'-'.join(map(str, ids))}")


def several(model_admin: Any, request: HttpRequest, what: str) -> HttpResponse:
    """One decision about several cases: what is chosen, the question, and then what came of each."""
    title, form, explain = SEVERAL[what]
    rows = _named(request.POST.get("ids") or request.GET.get("ids") or "")
    if not rows:
        messages.warning(request, "Choose attempts that need review first.")
        return HttpResponseRedirect(list_of(PaymentAttempt, "state__exact=needs_review"))
    zone = rows[0].account.time_zone
    return carry_out_on_page(
        model_admin,
        request,
        form=form,
        carry_out=lambda given: Done("", page=_results(rows, _decide(what, rows, given), title)),
        account_id=rows[0].account_id,
        back=list_of(PaymentAttempt, "state__exact=needs_review"),
        context={"title": title, "explain": explain, "button": title, "danger": True, "below": [_chosen(rows, zone)]},
    )


def _named(ids: str) -> list[PaymentAttempt]:
    keys = [int(key) for key in ids.split("-")[:MOST_AT_ONCE] if key.isdecimal() and len(key) < 19]
    related = ("account", "invoice__customer", "payment_method")
    return list(
        PaymentAttempt.objects.filter(pk__in=keys).select_related(*related).defer("request_body").order_by("pk")
    )


def _decide(what: str, rows: list[PaymentAttempt], given: Given) -> list[OneOfMany]:
    if what == "release":
        return release_many(attempts=rows, decision=given.decision, now=given.now)
    return resolve_many(
        attempts=rows,
        resolution=Resolution(given.data["resolution"]),
        decision=given.decision,
        tuning=Tuning.from_settings(),
        now=given.now,
    )


def _line(row: PaymentAttempt, zone: str) -> list[Cell]:
    about = format_html(
        '{}<span class="k-sub">{}, {}</span>',
        link(row, row.invoice.customer.name),
        row.invoice.description,
        moment(row.armed_at, zone),
    )
    return [Cell(about), Cell(card_words(row.payment_method))]


def _chosen(rows: list[PaymentAttempt], zone: str) -> Table:
    lines = [
        [*_line(row, zone), Cell("", label=ATTEMPT_LABELS[row.state]), Cell(money(row), number=True)] for row in rows
    ]
    return Table(f"Chosen: {len(rows)}", ["Customer", "Card", "State", "Amount"], lines, "")


def _results(rows: list[PaymentAttempt], results: list[OneOfMany], title: str) -> Page:
    by_id = {row.pk: row for row in rows}
    lines = []
    for one in results:
        row = by_id[one.attempt.pk]
        if one.resolved is None:
            label, text = Label("refused", "danger"), str(one.refused)
        elif one.resolved.proposal:
            label, text = Label("proposed", "warning"), "sent for approval"
        else:
            label, text = Label("done", "success"), f"now: {ATTEMPT_LABELS[one.resolved.state].text}"
        lines.append([*_line(row, row.account.time_zone), Cell(text, label=label), Cell(money(row), number=True)])
    done = sum(one.resolved is not None and one.resolved.proposal is None for one in results)
    proposed = sum(one.resolved is not None and one.resolved.proposal is not None for one in results)
    refused = len(results) - done - proposed
    table = Table("Results", ["Customer", "Card", "Result", "Amount"], lines, "")
    return Page(title, f"{done} done, {proposed} sent for approval, {refused} refused", main=[table])
