"""`manage.py healthcheck`: a container is ill when its service does not do its work, and only then."""

import socket
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from billing.models.clock import database_now
from billing.operating.health import QUEUES
from billing.operating.heartbeats import beat


def output_of(*words: str) -> str:
    out = StringIO()
    call_command("healthcheck", *words, stdout=out)
    return out.getvalue().strip()


def pulse(queue: str, *, seconds_ago: int = 0) -> None:
    beat(queue=queue, worker="test", now=database_now() - timedelta(seconds=seconds_ago))


@pytest.mark.django_db
class TestPulses:
    def test_a_queue_with_a_fresh_pulse_is_fine(self) -> None:
        pulse("charge", seconds_ago=50)
        assert output_of("--queue", "charge") == "ok"

    def test_a_queue_that_never_had_one_is_not(self) -> None:
        with pytest.raises(CommandError, match="no heartbeat for 60 s: charge"):
            output_of("--queue", "charge")

    def test_an_old_pulse_does_not_count(self) -> None:
        pulse("charge", seconds_ago=70)
        with pytest.raises(CommandError, match="no heartbeat for 60 s: charge"):
            output_of("--queue", "charge")
        assert output_of("--queue", "charge", "--within", "300") == "ok"

    def test_every_queue_that_is_named_must_have_one(self) -> None:
        pulse("reconcile")
        with pytest.raises(CommandError, match="housekeeping"):
            output_of("--queue", "reconcile", "--queue", "housekeeping")
        pulse("housekeeping")
        assert output_of("--queue", "reconcile", "--queue", "housekeeping") == "ok"

    def test_beat_is_fine_as_long_as_its_ticks_arrive_anywhere(self) -> None:
        with pytest.raises(CommandError, match="no heartbeat"):
            output_of("--beat")
        pulse(QUEUES[-1])
        assert output_of("--beat") == "ok"

    def test_a_queue_that_does_not_exist_is_refused(self) -> None:
        with pytest.raises(CommandError, match="invalid choice"):
            output_of("--queue", "chrage")


@pytest.mark.django_db(transaction=True)
class TestWeb:
    @pytest.mark.parametrize("allowed", [["billing.example.com"], [".example.com"], ["*"]])
    def test_web_that_answers_is_healthy_and_silent_queues_are_named(
        self, live_server: Any, settings: Any, allowed: list[str]
    ) -> None:
        settings.ALLOWED_HOSTS = allowed
        assert "queue charge has had no heartbeat" in output_of("--web", port_of(live_server))
        for queue in QUEUES:
            pulse(queue)
        assert output_of("--web", port_of(live_server)) == "ok"

    def test_web_that_demands_https_is_asked_as_the_proxy_asks(self, live_server: Any, settings: Any) -> None:
        settings.SECURE_SSL_REDIRECT = True
        settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
        assert "queue charge" in output_of("--web", port_of(live_server))

    def test_nobody_at_the_port_is_not_fine(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with pytest.raises(CommandError, match="web does not answer on port"):
            output_of("--web", str(port))


def port_of(live_server: Any) -> str:
    return str(live_server.url).rsplit(":", 1)[1]
