"""The processes of an installation on one machine, as the supervisor starts them."""

import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from billing.demo.ports import HOST
from billing.demo.supervisor import Service

SIMULATOR, WEB, BEAT = "simulator", "web", "beat"
CHARGE, NOTIFY, MAIL, BACKGROUND = "charge worker", "notify worker", "mail worker", "background worker"

# So that what takes hours in earnest happens before one's eyes. What the environment names already, it keeps.
SHORTENED = {
    "KITARAN_CHECK_LADDER_SECONDS": "2,4,8,12",
    "KITARAN_REPORT_LADDER_SECONDS": "none",
    "KITARAN_MAIL_BACKEND": "billing.mailing.folder.EmailBackend",
    "KITARAN_GATEWAY_TOTAL_SECONDS": "6",
    "KITARAN_SEND_WINDOW_SECONDS": "4",
    "KITARAN_REVERSED_CHECK_SECONDS": "8",
    "KITARAN_COLLECT_SECONDS": "20",
    "KITARAN_WEBHOOKS_ALLOW_PRIVATE": "1",
}
LATENCY = "0.5-2"  # seconds that the simulator takes for a charge
CHARGE_STOP_SECONDS = 270.0  # a run of the collecting loop and what it has sent; longer than the task's hard limit


@dataclass(frozen=True, slots=True)
class Place:
    """Where processes run, and with which environment."""

    data_dir: Path
    environment: Mapping[str, str]
    charge_stop_seconds: float = CHARGE_STOP_SECONDS

    def service(
        self,
        name: str,
        *words: str,
        output: Path | None = None,
        stop_seconds: float = 10.0,
        stops_last: bool = False,
    ) -> Service:
        return Service(
            name=name,
            argv=(sys.executable, "-m", *words),
            environment=self.environment,
            folder=Path(settings.BASE_DIR),
            log=self.logs / f"{name.replace(' ', '-')}.log",
            output=output,
            stop_seconds=stop_seconds,
            stops_last=stops_last,
        )

    @property
    def logs(self) -> Path:
        return self.data_dir / "log"


def environment(
    *, data_dir: Path, unless_named: Mapping[str, str], always: Mapping[str, str] | None = None
) -> dict[str, str]:
    """This process's environment for its children. `unless_named` holds where the environment says nothing."""
    return {
        **unless_named,
        **os.environ,
        **(always or {}),
        "KITARAN_DATA_DIR": str(data_dir),
        "PYTHONUNBUFFERED": "1",
    }


def simulator(place: Place, *, port: int, hello: Path) -> Service:
    """The gateway's twin. It writes one line about itself to `hello`, and its ledger to `simulator.jsonl`."""
    state = place.data_dir / "simulator.jsonl"
    return place.service(
        SIMULATOR,
        "rm_gateway.simulator",
        *("--host", HOST, "--port", str(port), "--state", str(state), "--latency", LATENCY),
        output=hello,
        stop_seconds=5,
        stops_last=True,
    )


def engine(place: Place, *, port: int) -> tuple[Service, ...]:
    """Web, the workers that charge, deliver webhooks and send mail, the one for everything else, and beat."""
    run = secrets.token_hex(3)
    celery = ("celery", "-A", "config.celery")
    worker = (*celery, "worker", "-c", "2", "--loglevel", "INFO", "--without-gossip", "--without-mingle")
    return (
        place.service(
            WEB,
            *("gunicorn", "config.wsgi", "--worker-class", "config.web.Worker", "--bind", f"{HOST}:{port}"),
            *("--workers", "1", "--threads", "4"),
            *("--graceful-timeout", "3", "--access-logfile", "-", "--no-control-socket"),
        ),
        place.service(
            CHARGE, *worker, "-Q", "charge", "-n", f"charge-{run}@%h", stop_seconds=place.charge_stop_seconds
        ),
        place.service(NOTIFY, *worker, "-Q", "notify", "-n", f"notify-{run}@%h", stop_seconds=20),
        place.service(MAIL, *worker, "-Q", "mail", "-n", f"mail-{run}@%h", stop_seconds=20),
        place.service(
            BACKGROUND, *worker, "-Q", "reconcile,housekeeping", "-n", f"background-{run}@%h", stop_seconds=15
        ),
        place.service(
            BEAT, *celery, "beat", "--schedule", str(place.data_dir / "beat-schedule"), "--pidfile", "", stop_seconds=5
        ),
    )
