"""Readers of the environment that take more than a plain value."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import env


def test_a_list_may_be_none_only_where_that_means_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADDER", "none")
    assert env.integers("LADDER", (1,), least=1, most=9, none_allowed=True) == ()
    with pytest.raises(ImproperlyConfigured, match="LADDER='none' is not a whole number"):
        env.integers("LADDER", (1,), least=1, most=9)
