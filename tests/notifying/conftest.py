"""A receiver beside the tests."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.notifying.receiver import ReceiverProcess


@pytest.fixture(scope="session")
def running_receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReceiverProcess]:
    with ReceiverProcess(tmp_path_factory.mktemp("receiver") / "journal.jsonl") as receiver:
        yield receiver


@pytest.fixture
def receiver(running_receiver: ReceiverProcess) -> ReceiverProcess:
    """With an empty journal: the process appends, so it goes on in the emptied file."""
    running_receiver.journal.write_text("")
    return running_receiver


@pytest.fixture
def private_endpoints(settings: Any) -> None:
    """Endpoints may be on this machine."""
    settings.KITARAN_WEBHOOKS_ALLOW_PRIVATE = True
