"""Dunning policies: what follows a decline, shown day by day before it counts for anybody."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.urls import URLPattern
from django.utils.html import format_html

from billing.accounts.dunning_policies import (
    LONGEST_NAME,
    SETTINGS,
    assign_policy,
    change_policy,
    create_policy,
    unassign_policy,
)
from billing.admin.recovered import recovery_urls
from billing.admin.toolkit import fields
from billing.admin.toolkit.actions import Creation, Done, Given, PersonAction
from billing.admin.toolkit.base import RecordAdmin
from billing.admin.toolkit.fields import ActionForm, ReasonForm
from billing.admin.toolkit.filters import AccountFilter
from billing.admin.toolkit.formats import NOTHING, code, link, moment, moment_text, page_of
from billing.admin.toolkit.pages import Cell, Facts, Page, Table, Words, timeline
from billing.domain.dunning import (
    MOST_GRACE_DAYS,
    MOST_MOVE,
    MOST_TRIES,
    FinalAction,
    Scope,
    preview,
)
from billing.domain.messages import MessageKind
from billing.domain.plurals import counted
from billing.models import DunningAssignment, DunningPolicy, GatewayAccount, Plan
from billing.models.bulk.dunning import policy_value
from billing.models.clock import database_now

WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
FINAL_WORDS: dict[str, str] = {
    FinalAction.CANCEL: "cancel the subscription",
    FinalAction.PAUSE: "pause the subscription",
    FinalAction.KEEP: "keep it past due and charge later periods on their dates",
}
SCOPE_WORDS: dict[str, str] = {
    Scope.SUBSCRIPTIONS: "all subscriptions",
    Scope.ONE_OFFS: "one-off charges",
    Scope.PLAN: "one plan",
}
ENDS: dict[str, str] = {
    FinalAction.CANCEL: "The invoice is uncollectible, and the subscription is cancelled.",
    FinalAction.PAUSE: "The invoice is uncollectible, and the subscription is paused.",
    FinalAction.KEEP: "The invoice is uncollectible. The subscription stays past due, and later periods are charged.",
}
MAIL_WORDS: dict[MessageKind | None, str] = {
    MessageKind.PAYMENT_FAILED: "payment failed",
    MessageKind.LAST_WARNING: "last warning",
    None: NOTHING,
}
WHEN_IT_COUNTS = (
    "A change counts from the next decline on: tries that are planned already stay on their days. An invoice keeps the "
    "policy of its first decline, whatever its plan is assigned later."
)


# --- words --------------------------------------------------------------------------------------------------


def day_list(days: Iterable[int]) -> str:
    """`25–31, 1–7` as `1–7, 25–31`."""
    runs: list[list[int]] = []
    for day in sorted(days):
        if runs and day == runs[-1][-1] + 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)


def retried_words(row: DunningPolicy) -> str:
    """When a declined charge is tried again: `after 3, 7 and 14 days, at 09:00`."""
    if not row.retry_days:
        return "never"
    *first, last = map(str, row.retry_days)
    days = f"{', '.join(first)} and {last}" if first else last
    hour = "" if row.retry_hour is None else f", at {row.retry_hour:02}:00"
    return f"after {days} {'day' if days == '1' else 'days'}{hour}"


def end_words(row: DunningPolicy) -> str:
    grace = f"{counted(row.grace_days, 'day')} later: " if row.grace_days else ""
    return f"{grace}{FINAL_WORDS[row.final_action]}"


def _used_for(row: DunningPolicy) -> str:
    named = [_scope(one) for one in row.assignments.all()]
    named += [f"{one.second_percent}% of {_scope(one)}" for one in row.second_assignments.all()]
    return ", ".join(named) or "nothing yet"


def _scope(one: DunningAssignment) -> str:
    return f"plan {one.plan_code}" if one.scope == Scope.PLAN else SCOPE_WORDS[one.scope]


def policies_of(account: GatewayAccount) -> list[tuple[str, Any]]:
    """For the account's page: which policy its subscriptions and one-offs have, and what each says."""
    assigned = account.dunning_assignments.select_related("policy", "second_policy").order_by("-scope", "plan_code")
    return [
        (
            _scope(one).capitalize(),
            format_html(
                '{}{}<span class="k-sub">tried again {}; then {}</span>',
                link(one.policy, one.policy.name),
                format_html(", {}% {}", one.second_percent, link(one.second_policy, one.second_policy.name))
                if one.second_policy
                else "",
                retried_words(one.policy),
                "uncollectible" if one.scope == Scope.ONE_OFFS else end_words(one.policy),
            ),
        )
        for one in assigned
    ]


# --- forms and acts -----------------------------------------------------------------------------------------


def _name() -> Any:
    return fields.text("Name", help_text="For your staff.", most=LONGEST_NAME)


def _retry_days() -> Any:
    return fields.DaysField(
        label="Retry days",
        required=False,
        help_text=f"Days after the first try, such as 3, 7, 14. At most {MOST_TRIES - 1}. Empty: no retries.",
    )


def _retry_hour() -> Any:
    hours = [("", "the time of the first try"), *((hour, f"{hour:02}:00") for hour in range(24))]
    return fields.choice("Time of day", hours, required=False, help_text="In the account's time zone.")


