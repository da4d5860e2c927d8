"""open: claim due subscriptions, insert their invoices, advance them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from billing.models.bulk.sql import objects, rows, run
from billing.models.bulk.writing import by_name, insert, update
from billing.models.invoices import Invoice
from billing.models.subscriptions import Subscription


@dataclass(frozen=True, slots=True)
class DueSubscription:
    id: int
    account_id: int
    customer_id: int
    state: str
    plan_name: str
    amount_minor: int
    currency: str
    interval: str
    target: int | None
    every: int
    charge_time: time
    time_zone: str
    anchor_date: date
    occurrence: int
    next_due_at: datetime
    period_index: int
    periods_charged: int
    repetitions: int | None
    catch_up: str


_TO_OPEN = "account_id NOT IN (SELECT id FROM billing_gatewayaccount WHERE api_url = ANY(%s))"


def claim_due(now: datetime, limit: int, *, not_to_open: Sequence[str] = ()) -> list[DueSubscription]:
    """Locks up to `limit` subscriptions that are due at `now`, earliest first; skips what others hold, what could not
    be opened before, and accounts whose gateway's address is one of `not_to_open`."""
    return _due(
        f"next_due_at <= %s AND open_again_at IS NULL AND {_TO_OPEN}"
        " ORDER BY next_due_at, id LIMIT %s FOR UPDATE SKIP LOCKED",
        [now, list(not_to_open), limit],
    )


def claim_of(subscription_id: int, now: datetime) -> list[DueSubscription]:
    """The subscription, locked, if it is due at `now`."""
    return _due("next_due_at <= %s AND id = %s FOR UPDATE", [now, subscription_id])


def claim_alone(subscription_id: int, now: datetime) -> list[DueSubscription]:
    """The subscription, locked, if it is due at `now` and nobody else holds it."""
    return _due("next_due_at <= %s AND id = %s FOR UPDATE SKIP LOCKED", [now, subscription_id])


def due_ids(now: datetime, limit: int, *, not_to_open: Sequence[str] = ()) -> list[int]:
    """The subscriptions that `claim_due` would lock. Nothing of their rows is read, whatever is wrong with one."""
    return _ids(
        f"next_due_at <= %s AND open_again_at IS NULL AND {_TO_OPEN} ORDER BY next_due_at, id LIMIT %s",
        [now, list(not_to_open), limit],
    )


def again_ids(now: datetime, limit: int, *, not_to_open: Sequence[str] = ()) -> list[int]:
    """Due subscriptions that could not be opened before, and that are to be tried again."""
    return _ids(
        f"next_due_at <= %s AND open_again_at <= %s AND {_TO_OPEN} ORDER BY open_again_at, id LIMIT %s",
        [now, now, list(not_to_open), limit],
    )


def _ids(chosen: str, parameters: list[Any]) -> list[int]:
    found = rows(f"SELECT id FROM billing_subscription WHERE {chosen}", parameters)  # noqa: S608  (stands above)
    return [int(subscription) for (subscription,) in found]


def opened_before(subscription_id: int, due_at: Sequence[datetime]) -> set[datetime]:
    """Those of the due dates for which the subscription has an invoice already."""
    return {
        found
        for (found,) in rows(
            "SELECT due_at FROM billing_invoice WHERE subscription_id = %s AND due_at = ANY(%s)",
            [subscription_id, list(due_at)],
        )
    }


def last_due_at(subscription_id: int) -> datetime | None:
    """The latest due date for which the subscription has an invoice."""
    ((latest,),) = rows("SELECT max(due_at) FROM billing_invoice WHERE subscription_id = %s", [subscription_id])
    return latest  # type: ignore[no-any-return]


def note_failed(subscription_id: int, error: str, *, now: datetime, least: timedelta, most: timedelta) -> bool:
    """Notes that the due periods could not be opened, and tries again after as long as it has failed for, but no
    sooner than `least` and no later than `most`. True the first time."""
    (first,) = rows(
        """UPDATE billing_subscription SET open_error = %(error)s, open_failed_at = COALESCE(open_failed_at, %(now)s),
                  open_again_at = %(now)s + LEAST(GREATEST(%(now)s - COALESCE(open_failed_at, %(now)s), %(least)s),
                                                  %(most)s)
           WHERE id = %(id)s RETURNING open_failed_at = %(now)s""",
        {"id": subscription_id, "error": error, "now": now, "least": least, "most": most},
    )
    return bool(first[0])


