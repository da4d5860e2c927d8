"""pace: one row per account, locked while a worker asks for permits and reports what came of the last ones."""

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import date, datetime, timedelta

from billing.domain.manifests import HISTORY_DAYS, History, Manifest
from billing.domain.pacing import Pace, PaceState, Share
from billing.models.bulk.sql import rows, run
from billing.models.pace import RunManifest

_NAMES = [field.name for field in fields(Pace)]
_COLUMNS = ", ".join(_NAMES)
_UPDATE = ", ".join(f"{name} = %s" for name in _NAMES)


def lock(account_id: int) -> Pace:
    """The account's pace, locked; a new row is a closed breaker with the canary's allowance."""
    # Lost in a crash of the server, the account begins small again: not worth waiting for the disk.
    query = f"""SELECT {_COLUMNS}, set_config('synchronous_commit', 'off', true)
                FROM billing_accountpace WHERE account_id = %s FOR UPDATE"""  # noqa: S608
    found = rows(query, [account_id])
    if not found:
        run(
            "INSERT INTO billing_accountpace (account_id, shares) VALUES (%s, '{}') ON CONFLICT DO NOTHING",
            [account_id],
        )
        found = rows(query, [account_id])
    values = dict(zip(_NAMES, found[0], strict=False))
    known = values["shares"]
    shares = json.loads(known) if isinstance(known, str) else known
    values["shares"] = {name: Share(count, datetime.fromisoformat(until)) for name, (count, until) in shares.items()}
    values["state"] = PaceState(values["state"])
    return Pace(**values)


def write(account_id: int, pace: Pace) -> None:
    values = {name: getattr(pace, name) for name in _NAMES}
    values["state"] = pace.state.value
    values["shares"] = json.dumps({name: [one.charges, one.until.isoformat()] for name, one in pace.shares.items()})
    run(f"UPDATE billing_accountpace SET {_UPDATE} WHERE account_id = %s", [*values.values(), account_id])  # noqa: S608


def count_day(account_id: int, day: date, paid: int, paid_minor: Mapping[str, int]) -> None:
    """Adds charges that took money to the account's day; `paid` counts with the first currency."""
    for number, (currency, minor) in enumerate(sorted(paid_minor.items())):
        run(
            """INSERT INTO billing_accountday AS d (account_id, day, currency, charges, sum_minor)
               VALUES (%s, %s, %s, %s, %s) ON CONFLICT ON CONSTRAINT one_count_per_day
               DO UPDATE SET charges = d.charges + excluded.charges, sum_minor = d.sum_minor + excluded.sum_minor""",
            [account_id, day, currency, 0 if number else paid, minor],
        )


def manifest(account_id: int, *, now: datetime) -> Manifest:
    """What is due at `now`."""
    found = rows(
        """SELECT currency, count(*), sum(amount_minor)::bigint, max(amount_minor) FROM billing_invoice
           WHERE account_id = %s AND next_attempt_at <= %s GROUP BY currency""",
        [account_id, now],
    )
    return Manifest(
        sum(count for _, count, _, _ in found),
        {currency: total for currency, _, total, _ in found},
        max((largest for _, _, _, largest in found), default=0),
    )


def history(account_id: int, *, today: date) -> History:
    """The account's own days before `today`, and what today came to so far."""
    found = rows(
        "SELECT day, currency, charges, sum_minor FROM billing_accountday WHERE account_id = %s AND day >= %s",
        [account_id, today - timedelta(days=HISTORY_DAYS)],
    )
    charges: dict[date, int] = {}
    highest: dict[str, int] = {}
    today_sums: dict[str, int] = {}
    for day, currency, count, total in found:
        if day >= today:
            today_sums[currency] = today_sums.get(currency, 0) + total
        else:
            highest[currency] = max(highest.get(currency, 0), total)
        charges[day] = charges.get(day, 0) + count
    before = [count for day, count in charges.items() if day < today]
    return History(len(before), max(before, default=0), highest, charges.get(today, 0), today_sums)


def write_manifest(account_id: int, due: Manifest, known: History, *, held_reason: str, now: datetime) -> None:
    RunManifest.objects.create(
        account_id=account_id,
        began_at=now,
        charges=due.charges,
        sums_minor=dict(due.sums_minor),
        largest_minor=due.largest_minor,
        history_days=known.days,
        most_charges=known.most_charges,
        held_reason=held_reason,
    )


def card_to_read(account_id: int, *, now: datetime) -> str | None:
    """The gateway's id of the card of the account's next due invoice that has one: reading it costs nothing."""
    found = rows(
        """SELECT c.gateway_customer_id
           FROM billing_invoice i
           LEFT JOIN billing_subscription s ON s.id = i.subscription_id
           LEFT JOIN billing_paymentmethod d ON d.customer_id = i.customer_id AND d.is_default
           JOIN billing_paymentmethod c ON c.id = COALESCE(i.payment_method_id, s.payment_method_id, d.id)
           WHERE i.account_id = %s AND i.next_attempt_at <= %s AND c.state = 'active'
             AND c.gateway_customer_id IS NOT NULL
           ORDER BY i.next_attempt_at, i.id LIMIT 1""",
        [account_id, now],
    )
    return found[0][0] if found else None
