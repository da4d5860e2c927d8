"""The tables of `docs/faults.md`, from `tests/faults/results`: `python -m tests.faults.harness.page` writes them."""

import json
from typing import Any

from tests.faults.deaths import POINTS
from tests.faults.harness.figures import RESULTS, ROOT, merge_kept

PAGE = ROOT / "docs" / "faults.md"
SHORT = 7
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"


def sections() -> dict[str, dict[str, Any]]:
    """Every section of every file, with its `commits`; one that was made in parts is added up."""
    found: dict[str, dict[str, Any]] = {}
    commits: dict[str, set[str]] = {}
    for run in runs():
        for name, section in run["sections"].items():
            merge_kept(found.setdefault(name, {}), section)
            commits.setdefault(name, set()).add(run["commit"][:SHORT])
    return {
        name: found[name] | {"commits": sorted(commits[name])} for name in sorted(found) if found[name].get("batches")
    }


def runs() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) | {"name": path.name} for path in sorted(RESULTS.glob("*.json"))]


def figures() -> str:
    """What stands between the page's two comments."""
    found = sections()
    return "\n".join([*_runs(), "", *_kills(found), "", *_random(found), "", *_seconds(found), ""])


def _runs() -> list[str]:
    lines = ["| file | begun | commit | seed | machine |", "|---|---|---|---|---|"]
    for run in runs():
        machine = run["machine"]
        on = f"{machine['cores']} cores, Python {machine['python']}, PostgreSQL {machine['postgresql']}"
        lines.append(f"| `{run['name']}` | {run['at']} | `{run['commit'][:SHORT]}` | {run['seed']} | {on} |")
    return lines


def _kills(found: dict[str, dict[str, Any]]) -> list[str]:
    titles = "killed|at|gateway|kills|charges|double|missed|most POSTs a marker|unknown a kill|of them with a person"
    lines = _header(f"{titles}|ms a kill|commit")
    for name, section in found.items():
        words = name.split(":")
        if words[0] not in ("forked", "whole"):
            continue
        what = {"forked": "forked child", "tick": "`tick --loop`", "celery": "Celery's worker"}
        kind, point, profile = (words[0], *words[1:]) if words[0] == "forked" else words[1:]
        assert point in POINTS
        took = f"{1000 * section['kill_seconds'] / section['kills']:.0f}" if "kill_seconds" in section else "-"
        lines.append(
            f"| {what[kind]} | {point} | {profile} | {section['kills']:,} | {section['invoices']:,} | "
            f"{section['double']} | {section['missed']} | {section['most_posts_per_marker']} | "
            f"{_spread(section['unknown_per_kill'])} | {section['person_per_kill']['total']:,.0f} of "
            f"{section['unknown_per_kill']['total']:,.0f} | {took} | {_commits(section)} |"
        )
    return lines


def _random(found: dict[str, dict[str, Any]]) -> list[str]:
    titles = "gateway|runs of 200 charges|kills|double|missed|most POSTs a marker|unknown a run|with a person"
    lines = _header(f"{titles}|commit")
    for name, section in found.items():
        if name.startswith("random:"):
            lines.append(
                f"| {name.split(':')[1]} | {section['runs']} | {section['kills']:,} | {section['double']} | "
                f"{section['missed']} | {section['most_posts_per_marker']} | {_spread(section['unknown_per_run'])} | "
                f"{section['person_per_run']['total']:,.0f} of {section['invoices']:,} | {_commits(section)} |"
            )
    return lines


def _seconds(found: dict[str, dict[str, Any]]) -> list[str]:
    lines = ["| after a kill, in seconds | least | mean | most |", "|---|---|---|---|"]
    said = {
        "random:default": ("goes_on_seconds", "three workers: until another arms what was not armed"),
        "random:hostile": ("goes_on_seconds", "the same, hostile gateway"),
        "whole:tick": ("goes_on_seconds", "one `tick --loop`, started again: until it arms what was not armed"),
        "whole:celery": ("goes_on_seconds", "one Celery worker, started again: the same"),
        "whole": ("checked_after_kill_seconds", "until what was armed is being checked"),
        "": ("checked_after_deadline_seconds", "of which after its deadline (the sweep)"),
    }
    for prefix, (figure, words) in said.items():
        total: dict[str, Any] = {}
        for name, section in found.items():
            if name.startswith(prefix) and figure in section:
                merge_kept(total, {figure: section[figure]})
        if total:
            spread = total[figure]
            lines.append(f"| {words} | {spread['min']:.2f} | {spread['mean']:.2f} | {spread['max']:.2f} |")
    return lines


def _header(titles: str) -> list[str]:
    words = titles.split("|")
    return [f"| {' | '.join(words)} |", "|---" * len(words) + "|"]


def _commits(section: dict[str, Any]) -> str:
    return ", ".join(f"`{commit}`" for commit in section["commits"])


def _spread(spread: dict[str, Any]) -> str:
    return f"{spread['min']:.0f} to {spread['max']:.0f}, mean {spread['mean']:.2f}"


def main() -> None:
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + figures() + "\n" + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
