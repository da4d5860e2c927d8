"""What the hostile tests share."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.embedded.sockets import short_folders, usable


@pytest.fixture
def patience(settings: Any) -> None:
    """No answer is given up, however slow the machine is."""
    settings.KITARAN_GATEWAY_TOTAL_SECONDS = 60


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder that is short enough for the sockets of PostgreSQL in it."""
    base = next(folder for folder in short_folders() if usable(folder / "kitaran-q-12345678" / "a" / "stack" / "run"))
    folder = Path(tempfile.mkdtemp(prefix="kitaran-q-", dir=base))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
