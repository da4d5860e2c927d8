"""A mail server that tests send to."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tests.mailing.sink import Sink


@pytest.fixture
def sink(settings: Any) -> Iterator[Sink]:
    logging.getLogger("mail.log").disabled = True  # the server's own log names addresses
    server = Sink()
    server.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
    settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
    settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
    yield server
    server.stop()
