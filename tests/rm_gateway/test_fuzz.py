"""Whatever RM or anybody sends: a value, a gateway error or a parse error, no crash, and no growth."""

from __future__ import annotations

import gc
import json
import random
from collections import Counter
from typing import Any

import psutil
import pytest

from rm_gateway.envelope import REFUSALS, envelope_of, item_of
from rm_gateway.errors import GatewayError
from rm_gateway.models import CustomerInfo, Order, Transaction
from rm_gateway.notifications import BindHint, NotifyHint, parse_notify, parse_redirect
from rm_gateway.paging import cursor_of, items_of
from rm_gateway.parsing import ParseError
from rm_gateway.reports import ReportLine
from rm_gateway.transport import Answer
from tests.rm_gateway.fake import customer, order, processed, transaction
from tests.rm_gateway.test_notifications import DOTTED, MESSAGE
from tests.rm_gateway.test_other_calls import line

INPUTS = 100_000
WARM_UP = 10_000
STATUSES = [200, 200, 200, 201, 301, 400, 401, 404, 429, 500]
PIECES = [b"null", b"{}", b"[]", b'"', b"1e400", b"-1", b"\\ud800", b"\x00", b"true", b"NaN", b"9" * 30, b"[[[["]
ANSWERS = [
    json.dumps(value).encode()
    for value in (
        processed(transaction()),
        processed(customer()),
        {"error": {"code": "VALIDATION_ERROR", "message": "x"}},
        {"items": [order(1), order(2)], "code": "SUCCESS", "meta": {"cursor": "c"}},
        {"items": [line(1)], "code": "SUCCESS"},
    )
]
CALLBACKS = [json.dumps(MESSAGE).encode(), DOTTED.encode(), b"status=FAILED&customerId=1795225154273723505&reason=x"]


def mutated(seed: bytes, rng: random.Random) -> bytes:
    data = bytearray(seed)
    for _ in range(rng.randint(0, 3)):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice([0, 1, 4, 40]))
        data[start:end] = rng.choice([rng.choice(PIECES), rng.randbytes(2), b""])
    return bytes(data)


def read_answer(body: bytes, rng: random.Random) -> Any:
    answer = Answer(rng.choice(STATUSES), {"Retry-After": rng.choice(["1", "x"])}, body)
    envelope = envelope_of(answer, read=rng.random() < 0.5, refusals=REFUSALS)
    if "items" in envelope:
        cursor_of(envelope)
        return [parse(item) for item in items_of(envelope) for parse in [rng.choice([Order.parse, ReportLine.parse])]]
    return item_of(answer, rng.choice([Transaction.parse, CustomerInfo.parse]), envelope)


def read_callback(body: bytes, rng: random.Random) -> Any:
    text = body.decode("utf-8", "replace")
    match rng.randrange(3):
        case 0:
            return parse_redirect(text)
        case 1:
            return parse_notify(method="GET", query=text)
        case _:
            return parse_notify(method="POST", body=body, headers={"X-Signature": "x"})


@pytest.mark.slow
@pytest.mark.timeout(25)
def test_a_hundred_thousand_odd_inputs_neither_crash_nor_grow() -> None:
    rng, process = random.Random(4), psutil.Process()
    outcomes: Counter[str] = Counter()
    before = 0
    for number in range(WARM_UP + INPUTS):
        if number == WARM_UP:
            gc.collect()
            before = process.memory_info().rss
        outcomes[answer_outcome(rng) if number % 2 else callback_outcome(rng)] += 1
    gc.collect()
    assert process.memory_info().rss - before < 10_000_000
    assert {
        "Transaction",
        "CustomerInfo",
        "list",
        "NotifyHint",
        "BindHint",
        "ParseError",
        "Unknown",
        "Rejected",
    } <= set(outcomes)


def answer_outcome(rng: random.Random) -> str:
    """An answer is a value or a gateway error."""
    try:
        return type(read_answer(mutated(rng.choice(ANSWERS), rng), rng)).__name__
    except GatewayError as error:
        return type(error).__name__
    except ParseError:  # of a record of a list; the client makes it IncompleteRead
        return "ParseError of a record"


def callback_outcome(rng: random.Random) -> str:
    """A notify or a redirect is a hint or a parse error, never more."""
    try:
        result = read_callback(mutated(rng.choice(CALLBACKS), rng), rng)
    except ParseError as error:
        return type(error).__name__
    assert type(result) in {NotifyHint, BindHint}
    return type(result).__name__
