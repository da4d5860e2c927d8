"""The demonstration itself, and the plain services, in a process that has both servers.

1. Start the simulator and bring the database up to date side by side, and wait for both.
2. Find or open the simulator's account; note what is open now.
3. Start web, workers and beat; seed what is missing; ask the workers to look at once.
4. Show what happens, until a signal comes or (`once`) nothing more will happen by itself.
5. With `once`: compare with the simulator's own ledger, and print the counts.
"""

import json
import logging
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from celery import current_app
from django.core.management import call_command
from django.db import Error, connection
from kombu.exceptions import OperationalError as BrokerError

from billing import doorbell
from billing.audit import run_counts
from billing.demo import ports, seeding, services, simulator, view
from billing.demo.launch import INTERRUPTED, interruptible
from billing.demo.supervisor import Supervisor
from billing.demo.table import Screen, screen
from billing.models import GatewayAccount, Heartbeat
from billing.models.clock import database_now
from billing.operating.health import QUEUES

LOOK_SECONDS = 0.25
SIMULATOR_PORTS = (8480, 8481, 8482)
DEMO_STOP_SECONDS = 9.0  # longer than any charge of the simulator takes


@dataclass(frozen=True, slots=True)
class Options:
    """`seconds` limits a run with `once`; `write` prints a line of the result, `complain` one of trouble."""

    data_dir: Path
    port: int
    write: Callable[[str], None]
    complain: Callable[[str], None]
    once: bool = False
    seconds: int = 120


def run_demo(options: Options) -> int:
    """Runs the demonstration; the exit status. Raises SimulatorError and django.db.Error."""
    began = time.monotonic()
    log_to(options.data_dir / "log" / "demo.log")
    result: Result | None = None
    shown = screen()
    supervisor = Supervisor(shown.warn)
    with interruptible(supervisor.hurry):
        try:
            supervisor.start()
            result = Demo(options, supervisor, shown, began).run()
        except KeyboardInterrupt:
            shown.close()
            shown.say("Stopping everything …")
        finally:
            shown.close()
            supervisor.end()
    if result is None:
        return INTERRUPTED if options.once else 0
    for line in result.complaints:
        options.complain(line)
    options.write(json.dumps(result.numbers))
    return 1 if result.complaints else 0


def run_services(options: Options) -> int:
    """Runs web, workers and beat until a signal comes; the exit status."""
    logs = options.data_dir / "log"
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    port = web_port(options.port, options.write)
    url = f"http://{ports.HOST}:{port}"
    place = services.Place(
        options.data_dir,
        services.environment(data_dir=options.data_dir, unless_named={"KITARAN_PUBLIC_URL": url}),
    )
    supervisor = Supervisor(options.write)
    with interruptible(supervisor.hurry):
        try:
            call_command("migrate", verbosity=0, interactive=False)
            supervisor.start()
            supervisor.keep(*services.engine(place, port=port))
            check_at_once()
            options.write(f"Health   {url}/health/\nLogs     {logs}\nCtrl-C stops everything.")
            while True:
                signal.pause()
        except KeyboardInterrupt:
            options.write("Stopping: waiting for the charges under way (Ctrl-C again: do not wait) …")
        finally:
            connection.close()
            supervisor.end()
    return 0


@dataclass(frozen=True, slots=True)
class Result:
    """What a run with `once` came to: the numbers, and a sentence for each thing that is wrong."""

    numbers: dict[str, int | float]
    complaints: list[str]


