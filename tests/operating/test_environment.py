"""Readers of the environment that take more than a plain value."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import env


def test_a_list_may_be_none_only_where_that_means_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADDER", "none")
    assert env.integers("LADDER", (1,), least=1, most=9, none_allowed=True) == ()
    with pytest.raises(ImproperlyConfigured, match="LADDER='none' is not a whole number"):
        env.integers("LADDER", (1,), least=1, most=9)


def test_secrets_of_a_prefix_come_from_files_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file\n")
    monkeypatch.setenv("POST_API_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("POST_SECRET", "plain")
    monkeypatch.setenv("POST_EMPTY", " ")
    assert env.secrets_of("POST_") == {"API_KEY": "from a file", "SECRET": "plain"}
