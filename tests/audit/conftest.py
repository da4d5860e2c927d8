import pytest

from tests.audit.books import Books


@pytest.fixture
def books() -> Books:
    return Books()
