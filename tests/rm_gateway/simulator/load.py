"""How many charges a second the simulator takes: ``python -m tests.rm_gateway.simulator.load --help``.

The requests are signed beforehand; the simulator checks every signature. The client shares the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rm_gateway.signing import canonical_json
from rm_gateway.simulator.process import SimulatorProcess
from tests.rm_gateway.simulator.conftest import Caller, bind


@dataclass(frozen=True)
class Measured:
    """What one run came to."""

    seconds: float
    wrong: int
    executed: int
    cpu_seconds: float
    peak_kilobytes: int
    threads: int


def main() -> None:
    options = parser().parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    charges = options.charges
    got = measure(charges=charges, in_flight=options.in_flight, latency=options.latency, state=options.state)
    sys.stdout.write(
        f"{charges} charges, {options.in_flight} in flight, latency {options.latency} s, "
        f"{'with' if options.state else 'no'} state file: {got.seconds:.2f} s, {charges / got.seconds:.0f}/s, "
        f"{got.wrong} wrong answers, {got.executed} executed, {got.cpu_seconds * 1e6 / charges:.0f} us of CPU each, "
        f"peak {got.peak_kilobytes} kB, {got.threads} thread(s), load average {os.getloadavg()[0]:.1f}\n"
    )


def measure(*, charges: int, in_flight: int, latency: str, state: Path | None = None) -> Measured:
    """Send so many charges to a simulator of its own, so many at once. CPU is the simulator's, of the charges alone."""
    with SimulatorProcess(latency=latency, state=state) as simulator:
        caller = Caller(simulator.credentials)
        caller.login()
        customers = [bind(simulator, caller) for _ in range(20)]
        signed = [request(caller, customers[number % 20], number) for number in range(charges)]
        before = cpu_seconds(simulator.pid)
        seconds, wrong = asyncio.run(send_all(simulator.port, iter(signed), in_flight))
        cpu = cpu_seconds(simulator.pid) - before
        facts = dict(line.split(":", 1) for line in Path(f"/proc/{simulator.pid}/status").read_text().splitlines())
        peak, threads = int(facts["VmHWM"].split()[0]), int(facts["Threads"])
        return Measured(seconds, wrong, len(simulator.charges()), cpu, peak, threads)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.rm_gateway.simulator.load", description=__doc__)
    made.add_argument("charges", type=int, nargs="?", default=10_000)
    made.add_argument("in_flight", type=int, nargs="?", default=32)
    made.add_argument("latency", nargs="?", default="0", help="of a charge: SECONDS or MIN-MAX")
    made.add_argument("--state", type=Path, help="file in which the simulator keeps its state")
    return made


def cpu_seconds(pid: int) -> float:
    """The CPU that a process has used, in user and system mode."""
    ticks = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def request(caller: Caller, customer: str, number: int) -> bytes:
    path = f"/v3/customer/{customer}/order"
    body = {"currency": "MYR", "amount": 1000, "title": f"Plan {number:012d}", "description": "A month"}
    data = canonical_json(body).encode()
    headers = {"Host": caller.credentials.url[7:], "Content-Length": str(len(data))}
    headers |= caller.headers("POST", path, body, {})
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + data


async def send_all(port: int, requests: Iterator[bytes], in_flight: int) -> tuple[float, int]:
    started = time.perf_counter()
    wrong = sum(await asyncio.gather(*(send(port, requests) for _ in range(in_flight))))
    return time.perf_counter() - started, wrong


async def send(port: int, requests: Iterator[bytes]) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    wrong = 0
    for data in requests:
        writer.write(data)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        wrong += b'"status":"SUCCESS"' not in await reader.readexactly(length)
    writer.close()
    return wrong


if __name__ == "__main__":
    main()
