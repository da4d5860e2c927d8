"""The warm parent: started by `__main__` beside the servers; forks everything that connects, and adds up."""

import argparse
import gc
import hashlib
import itertools
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import django

from tests.faults.deaths import POINTS
from tests.faults.harness.figures import RESULTS, Record, merge

PROFILES = ("default", "hostile")
Figures = tuple[dict[str, Any], list[str]]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the run: `sizes` has one entry a batch, with how much the batch does."""

    name: str
    sizes: list[int]
    run: Callable[[Any, int, int], Figures]  # the world, how much, its seed


def main() -> int:
    options = _options()
    django.setup()
    from tests.faults.harness.forking import in_child
    from tests.faults.harness.world import World

    wanted = [one for one in _sections(options.full) if _fits(options.only, one.name)]
    if not wanted:
        raise SystemExit(f"there is no section {options.only}")
    path = RESULTS / f"{options.save}.json" if options.save else None
    record = Record(path, seed=options.seed, server=in_child(_server_version), resume=options.resume)
    with tempfile.TemporaryDirectory(prefix="kitaran-faults-") as folder:
        world = World(Path(folder), cards=_cards(wanted, options.full))
        gc.collect()
        gc.freeze()  # what is shared with the children stays shared
        for section in wanted:
            _run(section, world, record, options)
    failures = record.content["failures"]
    print(json.dumps({"sections": record.content["sections"], "failures": len(failures)}))
    return 1 if failures else 0


def _run(section: Section, world: Any, record: Record, options: argparse.Namespace) -> None:
    kept = record.section(section.name)
    for number, size in enumerate(section.sizes):
        name = f"{section.name}:{number}"
        if number < kept["batches"] or not _fits(options.only, name):
            continue
        begun = time.monotonic()
        try:
            figures, problems = section.run(world, size, _seed(options.seed, name))
        except Exception as error:  # noqa: BLE001  (the other batches go on)
            figures, problems = {}, [f"{type(error).__name__}: {error}"]
        merge(kept, {**figures, "batches": 1, "seconds": time.monotonic() - begun})
        if problems:
            record.failed(name, problems)
            print(*problems[:5], sep="\n", file=sys.stderr)
            full = " FULL=1" if options.full else ""
            _keep_log()
            print(f"repeat with: make faults SEED={options.seed} ONLY={name}{full}", file=sys.stderr)
        record.write()
    print(f"{section.name}: {_line(kept)}", file=sys.stderr, flush=True)


def _keep_log() -> None:
    """What the workers wrote goes with the servers' folder."""
    log = Path(os.environ["KITARAN_DATA_DIR"]) / "workers.log"
    if log.exists():
        kept = Path(tempfile.gettempdir()) / "kitaran-faults-workers.log"
        print(f"what the workers wrote is in {shutil.copy(log, kept)}", file=sys.stderr)


def _line(kept: dict[str, Any]) -> str:
    shown = ("kills", "invoices", "double", "missed", "most_posts_per_marker", "problems", "states", "seconds")
    return ", ".join(f"{name} {kept[name]}" for name in shown if name in kept)


def _sections(full: bool) -> Iterator[Section]:
    for profile in PROFILES:
        yield from _forked(profile, full)
        yield from _checkouts(profile, full)
        yield from _faults(profile)
        yield from _workers(profile, full)


def _forked(profile: str, full: bool) -> Iterator[Section]:
    from tests.faults.harness import forked_kills, zombies

    for point in POINTS:
        kills = partial(forked_kills.run_batch, point=point, profile=profile)
        yield Section(f"forked:{point}:{profile}", [forked_kills.BATCH] * 10 if full else [12], _of_kills(kills))
        stops = partial(zombies.run, point=point, profile=profile)
        yield Section(f"zombies:{point}:{profile}", [4], _of_kills(stops))


def _checkouts(profile: str, full: bool) -> Iterator[Section]:
    from tests.faults.harness import checkout_kills

    kills = partial(checkout_kills.run_batch, profile=profile)
    yield Section(f"checkouts:{profile}", [50] * 10 if full else [20], _of_kills(kills))


def _faults(profile: str) -> Iterator[Section]:
    from tests.faults.harness import broker, commits, postgres, terms, workers

    for phase, when in itertools.product(commits.TABLES, commits.WHENS):
        cut = partial(commits.run, phase=phase, when=when, profile=profile)
        yield Section(f"commits:{phase}:{when}:{profile}", [6], _of_charges(cut))
    for victim in postgres.VICTIMS:
        dies = partial(postgres.run, victim=victim, profile=profile)
        yield Section(f"postgres:{victim}:{profile}", [60], _of_charges(dies))
    yield Section(f"broker:{profile}", [6], _of_charges(partial(broker.run, profile=profile)))
    for kind in workers.KINDS:
        told = partial(terms.run, kind=kind, profile=profile)
        yield Section(f"terms:{kind}:{profile}", [24], _of_charges(told))


def _workers(profile: str, full: bool) -> Iterator[Section]:
    from tests.faults.harness import random_runs, whole_kills, workers

    at_random = partial(random_runs.run, profile=profile)
    yield Section(f"random:{profile}", [random_runs.CHARGES] * 40 if full else [80], _of_charges(at_random))
    for kind in workers.KINDS:
        if not full and (kind, profile) not in {("tick", "hostile"), ("celery", "default")}:
            continue
        for point in POINTS if full else ("each",):
            whole = partial(whole_kills.run, kind=kind, point=point, profile=profile)
            yield Section(f"whole:{kind}:{point}:{profile}", [12] if full else [len(POINTS)], _of_kills(whole))


def _of_kills(run: Callable[..., Figures]) -> Callable[[Any, int, int], Figures]:
    return lambda world, size, seed: run(world, kills=size, seed=seed)


def _of_charges(run: Callable[..., Figures]) -> Callable[[Any, int, int], Figures]:
    return lambda world, size, seed: run(world, charges=size, seed=seed)


def _cards(wanted: list[Section], full: bool) -> int:
    from tests.faults.harness import forked_kills

    return forked_kills.MOST_INVOICES if full and any(one.name.startswith("forked:") for one in wanted) else 200


def _fits(only: list[str] | None, name: str) -> bool:
    """Whether one of them is the beginning of the other, word for word."""
    named = name.split(":")
    return only is None or any(all(a == b for a, b in zip(one.split(":"), named, strict=False)) for one in only)


def _seed(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8])


def _server_version() -> str:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        return str(cursor.fetchone()[0])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.harness")
    parser.add_argument("--full", action="store_true", help="the long run")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument("--only", metavar="NAME", action="append", help="a section, or section:batch, by its words")
    parser.add_argument("--save", metavar="NAME", help=f"keep the figures in {RESULTS.name}/NAME.json")
    parser.add_argument("--resume", action="store_true", help="go on with that file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
