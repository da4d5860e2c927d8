"""The SQL of messages: written with their cause, taken by one worker, and what came of sending them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from billing.domain.messages import AT_MOST_ONCE, LEGAL, MessageKind, MessageState
from billing.ids import new_id
from billing.models.bulk.sql import objects, rows, run

# Longer than the mail server and the pages of a message may take together.
LEASE = timedelta(minutes=5)
NO_ADDRESS = "no e-mail address"
SILENCED = "the customer is silenced"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """One mail to the customer of `subject_type` and `subject_id`; or to the staff, for the kind *staff*."""

    account_id: int | None
    kind: MessageKind
    occasion: str
    subject_type: str
    subject_id: int
    details: str  # JSON
    not_before: datetime


def write(messages: Sequence[NewMessage], *, now: datetime) -> int:
    """Writes each message that is not written yet, to customers of accounts that send this kind; how many.

    One statement for all. Where nothing is to be sent (no address, silenced), the row says so from the start."""
    customers = [one for one in messages if one.kind is not MessageKind.STAFF]
    written = _to_staff([one for one in messages if one.kind is MessageKind.STAFF], now)
    if not customers:
        return written
    return written + run(
        """INSERT INTO billing_message (public_id, account_id, customer_id, kind, occasion, subject_type, subject_id,
             details, language, state, state_reason, created_at, next_try_at)
           SELECT n.public_id, n.account, c.id, n.kind, n.occasion, n.subject, n.subject_id, n.details,
             COALESCE(c.language, m.language), x.state,
             CASE x.state WHEN 'canceled' THEN %(no_address)s WHEN 'silenced' THEN %(silenced)s ELSE '' END,
             %(now)s, CASE x.state WHEN 'pending' THEN n.not_before END
           FROM unnest(%(ids)s::text[], %(accounts)s::bigint[], %(kinds)s::text[], %(occasions)s::text[],
                       %(subjects)s::text[], %(subject_ids)s::bigint[], %(details)s::jsonb[], %(starts)s::timestamptz[])
             AS n(public_id, account, kind, occasion, subject, subject_id, details, not_before)
           JOIN billing_mailsettings m ON m.account_id = n.account AND m.enabled AND n.kind <> ALL(m.kinds_off)
           LEFT JOIN billing_refund r ON n.subject = 'refund' AND r.id = n.subject_id
           LEFT JOIN billing_invoice i
             ON i.id = CASE n.subject WHEN 'invoice' THEN n.subject_id WHEN 'refund' THEN r.invoice_id END
           LEFT JOIN billing_subscription s ON n.subject = 'subscription' AND s.id = n.subject_id
           LEFT JOIN billing_paymentmethod p ON n.subject = 'card' AND p.id = n.subject_id
           JOIN billing_customer c ON c.id = COALESCE(i.customer_id, s.customer_id, p.customer_id)
           CROSS JOIN LATERAL (SELECT CASE WHEN c.email = '' THEN 'canceled'
                                           WHEN c.silenced AND n.kind <> ALL(%(legal)s::text[]) THEN 'silenced'
                                           ELSE 'pending' END AS state) x
           ON CONFLICT ON CONSTRAINT a_message_is_written_once DO NOTHING""",
        _columns(customers, now) | {"legal": sorted(LEGAL), "no_address": NO_ADDRESS, "silenced": SILENCED},
    )


def _to_staff(messages: Sequence[NewMessage], now: datetime) -> int:
    if not messages:
        return 0
    return run(
        """INSERT INTO billing_message (public_id, account_id, kind, occasion, subject_type, subject_id, details,
             language, state, created_at, next_try_at)
           SELECT n.*, 'en', 'pending', %(now)s, start
           FROM unnest(%(ids)s::text[], %(accounts)s::bigint[], %(kinds)s::text[], %(occasions)s::text[],
                       %(subjects)s::text[], %(subject_ids)s::bigint[], %(details)s::jsonb[]) AS n
           CROSS JOIN (SELECT %(now)s::timestamptz AS start) t
           ON CONFLICT ON CONSTRAINT a_message_is_written_once DO NOTHING""",
        {name: value for name, value in _columns(messages, now).items() if name != "starts"},
    )


def _columns(messages: Sequence[NewMessage], now: datetime) -> dict[str, Any]:
    return {
        "now": now,
        "ids": [new_id("msg", now) for _ in messages],
        "accounts": [one.account_id for one in messages],
        "kinds": [one.kind.value for one in messages],
        "occasions": [one.occasion for one in messages],
        "subjects": [one.subject_type for one in messages],
        "subject_ids": [one.subject_id for one in messages],
        "details": [one.details for one in messages],
        "starts": [one.not_before for one in messages],
    }


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that this worker may send until its lease ends. `tries` counts this one."""

    id: int
    tries: int
    leased_until: datetime


