"""What a run found, as JSON that is written after every batch, so that a run that is cut short says what it did."""

import json
import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "tests" / "faults" / "results"


@dataclass(slots=True)
class Spread:
    """How much, from the least to the most, over so many."""

    count: int = 0
    total: float = 0
    least: float | None = None
    most: float | None = None

    def take(self, values: list[float]) -> None:
        self.count += len(values)
        self.total += sum(values)
        self.least = min([*values, *([] if self.least is None else [self.least])], default=None)
        self.most = max([*values, *([] if self.most is None else [self.most])], default=None)

    def as_dict(self) -> dict[str, Any]:
        mean = round(self.total / self.count, 3) if self.count else None
        return {"count": self.count, "total": round(self.total, 3), "min": self.least, "mean": mean, "max": self.most}

    @classmethod
    def read(cls, kept: dict[str, Any]) -> "Spread":
        return cls(kept["count"], kept["total"], kept["min"], kept["max"])


def merge(section: dict[str, Any], batch: dict[str, Any]) -> None:
    """Adds a batch's figures to its section's: numbers are summed, lists become spreads, `most_` is the largest."""
    for name, value in batch.items():
        if isinstance(value, list):
            spread = Spread.read(section[name]) if name in section else Spread()
            spread.take(value)
            section[name] = spread.as_dict()
        elif isinstance(value, dict):
            merge(section.setdefault(name, {}), value)
        elif name.startswith("most_"):
            section[name] = max(section.get(name, value), value)
        else:
            section[name] = round(section.get(name, 0) + value, 3)


def merge_kept(total: dict[str, Any], part: dict[str, Any]) -> None:
    """Adds what was kept of one part of a section, spreads included, to what was kept of others."""
    for name, value in part.items():
        if isinstance(value, dict) and set(value) == {"count", "total", "min", "mean", "max"}:
            ours, theirs = Spread.read(total[name]) if name in total else Spread(), Spread.read(value)
            ends = [one for one in (ours.least, theirs.least, ours.most, theirs.most) if one is not None]
            both = Spread(ours.count + theirs.count, ours.total + theirs.total)
            both.least, both.most = min(ends, default=None), max(ends, default=None)
            total[name] = both.as_dict()
        elif isinstance(value, dict):
            merge_kept(total.setdefault(name, {}), value)
        elif name.startswith("most_"):
            total[name] = max(total.get(name, value), value)
        else:
            total[name] = round(total.get(name, 0) + value, 3)


class Record:
    """The file of one run; without a path nothing is kept."""

    def __init__(self, path: Path | None, *, seed: int, server: str, resume: bool) -> None:
        self._path = path
        self.content: dict[str, Any] = {
            "commit": _commit(),
            "seed": seed,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": {
                "system": platform.platform(),
                "cores": os.cpu_count(),
                "python": platform.python_version(),
                "postgresql": server,
            },
            "sections": {},
            "failures": [],
        }
        if resume and path is not None and path.exists():
            kept = json.loads(path.read_text())
            if (kept["seed"], kept["commit"]) != (seed, self.content["commit"]):
                raise SystemExit(f"{path} was begun with --seed {kept['seed']} on {kept['commit']}")
            self.content = kept

    def section(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.content["sections"].setdefault(name, {"batches": 0, "seconds": 0.0})
        return found

    def failed(self, name: str, problems: list[str]) -> None:
        self.content["failures"].append({"section": name, "problems": problems[:20]})

    def write(self) -> None:
        if self._path is not None:
            self._path.parent.mkdir(exist_ok=True)
            beside = self._path.with_suffix(".new")
            beside.write_text(json.dumps(self.content, indent=1) + "\n")
            beside.replace(self._path)


def _commit() -> str:
    """The commit that is checked out, and "-dirty" when something but results was changed."""
    changed = _git(
        "status", "--porcelain", "--untracked-files=no", "--", ":/", f":(exclude){RESULTS.relative_to(ROOT)}"
    )
    return _git("rev-parse", "--short=12", "HEAD") + ("-dirty" if changed else "")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
