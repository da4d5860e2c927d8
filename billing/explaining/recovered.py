"""Recovery figures: what was declined, won back and lost, and which of two policies does better."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.domain.dunning import MOST_DAYS, Scope
from billing.explaining.intervals import LEAST, Interval, Share, difference, is_clear
from billing.models import DunningAssignment, DunningPolicy, GatewayAccount
from billing.models.bulk.recovered import InvoiceTally, RetryTally, tally_cohorts, tally_invoices, tally_retries

DEFAULT_SPAN = timedelta(days=90)
LONGEST_SPAN = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two policies of one scope, by lot. Only customers whose collection is over count: those first declined before
    `mature_before`. `difference` is first minus second, from -1 to 1."""

    assignment: DunningAssignment
    first: Share
    second: Share
    mature_before: datetime

    @property
    def difference(self) -> Interval:
        return difference(self.first, self.second)

    @property
    def is_clear(self) -> bool:
        return is_clear(self.first, self.second)

    @property
    def verdict(self) -> str:
        """In words; never a winner where chance alone may have made the difference."""
        if not self.is_clear:
            return "too few to tell"
        better = self.assignment.policy if self.first.value > self.second.value else self.assignment.second_policy
        return f"{better.name if better else ''} recovers more"


@dataclass(frozen=True, slots=True)
class Figures:
    """Of invoices that were first declined in a span; money in minor units of MYR."""

    since: datetime
    until: datetime
    total: InvoiceTally
    by_reason: Sequence[InvoiceTally]
    by_policy: Sequence[InvoiceTally]
    by_try: Sequence[RetryTally]
    by_day: Sequence[RetryTally]
    policies: Mapping[int, DunningPolicy]
    comparisons: Sequence[Comparison]


def figures_of(account: GatewayAccount, *, since: datetime, until: datetime, now: datetime) -> Figures:
    """Reads them as they are now: an invoice that is paid later counts as recovered from then on."""
    invoices = tally_invoices(account.pk, since=since, until=until)
    retries = tally_retries(account.pk, since=since, until=until, zone=account.time_zone)
    return Figures(
        since=since,
        until=until,
        total=next(one for one in invoices if one.by == "all"),
        by_reason=[one for one in invoices if one.by == "code"],
        by_policy=[one for one in invoices if one.by == "policy"],
        by_try=[one for one in retries if one.by == "number"],
        by_day=[one for one in retries if one.by == "day"],
        policies={one.pk: one for one in DunningPolicy.objects.filter(account=account)},
        comparisons=[_compared(one, now) for one in _splits(account)],
    )


def _splits(account: GatewayAccount) -> Sequence[DunningAssignment]:
    found = DunningAssignment.objects.filter(account=account, second_policy__isnull=False)
    return list(found.select_related("policy", "second_policy").order_by("scope", "plan_code"))


def _compared(assignment: DunningAssignment, now: datetime) -> Comparison:
    second = assignment.second_policy
    grace = max(assignment.policy.grace_days, second.grace_days if second else 0)
    mature_before = now - timedelta(days=MOST_DAYS + grace + 1)
    found = {one.policy_id: Share(one.paid, one.whole) for one in tally_cohorts(assignment.pk, until=mature_before)}
    return Comparison(
        assignment,
        found.get(assignment.policy_id, Share(0, 0)),
        found.get(assignment.second_policy_id or 0, Share(0, 0)),
        mature_before,
    )


def scope_words(assignment: DunningAssignment) -> str:
    """`plan coffee-club`, `all subscriptions`, `one-off charges`."""
    words = {Scope.SUBSCRIPTIONS.value: "all subscriptions", Scope.ONE_OFFS.value: "one-off charges"}
    return words.get(assignment.scope) or f"plan {assignment.plan_code}"


__all__ = ["DEFAULT_SPAN", "LEAST", "LONGEST_SPAN", "Comparison", "Figures", "figures_of", "scope_words"]