def give_up_interrupted(*, now: datetime) -> int:
    """Receipts whose worker died while it was sending are *unknown*: a second copy would look like a second payment."""
    return run(
        """UPDATE billing_message SET state = 'unknown', state_reason = 'its worker stopped while it was sending',
                  next_try_at = NULL
           WHERE id = ANY(ARRAY(SELECT id FROM billing_message
                          WHERE next_try_at <= %s AND state = 'sending' AND kind = ANY(%s) FOR UPDATE SKIP LOCKED))""",
        [now, sorted(AT_MOST_ONCE)],
    )


def accounts_with_mail(*, now: datetime) -> list[int]:
    """Those with something due; the one that waits longest first."""
    return [
        account
        for (account,) in rows(
            """SELECT account_id FROM billing_message WHERE next_try_at <= %s AND kind <> 'staff'
               GROUP BY account_id ORDER BY min(next_try_at), account_id""",
            [now],
        )
    ]


def claim(account_id: int, *, now: datetime, limit: int) -> list[Claimed]:
    """Takes the account's messages that are due. One whose worker died is due again when its lease has ended."""
    return objects(
        Claimed,
        """UPDATE billing_message SET state = 'sending', next_try_at = %(until)s, tries = tries + 1
           WHERE id = ANY(ARRAY(SELECT id FROM billing_message
                          WHERE account_id = %(account)s AND next_try_at <= %(now)s AND kind <> 'staff'
                            AND (state = 'pending' OR kind <> ALL(%(once)s))
                          ORDER BY next_try_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
           RETURNING id, tries, next_try_at AS leased_until""",
        {"account": account_id, "now": now, "until": now + LEASE, "limit": limit, "once": sorted(AT_MOST_ONCE)},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a message. `again_at` only for *pending*; `tried` is False when it was not its turn."""

    state: MessageState
    tried: bool = True
    reason: str = ""
    again_at: datetime | None = None
    sent_at: datetime | None = None
    provider_id: str = ""
    to_address: str = ""
    subject: str = ""
    text: str = ""


def finish(claimed: Claimed, outcome: Outcome) -> bool:
    """Records the outcome, unless the lease was lost meanwhile."""
    return bool(
        run(
            """UPDATE billing_message SET state = %s, state_reason = %s, next_try_at = %s, sent_at = %s,
                      provider_id = %s, to_address = %s, subject = %s, text = %s, tries = tries - %s
               WHERE id = %s AND state = 'sending' AND next_try_at = %s""",
            [
                outcome.state.value,
                outcome.reason,
                outcome.again_at,
                outcome.sent_at,
                outcome.provider_id,
                outcome.to_address,
                outcome.subject,
                outcome.text,
                0 if outcome.tried else 1,
                claimed.id,
                claimed.leased_until,
            ],
        )
    )


def note_bounce(provider_id: str, *, reason: str) -> int:
    """A mail that was accepted came back. How many messages that is: one or none."""
    return run(
        """UPDATE billing_message SET state = 'bounced', state_reason = %s
           WHERE provider_id = %s AND provider_id <> '' AND state IN ('sent', 'unknown')""",
        [reason[:200], provider_id],
    )


@dataclass(frozen=True, slots=True)
class Announced:
    """A charge to come, with what decides whether its customer is reminded of it."""

    subscription_id: int
    account_id: int
    due_at: datetime
    time_zone: str
    activated_at: datetime
    amount_minor: int
    last_amount_minor: int | None
    first_after_trial: bool
    interval: str
    every: int
    every_charge: bool


def to_announce(*, now: datetime, until: datetime, after: int, limit: int) -> list[Announced]:
    """Charges due from `now` to `until` that have no notice yet, of accounts that send them; by id from `after` on.

    Only those that may need one are read: after a trial, at another price than the last time, rarely charged, or all
    where the account wants so."""
    return objects(
        Announced,
        """SELECT s.id AS subscription_id, s.account_id, s.next_due_at AS due_at, s.time_zone, s.activated_at,
                  s.amount_minor, last.amount_minor AS last_amount_minor,
                  (s.trial_ends_at IS NOT NULL AND s.periods_charged = 0) AS first_after_trial,
                  s.interval, s.every, m.notice_every_charge AS every_charge
           FROM billing_subscription s
           JOIN billing_mailsettings m ON m.account_id = s.account_id AND m.enabled AND 'notice' <> ALL(m.kinds_off)
           LEFT JOIN LATERAL (SELECT i.amount_minor FROM billing_invoice i WHERE i.subscription_id = s.id
                              ORDER BY i.period_index DESC LIMIT 1) last ON true
           WHERE s.next_due_at > %(now)s AND s.next_due_at <= %(until)s AND s.id > %(after)s
             AND (m.notice_every_charge OR s.trial_ends_at IS NOT NULL AND s.periods_charged = 0
                  OR last.amount_minor <> s.amount_minor
                  OR s.every * CASE s.interval WHEN 'DAILY' THEN 1 WHEN 'WEEKLY' THEN 7 ELSE 30 END >= 180)
             AND NOT EXISTS (
               SELECT 1 FROM billing_message w
               WHERE w.kind = 'notice' AND w.occasion = concat('subscription ', s.id, ' due ',
                                                               floor(extract(epoch FROM s.next_due_at))::bigint))
           ORDER BY s.id LIMIT %(limit)s""",
        {"now": now, "until": until, "after": after, "limit": limit},
    )


def notice_of(one: Announced, *, reason: str, not_before: datetime) -> NewMessage:
    """A charge is announced once for its due date; another date has another notice."""
    return NewMessage(
        account_id=one.account_id,
        kind=MessageKind.NOTICE,
        occasion=f"subscription {one.subscription_id} due {int(one.due_at.timestamp())}",
        subject_type="subscription",
        subject_id=one.subscription_id,
        details=json.dumps(
            {
                "reason": reason,
                "due_at": one.due_at.isoformat(),
                "amount_minor": one.amount_minor,
                "last_amount_minor": one.last_amount_minor,
            }
        ),
        not_before=not_before,
    )


@dataclass(frozen=True, slots=True)
class News:
    """Something that the staff should know. `details` is JSON text."""

    id: int
    account_id: int | None
    account_name: str
    subject_type: str
    subject_id: int
    details: str
    created_at: datetime


def claim_news(*, now: datetime, quiet_since: datetime, limit: int) -> list[News]:
    """Takes all that the staff were not sent yet, unless a mail went to them since `quiet_since`. A digest is one mail,
    so only one worker gathers it at a time."""
    ((mine,),) = rows("SELECT pg_try_advisory_xact_lock(hashtextextended('kitaran.digest', 0))", [])
    if not mine or rows("SELECT 1 FROM billing_message WHERE kind = 'staff' AND sent_at > %s LIMIT 1", [quiet_since]):
        return []
    return objects(
        News,
        """UPDATE billing_message w SET state = 'sending', next_try_at = %s, tries = tries + 1
           FROM (SELECT id FROM billing_message WHERE kind = 'staff' AND next_try_at <= %s
                 ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED) d
           WHERE w.id = d.id
           RETURNING w.id, w.account_id,
             COALESCE((SELECT a.name FROM billing_gatewayaccount a WHERE a.id = w.account_id), '') AS account_name,
             w.subject_type, w.subject_id, w.details::text AS details, w.created_at""",
        [now + LEASE, now, limit],
    )


def finish_news(ids: Sequence[int], outcome: Outcome) -> int:
    return run(
        """UPDATE billing_message SET state = %s, state_reason = %s, next_try_at = %s, sent_at = %s, subject = %s,
                  text = %s
           WHERE id = ANY(%s) AND state = 'sending'""",
        [
            outcome.state.value,
            outcome.reason,
            outcome.again_at,
            outcome.sent_at,
            outcome.subject,
            outcome.text,
            list(ids),
        ],
    )
