"""Keys of the merchant's developers. A key is shown once and stored as a prefix and a SHA-256 hash.

A key carries 256 random bits, so a plain hash is enough: there is nothing to guess.
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from billing.domain.errors import RefusedError
from billing.ids import new_id
from billing.models import ApiKey, GatewayAccount
from billing.models.bulk.history import record_transition

SCOPES = ("read", "write", "charge")
# How exactly `last_used_at` is known: not every request writes a row.
USE_IS_NOTED_EVERY = timedelta(minutes=5)


class ScopeError(RefusedError):
    """A scope that does not exist."""


def create_api_key(
    *, account: GatewayAccount, name: str, scopes: Sequence[str], now: datetime, actor: str = "command"
) -> tuple[ApiKey, str]:
    """The row, and the key itself: the only time that it is seen. Raises ScopeError."""
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise ScopeError(
            "scopes", "invalid_choice", f"must be from {', '.join(SCOPES)}; got {', '.join(scopes) or 'none'}"
        )
    prefix = f"kit_{secrets.token_hex(4)}"
    key = f"{prefix}_{secrets.token_urlsafe(32)}"
    with transaction.atomic():
        row = ApiKey.objects.create(
            public_id=new_id("key", now),
            account=account,
            name=name,
            prefix=prefix,
            key_hash=_digest(key),
            scopes=sorted(set(scopes)),
            created_at=now,
        )
        _log(row, "", "live", f"may {', '.join(row.scopes)}", actor, now)
    return row, key


def find_api_key(key: str) -> ApiKey | None:
    """The live key that `key` is, with its account; None for a wrong or revoked one."""
    return ApiKey.objects.select_related("account").filter(key_hash=_digest(key), revoked_at=None).first()


def note_use(*, api_key: ApiKey, now: datetime) -> None:
    """Writes when the key was used, to within `USE_IS_NOTED_EVERY`."""
    if api_key.last_used_at is None or now - api_key.last_used_at >= USE_IS_NOTED_EVERY:
        stale = Q(last_used_at=None) | Q(last_used_at__lte=now - USE_IS_NOTED_EVERY)
        ApiKey.objects.filter(stale, pk=api_key.pk).update(last_used_at=now)


def revoke_api_key(*, api_key: ApiKey, now: datetime, actor: str = "command") -> bool:
    """False: it was revoked already."""
    with transaction.atomic():
        revoked = ApiKey.objects.filter(pk=api_key.pk, revoked_at=None).update(revoked_at=now)
        if revoked:
            _log(api_key, "live", "revoked", "", actor, now)
    return bool(revoked)


def _log(row: ApiKey, before: str, after: str, reason: str, actor: str, now: datetime) -> None:
    record_transition(
        account_id=row.account_id,
        subject_type="api_key",
        subject_id=row.pk,
        from_state=before,
        to_state=after,
        reason=reason,
        actor=actor,
        now=now,
    )


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
