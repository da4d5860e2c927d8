"""The package as a whole: its README works, and it needs nothing but requests and cryptography."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rm_gateway
from rm_gateway.simulator.process import SimulatorProcess

PACKAGE = Path(rm_gateway.__file__).parent
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")
ALLOWED = "rm_gateway requests urllib3 certifi idna charset_normalizer cryptography cffi _cffi_backend"

IMPORT_ALL = f"""
import importlib, sys
class Guard:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in {ALLOWED.split()!r}:
            # What requests and urllib3 look for and can do without.
            if sys._getframe(2).f_globals.get("__name__", "").startswith("rm_gateway"):
                raise SystemExit(f"{{name}} is imported")
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Guard())
for name in {MODULES!r}:
    importlib.import_module("rm_gateway." + name)
for name in ("django", "celery", "rest_framework", "billing", "config", "aiohttp"):
    assert name not in sys.modules, name
print("imported", len({MODULES!r}))
"""


def test_the_client_needs_nothing_but_requests_and_cryptography() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_ALL],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["imported", str(len(MODULES))]


def test_nothing_is_exported_from_the_package_itself() -> None:
    source = (PACKAGE / "__init__.py").read_text()
    assert not re.search(r"^(import|from|[A-Za-z_]+ *=)", source, re.MULTILINE)
    assert (PACKAGE / "py.typed").exists()


def test_the_code_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (PACKAGE / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with SimulatorProcess() as simulator:
        line = {name: getattr(simulator.credentials, name) for name in simulator.credentials.__slots__}
        Path("account.json").write_text(json.dumps(line))
        for number, block in enumerate(blocks):
            if number == 2:
                simulator.bind(names["customer"].payment_url)
            exec(compile(block, f"README block {number + 1}", "exec"), names)  # noqa: S102
        assert len(simulator.charges()) == 1
    assert "paid: " in capsys.readouterr().out


def test_every_file_is_short() -> None:
    for path in PACKAGE.glob("*.py"):
        assert len(path.read_text().splitlines()) < 400, path.name
