"""`manage.py up`: the servers and the services in the foreground, with the settings of every day."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from billing.demo.launch import LaunchError, launch
from billing.demo.run import Options, run_services
from config.embedded import EmbeddedError


class Command(BaseCommand):
    help = (
        "Run PostgreSQL and Valkey (unless DATABASE_URL and REDIS_URL are set), web, workers and beat in the "
        "foreground, after migrating the database. Ctrl-C stops everything."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="of the web process (default 8000)")
        parser.add_argument("--data-dir", type=Path, help="data folder (default KITARAN_DATA_DIR)")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        data_dir: Path = (options["data_dir"] or settings.KITARAN_DATA_DIR).absolute()
        chosen = Options(data_dir=data_dir, port=options["port"], write=self.write, complain=self.write)
        try:
            status = launch(sys.argv[1:], data_dir=data_dir, here=lambda: run_services(chosen))
        except (LaunchError, EmbeddedError) as error:
            raise CommandError(str(error)) from error
        if status:
            sys.exit(status)

    def write(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
