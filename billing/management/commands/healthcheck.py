"""`manage.py healthcheck`: whether a service does its work, for the engine that runs its container. 0 when it does.

Workers and beat are judged by the heartbeat rows in PostgreSQL, web by its own answer.
"""

import json
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from http.client import HTTPConnection, HTTPException
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from billing.models import Heartbeat
from billing.models.clock import database_now
from billing.operating.health import PULSE, QUEUES

WEB_TIMEOUT_SECONDS = 8
FINE, NOT_FINE = 200, 503


class Command(BaseCommand):
    help = "Exit 0 if the service works: a worker's queues, beat, or the web process."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        service = parser.add_mutually_exclusive_group(required=True)
        service.add_argument(
            "--queue", action="append", choices=QUEUES, help="this queue has a heartbeat; may be repeated"
        )
        service.add_argument("--beat", action="store_true", help="some queue has a heartbeat, so beat works")
        service.add_argument("--web", type=int, metavar="PORT", help="the web process on this machine answers")
        parser.add_argument(
            "--within",
            type=int,
            default=int(PULSE.total_seconds()),
            metavar="SECONDS",
            help="the oldest heartbeat allowed (default %(default)s)",
        )

    def handle(self, *, queue: list[str] | None, beat: bool, web: int | None, within: int, **_: Any) -> None:
        if web is not None:
            self.stdout.write(_ask_web(web))
            return
        beats = dict(Heartbeat.objects.values_list("queue", "beat_at"))
        now, allowed = database_now(), timedelta(seconds=within)
        silent = silent_queues(queue or QUEUES, beats, now=now, allowed=allowed)
        if len(silent) == len(QUEUES) if beat else silent:
            raise CommandError(f"no heartbeat for {within} s: {', '.join(silent)}")
        self.stdout.write("ok")


def silent_queues(
    queues: Sequence[str], beats: Mapping[str, datetime], *, now: datetime, allowed: timedelta
) -> list[str]:
    """Those of `queues` whose last pulse is older than `allowed`, or that never had one."""
    return [queue for queue in queues if queue not in beats or now - beats[queue] > allowed]


def _ask_web(port: int) -> str:
    """What `/health/` says, on one line. That others are silent is not web's fault: it answers, so it works.

    Raises CommandError when there is no such answer, or when web cannot read PostgreSQL.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=WEB_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health/", headers={"Host": _host(), "X-Forwarded-Proto": "https"})
        answer = connection.getresponse()
        report = json.loads(answer.read()) if answer.status in (FINE, NOT_FINE) else None
    except (OSError, HTTPException, ValueError) as error:
        raise CommandError(f"web does not answer on port {port}: {type(error).__name__}") from error
    finally:
        connection.close()
    if report is None:
        raise CommandError(f"web answers with {answer.status}")
    if "silent_queues" not in report:
        raise CommandError("; ".join(report.get("problems", ())) or "web answers, but not with a health report")
    return "; ".join(report["problems"]) or "ok"


def _host() -> str:
    """A name that the web process takes (ALLOWED_HOSTS)."""
    name = next(iter(settings.ALLOWED_HOSTS), "localhost")
    return "localhost" if name == "*" else name.removeprefix(".")
