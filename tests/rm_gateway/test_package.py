"""The package as a whole: its README works, and it needs nothing but requests and cryptography."""

from __future__ import annotations

import ast
import http.client
import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import venv
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

import rm_gateway
from rm_gateway.client import Client, PreparedRequest, Settings
from rm_gateway.models import CustomerInfo, Order, Transaction
from rm_gateway.simulator.process import SimulatorProcess
from tests.rm_gateway.sandbox import bound

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


def readme_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (PACKAGE / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def test_readme_leads_a_new_user_to_a_payment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, start = readme_blocks("console")
    command, _, background = start.removeprefix("$ python ").strip().rpartition(" ")
    arguments, _, file = command.partition(" > ")
    assert (arguments, file, background) == ("-m rm_gateway.simulator", "account.json", "&")
    quick, *steps = readme_blocks("python")
    assert len([line for line in quick.splitlines() if line]) <= 20
    assert len(steps) == 4
    monkeypatch.chdir(tmp_path)
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    account = tmp_path / file
    with account.open("w") as output:
        simulator = subprocess.Popen([sys.executable, *arguments.split()], stdout=output, env=environment)
    try:
        until = time.monotonic() + 20
        while not account.read_text().endswith("\n") and time.monotonic() < until:
            time.sleep(0.02)
        monkeypatch.setattr("builtins.input", lambda says: save_card(re.findall(r"http\S+(?=,)", says)[0]))
        exec(compile(quick, "the quick block", "exec"), names := {})  # type: ignore[var-annotated]  # noqa: S102
        names["client"].close()
        assert capsys.readouterr().out.startswith("SUCCESS ")
        names = {}
        for number, block in enumerate(steps):
            exec(compile(block, f"README step {number + 1}", "exec"), names)  # noqa: S102
            if number == 1:
                save_card(names["customer"].payment_url)
        assert "paid: " in capsys.readouterr().out
    finally:
        simulator.terminate()
        assert simulator.wait(10) == 0


def save_card(payment_url: str) -> None:
    """Press the button of the page; the fields are as the page filled them."""
    with urllib.request.urlopen(payment_url) as page:  # noqa: S310
        fields = dict(re.findall(r'name="(\w+)"[^>]*? value="([^"]*)"', page.read().decode()))
    form = urllib.parse.urlencode(fields | {"action": "bind"}).encode()
    parts = urllib.parse.urlsplit(payment_url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    connection.request("POST", f"{parts.path}?{parts.query}", form)
    with connection.getresponse() as answer:
        assert answer.status == 303
    connection.close()


BARE = """
import importlib, importlib.util, json, sys, time
from importlib.metadata import distributions
given = json.load(sys.stdin)
for name in given["modules"]:
    importlib.import_module("rm_gateway." + name)
for name in ("aiohttp", "django", "celery", "pytest"):
    assert importlib.util.find_spec(name) is None, name
from rm_gateway import signing
from rm_gateway.client import Client, PreparedRequest, Settings
from rm_gateway.models import CustomerInfo, Order, Transaction
vector = given["vector"]
plaintext = signing.signing_plaintext(
    method=vector["method"], url=vector["requestUrl"], nonce=vector["nonceStr"], timestamp=vector["timestamp"],
    body=vector["input"]["body"],
)
assert plaintext == vector["plaintext"]
assert signing.verify(plaintext, vector["signature_base64"], vector["public_key_pem"])
client = Client(Settings(**given["settings"]))
client.ensure_token()
prepared = client.prepare_charge(
    customer_id=given["customer"], amount_minor=4990, currency="MYR", title="Gym", description="June",
    timestamp=int(time.time()),
)
transaction = client.send(prepared)
client.close()
names = sorted(found.name.lower().replace("_", "-") for found in distributions())
print(json.dumps({"status": transaction.status, "distributions": names}))
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_it_installs_and_charges_in_a_bare_environment(tmp_path: Path) -> None:
    bare = bare_environment(tmp_path)
    vectors = json.loads(Path(__file__).with_name("vectors.json").read_text())["vectors"]
    with SimulatorProcess() as simulator:
        account = simulator.credentials
        settings = {name: getattr(account, name) for name in ("client_id", "client_secret", "store_id")}
        settings |= {"oauth_url": account.oauth_url, "api_url": account.api_url, "private_key_pem": account.private_key}
        client = Client(Settings(**settings))
        customer = bound(client, simulator)
        client.close()
        given = {"modules": MODULES, "vector": vectors[0], "settings": settings, "customer": customer.customer_id}
        done = subprocess.run(
            [bare, "-I", "-W", "error", "-c", BARE],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert len(simulator.charges()) == 1
    said = json.loads(done.stdout)
    assert said["status"] == "SUCCESS"
    assert set(said["distributions"]) <= {"rm-gateway", *DISTRIBUTIONS}


DISTRIBUTIONS = {"requests", "urllib3", "certifi", "idna", "charset-normalizer", "cryptography", "cffi", "pycparser"}


def bare_environment(folder: Path) -> str:
    """A new virtual environment with the package installed from its own metadata; gives its interpreter."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("this environment has no pip to install with")
    shutil.copytree(PACKAGE, folder / "source" / "rm_gateway", ignore=shutil.ignore_patterns("__pycache__"))
    venv.create(folder / "bare", with_pip=False)
    bare = str(folder / "bare" / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", bare, "--disable-pip-version-check", "--no-input"]
    install = [*pip, "install", "--quiet", "--retries", "0", str(folder / "source" / "rm_gateway")]
    done = subprocess.run(install, capture_output=True, text=True, timeout=100)
    if done.returncode and re.search(r"No matching distribution found|Could not find a version", done.stderr):
        pytest.skip("no package index is reachable to install requests and cryptography from")
    assert done.returncode == 0, done.stderr
    return bare


def test_answers_settings_and_requests_are_frozen_values() -> None:
    found = []
    for module in ("models", "reports", "notifications", "prepared", "settings"):
        loaded = importlib.import_module(f"rm_gateway.{module}")
        found += [value for value in vars(loaded).values() if isinstance(value, type) and is_dataclass(value)]
    assert {Transaction, CustomerInfo, Order, PreparedRequest, Settings} <= set(found)
    assert all(value.__dataclass_params__.frozen for value in found)  # type: ignore[attr-defined]


def test_the_timeouts_are_those_that_a_slow_charge_needs() -> None:
    defaults = {field.name: field.default for field in fields(Settings)}
    assert defaults["connect_timeout_seconds"] == 5
    assert defaults["read_timeout_seconds"] == 90
    assert defaults["total_timeout_seconds"] == 100
    assert defaults["window_seconds"] < 120  # type: ignore[operator]


def test_every_file_and_function_is_short_and_documented() -> None:
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text()
        assert len(source.splitlines()) < 400, path.name
        tree = ast.parse(source)
        assert ast.get_docstring(tree) or not source.strip(), path.name
        for node in ast.walk(tree):
            if isinstance(node, FUNCTIONS):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{path.name}: {node.name}"
        for node in public(tree.body):
            assert ast.get_docstring(node), f"{path.name}: {node.name}"
            for method in public(node.body) if isinstance(node, ast.ClassDef) else ():
                assert ast.get_docstring(method), f"{path.name}: {node.name}.{method.name}"


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def public(body: list[ast.stmt]) -> list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    found = [node for node in body if isinstance(node, (*FUNCTIONS, ast.ClassDef))]
    return [node for node in found if not node.name.startswith("_")]
