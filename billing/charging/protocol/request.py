"""The frozen request, as its columns keep it: the same bytes that leave."""

from datetime import datetime
from typing import TypedDict

from billing.gateway.connection import PreparedRequest
from billing.operating.tuning import Tuning


class RequestColumns(TypedDict):
    """The columns of a frozen request, of an attempt as of a refund."""

    request_method: str
    request_url: str
    request_body: bytes
    request_nonce: str
    request_timestamp: int
    request_signature: str
    request_hash: str


class SendTimes(TypedDict):
    """The request leaves before its window ends; after the deadline its sender is gone."""

    armed_at: datetime
    window_ends_at: datetime
    deadline_at: datetime


def request_columns(prepared: PreparedRequest) -> RequestColumns:
    """The request as the database keeps it."""
    return {
        "request_method": prepared.method,
        "request_url": prepared.url,
        "request_body": prepared.body,
        "request_nonce": prepared.nonce,
        "request_timestamp": prepared.timestamp,
        "request_signature": prepared.signature,
        "request_hash": prepared.sha256,
    }


def send_times(tuning: Tuning, now: datetime) -> SendTimes:
    """By when a request that was armed at `now` leaves."""
    return {"armed_at": now, "window_ends_at": now + tuning.window, "deadline_at": now + tuning.deadline}


def is_for(prepared: PreparedRequest, api_url: str) -> bool:
    """Whether the request goes to the account's own host."""
    return prepared.url.startswith(f"{api_url}/")