def forget_failure(subscription_id: int) -> None:
    """Its periods were opened."""
    run(
        """UPDATE billing_subscription SET open_error = '', open_failed_at = NULL, open_again_at = NULL
           WHERE id = %s AND open_failed_at IS NOT NULL""",
        [subscription_id],
    )


def _due(chosen: str, parameters: list[Any]) -> list[DueSubscription]:
    return objects(
        DueSubscription,
        f"""SELECT s.id, s.account_id, s.customer_id, s.state, p.name AS plan_name, s.amount_minor, s.currency,
                  s.interval, s.target, s.every, s.charge_time, s.time_zone, s.anchor_date, s.occurrence, s.next_due_at,
                  s.period_index, s.periods_charged, s.repetitions, s.catch_up
           FROM (SELECT * FROM billing_subscription WHERE {chosen}) s
           JOIN billing_plan p ON p.id = s.plan_id
           ORDER BY s.next_due_at, s.id""",  # noqa: S608  (both conditions stand above)
        parameters,
    )


def waiting_invoices(subscription_ids: Sequence[int]) -> dict[int, int]:
    """How many open invoices that were never tried, and wait for no person, each of the subscriptions has."""
    return {
        int(subscription_id): int(count)
        for subscription_id, count in rows(
            """SELECT subscription_id, count(*) FROM billing_invoice
               WHERE subscription_id = ANY(%s) AND state = 'open' AND attempt_count = 0 AND tries = 0 AND hold IS NULL
               GROUP BY subscription_id""",
            [list(subscription_ids)],
        )
    }


@dataclass(frozen=True, slots=True)
class NewInvoice:
    """`lines` is JSON text."""

    public_id: str
    account_id: int
    customer_id: int
    subscription_id: int
    period_index: int
    state: str
    state_reason: str
    description: str
    lines: str
    amount_minor: int
    currency: str
    due_at: datetime
    next_attempt_at: datetime | None
    hold: str | None
    closed_at: datetime | None


def insert_invoices(invoices: Sequence[NewInvoice], *, now: datetime) -> list[int]:
    """Inserts and returns the new ids, in the order given."""
    inserted = insert(Invoice, {**by_name(invoices), "created_at": now}, returning=("public_id", "id"))
    by_public_id = dict(inserted)
    return [by_public_id[invoice.public_id] for invoice in invoices]


@dataclass(frozen=True, slots=True)
class Advance:
    """Where a subscription stands after its due periods were opened."""

    id: int
    state: str
    occurrence: int
    next_due_at: datetime | None
    period_index: int
    periods_charged: int


def advance_subscriptions(advances: Sequence[Advance]) -> None:
    update(Subscription, by_name(advances))


@dataclass(frozen=True, slots=True)
class Started:
    """How a subscription goes on whose first charge was paid. `next_due_at` is empty when it was the only one."""

    id: int
    activated_at: datetime
    occurrence: int
    next_due_at: datetime | None


def write_started(started: Sequence[Started]) -> None:
    """Beside the state and `next_due_at`, which whoever starts them writes."""
    for one in started:  # almost always none
        run(
            "UPDATE billing_subscription SET activated_at = %s, occurrence = %s WHERE id = %s",
            [one.activated_at, one.occurrence, one.id],
        )


def wait_for_another_card(first_invoices: Sequence[tuple[int, int]], *, now: datetime) -> None:
    """The first charge of these (subscription, invoice) was declined: they are not tried again by themselves, and the
    time for the payment begins anew."""
    for subscription, invoice in first_invoices:  # almost always none
        run(
            """UPDATE billing_invoice SET next_attempt_at = NULL, refusal = 'first_charge_declined', refused_at = %s
               WHERE id = %s""",
            [now, invoice],
        )
        run(
            """UPDATE billing_subscription s SET first_payment_ends_at =
                   GREATEST(s.first_payment_ends_at, %s + make_interval(hours => a.first_payment_hours))
               FROM billing_gatewayaccount a WHERE a.id = s.account_id AND s.id = %s""",
            [now, subscription],
        )