class Demo:
    """One run of the demonstration; the methods are its steps."""

    def __init__(self, options: Options, supervisor: Supervisor, shown: Screen, began: float) -> None:
        self._options = options
        self._supervisor = supervisor
        self._screen = shown
        self._began = began
        self._addresses: dict[str, str] = {}
        self._over = False
        self._news_after = 0
        self._snapshot: view.Snapshot | None = None

    def run(self) -> Result | None:
        """Returns only with `once`; otherwise a signal ends it."""
        place, port = self._place()
        hello = self._start_simulator(place, taken=port)
        self._start = run_counts.start_of_run(account_id=None, now=database_now())
        account = seeding.find_account(hello)
        if account is None:
            account = seeding.create_account(hello, now=database_now())
        else:
            self._start = run_counts.start_of_run(account_id=account.pk, now=database_now())
        self._account = account
        self._news_after = view.newest_transition()
        self._supervisor.keep(*services.engine(place, port=port))
        self._seed(account)
        check_at_once()
        while True:
            self._show()
            if self._options.once and (self._over or self._time_is_up()):
                return self._result(hello)
            time.sleep(LOOK_SECONDS)

    # --- the start ----------------------------------------------------------------------------------------

    def _place(self) -> tuple[services.Place, int]:
        port = web_port(self._options.port, self._screen.say)
        url = f"http://{ports.HOST}:{port}"
        self._addresses["web"] = f"{url}/health/"
        self._public_url = url
        environment = services.environment(
            data_dir=self._options.data_dir,
            unless_named=services.SHORTENED,
            always={"KITARAN_PUBLIC_URL": url},
        )
        return services.Place(self._options.data_dir, environment, DEMO_STOP_SECONDS), port

    def _start_simulator(self, place: services.Place, *, taken: int) -> simulator.Hello:
        """On its port of last time when that is free. The database is brought up to date meanwhile."""
        file = self._options.data_dir / "simulator.json"
        before = simulator.read_hello(file)
        preferred = [urlsplit(before.url).port or 0] if before else []
        refused = [taken]
        for last in (False, False, True):
            file.unlink(missing_ok=True)
            port = ports.choose(*preferred, *SIMULATOR_PORTS, taken=refused)
            self._supervisor.keep(services.simulator(place, port=port, hello=file))
            if refused == [taken]:
                call_command("migrate", verbosity=0, interactive=False)
            try:
                hello = simulator.wait_for(
                    file, port=port, has_died=lambda: self._supervisor.deaths(services.SIMULATOR) > 0
                )
            except simulator.SimulatorError as error:
                if last:
                    raise simulator.SimulatorError(f"{error} See {place.logs / 'simulator.log'}.") from error
                self._supervisor.drop(services.SIMULATOR)  # somebody else was quicker to take the port
                refused.append(port)
            else:
                break
        self._addresses["simulator"] = f"{hello.url}/_simulator/charges"
        return hello

    def _seed(self, account: GatewayAccount) -> None:
        started = seeding.seed(account, return_url=f"{self._public_url}/bind", clock=database_now)
        if started:
            self._screen.say(f"Seeded {started} customers, each with a card and a subscription.")

    # --- the show -----------------------------------------------------------------------------------------

    def _show(self) -> None:
        trouble = ""
        try:
            now = database_now()
            self._news_after, sentences = view.news(account_id=self._account.pk, after=self._news_after)
            for sentence in sentences:
                self._screen.say(sentence)
            self._snapshot = view.snapshot(
                account_id=self._account.pk, zone=self._account.time_zone, start=self._start, now=now
            )
            self._over = self._snapshot.counts.finished and self._every_queue_was_served()
        except Error as error:
            trouble = f"PostgreSQL does not answer ({type(error).__name__}); retrying"
            self._over = False
            connection.close()
        self._screen.show(self._snapshot, self._addresses, trouble=trouble)

    def _every_queue_was_served(self) -> bool:
        beats = Heartbeat.objects.filter(queue__in=QUEUES, beat_at__gt=self._start.at)
        return beats.count() == len(QUEUES)

    def _time_is_up(self) -> bool:
        return time.monotonic() - self._began > self._options.seconds

    def _result(self, hello: simulator.Hello) -> Result:
        account_id, now = self._account.pk, database_now()
        counted = run_counts.count_run(account_id=account_id, start=self._start, now=now)
        double = run_counts.double_charges(account_id=account_id, charges=simulator.ledger(hello))
        missed = run_counts.missed(account_id=account_id, start=self._start, now=now)
        complaints = []
        if double:
            complaints.append(f"The simulator's ledger has {double} double charges.")
        if missed:
            complaints.append(f"{missed} due periods have no invoice, or no attempt to collect it.")
        if not self._over:
            complaints.append(f"Not everything is settled after {self._options.seconds} s: {_still_open(counted)}.")
        numbers: dict[str, int | float] = {
            "due": counted.due,
            "paid": counted.paid,
            "declined": counted.declined,
            "unknown": counted.unknown,
            "double": double,
            "missed": missed,
            "seconds": round(time.monotonic() - self._began, 1),
        }
        return Result(numbers, complaints)


def _still_open(counted: run_counts.RunCounts) -> str:
    named = [f"{number} {outcome.value.replace('_', ' ')}" for outcome, number in sorted(counted.outcomes.items())]
    if counted.unopened:
        named.append(f"{counted.unopened} due without an invoice")
    return ", ".join(named) or "a queue was not served"


def web_port(wanted: int, say: Callable[[str], None]) -> int:
    """The port for the web process (0 asks for any); says so when it is another than was asked for."""
    port = ports.choose(wanted, *(range(wanted + 1, wanted + 20) if wanted else ()))
    if wanted not in (0, port):
        say(f"Port {wanted} is taken; the web process listens on {port}.")
    return port


def check_at_once() -> None:
    """Rings every queue, so that nobody waits for beat's first tick; the messages wait for the workers."""
    doorbell.ring(doorbell.OPEN_DUE)
    doorbell.ring(doorbell.COLLECT)
    with suppress(BrokerError):  # beat rings as well, a little later
        for queue in QUEUES:
            current_app.send_task("billing.heartbeat", queue=queue, expires=doorbell.EXPIRES_SECONDS, retry=False)


def log_to(path: Path) -> None:
    """What this process logs goes to a file, because the terminal belongs to the table."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("{asctime} {levelname} {name} {message}", style="{"))
    root = logging.getLogger()
    for other in list(root.handlers):
        root.removeHandler(other)
    root.addHandler(handler)
