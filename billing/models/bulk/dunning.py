"""Which dunning policy an invoice has, or would have at its first decline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from billing.domain.dunning import DunningPolicy, FinalAction, gets_second
from billing.models.bulk.sql import objects, rows


@dataclass(frozen=True, slots=True)
class InForce:
    """The policy of an invoice. `id` is its row; None only where an account has no assignment, which none lacks."""

    id: int | None
    policy: DunningPolicy


@dataclass(frozen=True, slots=True)
class _Chosen:
    invoice_id: int
    kept_id: int | None
    lot_by: str
    policy_id: int | None
    second_policy_id: int | None
    second_percent: int | None

    @property
    def id(self) -> int | None:
        if self.kept_id is not None:
            return self.kept_id
        return self.second_policy_id if gets_second(self.lot_by, self.second_percent) else self.policy_id


def policies_of_invoices(invoice_ids: Sequence[int]) -> dict[int, InForce]:
    """The policy of each invoice: the one that its first decline met, or else the one assigned to its plan, to all
    subscriptions or to one-offs."""
    chosen = objects(
        _Chosen,
        """SELECT i.id AS invoice_id, i.dunning_policy_id AS kept_id, COALESCE(s.public_id, i.public_id) AS lot_by,
                  a.policy_id, a.second_policy_id, a.second_percent
           FROM billing_invoice i
           LEFT JOIN billing_subscription s ON s.id = i.subscription_id
           LEFT JOIN billing_plan p ON p.id = s.plan_id
           LEFT JOIN LATERAL (
               SELECT n.policy_id, n.second_policy_id, n.second_percent FROM billing_dunningassignment n
               WHERE n.account_id = i.account_id
                 AND CASE WHEN s.id IS NULL THEN n.scope = 'one_offs'
                          ELSE n.scope = 'subscriptions' OR n.scope = 'plan' AND n.plan_code = p.code END
               ORDER BY n.plan_code DESC LIMIT 1) a ON true
           WHERE i.id = ANY(%s)""",
        [list(invoice_ids)],
    )
    found = load_policies(sorted({one.id for one in chosen if one.id is not None}))
    builtin = InForce(None, DunningPolicy())
    return {one.invoice_id: found[one.id] if one.id is not None else builtin for one in chosen}


def load_policies(policy_ids: Sequence[int]) -> Mapping[int, InForce]:
    """The policies by id, in their account's time zone."""
    if not policy_ids:
        return {}
    return {
        row[0]: InForce(row[0], _policy(*row[1:]))
        for row in rows(
            """SELECT p.id, p.retry_days, p.final_action, p.retry_hour, p.prefer_days, p.avoid_days, p.avoid_weekdays,
                      p.quiet_tries, p.grace_days, g.time_zone
               FROM billing_dunningpolicy p JOIN billing_gatewayaccount g ON g.id = p.account_id
               WHERE p.id = ANY(%s)""",
            [list(policy_ids)],
        )
    }


def _policy(
    retry_days: list[int],
    final_action: str,
    retry_hour: int | None,
    prefer_days: list[int],
    avoid_days: list[int],
    avoid_weekdays: list[int],
    quiet_tries: list[int],
    grace_days: int,
    zone: str,
) -> DunningPolicy:
    return DunningPolicy(
        retry_days=tuple(retry_days),
        final_action=FinalAction(final_action),
        retry_hour=retry_hour,
        prefer_days=frozenset(prefer_days),
        avoid_days=frozenset(avoid_days),
        avoid_weekdays=frozenset(avoid_weekdays),
        quiet_tries=frozenset(quiet_tries),
        grace_days=grace_days,
        zone=zone,
    )


def policy_value(row: Any) -> DunningPolicy:
    """The policy that a row (with its account selected) says."""
    return _policy(
        row.retry_days,
        row.final_action,
        row.retry_hour,
        row.prefer_days,
        row.avoid_days,
        row.avoid_weekdays,
        row.quiet_tries,
        row.grace_days,
        row.account.time_zone,
    )
