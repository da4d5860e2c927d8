from typing import Any

import pytest


@pytest.fixture
def patience(settings: Any) -> None:
    """Nothing ends by a deadline of the gateway's, however slow the machine is."""
    settings.KITARAN_GATEWAY_TOTAL_SECONDS = 100
