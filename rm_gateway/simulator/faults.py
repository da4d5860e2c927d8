"""How an answer to a charge reaches the caller, or does not: every fault of the wire."""

from __future__ import annotations

import asyncio
from typing import Final, assert_never

from aiohttp import web

from rm_gateway.simulator.outcomes import Answer, Outcome
from rm_gateway.simulator.switches import Switches
from rm_gateway.simulator.wire import JSON_TYPE, RefusalError

_PAGE: Final = (
    "<html>\r\n<head><title>{status} {words}</title></head>\r\n<body>\r\n<center><h1>{status} {words}</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_DEPTH: Final = 100_000


async def give(request: web.BaseRequest, outcome: Outcome, body: bytes, switches: Switches) -> web.StreamResponse:
    """Answer a charge as its outcome says. ``body`` is the honest answer; it is empty when nothing was done."""
    kind = outcome.answer
    match kind:
        case Answer.TRANSACTION:
            return web.Response(body=body, content_type=JSON_TYPE)
        case Answer.ERROR:
            return error_answer(outcome, switches).response()
        case Answer.HTML:
            words = "OK" if outcome.http_status == 200 else "Bad Gateway"
            page = _PAGE.format(status=outcome.http_status, words=words)
            return web.Response(text=page, status=outcome.http_status, content_type="text/html")
        case Answer.TEXT:
            return web.Response(text="OK", content_type="text/plain")
        case Answer.NOT_UTF8:
            return web.Response(body=b'{"item":"\xff\xfe\x80"' + body, content_type=JSON_TYPE)
        case Answer.EMPTY:
            return web.Response(body=b"", content_type=JSON_TYPE)
        case Answer.TRUNCATED:
            return web.Response(body=body[: len(body) // 2], content_type=JSON_TYPE)
        case Answer.DEEP:
            return web.Response(body=b'{"item":' + b"[" * _DEPTH + b"]" * _DEPTH + b"}", content_type=JSON_TYPE)
        case Answer.REDIRECT:
            return web.Response(status=outcome.http_status, headers={"Location": request.raw_path})
        case Answer.HUGE:
            return await _huge(request, switches.huge_bytes)
        case Answer.DROPPED:
            return close(request)
        case Answer.CUT:
            return close(request, _head(len(body)) + body[: len(body) // 2])
        case Answer.HANGS:
            return await _until_gone(request)
        case Answer.TRICKLES_HEADERS:
            return await _trickle(request, b"", _head(len(body)) + body, switches.trickle_interval)
        case Answer.TRICKLES_BODY:
            return await _trickle(request, _head(len(body)), body, switches.trickle_interval)
        case _:
            assert_never(kind)


def error_answer(outcome: Outcome, switches: Switches) -> RefusalError:
    """The error object of an outcome; one without a code of its own takes the switch ``error_charge``."""
    wait = outcome.retry_after_seconds
    headers = {"Retry-After": str(wait)} if wait is not None else {}
    status, code = (outcome.http_status, outcome.error) if outcome.error else switches.error_charge
    return RefusalError(status, code, f"Simulated: {outcome.says}.", headers=headers)


def close(request: web.BaseRequest, sent_first: bytes = b"") -> web.Response:
    """End the connection, after these bytes. What is returned finds it closed and is never sent."""
    transport = request.transport
    if transport is not None:
        if sent_first:
            transport.write(sent_first)
        transport.close()
    return web.Response()


def is_gone(request: web.BaseRequest) -> bool:
    """Whether the caller has left."""
    transport = request.transport
    return transport is None or transport.is_closing()


def _head(length: int) -> bytes:
    """Of an answer after which the connection ends, as it says itself."""
    fields = f"Content-Type: {JSON_TYPE}\r\nContent-Length: {length}\r\nConnection: close"
    return f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n".encode()


async def _until_gone(request: web.BaseRequest) -> web.Response:
    while not is_gone(request):  # noqa: ASYNC110  (a transport has no event for this)
        await asyncio.sleep(0.5)
    return web.Response()


async def _trickle(request: web.BaseRequest, at_once: bytes, slowly: bytes, interval: float) -> web.Response:
    transport = request.transport
    if transport is not None and at_once:
        transport.write(at_once)
    for byte in slowly:
        if is_gone(request) or transport is None:
            break
        transport.write(bytes([byte]))
        await asyncio.sleep(interval)
    return close(request)


async def _huge(request: web.BaseRequest, size: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": JSON_TYPE})
    response.content_length = size
    await response.prepare(request)
    head, tail, block = b'{"code":"SUCCESS","item":{"filler":"', b'"}}', b"x" * 65536
    await response.write(head)
    left = size - len(head) - len(tail)
    while left > 0:
        await response.write(block[:left])
        left -= len(block)
    await response.write(tail)
    return response
