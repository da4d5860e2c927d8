"""Folders and helpers for the tests of the embedded servers."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A short path that does not exist yet (pytest's own folders can be too long for sockets)."""
    parent = Path(tempfile.mkdtemp(prefix="ktest-", dir="/tmp"))
    yield parent / "data"
    shutil.rmtree(parent, ignore_errors=True)
