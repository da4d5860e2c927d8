"""`manage.py demo`: everything at once on this machine, charging what is due at the simulator before one's eyes."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from billing.demo.launch import LaunchError, launch
from billing.demo.run import Options, run_demo
from billing.demo.simulator import SimulatorError
from config.embedded import EmbeddedError


class Command(BaseCommand):
    help = (
        "Start PostgreSQL, Valkey, the gateway's simulator, web, workers and beat; seed customers and subscriptions "
        "when there are none; show how they are charged. Ctrl-C stops everything."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--once", action="store_true", help="end when everything due is settled, and print the counts"
        )
        parser.add_argument("--seconds", type=int, default=120, help="with --once: end after this long (default 120)")
        parser.add_argument("--port", type=int, default=8000, help="of the web process (default 8000)")
        parser.add_argument("--data-dir", type=Path, help="data folder (default KITARAN_DATA_DIR)")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        data_dir: Path = (options["data_dir"] or settings.KITARAN_DATA_DIR).absolute()
        chosen = Options(
            data_dir=data_dir,
            port=options["port"],
            once=options["once"],
            seconds=options["seconds"],
            write=self.write,
            complain=lambda line: self.stderr.write(f"demo: {line}"),
        )
        try:
            status = launch(sys.argv[1:], data_dir=data_dir, here=lambda: run_demo(chosen))
        except (LaunchError, EmbeddedError, SimulatorError) as error:
            raise CommandError(str(error)) from error
        if status:
            sys.exit(status)

    def write(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
