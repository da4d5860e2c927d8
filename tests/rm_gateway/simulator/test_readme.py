"""The README's tables say what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import rm_gateway.simulator
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


def test_it_imports_nothing_of_the_billing_engine() -> None:
    allowed = {"aiohttp", "cryptography", "rm_gateway"}
    for file in FOLDER.glob("*.py"):
        for module in re.findall(r"^\s*(?:from|import) ([\w.]+)", file.read_text(), re.MULTILINE):
            top = module.split(".")[0]
            assert top in allowed or top in STANDARD, f"{file.name} imports {module}"
            assert top != "rm_gateway" or module.startswith(("rm_gateway.simulator", "rm_gateway.signing"))
            assert file.name != "process.py" or top in STANDARD


STANDARD = __import__("sys").stdlib_module_names
