"""What came of declined invoices: counted in PostgreSQL, from the rows that settlement wrote."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from billing.models.bulk.sql import objects


@dataclass(frozen=True, slots=True)
class InvoiceTally:
    """Invoices that were declined, of one group: all, a policy (`policy_id`) or a first decline's `code`.

    `tries_avoided` were due and not made, because of the card. `days` is the median time from the first try to the
    payment, of those that were paid."""

    by: str
    policy_id: int | None
    code: str | None
    declined: int
    recovered: int
    lost: int
    declined_minor: int
    recovered_minor: int
    lost_minor: int
    tries_avoided: int
    days: timedelta | None


@dataclass(frozen=True, slots=True)
class RetryTally:
    """Tries after the first one, of one group: their number (2 and up) or the day of the month on which they were."""

    by: str
    number: int | None
    day: int | None
    tried: int
    paid: int
    paid_minor: int


# Of an account, first declined from one instant to another. A void invoice is lost: it brought no money.
_DECLINED = """i.account_id = %(account)s AND i.first_tried_at >= %(since)s AND i.first_tried_at < %(until)s"""


def tally_invoices(account_id: int, *, since: datetime, until: datetime) -> list[InvoiceTally]:
    """All, by policy, and by the code of the first decline, of invoices first tried in the span."""
    return objects(
        InvoiceTally,
        f"""WITH d AS (
              SELECT i.dunning_policy_id AS policy_id, COALESCE(f.state_reason, i.decline_code) AS code,
                     i.amount_minor, i.tries_avoided, i.state, i.closed_at - i.first_tried_at AS took,
                     i.state = 'paid' AS paid, i.state IN ('uncollectible', 'void') AS gone
              FROM billing_invoice i
              LEFT JOIN LATERAL (
                SELECT a.state_reason FROM billing_paymentattempt a
                WHERE a.invoice_id = i.id AND a.state = 'declined' ORDER BY a.number LIMIT 1) f ON true
              WHERE {_DECLINED})
            SELECT CASE WHEN GROUPING(policy_id) = 0 THEN 'policy' WHEN GROUPING(code) = 0 THEN 'code'
                        ELSE 'all' END AS by,
                   policy_id, code, count(*) AS declined,
                   count(*) FILTER (WHERE paid) AS recovered, count(*) FILTER (WHERE gone) AS lost,
                   COALESCE(sum(amount_minor), 0)::bigint AS declined_minor,
                   COALESCE(sum(amount_minor) FILTER (WHERE paid), 0)::bigint AS recovered_minor,
                   COALESCE(sum(amount_minor) FILTER (WHERE gone), 0)::bigint AS lost_minor,
                   COALESCE(sum(tries_avoided), 0)::bigint AS tries_avoided,
                   percentile_cont(0.5) WITHIN GROUP (ORDER BY took) FILTER (WHERE paid) AS days
            FROM d GROUP BY GROUPING SETS ((policy_id), (code), ())
            ORDER BY 1, declined DESC, policy_id, code""",  # noqa: S608  (the text stands above)
        _span(account_id, since, until),
    )


def tally_retries(account_id: int, *, since: datetime, until: datetime, zone: str) -> list[RetryTally]:
    """The tries after the first one of the same invoices, by their number and by their day of the month in `zone`."""
    return objects(
        RetryTally,
        f"""WITH t AS (
              SELECT row_number() OVER (PARTITION BY a.invoice_id ORDER BY a.number)::int AS number,
                     extract(day FROM a.armed_at AT TIME ZONE %(zone)s)::int AS day,
                     a.state = 'succeeded' AS paid, a.amount_minor
              FROM billing_paymentattempt a
              WHERE a.state IN ('declined', 'succeeded')
                AND a.invoice_id IN (SELECT i.id FROM billing_invoice i WHERE {_DECLINED}))
            SELECT CASE WHEN GROUPING(number) = 0 THEN 'number' ELSE 'day' END AS by, number, day,
                   count(*) AS tried, count(*) FILTER (WHERE paid) AS paid,
                   COALESCE(sum(amount_minor) FILTER (WHERE paid), 0)::bigint AS paid_minor
            FROM t WHERE number > 1 GROUP BY GROUPING SETS ((number), (day)) ORDER BY 1, number, day""",  # noqa: S608
        {**_span(account_id, since, until), "zone": zone},
    )


@dataclass(frozen=True, slots=True)
class Cohort:
    """Customers of an experiment with one of its policies: how many, and of how many the invoice was paid."""

    policy_id: int
    whole: int
    paid: int


def tally_cohorts(assignment_id: int, *, until: datetime) -> list[Cohort]:
    """The two cohorts of an assignment by lot: of each subscription (for one-offs: invoice) the first invoice that was
    declined since the assignment and before `until`, so that no customer counts twice."""
    return objects(
        Cohort,
        """WITH n AS (SELECT * FROM billing_dunningassignment WHERE id = %(assignment)s),
                f AS (
              SELECT DISTINCT ON (COALESCE(i.subscription_id, -i.id)) i.dunning_policy_id AS policy_id, i.state
              FROM n JOIN billing_invoice i ON i.account_id = n.account_id
              LEFT JOIN billing_subscription s ON s.id = i.subscription_id
              LEFT JOIN billing_plan p ON p.id = s.plan_id
              WHERE i.first_tried_at >= n.assigned_at AND i.first_tried_at < %(until)s
                AND i.dunning_policy_id IN (n.policy_id, n.second_policy_id)
                AND CASE n.scope WHEN 'one_offs' THEN i.subscription_id IS NULL
                                 WHEN 'plan' THEN p.code = n.plan_code
                                 ELSE i.subscription_id IS NOT NULL END
              ORDER BY COALESCE(i.subscription_id, -i.id), i.first_tried_at)
           SELECT policy_id, count(*) AS whole, count(*) FILTER (WHERE state = 'paid') AS paid
           FROM f GROUP BY policy_id""",
        {"assignment": assignment_id, "until": until},
    )


def _span(account_id: int, since: datetime, until: datetime) -> dict[str, Any]:
    return {"account": account_id, "since": since, "until": until}
