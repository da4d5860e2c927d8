"""How many charges a second the simulator takes: ``python -m tests.rm_gateway.simulator.load [charges] [in flight]``.

The requests are signed beforehand; the simulator checks every signature. A third argument is the latency.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections.abc import Iterator

from rm_gateway.signing import canonical_json
from rm_gateway.simulator.process import SimulatorProcess
from tests.rm_gateway.simulator.conftest import Caller, bind


def main(charges: int = 10_000, in_flight: int = 32, latency: str = "0") -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with SimulatorProcess(latency=latency) as simulator:
        caller = Caller(simulator.credentials)
        caller.login()
        customers = [bind(simulator, caller) for _ in range(20)]
        signed = [request(caller, customers[number % 20], number) for number in range(charges)]
        seconds, wrong = asyncio.run(send_all(simulator.port, iter(signed), in_flight))
        executed = len(simulator.charges())
        with open(f"/proc/{simulator.pid}/status") as status:
            facts = dict(line.split(":", 1) for line in status)
        with open(f"/proc/{simulator.pid}/stat") as stat:
            ticks = sum(map(int, stat.read().split()[13:15]))
    sys.stdout.write(
        f"{charges} charges, {in_flight} in flight, latency {latency} s: {seconds:.2f} s, {charges / seconds:.0f}/s, "
        f"{wrong} wrong answers, {executed} executed, {ticks * 10_000 / charges:.0f} us of CPU a charge, "
        f"peak {facts['VmHWM'].split()[0]} kB, {facts['Threads'].strip()} thread(s)\n"
    )


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
    main(*map(int, sys.argv[1:3]), *sys.argv[3:])
