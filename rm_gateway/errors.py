"""What can go wrong at the gateway, as a tree whose classes say whether the request may have acted.

``str(error)`` and ``repr(error)`` are safe for logs: no secrets, tokens, bodies, URLs or personal data. Only
``detail``, RM's own sentence, may name a field's value, so it stays out of them.

A declined charge is no error: it is a ``Transaction`` with status FAILED.
"""

# ruff: noqa: N818  (the names are outcomes, the words that the callers use for them)

from __future__ import annotations

from typing import ClassVar


class GatewayError(Exception):
    """A call to the gateway gave no usable answer.

    ``may_have_acted``: whether RM may have done what was asked, money included.
    ``code``: RM's error code when it sent one. ``http_status``: the status when an answer arrived.
    ``kind``: one word that says more than the class. ``detail``: RM's own message; keep it out of logs.
    """

    may_have_acted: ClassVar[bool] = True

    def __init__(
        self,
        message: str,
        *,
        kind: str = "",
        code: str | None = None,
        http_status: int | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.code = code
        self.http_status = http_status
        self.detail = detail

    @property
    def message(self) -> str:
        """What happened, in a sentence that is safe for logs."""
        return str(self.args[0])

    def __str__(self) -> str:
        facts = [f"HTTP {self.http_status}"] if self.http_status is not None else []
        if self.code is not None:
            facts.append(self.code)
        return f"{self.message} ({', '.join(facts)})" if facts else self.message


class NotSent(GatewayError):
    """Provably no byte of the request left this machine.

    ``kind``: "dns", "connect", "tls", "timeout" (of the connection), "expired", "token" (none in memory),
    "environment" (prepared for another host), "request" (no valid HTTP request).
    """

    may_have_acted: ClassVar[bool] = False


class RequestExpired(NotSent):
    """The prepared request's timestamp is outside its window, so it was not sent."""


class TokenUnavailable(NotSent):
    """No access token could be had, so the call itself was not sent.

    ``refused``: RM answered that the client id or secret is wrong (a configuration error); it was not away.
    """

    refused: bool = False


class Rejected(GatewayError):
    """RM refused the request before anything happened: HTTP 401, 429, or a code of the short list [I].

    ``kind``: "token", "signature", "permission", "validation", "path" or "throttled".
    """

    may_have_acted: ClassVar[bool] = False


class Throttled(Rejected):
    """Too many requests [D]. ``retry_after_seconds``: whole seconds to wait when RM sent it, else None."""

    retry_after_seconds: int | None = None


class Declined(GatewayError):
    """RM looked at a refund or a reversal and refused it with a published code [D]: this request moved nothing."""

    may_have_acted: ClassVar[bool] = False


class NotFound(GatewayError):
    """A read found no such transaction or customer. Right after a payment RM may not see it yet [D]."""

    may_have_acted: ClassVar[bool] = False


class IncompleteRead(GatewayError):
    """A list could not be read to its end; what was read is thrown away. Reads only."""

    may_have_acted: ClassVar[bool] = False


class Unknown(GatewayError):
    """Everything else: the request may have acted and no answer says so. Never send it again on a guess.

    ``kind``: "timeout", "connection" (broke without an answer) or "answer" (one that is not understood).
    """
