"""What the deployment's files say, for the tests that compare them."""

import ast
import os
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker" / "compose.yml"
READERS = {"text", "optional", "secret", "boolean", "integer", "integers", "names"}
_EXAMPLE_LINE = re.compile(r"^(#?)([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


def settings_names() -> dict[str, str | None]:
    """Every name that the settings read from the environment, with its default where that is a number or some.

    A secret comes with its NAME_FILE."""
    found: dict[str, str | None] = {}
    for node in ast.walk(ast.parse((ROOT / "config" / "settings.py").read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
            continue
        match node.func:
            case ast.Attribute(ast.Name("env"), reader) if reader in READERS:
                pass
            case ast.Name("_secret"):
                reader = "secret"
            case _:
                continue
        name = str(node.args[0].value)
        found[name] = _numbers(node.args[1]) if reader in {"integer", "integers"} else None
        if reader == "secret":
            found[f"{name}_FILE"] = None
    return found


def _numbers(node: ast.expr) -> str:
    value = ast.literal_eval(node)
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def example() -> dict[str, tuple[bool, str]]:
    """The names of .env.example: whether each is set there (not only shown as a comment), and its value."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    return {name: (not hidden, value) for hidden, name, value in _EXAMPLE_LINE.findall(text)}


def production() -> dict[str, str]:
    """An environment made of what .env.example sets, with its blanks filled in, and nothing of this machine's."""
    filled = {
        "KITARAN_SECRET_KEY": "k7Qz-0Yw3nTfVb9sLxPd2RgHcJm5EaUi8XoB4tSe6NqMvKy1Wl_DpGuAh2ZrCfOj",
        "KITARAN_ENCRYPTION_KEYS": "TnVtYmVyc0FuZExldHRlcnNGb3JBVGVzdEFsb25lISE=",
        "POSTGRES_PASSWORD": "f00d",
    }
    chosen = {name: value or filled[name] for name, (is_set, value) in example().items() if is_set}
    return {"PATH": os.environ["PATH"], **chosen}


def compose() -> dict[str, Any]:
    """compose.yml with its anchors resolved; nothing is interpolated."""
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return document


def seconds(duration: str) -> int:
    match = re.fullmatch(r"(\d+)s", duration)
    assert match, f"{duration} is not in whole seconds"
    return int(match[1])
