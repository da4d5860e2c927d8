"""A whole installation in a folder: its own PostgreSQL, its own data and witness, its workers as real processes."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import psycopg

from config.embedded.stack import Stack
from rm_gateway.simulator.process import SimulatorProcess
from tests.faults.harness.figures import ROOT

STEP_SECONDS = 400  # on a machine that is busy with much else

# Tests play the hours that pass; to whoever compares clocks that is a wrong one.
PLAYED = {"KITARAN_CLOCK_TOLERANCE_SECONDS": "0"}


class Installation:
    """`folder` holds the cluster, `data` the host's own files."""

    def __init__(self, folder: Path, simulator: SimulatorProcess, *, data: Path | None = None) -> None:
        self.folder = folder
        self.simulator = simulator
        self.data = data or folder / "data"
        self._stack = Stack(folder / "stack", valkey=False)
        self.url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self.url = self._stack.start().database_url

    def stop(self) -> None:
        self._stack.stop()

    @property
    def cluster(self) -> Path:
        return next(path.parent for path in (self.folder / "stack").glob("*/PG_VERSION"))

    def keep(self, name: str) -> None:
        """A copy of the whole cluster, while the server stands still."""
        self.stop()
        shutil.copytree(self.cluster, self.folder / name, symlinks=True)
        self.start()

    def restore(self, name: str) -> None:
        """The copy becomes the cluster."""
        self.stop()
        place = self.cluster
        owner = place.stat()
        shutil.rmtree(place)
        shutil.copytree(self.folder / name, place, symlinks=True)
        own(place, owner.st_uid, owner.st_gid)
        self.start()

    def promote(self, name: str) -> None:
        """The copy becomes the cluster, and ends a recovery in which the rest of the log was not to be had."""
        self.stop()
        place = self.cluster
        owner = place.stat()
        shutil.rmtree(place)
        shutil.copytree(self.folder / name, place, symlinks=True)
        (place / "recovery.signal").touch()
        with (place / "postgresql.auto.conf").open("a") as settings:
            settings.write("restore_command = '/bin/false'\n")
        own(place, owner.st_uid, owner.st_gid)
        self.start()

    def copied_database(self, name: str) -> "Installation":
        """CREATE DATABASE ... TEMPLATE: the same cluster, host and data folder, another database."""
        with psycopg.connect(self.url.replace("/kitaran?", "/postgres?"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE kitaran')
        other = Installation(self.folder, self.simulator)
        other.url = self.url.replace("/kitaran?", f"/{name}?")
        return other

    def twin(self, folder: Path, *, data: Path | None = None) -> "Installation":
        """An installation that begins with a copy of this one's cluster; this one goes on."""
        other = Installation(folder, self.simulator, data=data)
        self.stop()
        place = self.cluster
        (folder / "stack").mkdir(parents=True)
        copy = folder / "stack" / place.name
        shutil.copytree(place, copy, symlinks=True)
        own(copy, place.stat().st_uid, place.stat().st_gid)
        for secret in ("secret-key", "encryption-key"):
            other.data.mkdir(parents=True, exist_ok=True)
            if not (other.data / secret).exists():
                shutil.copy(self.data / secret, other.data / secret)
        self.start()
        return other

    # --- its processes --------------------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        self.data.mkdir(parents=True, exist_ok=True)
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("KITARAN_", "PYTEST", "DATABASE"))
        }
        return kept | {
            "DATABASE_URL": self.url,
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "KITARAN_DATA_DIR": str(self.data),
            "KITARAN_WITNESS_DIR": str(self.data / "witness"),
            "KITARAN_GATEWAY_TOTAL_SECONDS": "5",
            "KITARAN_LOG_LEVEL": "WARNING",
        }

    def step(self, name: str, *arguments: object) -> dict[str, Any]:
        said = self._run("-m", "tests.hostile.steps", name, *map(str, arguments), **PLAYED)
        return json.loads(said.splitlines()[-1])

    def tick(self, *, played: bool = False) -> None:
        """One round of a worker that begins now. `played`: the gateway's clock is ahead, as if hours had passed."""
        self._run("manage.py", "tick", **(PLAYED if played else {}))

    def ticking(self) -> subprocess.Popen[bytes]:
        """A worker that goes on until it is ended by its id."""
        return subprocess.Popen(
            [sys.executable, "manage.py", "tick", "--loop", "--every", "1"],
            cwd=ROOT,
            env=self.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def command(self, *words: str) -> str:
        return self._run("manage.py", *words)

    def _run(self, *arguments: str, **settings: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**self.environment(), **settings},
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout

    # --- the story ------------------------------------------------------------------------------------------

    def begin(self, cards: int, *, due: int) -> None:
        credentials = self.folder / "credentials.json"
        credentials.write_text(json.dumps(asdict(self.simulator.credentials)), encoding="ascii")
        self.step("begin", credentials, cards, due)

    def state(self) -> dict[str, Any]:
        return self.step("state")

    def sql(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)


def own(folder: Path, user: int, group: int) -> None:
    """Gives the copy to the user that the server runs as."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, group, follow_symlinks=False)


def captures(simulator: SimulatorProcess) -> Counter[str]:
    """By the gateway's customer, how often money was taken, by the gateway's own ledger."""
    return Counter(str(charge["customer_id"]) for charge in simulator.charges() if charge["status"] == "SUCCESS")
