"""``python -m rm_gateway.simulator``: start the twin, print one line of JSON, serve until a signal."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

from rm_gateway.simulator.checks import Gatekeeper
from rm_gateway.simulator.clock import Clock
from rm_gateway.simulator.core import Core
from rm_gateway.simulator.journal import Journal, JournalError
from rm_gateway.simulator.ledger import Ledger
from rm_gateway.simulator.merchants import Tokens, new_merchant, new_private_key, public_pem
from rm_gateway.simulator.notifies import Notifier
from rm_gateway.simulator.recurring import RecurringEngine
from rm_gateway.simulator.server import Server
from rm_gateway.simulator.switches import PROFILES, SwitchError, profile

FIRST_MERCHANT_ID = 4118165203679668885
FIRST_STORE_ID = 1602660043994159611


class StartError(Exception):
    """The simulator cannot start; the message is the one line that says why."""


def main(arguments: list[str] | None = None) -> int:
    """Run the simulator. 0 after a signal, 2 when it could not start."""
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(_run(options))
    except (StartError, JournalError, SwitchError) as error:
        sys.stderr.write(f"simulator: {error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rm_gateway.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any free one)")
    parser.add_argument("--state", type=Path, help="file in which the state survives a restart")
    parser.add_argument("--seed", type=int, help="makes latencies, weights and ids repeatable")
    parser.add_argument("--latency", help="of a charge: SECONDS or MIN-MAX")
    parser.add_argument("--redirect", help="as_chosen, failed, cancelled or never")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="default", help="starting switches")
    parser.add_argument("--merchants", type=int, default=1, help="how many merchants there are (default 1)")
    parser.add_argument("--public-url", help="how browsers and callers reach it, when that differs")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SWITCH=VALUE", help="any switch; the value is JSON or a word"
    )
    return parser


def _chosen(options: argparse.Namespace) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for setting in options.set:
        name, equals, value = setting.partition("=")
        if not equals:
            raise StartError(f"--set takes SWITCH=VALUE, not {setting!r}")
        try:
            changes[name] = json.loads(value)
        except ValueError:
            changes[name] = value
    for name in ("latency", "redirect"):
        if getattr(options, name) is not None:
            changes[name] = getattr(options, name)
    return changes


async def _run(options: argparse.Namespace) -> None:
    changes = _chosen(options)
    switches = profile(options.profile).changed(changes)
    clock, rng, tokens = Clock(), random.Random(options.seed), Tokens()
    ledger = Ledger(Journal(options.state), clock, rng, switches)
    try:
        ledger.replay()
        ledger.switches = ledger.switches.changed(changes)
        _make_merchants(ledger, options.merchants)
        core = Core(ledger, clock, rng, tokens, Gatekeeper(tokens, clock), Notifier(ledger, clock), "")
        await _serve(core, options)
    finally:
        ledger.close()


def _make_merchants(ledger: Ledger, count: int) -> None:
    if not ledger.server_key:
        ledger.record("server_key", pem=new_private_key())
    for number in range(len(ledger.merchants), count):
        merchant = new_merchant(str(FIRST_MERCHANT_ID + number), str(FIRST_STORE_ID + number))
        ledger.record("merchant", **merchant.as_dict())


async def _serve(core: Core, options: argparse.Namespace) -> None:
    _allow_many_connections()
    stopped = asyncio.Event()
    engine = RecurringEngine(core)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    web_server = web.Server(Server(core, engine).handle, access_log=None, keepalive_timeout=3600, max_field_size=65536)
    runner = web.ServerRunner(web_server, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, options.host, options.port, backlog=4096)
        try:
            await site.start()
        except (OSError, OverflowError) as error:
            raise StartError(f"cannot listen on {options.host}:{options.port}: {error}") from error
        port = runner.addresses[0][1]
        host = f"[{options.host}]" if ":" in options.host else options.host
        url = (options.public_url or f"http://{host}:{port}").rstrip("/")
        core.pages_url = url
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        sys.stdout.write(json.dumps(_hello(core, url)) + "\n")
        sys.stdout.flush()
        await _until(stopped, core, engine)
    finally:
        for connection in web_server.connections:
            if connection.transport is not None:
                connection.transport.abort()
        await runner.cleanup()


async def _until(stopped: asyncio.Event, core: Core, engine: RecurringEngine) -> None:
    runs = asyncio.create_task(engine.run())
    try:
        await stopped.wait()
    finally:
        runs.cancel()
        await core.notifier.close()


def _hello(core: Core, url: str) -> dict[str, Any]:
    merchants = [merchant.as_dict() for merchant in core.ledger.merchants.values()]
    return {
        "url": url,
        "oauth_url": f"{url}/v1",
        "api_url": f"{url}/v3",
        "pages_url": url,
        "server_public_key": public_pem(core.ledger.server_key),
        "pid": os.getpid(),
        **merchants[0],
        "merchants": merchants,
    }


def _allow_many_connections() -> None:
    with contextlib.suppress(OSError, ValueError):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
