"""What a merchant or a person does with a webhook endpoint: add, change, pause, resume, rotate, test, delete."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from secrets import token_hex
from typing import Any

from django.conf import settings
from django.db import transaction

from billing.domain.addresses import check_url, without_query
from billing.domain.errors import RefusedError
from billing.domain.events import BY_NAME
from billing.domain.reasons import Reason
from billing.domain.webhooks import BOTH_SECRETS_FOR, TEST_KIND, EndpointState
from billing.doorbell import DELIVER, ring_on_commit
from billing.ids import new_id
from billing.models import Event, GatewayAccount, WebhookEndpoint
from billing.models.bulk import delivering
from billing.models.bulk.history import record_change, record_event, record_transition
from billing.models.encryption import encrypt
from billing.notifying.signing import new_secret

MOST_ENDPOINTS = 16
CHANGEABLE = frozenset({"url", "kinds", "description", "email"})
SUBJECT = "webhook_endpoint"


class WebhookError(RefusedError):
    """What cannot be done with an endpoint or a delivery."""


def create_endpoint(
    *,
    account: GatewayAccount,
    url: str,
    now: datetime,
    actor: str,
    kinds: Sequence[str] = (),
    description: str = "",
    email: str = "",
) -> tuple[WebhookEndpoint, str]:
    """The row, and its signing secret: the only time that it is seen. It gets the events from now on.

    `kinds` empty: all. `email`: who is told when it is disabled. Raises AddressError and WebhookError."""
    _check_url(url)
    kinds = _checked_kinds(kinds)
    secret = new_secret()
    with transaction.atomic():
        GatewayAccount.objects.select_for_update(no_key=True).get(pk=account.pk)  # so that the limit holds
        endpoints = WebhookEndpoint.objects.filter(account=account).exclude(state=EndpointState.DELETED.value)
        if endpoints.count() >= MOST_ENDPOINTS:
            raise WebhookError("url", "too_many", f"an account has at most {MOST_ENDPOINTS} endpoints")
        endpoint = WebhookEndpoint.objects.create(
            public_id=new_id("whe", now),
            account=account,
            url=url,
            kinds=kinds,
            description=description,
            email=email,
            state=EndpointState.ACTIVE.value,
            sequence=delivering.last_sequence(account.pk),
            secret_encrypted=encrypt(secret),
            created_at=now,
        )
        _record_move(endpoint, "", EndpointState.ACTIVE, reason=Reason.CREATED, actor=actor, now=now)
    return endpoint, secret


def update_endpoint(
    *, endpoint: WebhookEndpoint, changes: Mapping[str, Any], actor: str, now: datetime
) -> WebhookEndpoint:
    """Writes new values of `CHANGEABLE` columns, with a line of history.

    Other kinds count for the events that are handed out from now on. Raises AddressError and WebhookError."""
    unknown = sorted(set(changes) - CHANGEABLE)
    if unknown:
        raise ValueError(f"{unknown[0]}: cannot be changed this way")
    values = dict(changes)
    if "url" in values:
        _check_url(values["url"])
    if "kinds" in values:
        values["kinds"] = _checked_kinds(values["kinds"])
    with transaction.atomic():
        locked = _lock(endpoint)
        differs = {name: (getattr(locked, name), values[name]) for name in sorted(values)}
        differs = {name: (before, after) for name, (before, after) in differs.items() if before != after}
        for name, (_, after) in differs.items():
            setattr(locked, name, after)
        if differs:
            locked.save(update_fields=sorted(differs))
            _record_change(locked, differs, actor=actor, now=now)
    return locked


def pause_endpoint(*, endpoint: WebhookEndpoint, reason: str, actor: str, now: datetime) -> WebhookEndpoint:
    """Nothing is delivered until it is resumed; events wait."""
    with transaction.atomic():
        locked = _lock(endpoint)
        if locked.state != EndpointState.ACTIVE:
            raise WebhookError("state", "state", f"must be an active endpoint; this one is {locked.state}")
        _move(locked, EndpointState.PAUSED, reason=reason, actor=actor, now=now)
    return locked


def resume_endpoint(
    *, endpoint: WebhookEndpoint, reason: str, actor: str, now: datetime, skip_missed: bool = False
) -> WebhookEndpoint:
    """What waited is delivered, beginning now, with all its tries; with `skip_missed` only what happens from now on."""
    with transaction.atomic():
        locked = _lock(endpoint)
        if locked.state not in (EndpointState.PAUSED, EndpointState.DISABLED):
            raise WebhookError("state", "state", f"must be a paused or disabled endpoint; this one is {locked.state}")
        if skip_missed:
            delivering.cancel_pending(locked.pk, now=now)
            locked.sequence = max(locked.sequence, delivering.last_sequence(locked.account_id))
        else:
            delivering.begin_again(locked.pk, now=now)
        locked.failing_since = locked.notice_due_at = None
        locked.save(update_fields=["sequence", "failing_since", "notice_due_at"])
        _move(locked, EndpointState.ACTIVE, reason=reason, actor=actor, now=now)
        ring_on_commit(DELIVER)
    return locked


def delete_endpoint(*, endpoint: WebhookEndpoint, reason: str, actor: str, now: datetime) -> WebhookEndpoint:
    """Ends it for good: what is pending is canceled, its secrets are forgotten; what ended is kept as long as any."""
    with transaction.atomic():
        locked = _lock(endpoint)
        delivering.cancel_pending(locked.pk, now=now)
        locked.secret_encrypted = locked.old_secret_encrypted = locked.email = ""
        locked.old_secret_ends_at = locked.notice_due_at = None
        locked.save(
            update_fields=["secret_encrypted", "old_secret_encrypted", "email", "old_secret_ends_at", "notice_due_at"]
        )
        _move(locked, EndpointState.DELETED, reason=reason, actor=actor, now=now)
    return locked


def rotate_secret(
    *, endpoint: WebhookEndpoint, actor: str, now: datetime, end_old_at_once: bool = False
) -> tuple[WebhookEndpoint, str]:
    """A new secret, shown this once. The one before signs too for a day, unless it ends at once.

    Of more than two secrets in that day the newest two sign."""
    secret = new_secret()
    with transaction.atomic():
        locked = _lock(endpoint)
        locked.old_secret_encrypted = "" if end_old_at_once else locked.secret_encrypted
        locked.old_secret_ends_at = None if end_old_at_once else now + BOTH_SECRETS_FOR
        locked.secret_encrypted = encrypt(secret)
        locked.save(update_fields=["secret_encrypted", "old_secret_encrypted", "old_secret_ends_at"])
        state = EndpointState(locked.state)
        _record_move(locked, state, state, reason="secret rotated", actor=actor, now=now)
    return locked, secret


def end_old_secret(*, endpoint: WebhookEndpoint, actor: str, now: datetime) -> WebhookEndpoint:
    """From now on the newest secret alone signs."""
    with transaction.atomic():
        locked = _lock(endpoint)
        if locked.old_secret_ends_at is None:
            raise WebhookError("state", "state", "the endpoint has one secret only")
        locked.old_secret_encrypted, locked.old_secret_ends_at = "", None
        locked.save(update_fields=["old_secret_encrypted", "old_secret_ends_at"])
        state = EndpointState(locked.state)
        _record_move(locked, state, state, reason="old secret ended", actor=actor, now=now)
    return locked


def send_test(*, endpoint: WebhookEndpoint, now: datetime) -> str:
    """Records an event that goes to this endpoint alone, whatever kinds it takes; the event's public id."""
    with transaction.atomic():
        locked = _lock(endpoint)
        if locked.state != EndpointState.ACTIVE:
            raise WebhookError("state", "state", f"must be an active endpoint; this one is {locked.state}")
        occasion = token_hex(8)
        record_event(
            account_id=locked.account_id,
            kind="webhook_endpoint.test",
            subject_type=SUBJECT,
            subject_id=locked.pk,
            occasion=occasion,
            payload={"webhook_endpoint": locked.public_id, "test": True},
            now=now,
        )
        ring_on_commit(DELIVER)
        tests = Event.objects.filter(kind=TEST_KIND, subject_type=SUBJECT, subject_id=locked.pk, occasion=occasion)
        return tests.values_list("public_id", flat=True).get()


