"""A run writes what it found after every batch, goes on where it ended, and says how to repeat a failure."""

import json
from argparse import Namespace
from pathlib import Path

import pytest

from tests.faults.harness import figures, program
from tests.faults.harness.figures import Record
from tests.faults.harness.program import Section

OPTIONS = Namespace(seed=7, only=None, full=True)


def record(path: Path, *, seed: int = 7) -> Record:
    return Record(path, seed=seed, server="18.6", resume=True)


def section(problems: list[str], seeds: list[int]) -> Section:
    def run(_: object, size: int, seed: int) -> program.Figures:
        seeds.append(seed)
        return {"kills": size, "unknown_per_kill": [1, 3]}, problems

    return Section("forked:after_arm:default", [5, 5], run)


def test_a_failure_prints_the_command_that_repeats_its_batch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITARAN_DATA_DIR", str(tmp_path))
    first, again = [], []
    program._run(section(["inv_1 was charged 2 times"], first), None, record(tmp_path / "a.json"), OPTIONS)

    assert "repeat with: make faults SEED=7 ONLY=forked:after_arm:default:1 FULL=1" in capsys.readouterr().err
    repeated = Namespace(seed=7, only=["forked:after_arm:default:1"], full=True)
    program._run(section([], again), None, Record(None, seed=7, server="", resume=False), repeated)
    assert again == first[1:]


def test_a_batch_that_raises_is_a_failure_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITARAN_DATA_DIR", str(tmp_path))
    path = tmp_path / "a.json"

    def run(_: object, size: int, seed: int) -> program.Figures:
        if size == 1:
            raise AssertionError("a child was not killed")
        return {"kills": size}, []

    program._run(Section("random:default", [1, 4], run), None, record(path), OPTIONS)

    content = json.loads(path.read_text())
    assert content["failures"] == [
        {"section": "random:default:0", "problems": ["AssertionError: a child was not killed"]}
    ]
    assert (content["sections"]["random:default"]["batches"], content["sections"]["random:default"]["kills"]) == (2, 4)


def test_a_run_that_was_cut_short_goes_on_with_the_next_batch(tmp_path: Path) -> None:
    path, seeds = tmp_path / "a.json", []
    one = section([], seeds)
    program._run(Section(one.name, one.sizes[:1], one.run), None, record(path), OPTIONS)
    program._run(one, None, record(path), OPTIONS)

    found = json.loads(path.read_text())["sections"][one.name]
    assert len(seeds) == len(set(seeds)) == found["batches"] == 2
    assert found["kills"] == 10
    assert found["unknown_per_kill"] == {"count": 4, "total": 8, "min": 1, "mean": 2.0, "max": 3}


def test_a_file_of_another_seed_or_commit_is_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    record(path).write()
    record(path)
    with pytest.raises(SystemExit, match="was begun with"):
        record(path, seed=8)
    monkeypatch.setattr(figures, "_commit", lambda: "another")
    with pytest.raises(SystemExit, match="was begun with"):
        record(path)
