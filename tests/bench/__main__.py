"""`python -m tests.bench [--quick] [--save]`: see the package's docstring and docs/benchmarks.md."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from config import embedded
from tests.bench import limit, sections
from tests.bench.database import Database
from tests.bench.gateways import gateway
from tests.bench.sections import Bench, Section
from tests.bench.worker import ROOT, Worker

RESULTS = ROOT / "tests" / "bench" / "results" / "latest.json"
IN_FLIGHT = {0: 64, 200: 512}


def main() -> int:
    options = _options()
    with _stack() as (database, environment):
        found: list[Section] = []
        for latency_ms in options.latencies:
            found += _rounds(database, environment, options, latency_ms)
        report = _report(found, options, database.version())
    _print(found, report)
    if options.save:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({"ratios": report["ratios"], "cpu_ratios": report["cpu_ratios"], "exactly_once": True}))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=sys.modules["tests.bench"].__doc__)
    parser.add_argument("--gateway", choices=("stub", "simulator"), default="stub")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of limit and engine at each latency")
    parser.add_argument("--charges", type=int, default=8000, help="charges in each measured section")
    parser.add_argument("--warm-up", type=int, default=1000, help="charges of the engine before the first round")
    parser.add_argument("--latencies", type=int, nargs="+", choices=sorted(IN_FLIGHT), default=sorted(IN_FLIGHT))
    parser.add_argument("--in-flight", type=int, help="of both processes together (default: 64, at 200 ms 512)")
    parser.add_argument("--quick", action="store_true", help="one small round: whether it works, not how fast it is")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.relative_to(ROOT)}")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.charges, options.in_flight, options.warm_up = 1, 200, 32, 0
    return options


def _rounds(
    database: Database, environment: dict[str, str], options: argparse.Namespace, latency_ms: int
) -> list[Section]:
    found: list[Section] = []
    with gateway(options.gateway, latency_ms=latency_ms) as answering:
        account_id = _prepare(environment, asdict(answering.account))
        bench = Bench(
            database, answering, environment, account_id, latency_ms, options.in_flight or IN_FLIGHT[latency_ms]
        )
        # Into empty tables PostgreSQL plans differently: the first charges of an installation are not measured.
        if options.warm_up:
            sections.run_engine(bench, answering.customers(options.warm_up, first=latency_ms * 1_000_000))
        for number in range(options.rounds):
            first = latency_ms * 1_000_000 + options.warm_up + number * options.charges
            customers = answering.customers(options.charges, first=first)
            found.append(sections.run_limit(bench, customers))
            found += sections.run_engine(bench, customers)
            print(_line(latency_ms, number, found[-3], found[-1]), file=sys.stderr)
    return found


def _prepare(environment: dict[str, str], account: dict[str, str]) -> int:
    columns = {
        "name": "Bench",
        "client_id": account["client_id"],
        "client_secret": account["client_secret"],
        "private_key_pem": account["private_key"],
        "store_id": account["store_id"],
        "oauth_url": f"{account['url']}/v1",
        "api_url": f"{account['url']}/v3",
    }
    with Worker("tests.bench.engine", {"action": "prepare", "account": columns}, environment) as worker:
        worker.wait_ready()
        worker.go()
        return worker.took().done


@contextmanager
def _stack() -> Iterator[tuple[Database, dict[str, str]]]:
    folder = tempfile.TemporaryDirectory(prefix="kitaran-bench-")
    with folder as data_dir, embedded.throwaway(valkey=True, durable=True) as info:
        environment = {
            "DATABASE_URL": info.database_url,
            "REDIS_URL": info.redis_url,
            "KITARAN_DATA_DIR": data_dir,
            "KITARAN_LOG_LEVEL": "WARNING",
        }
        database = Database(info.database_url)
        try:
            database.execute(limit.SCHEMA)
            yield database, environment
        finally:
            database.close()


def _ratios(found: list[Section], latency_ms: int) -> list[float]:
    """Of each round: charges per second of the engine, divided by those of the limit program just before."""
    of = {
        program: [one.per_second for one in found if one.program == program and one.latency_ms == latency_ms]
        for program in ("limit", "engine")
    }
    return [round(engine / bare, 3) for bare, engine in zip(of["limit"], of["engine"], strict=True)]


def _cpu_ratio(found: list[Section], latency_ms: int) -> float:
    """CPU of the whole machine a charge, limit over engine, medians: the ratio when nobody else uses the machine and
    every core is busy, and the steadier one when somebody does."""
    of = {
        program: statistics.median(
            one.cpu_ms + one.database_cpu_ms + one.gateway_cpu_ms
            for one in found
            if one.program == program and one.latency_ms == latency_ms
        )
        for program in ("limit", "engine")
    }
    return round(of["limit"] / of["engine"], 3)


def _report(found: list[Section], options: argparse.Namespace, postgresql: str) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": {
            "system": platform.platform(),
            "cores": len(os.sched_getaffinity(0)),
            "load_average": os.getloadavg()[0],
            "python": platform.python_version(),
            "postgresql": postgresql,
        },
        "gateway": options.gateway,
        "in_flight": {str(latency): options.in_flight or IN_FLIGHT[latency] for latency in options.latencies},
        "ratios": {str(latency): _ratios(found, latency) for latency in options.latencies},
        "cpu_ratios": {str(latency): _cpu_ratio(found, latency) for latency in options.latencies},
        "sections": [asdict(one) for one in found],
    }


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _line(latency_ms: int, number: int, bare: Section, engine: Section) -> str:
    ratio = engine.per_second / bare.per_second
    return (
        f"{latency_ms} ms, round {number + 1}: {engine.per_second:.0f} of {bare.per_second:.0f} charges/s: {ratio:.2f}"
    )


def _print(found: list[Section], report: dict[str, Any]) -> None:
    table = Table(title="Medians; (min to max) over the rounds; CPU in ms a charge or subscription")
    for heading in ("latency", "program", "per second", "CPU", "PostgreSQL", "gateway", "connections", "memory MB"):
        table.add_column(heading, justify="left" if heading == "program" else "right")
    for latency in report["ratios"]:
        for program in ("limit", "engine", "open"):
            some = [one for one in found if one.program == program and one.latency_ms == int(latency)]
            table.add_row(f"{latency} ms", program, *_cells(some))
    console = Console(width=120)
    console.print(table)
    for latency, ratios in report["ratios"].items():
        middle = statistics.median(ratios)
        print(
            f"{latency} ms: engine / limit = {middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
            f"by CPU {report['cpu_ratios'][latency]:.2f}"
        )


def _cells(some: list[Section]) -> Iterator[str]:
    speeds = [one.per_second for one in some]
    yield f"{statistics.median(speeds):.0f} ({min(speeds):.0f} to {max(speeds):.0f})"
    for name in ("cpu_ms", "database_cpu_ms", "gateway_cpu_ms"):
        yield f"{statistics.median(getattr(one, name) for one in some):.2f}"
    yield str(max(one.connections for one in some))
    yield f"{max(one.memory_mb for one in some):.0f}"


if __name__ == "__main__":
    sys.exit(main())
