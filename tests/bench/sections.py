"""One measured section: some processes of one program do some charges, watched from outside."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import psutil

from tests.bench.database import Database
from tests.bench.gateways import Gateway
from tests.bench.worker import Took, Worker

PROCESSES = 2
WATCH_SECONDS = 0.25
GATHER_SECONDS = 0.02  # of the limit program; 0 to 50 ms make no difference beyond the noise


class WrongCountError(Exception):
    """Something was charged twice, or not at all, or is not known: the figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Section:
    """CPU is in milliseconds a charge: of the charging processes, of PostgreSQL and of the gateway."""

    program: str
    latency_ms: int
    done: int
    seconds: float
    per_second: float
    cpu_ms: float
    database_cpu_ms: float
    gateway_cpu_ms: float
    connections: int
    memory_mb: float


@dataclass(frozen=True, slots=True)
class Bench:
    """What all sections of one latency share."""

    database: Database
    gateway: Gateway
    environment: dict[str, str]
    account_id: int
    latency_ms: int
    in_flight: int


def run_limit(bench: Bench, customers: list[str]) -> Section:
    account = bench.gateway.account
    share = (len(customers) + PROCESSES - 1) // PROCESSES
    arguments = [
        {
            "customers": customers[number * share : (number + 1) * share],
            "senders": bench.in_flight // PROCESSES,
            "gather_seconds": GATHER_SECONDS,
            "database_url": bench.environment["DATABASE_URL"],
            "url": account.url,
            "client_id": account.client_id,
            "client_secret": account.client_secret,
            "private_key": account.private_key,
        }
        for number in range(PROCESSES)
    ]
    before = bench.database.limit_charges()
    section = _charge(bench, "limit", "tests.bench.limit", arguments, len(customers))
    if bench.database.limit_charges() - before != len(customers):
        raise WrongCountError("the limit program did not record every charge")
    return section


def run_engine(bench: Bench, customers: list[str]) -> tuple[Section, Section]:
    """Seeds subscriptions that are due, opens them, and collects them: the sections *open* and *engine*."""
    bench.database.seed(bench.account_id, customers)
    bench.database.settle_down()
    opened = _measure(bench, "open", "tests.bench.engine", [{"action": "open"}])
    if opened.done != len(customers):
        raise WrongCountError(f"{opened.done} of {len(customers)} periods were opened")
    before = bench.database.attempts(bench.account_id)
    collecting = {"action": "collect", "senders": bench.in_flight // PROCESSES}
    engine = _charge(bench, "engine", "tests.bench.engine", [collecting] * PROCESSES, len(customers))
    after = bench.database.attempts(bench.account_id)
    made = (after.made - before.made, after.succeeded - before.succeeded, after.invoices - before.invoices)
    if made != (len(customers),) * 3:
        raise WrongCountError(f"of {len(customers)} invoices: (attempts, succeeded, tried) = {made}")
    return opened, engine


def _charge(bench: Bench, program: str, module: str, arguments: list[dict[str, Any]], count: int) -> Section:
    posts, distinct = bench.gateway.counts()
    section = _measure(bench, program, module, arguments)
    posts_after, distinct_after = bench.gateway.counts()
    seen = (section.done, posts_after - posts, distinct_after - distinct)
    if seen != (count,) * 3:
        raise WrongCountError(f"{program}, {count} charges: (settled, posted, different markers) = {seen}")
    return section


def _measure(bench: Bench, program: str, module: str, arguments: list[dict[str, Any]]) -> Section:
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(module, one, bench.environment)) for one in arguments]
        for worker in workers:
            worker.wait_ready()
        bench.database.settle_down()
        database_cpu, gateway_cpu = bench.database.cpu_seconds(), _cpu_seconds(bench.gateway.pid)
        with _watch(bench.database, workers) as seen:
            for worker in workers:
                worker.go()
            took = [worker.took() for worker in workers]
        database_cpu = bench.database.cpu_seconds() - database_cpu
        gateway_cpu = _cpu_seconds(bench.gateway.pid) - gateway_cpu
    return _section(bench, program, took, database_cpu, gateway_cpu, seen)


def _section(
    bench: Bench, program: str, took: list[Took], database_cpu: float, gateway_cpu: float, seen: dict[str, float]
) -> Section:
    done = sum(one.done for one in took)
    seconds = max(one.ended for one in took) - min(one.started for one in took)
    each = 1000 / max(done, 1)
    return Section(
        program=program,
        latency_ms=bench.latency_ms,
        done=done,
        seconds=round(seconds, 3),
        per_second=round(done / seconds, 1),
        cpu_ms=round(sum(one.cpu_seconds for one in took) * each, 3),
        database_cpu_ms=round(database_cpu * each, 3),
        gateway_cpu_ms=round(gateway_cpu * each, 3),
        connections=int(seen["connections"]),
        memory_mb=round(seen["memory"] / 2**20, 1),
    )


def _cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@contextmanager
def _watch(database: Database, workers: list[Worker]) -> Iterator[dict[str, float]]:
    """The most connections and the most memory (PSS of all workers together) that were seen meanwhile."""
    seen = {"connections": 0.0, "memory": 0.0}
    over = threading.Event()

    def look() -> None:
        while not over.wait(WATCH_SECONDS):
            seen["connections"] = max(seen["connections"], database.connections())
            seen["memory"] = max(seen["memory"], sum(worker.pss_bytes() for worker in workers))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()
