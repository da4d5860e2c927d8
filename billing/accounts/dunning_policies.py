"""What an account does about declined invoices: making policies, changing them, and saying what each is for."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from billing.domain.dunning import DEFAULT_RETRY_DAYS, DunningError, FinalAction, Scope
from billing.ids import new_id
from billing.models import DunningAssignment, DunningPolicy, GatewayAccount, Plan
from billing.models.bulk.dunning import policy_value
from billing.models.bulk.history import record_change, record_transition

SETTINGS = (
    "name",
    "retry_days",
    "retry_hour",
    "prefer_days",
    "avoid_days",
    "avoid_weekdays",
    "quiet_tries",
    "grace_days",
    "final_action",
)
_LISTS = ("prefer_days", "avoid_days", "avoid_weekdays", "quiet_tries")
_CODE = re.compile(r"[0-9A-Za-z._-]{1,64}", re.ASCII)
LONGEST_NAME = 100


def give_default_policies(account: GatewayAccount, now: datetime) -> None:
    """The two that every account begins with: subscriptions are tried again, one-off charges are not.

    Whoever asked for a one-off charge knows whether it is worth another try."""
    for code, name, days, scope in (
        ("default", "Standard", DEFAULT_RETRY_DAYS, Scope.SUBSCRIPTIONS),
        ("one-offs", "Standard for one-offs", (), Scope.ONE_OFFS),
    ):
        policy = DunningPolicy.objects.create(
            public_id=new_id("dpol", now), account=account, code=code, name=name, retry_days=list(days),
            final_action=FinalAction.CANCEL.value, created_at=now,
        )  # fmt: skip
        DunningAssignment.objects.create(account=account, scope=scope.value, policy=policy, assigned_at=now)


def create_policy(
    *, account: GatewayAccount, code: str, values: Mapping[str, Any], actor: str, now: datetime
) -> DunningPolicy:
    """A new policy, which counts for nothing until it is assigned. `values` are of `SETTINGS`. Raises DunningError."""
    if not _CODE.fullmatch(code):
        raise DunningError("code", "pattern", "must be at most 64 letters, digits, dots, dashes and underscores")
    with transaction.atomic():
        GatewayAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
        if DunningPolicy.objects.filter(account=account, code=code).exists():
            raise DunningError("code", "unique", "must be unique in the account; another policy has it")
        row = DunningPolicy(
            public_id=new_id("dpol", now),
            account=account,
            code=code,
            final_action=FinalAction.CANCEL.value,
            retry_days=list(DEFAULT_RETRY_DAYS),
            grace_days=0,
            created_at=now,
        )
        _set(row, values)
        row.save()
        record_transition(
            account_id=account.pk,
            subject_type="dunning_policy",
            subject_id=row.pk,
            from_state="",
            to_state="created",
            reason=row.name,
            actor=actor,
            now=now,
        )
    return row


def change_policy(
    *, policy: DunningPolicy, changes: Mapping[str, Any], reason: str, actor: str, now: datetime
) -> list[str]:
    """Writes new values of `SETTINGS`; returns the names of those that are different now. Raises DunningError.

    What is planned already stays: the next try of an invoice moves only when a decline plans the one after it."""
    with transaction.atomic():
        row = DunningPolicy.objects.select_for_update(of=("self",)).select_related("account").get(pk=policy.pk)
        before = {name: getattr(row, name) for name in SETTINGS}
        _set(row, changes)
        differs = {name: (before[name], getattr(row, name)) for name in SETTINGS if before[name] != getattr(row, name)}
        if not differs:
            return []
        row.save(update_fields=list(differs))
        record_change(
            account_id=row.account_id,
            subject_type="dunning_policy",
            subject_id=row.pk,
            state="changed",
            kind=None,
            changes=differs,
            reason=reason,
            actor=actor,
            now=now,
        )
    return list(differs)


def assign_policy(
    *,
    policy: DunningPolicy,
    scope: Scope,
    plan_code: str = "",
    second: DunningPolicy | None = None,
    second_percent: int | None = None,
    reason: str,
    actor: str,
    now: datetime,
) -> DunningAssignment:
    """Says that invoices of the scope get the policy at their first decline, or, for a share of their subscriptions
    chosen by lot, the second one. Invoices that were declined already keep theirs. Raises DunningError."""
    _check_share(policy, second, second_percent)
    with transaction.atomic():
        account = GatewayAccount.objects.select_for_update(no_key=True).get(pk=policy.account_id)
        _check_plan(account, scope, plan_code)
        found = DunningAssignment.objects.filter(account=account, scope=scope.value, plan_code=plan_code).first()
        row = found or DunningAssignment(account=account, scope=scope.value, plan_code=plan_code)
        row.policy, row.second_policy, row.second_percent, row.assigned_at = policy, second, second_percent, now
        row.save()
        share = f", and {second.code} for {second_percent}% by lot" if second else ""
        _note(policy, f"{_of(scope, plan_code)}: {policy.code}{share}: {reason}", actor, now)
    return row


def unassign_policy(*, policy: DunningPolicy, plan_code: str, reason: str, actor: str, now: datetime) -> None:
    """A plan follows the policy of all subscriptions again. Raises DunningError."""
    with transaction.atomic():
        GatewayAccount.objects.select_for_update(no_key=True).get(pk=policy.account_id)
        gone, _ = DunningAssignment.objects.filter(policy=policy, scope=Scope.PLAN.value, plan_code=plan_code).delete()
        if not gone:
            raise DunningError("plan_code", "not_found", "must be a plan that has this policy")
        _note(policy, f"{_of(Scope.PLAN, plan_code)}: as all subscriptions: {reason}", actor, now)


def _set(row: DunningPolicy, values: Mapping[str, Any]) -> None:
    """Takes the values over and checks all of the policy. Raises DunningError."""
    unknown = sorted(set(values) - set(SETTINGS))
    if unknown:
        raise DunningError(unknown[0], "fixed", "cannot be changed")
    for name, value in values.items():
        setattr(row, name, sorted(set(value)) if name in _LISTS else list(value) if name == "retry_days" else value)
    if not row.name.strip() or len(row.name) > LONGEST_NAME:
        raise DunningError("name", "length", f"must have 1 to {LONGEST_NAME} characters")
    if row.final_action not in list(FinalAction):
        raise DunningError("final_action", "invalid_choice", f"must be one of {', '.join(FinalAction)}")
    policy_value(row)


def _check_share(policy: DunningPolicy, second: DunningPolicy | None, percent: int | None) -> None:
    if second is None:
        if percent is not None:
            raise DunningError("second_percent", "not_usable", "must be left out without a second policy")
        return
    if second.account_id != policy.account_id or second.pk == policy.pk:
        raise DunningError("second_policy", "not_usable", "must be another policy of the same account")
    if percent is None or not 1 <= percent <= 99:
        raise DunningError("second_percent", "out_of_range", f"must be from 1 to 99; got {percent}")


def _check_plan(account: GatewayAccount, scope: Scope, plan_code: str) -> None:
    if scope is not Scope.PLAN:
        if plan_code:
            raise DunningError("plan_code", "not_usable", f"must be left out for {_of(scope, '')}")
    elif not Plan.objects.filter(account=account, code=plan_code).exists():
        raise DunningError("plan_code", "not_found", "must be the code of a plan in this account")


def _of(scope: Scope, plan_code: str) -> str:
    words = {Scope.SUBSCRIPTIONS: "all subscriptions", Scope.ONE_OFFS: "one-off charges"}
    return words.get(scope) or f"plan {plan_code}"


def _note(policy: DunningPolicy, reason: str, actor: str, now: datetime) -> None:
    record_transition(
        account_id=policy.account_id,
        subject_type="dunning_policy",
        subject_id=policy.pk,
        from_state="assigned",
        to_state="assigned",
        reason=reason,
        actor=actor,
        now=now,
    )
