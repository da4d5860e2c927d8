"""Changing the settings and secrets of a gateway account."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from billing.accounts.add_account import UNPROVED
from billing.accounts.credentials import prove_credentials, saved_credentials
from billing.accounts.gateway_accounts import AccountError, stop_account
from billing.domain.first_payment import MOST_HOURS
from billing.domain.matching import LEAST_HOURS_OF_ABSENCE, MarkerEcho
from billing.domain.money import LEAST_CHARGE_MINOR, MOST_CHARGE_MINOR
from billing.domain.paying import MOST_LINK_DAYS
from billing.domain.reads import MOST_LIST_LAG_SECONDS
from billing.domain.schedule_rules import zone_facts
from billing.models import GatewayAccount
from billing.models.bulk.history import record_change, record_transition
from billing.models.encryption import encrypt

SETTINGS = frozenset(
    {
        "name",
        "client_id",
        "store_id",
        "gateway_public_key",
        "time_zone",
        "charge_path",
        "charge_limit_minor",
        "preflight_always",
        "reads_reports",
        "marker_echo",
        "list_lag_seconds",
        "retry_after_absence_hours",
        "first_payment_hours",
        "payers_may_cancel",
        "payment_link_days",
        "second_person_above_minor",
        "charges_per_second",
        "max_in_flight",
    }
)
SECRETS = {"client_secret": "client_secret_encrypted", "private_key_pem": "private_key_encrypted"}
# What the gateway knows the merchant by: new values are proved there before they are saved.
CREDENTIALS = ("client_id", "client_secret", "private_key_pem")
CHARGE_PATHS = ("customer_order", "recurring_charge")


def change_account(
    *,
    account: GatewayAccount,
    changes: Mapping[str, Any],
    reason: str,
    actor: str,
    now: datetime,
    may_be_unproved: bool = False,
) -> list[str]:
    """Writes new values of `SETTINGS` and `SECRETS`; returns the names of those that are different now.

    An empty secret means that it stays. What was armed before keeps its amount and addresses. New credentials are
    proved at the gateway first: they work, and are of the merchant whose cards the account charges. Where it does not
    answer they are saved only if they `may_be_unproved`, and the account is stopped until they are proved.

    Not to be called inside a transaction. Raises AccountError or ScheduleError, which name the field
    and the rule."""
    unknown = sorted(set(changes) - SETTINGS - set(SECRETS))
    if unknown:
        raise AccountError(unknown[0], "fixed", "cannot be changed this way")
    _check(changes)
    account.refresh_from_db()
    new = _new_credentials(account, changes)
    proved = not new or prove_credentials(
        saved_credentials(account, **new), account=account, may_be_unproved=may_be_unproved
    )
    with transaction.atomic():
        locked = GatewayAccount.objects.select_for_update().get(pk=account.pk)
        if new and _credentials(locked) != _credentials(account):
            raise AccountError(
                "client_id",
                "invalid",
                "was changed by another person a moment ago, or its secret or key was; open the page again",
            )
        changed = [name for name in sorted(SETTINGS & set(changes)) if getattr(locked, name) != changes[name]]
        secrets = [name for name in sorted(SECRETS) if changes.get(name)]
        values = {name: changes[name] for name in changed}
        values |= {SECRETS[name]: encrypt(changes[name]) for name in secrets}
        if not values:
            return []
        if not proved:
            stop_account(account=locked, reason=UNPROVED, actor=actor, now=now)
        if new:
            values["credentials_unproved_at"] = None if proved else now
        GatewayAccount.objects.filter(pk=locked.pk).update(**values)
        noted = "" if proved else " (unchecked)"
        differs = {name: (getattr(locked, name), changes[name]) for name in changed}
        record_change(
            account_id=locked.pk,
            subject_type="account",
            subject_id=locked.pk,
            state="running" if locked.stopped_at is None else "stopped",
            kind="account.updated",
            changes={**differs, **dict.fromkeys(secrets, ("", ""))},
            reason=f"{reason}{noted}",
            actor=actor,
            now=now,
        )
    return changed + secrets


def prove_account(*, account: GatewayAccount, reason: str, actor: str, now: datetime) -> bool:
    """Proves the saved credentials at the gateway, so that the account may charge again. False: they were proved.

    Not to be called inside a transaction. Raises AccountError, which names the field and the rule."""
    account.refresh_from_db()
    if account.credentials_unproved_at is None:
        return False
    prove_credentials(saved_credentials(account), account=account, may_be_unproved=False)
    with transaction.atomic():
        locked = GatewayAccount.objects.select_for_update().get(pk=account.pk)
        if _credentials(locked) != _credentials(account):
            raise AccountError(
                "client_id",
                "invalid",
                "was changed by another person a moment ago, or its secret or key was; open the page again",
            )
        GatewayAccount.objects.filter(pk=locked.pk).update(credentials_unproved_at=None)
        _record(locked, f"credentials proved: {reason}", actor, now)
    return True


def _new_credentials(account: GatewayAccount, changes: Mapping[str, Any]) -> dict[str, str]:
    given = {name: str(changes[name]) for name in CREDENTIALS if changes.get(name)}
    if given.get("client_id") == account.client_id:
        del given["client_id"]
    return given


def _credentials(account: GatewayAccount) -> tuple[str, str, str]:
    return account.client_id, account.client_secret_encrypted, account.private_key_encrypted


def _record(locked: GatewayAccount, reason: str, actor: str, now: datetime) -> None:
    state = "stopped" if locked.stopped_at else "running"
    record_transition(
        account_id=locked.pk,
        subject_type="account",
        subject_id=locked.pk,
        from_state=state,
        to_state=state,
        reason=reason,
        actor=actor,
        now=now,
    )


def _check(changes: Mapping[str, Any]) -> None:
    if "time_zone" in changes:
        zone_facts(changes["time_zone"])
    above = changes.get("second_person_above_minor")
    if above is not None and not 0 <= above <= MOST_CHARGE_MINOR:
        raise AccountError(
            "second_person_above_minor", "invalid", f"must be from 0 to {MOST_CHARGE_MINOR}, or empty; got {above}"
        )
    limit = changes.get("charge_limit_minor", LEAST_CHARGE_MINOR)
    if not LEAST_CHARGE_MINOR <= limit <= MOST_CHARGE_MINOR:
        raise AccountError(
            "charge_limit_minor", "invalid", f"must be from {LEAST_CHARGE_MINOR} to {MOST_CHARGE_MINOR} sen"
        )
    lag = changes.get("list_lag_seconds", 0)
    if not 0 <= lag <= MOST_LIST_LAG_SECONDS:
        raise AccountError("list_lag_seconds", "invalid", f"must be from 0 to {MOST_LIST_LAG_SECONDS}; got {lag}")
    hours = changes.get("retry_after_absence_hours")
    if hours is not None and hours < LEAST_HOURS_OF_ABSENCE:
        raise AccountError(
            "retry_after_absence_hours", "invalid", f"must be at least {LEAST_HOURS_OF_ABSENCE}, or empty for never"
        )
    hours = changes.get("first_payment_hours", MOST_HOURS)
    if not 1 <= hours <= MOST_HOURS:
        raise AccountError("first_payment_hours", "out_of_range", f"must be from 1 to {MOST_HOURS}; got {hours}")
    days = changes.get("payment_link_days", MOST_LINK_DAYS)
    if not 1 <= days <= MOST_LINK_DAYS:
        raise AccountError("payment_link_days", "out_of_range", f"must be from 1 to {MOST_LINK_DAYS}; got {days}")
    for name in ("charges_per_second", "max_in_flight"):
        value = changes.get(name)
        if value is not None and value < 1:
            raise AccountError(name, "out_of_range", f"must be at least 1, or empty for no limit; got {value}")
    words = {
        "marker_echo": [echo.value for echo in MarkerEcho],
        "charge_path": CHARGE_PATHS,
    }
    for name, allowed in words.items():
        if changes.get(name, allowed[0]) not in allowed:
            raise AccountError(name, "invalid_choice", f"must be one of {', '.join(allowed)}")
