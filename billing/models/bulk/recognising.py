"""Which database this is, and what it knows of what was witnessed: read in one statement, inside arm's transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.domain.doubts import Identity
from billing.models.bulk.sql import rows, run

# How PostgreSQL is asked for each part of the identity, and what a role must be allowed to call for it.
PARTS = (
    ("system_identifier", "(SELECT system_identifier::text FROM pg_control_system())", ("pg_control_system()",)),
    (
        "timeline",
        "left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)",
        ("pg_walfile_name(pg_lsn)", "pg_current_wal_insert_lsn()"),
    ),
)


def askable() -> tuple[str, ...]:
    """The parts of the identity that this role may ask for."""
    return tuple(
        name
        for name, _, functions in PARTS
        if all(rows("SELECT has_function_privilege(%s, 'EXECUTE')", [function]) == [(True,)] for function in functions)
    )


@dataclass(frozen=True, slots=True)
class Row:
    """What the one statement returns. `forgotten` are markers and nonces that the database does not have."""

    epoch: str
    past_epochs: frozenset[str]
    stored: Identity
    actual: Identity
    forgotten: tuple[str, ...]
    host_admitted: bool | None


def read(parts: Sequence[str], *, host_id: str, witnessed: Sequence[tuple[str, str, str]], lock: bool) -> Row:
    """Reads all of it; `witnessed` are (epoch, marker, nonce), of which those of a past epoch do not count. With
    `lock`, nobody changes the installation's row before the commit."""
    asked = ", ".join(sql if name in parts else "''" for name, sql, _ in PARTS)
    epochs, markers, nonces = ([one[column] for one in witnessed] for column in range(3))
    locking = "FOR SHARE OF i" if lock else ""
    ((epoch, past, system, timeline, oid, name, *actual, lost_markers, lost_nonces, admitted),) = rows(
        f"""SELECT i.epoch, i.past_epochs, i.system_identifier, i.timeline, i.database_oid, i.database_name, {asked},
                  (SELECT oid::text FROM pg_database WHERE datname = current_database()), current_database()::text,
                  ARRAY(SELECT w.marker FROM unnest(%(epochs)s::text[], %(markers)s::text[]) AS w (epoch, marker)
                        WHERE w.marker <> '' AND w.epoch <> ALL(i.past_epochs)
                          AND NOT EXISTS (SELECT 1 FROM billing_paymentattempt a WHERE a.marker = w.marker)),
                  ARRAY(SELECT w.nonce FROM unnest(%(epochs)s::text[], %(nonces)s::text[]) AS w (epoch, nonce)
                        WHERE w.nonce <> '' AND w.epoch <> ALL(i.past_epochs)
                          AND NOT EXISTS (SELECT 1 FROM billing_refund r WHERE r.request_nonce = w.nonce)),
                  (SELECT h.admitted_at IS NOT NULL FROM billing_host h WHERE h.host_id = %(host)s)
           FROM billing_installation i WHERE i.id = 1 {locking}""",  # noqa: S608
        {"epochs": epochs, "markers": markers, "nonces": nonces, "host": host_id},
    )
    return Row(
        epoch,
        frozenset(past),
        Identity(system, timeline, oid, name),
        Identity(*actual),
        (*lost_markers, *lost_nonces),
        admitted,
    )


def forgotten(markers: Sequence[str], nonces: Sequence[str]) -> list[str]:
    """Those of the witnessed markers and nonces that the database does not have."""
    return [
        name
        for (name,) in rows(
            """SELECT m FROM unnest(%(markers)s::text[]) AS m
               WHERE NOT EXISTS (SELECT 1 FROM billing_paymentattempt a WHERE a.marker = m)
               UNION ALL
               SELECT n FROM unnest(%(nonces)s::text[]) AS n
               WHERE NOT EXISTS (SELECT 1 FROM billing_refund r WHERE r.request_nonce = n)""",
            {"markers": list(markers), "nonces": list(nonces)},
        )
    ]


def begin_epoch(epoch: str, identity: Identity, *, past: Sequence[str] = ()) -> None:
    """A new life of the database begins; the last epoch, if there was one, is past, and so are those of `past`, which
    the witness named."""
    run(
        """UPDATE billing_installation
           SET past_epochs = ARRAY(SELECT DISTINCT e FROM unnest(past_epochs || %s::text[] || epoch) AS e
                                   WHERE e <> '' ORDER BY e),
               epoch = %s, system_identifier = %s, timeline = %s, database_oid = %s, database_name = %s
           WHERE id = 1""",
        [
            list(past),
            epoch,
            identity.system_identifier,
            identity.timeline,
            identity.database_oid,
            identity.database_name,
        ],
    )


