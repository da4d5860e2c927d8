"""L2, L3, L4 and L6: nothing stands still without somebody knowing, and everything has a next step or an end."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from billing.audit.queries import found
from billing.audit.violation import Violation
from billing.charging.reading.reconcile import LEASE, PATIENCE
from billing.domain.arming import Environment
from billing.domain.attempts import HOLDS_PLACE, UNRESOLVED
from billing.operating.tuning import Tuning

Parameters = Mapping[str, Any]
# The sweeper comes every few seconds; workers that are restarted take longer.
SWEPT_WITHIN = timedelta(minutes=2)
# Work that is due is taken up every few seconds, and a reader's lease has ended by then.
TAKEN_UP_WITHIN = LEASE + timedelta(minutes=8)


def violations(account_id: int | None, *, now: datetime, tuning: Tuning) -> Iterator[Violation]:
    """L2, L3, L4 and L6 of the account, or of all, at `now`."""
    parameters = {
        "account": account_id,
        "now": now,
        "sending_since": now - tuning.deadline - SWEPT_WITHIN,
        "asked_before": now - TAKEN_UP_WITHIN,
        "unknown_since": now - max(tuning.rungs[-1], PATIENCE) - TAKEN_UP_WITHIN,
        "holds": sorted(state.value for state in HOLDS_PLACE),
        "unresolved": sorted(state.value for state in UNRESOLVED),
        "live": Environment.LIVE.value,
        "allow_live": settings.KITARAN_ALLOW_LIVE,
    }
    yield from _leaves_sending(parameters)
    yield from _is_asked_about(parameters)
    yield from _is_alerted(parameters)
    yield from _goes_on(parameters)
    yield from _is_accounted_for(parameters)


def _is_accounted_for(parameters: Parameters) -> Iterator[Violation]:
    yield from found(
        "L3",
        "was answered {} on {:%Y-%m-%d %H:%M:%S} UTC, and no row in this database accounts for the answer.",
        """SELECT o.marker, o.verdict, o.recorded_at FROM billing_orphananswer o
            WHERE o.matched_at IS NULL AND OF_ACCOUNT(o.account_id) ORDER BY o.id""",
        parameters,
    )


def _leaves_sending(parameters: Parameters) -> Iterator[Violation]:
    yield from found(
        "L2",
        "is sending since {:%Y-%m-%d %H:%M:%S} UTC.",
        """SELECT a.public_id, a.armed_at FROM billing_paymentattempt a
            WHERE a.state = 'sending' AND a.armed_at < %(sending_since)s AND OF_ACCOUNT(a.account_id)
            ORDER BY a.id""",
        parameters,
    )


def _is_asked_about(parameters: Parameters) -> Iterator[Violation]:
    yield from found(
        "L3",
        "is {}, and {}.",
        """SELECT a.public_id, a.state,
                   CASE WHEN a.next_check_at IS NULL THEN 'no check is planned'
                        WHEN a.armed_at < late.since
                        THEN 'has been so since ' || to_char(a.armed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
                        ELSE 'its check is late' END
            FROM billing_paymentattempt a JOIN billing_gatewayaccount g ON g.id = a.account_id
            CROSS JOIN LATERAL (SELECT %(unknown_since)s - make_interval(
                                    hours => COALESCE(g.retry_after_absence_hours, 0)) AS since) late
            WHERE a.state IN ('unknown', 'in_process') AND OF_ACCOUNT(a.account_id)
              AND (a.next_check_at IS NULL OR a.next_check_at < %(asked_before)s OR a.armed_at < late.since)
            ORDER BY a.id""",
        parameters,
    )


def _is_alerted(parameters: Parameters) -> Iterator[Violation]:
    yield from found(
        "L4",
        "{}.",
        """SELECT a.public_id,
                  CASE WHEN came.times = 0 THEN 'raised an alert, and never needed a person'
                       WHEN alerts.times = 0 THEN 'needed a person, and raised no alert'
                       ELSE 'needed a person, and raised ' || alerts.times || ' alerts' END
            FROM billing_paymentattempt a
            LEFT JOIN (SELECT subject_id, count(*) AS times FROM billing_transition
                       WHERE subject_type = 'attempt' AND to_state = 'needs_review' AND from_state <> to_state
                       GROUP BY subject_id) t ON t.subject_id = a.id
            LEFT JOIN (SELECT subject_id, count(*) AS times FROM billing_event
                       WHERE subject_type = 'attempt' AND kind = 'attempt.needs_review'
                       GROUP BY subject_id) e ON e.subject_id = a.id
            CROSS JOIN LATERAL (SELECT GREATEST(COALESCE(t.times, 0), (a.state = 'needs_review')::int) AS times) came
            CROSS JOIN LATERAL (SELECT COALESCE(e.times, 0) AS times) alerts
            WHERE came.times <> alerts.times AND OF_ACCOUNT(a.account_id) ORDER BY a.id""",
        parameters,
    )


def _goes_on(parameters: Parameters) -> Iterator[Violation]:
    yield from found(
        "L6",
        "is open, and nothing will happen: no next try, no attempt under way, and nobody is asked to decide.",
        """SELECT i.public_id FROM billing_invoice i
            WHERE i.state = 'open' AND i.next_attempt_at IS NULL AND i.hold IS NULL AND OF_ACCOUNT(i.account_id)
              AND NOT (i.refusal IS NOT DISTINCT FROM 'first_charge_declined'  -- until the subscription expires
                       AND EXISTS (SELECT 1 FROM billing_subscription s
                                   WHERE s.id = i.subscription_id AND s.state = 'incomplete'))
              AND (i.grace_ends_at IS NULL OR i.grace_ends_at < %(asked_before)s
                   AND EXISTS (SELECT 1 FROM billing_gatewayaccount g
                               WHERE g.id = i.account_id AND g.stopped_at IS NULL AND g.quarantined_at IS NULL))
              AND NOT EXISTS (SELECT 1 FROM billing_paymentattempt a WHERE a.invoice_id = i.id
                                AND (a.state = ANY(%(holds)s) OR a.state = 'surplus'))
            ORDER BY i.id""",
        parameters,
    )
    yield from found(
        "L6",
        "is {}, and is still on the work list.",
        """SELECT i.public_id, i.state FROM billing_invoice i
            WHERE i.next_attempt_at IS NOT NULL AND (i.state <> 'open' OR i.hold IS NOT NULL)
              AND OF_ACCOUNT(i.account_id) ORDER BY i.id""",
        parameters,
    )
    yield from found(
        "L6",
        "waits for an attempt since {:%Y-%m-%d %H:%M:%S} UTC, and nothing says why there was none.",
        """SELECT i.public_id, since.at
            FROM billing_invoice i JOIN billing_gatewayaccount g ON g.id = i.account_id
            CROSS JOIN LATERAL (SELECT max(t.at) AS at FROM billing_transition t
                                WHERE t.to_state = 'running' AND t.from_state = 'stopped'
                                  AND (t.subject_type = 'installation' AND t.subject_id = 1
                                       OR t.subject_type = 'account' AND t.subject_id = g.id)
                                   OR t.to_state = 'lifted' AND t.subject_type = 'quarantine'
                                  AND t.subject_id = g.id) started
            CROSS JOIN LATERAL (SELECT GREATEST(i.next_attempt_at, i.created_at, started.at) AS at) since
            WHERE i.next_attempt_at < %(asked_before)s AND since.at < %(asked_before)s AND i.refusal IS NULL
              AND g.stopped_at IS NULL AND g.quarantined_at IS NULL
              AND NOT EXISTS (SELECT 1 FROM billing_installation WHERE stopped_at IS NOT NULL)
              AND (g.environment <> %(live)s OR %(allow_live)s) AND OF_ACCOUNT(i.account_id)
            ORDER BY i.id""",
        parameters,
    )
    yield from found(
        "L6",
        "was refused for {}, and nothing says when.",
        """SELECT i.public_id, i.refusal FROM billing_invoice i
            WHERE i.refusal IS NOT NULL AND i.refused_at IS NULL AND OF_ACCOUNT(i.account_id) ORDER BY i.id""",
        parameters,
    )