def _prefer_days() -> Any:
    return fields.DaysField(
        label="Days of the month to prefer",
        required=False,
        help_text=f"Such as 25-31, 1-7 for pay days. A retry moves forward to the next of them, by at most {MOST_MOVE} "
        "days; if none is near, it stays.",
    )


def _avoid_days() -> Any:
    return fields.DaysField(
        label="Days of the month to avoid",
        required=False,
        help_text=f"A retry moves forward past them, by at most {MOST_MOVE} days.",
    )


def _avoid_weekdays() -> Any:
    return fields.several("Weekdays to avoid", list(enumerate(WEEKDAYS)), required=False)


def _quiet_tries() -> Any:
    return fields.several(
        "Send no mail after",
        [(n, f"try {n}") for n in range(1, MOST_TRIES)],
        required=False,
        help_text="The warning before the last try and the news of the end are always sent.",
    )


def _grace_days() -> Any:
    return fields.number(
        "Days of grace after the last try",
        initial=0,
        help_text=f"The invoice stays open so long: the customer can still save a card or pay. At most "
        f"{MOST_GRACE_DAYS}.",
    )


def _final_action() -> Any:
    return fields.choice("Then", list(FINAL_WORDS.items()), help_text="Counts for subscriptions.")


class NewForm(ActionForm):
    account = fields.one_of("Account", GatewayAccount.objects.order_by("pk"))
    code = fields.text("Code", help_text="Your own short name, such as pay-days.", most=64)
    name, retry_days, retry_hour = _name(), _retry_days(), _retry_hour()
    prefer_days, avoid_days, avoid_weekdays = _prefer_days(), _avoid_days(), _avoid_weekdays()
    quiet_tries, grace_days, final_action = _quiet_tries(), _grace_days(), _final_action()

    def prepare(self, row: Any) -> None:
        self.initial.setdefault("retry_days", "3, 7, 14")


class ChangeForm(ReasonForm):
    name, retry_days, retry_hour = _name(), _retry_days(), _retry_hour()
    prefer_days, avoid_days, avoid_weekdays = _prefer_days(), _avoid_days(), _avoid_weekdays()
    quiet_tries, grace_days, final_action = _quiet_tries(), _grace_days(), _final_action()

    def prepare(self, row: Any) -> None:
        for name in SETTINGS:
            value = getattr(row, name)
            days = name in ("retry_days", "prefer_days", "avoid_days")
            self.initial[name] = day_list(value).replace("–", "-") if days else value
        self.order_fields([name for name in self.fields if name != "reason"])  # the reason comes last


class AssignForm(ReasonForm):
    to = fields.choice("Use it for")
    second_policy = fields.one_of(
        "Compare with",
        DunningPolicy.objects.none(),
        required=False,
        help_text="A share of the subscriptions, chosen by lot, gets this policy instead.",
    )
    second_percent = fields.number("Share of the other policy, in percent", required=False, least=1)
    field_order = ("to", "second_policy", "second_percent", "reason", "token")

    def prepare(self, row: Any) -> None:
        plans = Plan.objects.filter(account=row.account_id).order_by("code").values_list("code", flat=True).distinct()
        self.fields["to"].choices = [  # type: ignore[attr-defined]
            (Scope.SUBSCRIPTIONS.value, "all subscriptions without a policy of their plan"),
            (Scope.ONE_OFFS.value, "one-off charges"),
            *((f"plan {one}", f"plan {one}") for one in plans),
        ]
        others = DunningPolicy.objects.filter(account=row.account_id).exclude(pk=row.pk)
        self.fields["second_policy"].queryset = others.order_by("name")  # type: ignore[attr-defined]


class UnassignForm(ReasonForm):
    plan_code = fields.choice("Plan")
    field_order = ("plan_code", "reason", "token")

    def prepare(self, row: Any) -> None:
        self.fields["plan_code"].choices = [(one, one) for one in _plans_of(row)]  # type: ignore[attr-defined]


def _plans_of(row: DunningPolicy) -> list[str]:
    return [one.plan_code for one in row.assignments.all() if one.scope == Scope.PLAN]


def _values(data: Any) -> dict[str, Any]:
    values = {name: data[name] for name in SETTINGS}
    values["retry_hour"] = int(data["retry_hour"]) if data["retry_hour"] else None
    for name in ("avoid_weekdays", "quiet_tries"):
        values[name] = [int(one) for one in data[name]]
    return values


def _create(given: Given) -> Done:
    row = create_policy(
        account=given.data["account"],
        code=given.data["code"],
        values=_values(given.data),
        actor=given.actor,
        now=given.now,
    )
    return Done(f"Policy {row.name} created. It is used once you assign it.", page_of(row))


def _change(row: DunningPolicy, given: Given) -> Done:
    changed = change_policy(
        policy=row, changes=_values(given.data), reason=given.reason, actor=given.actor, now=given.now
    )
    return Done("Policy changed. It counts from the next decline on." if changed else "No changes to save.")