def lock_installation() -> str:
    """The epoch, with the row locked against everybody who arms or begins a quarantine."""
    ((epoch,),) = rows("SELECT epoch FROM billing_installation WHERE id = 1 FOR UPDATE", [])
    return str(epoch)


def quarantine_accounts(
    account_ids: Sequence[int] | None,
    *,
    reason: str,
    detail: str,
    point_at: datetime | None,
    doubted: Sequence[str] = (),
    now: datetime,
) -> list[int]:
    """Puts the accounts (None: all) into quarantine from `now` on. One that is in it already begins it anew, and
    keeps the earlier point. `doubted` are gateways' addresses for whose accounts `now` may be wrong."""
    return [
        account
        for (account,) in rows(
            """UPDATE billing_gatewayaccount
               SET quarantine_point_at = CASE WHEN quarantined_at IS NULL THEN %(point)s
                                              ELSE LEAST(quarantine_point_at, %(point)s) END,
                   quarantined_at = %(now)s, quarantine_reason = %(reason)s, quarantine_detail = %(detail)s,
                   quarantine_reports = '{}', quarantine_clock_doubted = api_url = ANY(%(doubted)s)
               WHERE %(all)s OR id = ANY(%(ids)s::bigint[]) RETURNING id""",
            {
                "point": point_at,
                "now": now,
                "reason": reason,
                "detail": detail,
                "doubted": list(doubted),
                "all": account_ids is None,
                "ids": list(account_ids or ()),
            },
        )
    ]


def begin_quarantine_anew(account_id: int, *, now: datetime) -> bool:
    """A quarantine whose clock was doubted begins at `now`, by a clock that is right; whether it did. A read that says
    it began later was made by the wrong one."""
    restarted = run(
        """UPDATE billing_gatewayaccount
           SET quarantined_at = %(now)s, quarantine_reports = '{}', quarantine_clock_doubted = false
           WHERE id = %(account)s AND quarantine_clock_doubted""",
        {"account": account_id, "now": now},
    )
    if restarted:
        run(
            """UPDATE billing_paymentmethod SET quarantine_read_at = NULL
               WHERE account_id = %(account)s AND quarantine_read_at > %(now)s""",
            {"account": account_id, "now": now},
        )
    return bool(restarted)


def newest_known() -> datetime | None:
    """The newest instant that the database knows anything of."""
    found = rows("SELECT at FROM billing_transition ORDER BY id DESC LIMIT 1", [])
    return found[0][0] if found else None


def admit_host(host_id: str, *, now: datetime) -> None:
    run(
        """INSERT INTO billing_host (host_id, first_seen_at, last_seen_at, admitted_at)
           VALUES (%(id)s, %(now)s, %(now)s, %(now)s)
           ON CONFLICT (host_id) DO UPDATE SET admitted_at = COALESCE(billing_host.admitted_at, %(now)s),
                                               last_seen_at = %(now)s""",
        {"id": host_id, "now": now},
    )


def show_host(host_id: str, *, now: datetime) -> tuple[datetime, bool]:
    """The host's sign of life; when it was first seen, and whether it is admitted. It is introduced when new."""
    ((first_seen_at, admitted),) = rows(
        """INSERT INTO billing_host (host_id, first_seen_at, last_seen_at) VALUES (%(id)s, %(now)s, %(now)s)
           ON CONFLICT (host_id) DO UPDATE SET last_seen_at = GREATEST(billing_host.last_seen_at, %(now)s)
           RETURNING first_seen_at, admitted_at IS NOT NULL""",
        {"id": host_id, "now": now},
    )
    return first_seen_at, admitted


def forget_future_signs(*, now: datetime) -> None:
    """Signs of life from after `now` were written by a clock that was set back since: they count as of now, so that
    in a copy of the database they stand still like all others."""
    run(
        """UPDATE billing_host SET first_seen_at = LEAST(first_seen_at, %(now)s), last_seen_at = %(now)s
           WHERE last_seen_at > %(now)s""",
        {"now": now},
    )


def other_hosts(host_id: str) -> tuple[datetime | None, bool]:
    """Of the other hosts that are admitted: the newest sign of life, and whether any of them ever armed."""
    ((seen_at, armed),) = rows(
        """SELECT max(last_seen_at), COALESCE(bool_or(armed_at IS NOT NULL), false) FROM billing_host
           WHERE host_id <> %s AND admitted_at IS NOT NULL""",
        [host_id],
    )
    return seen_at, armed


def note_armed(host_id: str, *, now: datetime) -> None:
    run("UPDATE billing_host SET armed_at = %s WHERE host_id = %s AND armed_at IS NULL", [now, host_id])
