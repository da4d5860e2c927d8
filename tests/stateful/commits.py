"""A COMMIT that raises."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper


@contextmanager
def broken_commit(*, reached: bool, spared: int = 0) -> Iterator[None]:
    """A COMMIT, the first but for those that are `spared`, raises, before or after the server did it; the connection
    is lost with it."""
    real = BaseDatabaseWrapper._commit
    left = [False] * spared + [True]

    def commit(wrapper: BaseDatabaseWrapper) -> None:
        breaks = left.pop(0) if left else False
        if reached or not breaks:
            real(wrapper)
        if breaks:
            wrapper.connection.close()
            raise OperationalError("server closed the connection unexpectedly")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseDatabaseWrapper, "_commit", commit)
        yield