def _check_url(url: str) -> None:
    check_url(url, allow_private=settings.KITARAN_WEBHOOKS_ALLOW_PRIVATE)


def _checked_kinds(kinds: Sequence[str]) -> list[str]:
    for kind in kinds:
        if kind not in BY_NAME:
            raise WebhookError("kinds", "unknown_kind", f"must be types of events, such as invoice.paid; got {kind!r}")
    return sorted(set(kinds))


def _lock(endpoint: WebhookEndpoint) -> WebhookEndpoint:
    """The row as it is now. Raises WebhookError for one that was deleted."""
    locked = WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=endpoint.pk)
    if locked.state == EndpointState.DELETED:
        raise WebhookError("state", "state", "the endpoint was deleted")
    return locked


def _move(locked: WebhookEndpoint, to: EndpointState, *, reason: str, actor: str, now: datetime) -> None:
    was = EndpointState(locked.state)
    locked.state, locked.disabled_reason = to.value, ""
    locked.save(update_fields=["state", "disabled_reason"])
    _record_move(locked, was, to, reason=reason, actor=actor, now=now)


def _record_change(
    endpoint: WebhookEndpoint, differs: Mapping[str, tuple[Any, Any]], *, actor: str, now: datetime
) -> None:
    """No event: it would tell every other endpoint the address."""
    shown = {
        name: (without_query(before), without_query(after)) if name == "url" else (before, after)
        for name, (before, after) in differs.items()
    }
    record_change(
        account_id=endpoint.account_id,
        subject_type=SUBJECT,
        subject_id=endpoint.pk,
        state=endpoint.state,
        kind=None,
        changes=shown,
        actor=actor,
        now=now,
    )


def _record_move(
    endpoint: WebhookEndpoint, was: EndpointState | str, to: EndpointState, *, reason: str, actor: str, now: datetime
) -> None:
    record_transition(
        account_id=endpoint.account_id,
        subject_type=SUBJECT,
        subject_id=endpoint.pk,
        from_state=str(was),
        to_state=to.value,
        reason=reason,
        actor=actor,
        now=now,
    )
