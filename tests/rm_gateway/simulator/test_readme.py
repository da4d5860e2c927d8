"""The README's tables say what the code does."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import rm_gateway.simulator
from rm_gateway.simulator.__main__ import main
from rm_gateway.simulator.cards import CARDS
from rm_gateway.simulator.outcomes import AMOUNTS, OUTCOMES
from rm_gateway.simulator.switches import PROFILES, Switches

FOLDER = Path(rm_gateway.simulator.__file__).parent
README = (FOLDER / "README.md").read_text()


def test_every_amount_has_its_row() -> None:
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \| (.+) \|$", README, re.MULTILINE)
    assert rows == [(str(amount), name, OUTCOMES[name].says) for amount, name in sorted(AMOUNTS.items())]


def test_every_card_has_its_row() -> None:
    rows = re.findall(r"^\| ([\d ]{19}) \| ([^|]+) \|", README, re.MULTILINE)
    assert rows == [(card.spaced, card.says) for card in CARDS.values()]


def test_every_switch_has_its_row_with_both_profiles() -> None:
    hostile = PROFILES["hostile"]
    for name, value in Switches().as_dict().items():
        other = f" `{json.dumps(hostile[name])}` " if name in hostile else "  "
        assert f"\n| `{name}` | `{json.dumps(value)}` |{other}| " in README


def test_the_code_of_the_readme_runs() -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    exec(compile(block, "the README's block", "exec"), names := {})  # type: ignore[var-annotated]  # noqa: S102
    assert names["credentials"].store_id


def test_readme_command_starts_and_prints_what_the_readme_lists(tmp_path: Path) -> None:
    (command,) = re.findall(r"^```\npython (-m rm_gateway.simulator .*)\n```", README, re.MULTILINE)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = command.replace("8900", str(port)).split()
    environment = os.environ | {"PYTHONPATH": str(FOLDER.parents[1])}
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    )
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    process.stdout.close()
    listed = re.search(r"serves until SIGTERM or SIGINT:\n`([^`]+)`", README)
    assert listed is not None
    assert set(re.split(r",\s+", listed[1])) == set(said)
    assert said["url"] == f"http://127.0.0.1:{port}"
    assert (tmp_path / "simulator.jsonl").exists()


def test_every_option_has_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    rows = "".join(re.findall(r"^\| (`--.+?) \|", README, re.MULTILINE))
    assert set(re.findall(r"`(--[a-z-]+)", rows)) == options


def test_it_imports_nothing_of_the_billing_engine() -> None:
    allowed = {"aiohttp", "cryptography", "rm_gateway"}
    for file in FOLDER.glob("*.py"):
        for module in re.findall(r"^\s*(?:from|import) ([\w.]+)", file.read_text(), re.MULTILINE):
            top = module.split(".")[0]
            assert top in allowed or top in STANDARD, f"{file.name} imports {module}"
            assert top != "rm_gateway" or module.startswith(("rm_gateway.simulator", "rm_gateway.signing"))
            assert file.name != "process.py" or top in STANDARD


STANDARD = sys.stdlib_module_names
