"""`Idempotency-Key`: a POST that is repeated with its key gets the first answer again and does nothing twice.

A key belongs to an account for ever. What was carried out is stored with the answer; what was refused or failed
changed nothing, so its key stays free and a corrected request may use it.

* A POST that only writes to the database stores its record in the same transaction as what it writes: after a
  crash there is either both or neither. While it runs, an advisory lock keeps a second one out.
* A POST that calls the gateway cannot: its claim is committed first, then the gateway is called, then the answer
  is stored. A claim whose process died is taken over after `LEASE`.
"""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

from django.db import transaction
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.problems import Problem
from billing.models import GatewayAccount, IdempotencyRecord
from billing.models.bulk.sql import rows

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
# Longer than any request that calls the gateway can take.
LEASE = timedelta(minutes=10)

_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)

Post = Callable[..., Response]


def idempotent(*, calls_gateway: bool = False) -> Callable[[Post], Post]:
    """Makes a view's `post` honour the header. Without the header it simply runs, in one transaction unless it
    calls the gateway."""

    def decorate(post: Post) -> Post:
        @wraps(post)
        def wrapper(view: Any, request: Request, **kwargs: str) -> Response:
            key = request.headers.get(HEADER)
            if key is None and calls_gateway:
                return post(view, request, **kwargs)
            if key is None:
                with transaction.atomic():
                    return post(view, request, **kwargs)
            use = KeyUse(view.account, key, fingerprint(request), view.now)
            act = lambda: post(view, request, **kwargs)  # noqa: E731
            return use.around_gateway(act) if calls_gateway else use.in_one_transaction(act)

        wrapper.honours_idempotency_key = True  # type: ignore[attr-defined]
        return wrapper

    return decorate


def without_secret(response: Response, member: str) -> Response:
    """The response, whose `member` is sent this once: where it is kept to be repeated, the member is null."""
    response.kept = {**response.data, member: None}  # type: ignore[attr-defined]
    return response


def fingerprint(request: Request) -> str:
    """What makes two requests the same: method, path and the meaning of the body."""
    body = json.dumps(request.data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(f"{request.method} {request.path}\n{body}".encode()).hexdigest()


class KeyUse:
    """One request that carries a key."""

    def __init__(self, account: GatewayAccount, key: str, request_hash: str, now: datetime) -> None:
        if not _KEY.fullmatch(key):
            raise Problem("invalid_idempotency_key", "Must be 1 to 255 visible ASCII characters without spaces.")
        self._account = account
        self._key = key
        self._hash = request_hash
        self._now = now
        self._records = IdempotencyRecord.objects.filter(account=account, key=key)

    def in_one_transaction(self, act: Callable[[], Response]) -> Response:
        with transaction.atomic():
            self._lock()
            if replay := self._earlier():
                return replay
            response = act()
            IdempotencyRecord.objects.update_or_create(
                account=self._account, key=self._key, defaults=self._claimed() | self._finished(response)
            )
        return response

    def around_gateway(self, act: Callable[[], Response]) -> Response:
        with transaction.atomic():
            self._lock()
            if replay := self._earlier():
                return replay
            IdempotencyRecord.objects.update_or_create(account=self._account, key=self._key, defaults=self._claimed())
        mine = self._records.filter(finished_at=None, created_at=self._now)
        try:
            response = act()
        except BaseException:
            mine.delete()  # nothing came of it: the key is free again
            raise
        mine.update(**self._finished(response))
        return response

    def _lock(self) -> None:
        """Until the transaction ends, nobody else is between looking for this key and writing it."""
        digest = hashlib.sha256(f"idempotency:{self._account.pk}:{self._key}".encode()).digest()
        number = int.from_bytes(digest[:8], "big", signed=True)
        ((mine,),) = rows("SELECT pg_try_advisory_xact_lock(%s)", [number])
        if not mine:
            raise self._still_running()

    def _earlier(self) -> Response | None:
        """The answer that was stored; None when the key is free. Raises Problem for the rest."""
        record = self._records.first()
        if record is None:
            return None
        if record.request_hash != self._hash:
            raise Problem(
                "idempotency_key_reused",
                "The key was used for a request with another path or body. Use a new key for a new request.",
            )
        if record.response_status is not None:
            return Response(record.response_body, status=record.response_status, headers={REPLAYED: "true"})
        if self._now - record.created_at < LEASE:
            raise self._still_running()
        return None

    @staticmethod
    def _still_running() -> Problem:
        return Problem("request_in_progress", "Wait a moment, then send the same request again to get its response.")

    def _claimed(self) -> dict[str, Any]:
        return {
            "request_hash": self._hash,
            "created_at": self._now,
            "response_status": None,
            "response_body": None,
            "finished_at": None,
        }

    def _finished(self, response: Response) -> dict[str, Any]:
        # By the request's own instant: what counts is that there is an answer, not how long it took.
        body = getattr(response, "kept", response.data)
        return {"response_status": response.status_code, "response_body": body, "finished_at": self._now}