def _assign(row: DunningPolicy, given: Given) -> Done:
    scope, _, plan_code = given.data["to"].partition(" ")
    assign_policy(
        policy=row,
        scope=Scope(scope),
        plan_code=plan_code,
        second=given.data["second_policy"],
        second_percent=given.data["second_percent"],
        reason=given.reason,
        actor=given.actor,
        now=given.now,
    )
    return Done(f"Assigned to {given.data['to'] if plan_code else SCOPE_WORDS[scope]}.")


def _unassign(row: DunningPolicy, given: Given) -> Done:
    plan_code = given.data["plan_code"]
    unassign_policy(policy=row, plan_code=plan_code, reason=given.reason, actor=given.actor, now=given.now)
    return Done(f"Plan {plan_code} has the policy of all subscriptions again.")


@admin.register(DunningPolicy)
class DunningPolicyAdmin(RecordAdmin):
    noun, nouns = "dunning policy", "dunning policies"
    list_display = ("name", "code", "retried", "then", "used_for", "account")
    list_select_related = ("account",)
    list_filter = (("account", AccountFilter),)
    search_fields = ("code", "name")
    search_help_text = "Name or code"
    creation = Creation(
        label="Add a dunning policy",
        explain="It says when a declined charge is tried again, and what follows the last try. It is used for nothing "
        "until you assign it.",
        form=NewForm,
        carry_out=_create,
        button="Add policy",
    )
    person_actions = (
        PersonAction(
            name="change-policy",
            label="Change",
            icon="edit",
            permission="billing.change_dunningpolicy",
            explain=lambda row: WHEN_IT_COUNTS,
            form=ChangeForm,
            carry_out=_change,
        ),
        PersonAction(
            name="assign",
            label="Assign",
            icon="assignment_turned_in",
            permission="billing.change_dunningpolicy",
            explain=lambda row: (
                "Invoices that are declined for the first time from now on get this policy. Invoices that were "
                "declined before keep theirs."
            ),
            form=AssignForm,
            carry_out=_assign,
        ),
        PersonAction(
            name="unassign",
            label="Take from a plan",
            icon="assignment_return",
            permission="billing.change_dunningpolicy",
            offered=lambda row: bool(_plans_of(row)),
            explain=lambda row: "The plan's subscriptions then get the policy of all subscriptions.",
            form=UnassignForm,
            carry_out=_unassign,
        ),
    )

    def get_urls(self) -> list[URLPattern]:
        return [*recovery_urls(self), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("assignments", "second_assignments")

    def page_queryset(self) -> Any:
        return super().page_queryset().prefetch_related("assignments", "second_assignments")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        term = search_term.strip()  # there are few policies, so they may be read through
        return queryset.filter(Q(code__icontains=term) | Q(name__icontains=term) | Q(public_id=term)), False

    @admin.display(description="Tried again")
    def retried(self, row: DunningPolicy) -> str:
        return retried_words(row)

    @admin.display(description="Then")
    def then(self, row: DunningPolicy) -> str:
        return end_words(row)

    @admin.display(description="Used for")
    def used_for(self, row: DunningPolicy) -> str:
        return _used_for(row)

    def page(self, request: HttpRequest, row: Any) -> Page:
        zone = row.account.time_zone
        facts = [
            ("Used for", _used_for(row)),
            ("Tried again", retried_words(row)),
            ("Prefers days", day_list(row.prefer_days) or NOTHING),
            ("Avoids days", day_list(row.avoid_days) or NOTHING),
            ("Avoids weekdays", ", ".join(WEEKDAYS[day] for day in row.avoid_weekdays) or NOTHING),
            ("No mail after", ", ".join(f"try {one}" for one in row.quiet_tries) or NOTHING),
            ("After the last try", end_words(row)),
            ("Code", code(row.code)),
            ("Account", link(row.account, row.account.name)),
            ("Created", moment(row.created_at, zone)),
            ("Id", code(row.public_id)),
        ]
        return Page(
            row.name,
            f"dunning policy of {row.account.name}",
            main=[
                Words(WHEN_IT_COUNTS, "info"),
                preview_table(row, database_now()),
                timeline([("dunning_policy", [row.pk])], zone),
            ],
            side=[Facts("Policy", facts)],
        )


def preview_table(row: DunningPolicy, declined_at: datetime) -> Table:
    """What follows a first decline at that time, as `domain.dunning.preview` says and settlement does it."""
    zone = row.account.time_zone
    seen = preview(policy_value(row), declined_at)
    lines = [
        [
            Cell(f"Try {one.number} is declined"),
            Cell(_day(one.at, zone)),
            Cell(MAIL_WORDS[one.message]),
        ]
        for one in seen.tries
    ]
    mail = {FinalAction.CANCEL: "subscription ended", FinalAction.PAUSE: "subscription paused"}
    lines.append([Cell(ENDS[seen.action]), Cell(_day(seen.ends_at, zone)), Cell(mail.get(seen.action, NOTHING))])
    title = "If a subscription's charge is declined now, and nothing is paid"
    return Table(title, ["What happens", "When", "Mail to the customer"], lines, "")


def _day(at: datetime, zone: str) -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%a} {moment_text(at, zone)}"
