"""Changing the settings and secrets of a gateway account."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from billing.accounts.gateway_accounts import AccountError
from billing.domain.dunning import FinalAction, check_retry_days
from billing.domain.matching import LEAST_HOURS_OF_ABSENCE, MarkerEcho
from billing.domain.money import LEAST_CHARGE_MINOR, MOST_CHARGE_MINOR
from billing.domain.schedule_rules import zone_facts
from billing.models import GatewayAccount, Transition
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
        "marker_echo",
        "retry_after_absence_hours",
        "retry_days",
        "final_action",
        "second_person_above_minor",
    }
)
SECRETS = {"client_secret": "client_secret_encrypted", "private_key_pem": "private_key_encrypted"}
CHARGE_PATHS = ("customer_order", "recurring_charge")


def change_account(
    *, account: GatewayAccount, changes: Mapping[str, Any], reason: str, actor: str, now: datetime
) -> list[str]:
    """Writes new values of `SETTINGS` and `SECRETS`; returns the names of those that are different now.

    An empty secret means that it stays. What was armed before keeps its amount and addresses. Raises AccountError,
    DunningError or ScheduleError, which name the field and the rule."""
    unknown = sorted(set(changes) - SETTINGS - set(SECRETS))
    if unknown:
        raise AccountError(f"{unknown[0]}: is not changed this way")
    _check(changes)
    with transaction.atomic():
        locked = GatewayAccount.objects.select_for_update().get(pk=account.pk)
        changed = [name for name in sorted(SETTINGS & set(changes)) if getattr(locked, name) != changes[name]]
        secrets = [name for name in sorted(SECRETS) if changes.get(name)]
        values = {name: changes[name] for name in changed}
        values |= {SECRETS[name]: encrypt(changes[name]) for name in secrets}
        if not values:
            return []
        GatewayAccount.objects.filter(pk=locked.pk).update(**values)
        state = "stopped" if locked.stopped_at else "running"
        Transition.objects.create(
            account_id=locked.pk,
            subject_type="account",
            subject_id=locked.pk,
            from_state=state,
            to_state=state,
            reason=f"changed {', '.join(changed + secrets)}: {reason}",
            actor=actor,
            at=now,
        )
    return changed + secrets


def _check(changes: Mapping[str, Any]) -> None:
    if "time_zone" in changes:
        zone_facts(changes["time_zone"])
    if "retry_days" in changes:
        check_retry_days(changes["retry_days"])
    above = changes.get("second_person_above_minor")
    if above is not None and not 0 <= above <= MOST_CHARGE_MINOR:
        raise AccountError(f"second_person_above_minor: between 0 and {MOST_CHARGE_MINOR}, or none, got {above}")
    limit = changes.get("charge_limit_minor", LEAST_CHARGE_MINOR)
    if not LEAST_CHARGE_MINOR <= limit <= MOST_CHARGE_MINOR:
        raise AccountError(f"charge_limit_minor: must be from {LEAST_CHARGE_MINOR} to {MOST_CHARGE_MINOR} sen")
    hours = changes.get("retry_after_absence_hours")
    if hours is not None and hours < LEAST_HOURS_OF_ABSENCE:
        raise AccountError(f"retry_after_absence_hours: must be at least {LEAST_HOURS_OF_ABSENCE}, or empty: never")
    words = {
        "final_action": [action.value for action in FinalAction],
        "marker_echo": [echo.value for echo in MarkerEcho],
        "charge_path": CHARGE_PATHS,
    }
    for name, allowed in words.items():
        if changes.get(name, allowed[0]) not in allowed:
            raise AccountError(f"{name}: must be one of {', '.join(allowed)}")
