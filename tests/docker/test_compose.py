"""What compose.yml promises: time to finish, health checks, and nothing open that need not be."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from billing.operating.health import QUEUES
from config.celery import QUEUES as CELERY_QUEUES
from config.celery import app
from tests.docker.reading import COMPOSE, ROOT, compose, production, seconds

SERVICES: dict[str, Any] = compose()["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
ENGINE = {"migrate", "web", "charge", "notify", "mail", "background", "beat"}
ENTRYPOINT = (ROOT / "docker" / "entrypoint.sh").read_text(encoding="utf-8")


def test_the_services_are_these() -> None:
    assert set(OURS) == ENGINE | {"simulator"}
    assert set(SERVICES) - set(OURS) == {"postgres", "redis"}


def test_charge_workers_grace_period_exceeds_the_task_limit() -> None:
    grace = seconds(SERVICES["charge"]["stop_grace_period"])
    assert grace >= 270
    assert grace > app.conf.task_time_limit


def test_background_workers_grace_period_exceeds_gateway_limit(settings: Any) -> None:
    assert seconds(SERVICES["background"]["stop_grace_period"]) > 120  # the most that the setting takes


def test_mail_workers_grace_period_exceeds_a_mail() -> None:
    assert seconds(SERVICES["mail"]["stop_grace_period"]) > 2 * 20  # the most that EMAIL_TIMEOUT takes


def test_notify_workers_grace_period_exceeds_a_request() -> None:
    assert seconds(SERVICES["notify"]["stop_grace_period"]) > 60  # the most that the setting takes


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_service_has_a_stop_signal_and_a_grace_period(name: str) -> None:
    assert SERVICES[name]["stop_signal"] == ("SIGINT" if name == "postgres" else "SIGTERM")
    assert seconds(SERVICES[name]["stop_grace_period"]) >= 10
    # A second process in front (init) could pass the signal to children as well.
    assert "init" not in SERVICES[name]


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate"}))
def test_a_service_that_stays_has_a_health_check_and_comes_back(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_workers_are_judged_by_the_heartbeat_of_every_queue() -> None:
    checked = [
        queue
        for name in ("charge", "notify", "mail", "background")
        for flag, queue in zip(*[SERVICES[name]["healthcheck"]["test"][start:] for start in (0, 1)], strict=False)
        if flag == "--queue"
    ]
    assert sorted(checked) == sorted(QUEUES)


def test_busy_charge_worker_is_not_unhealthy() -> None:
    words = SERVICES["charge"]["healthcheck"]["test"]
    assert int(words[words.index("--within") + 1]) > app.conf.task_time_limit


def test_the_workers_take_every_queue_once() -> None:
    taken = (
        re.search(r"^    worker (\S+) charge ", ENTRYPOINT, re.MULTILINE),
        re.search(r"^    worker (\S+) notify ", ENTRYPOINT, re.MULTILINE),
        re.search(r"^    worker (\S+) mail ", ENTRYPOINT, re.MULTILINE),
        re.search(r"^    worker (\S+) background ", ENTRYPOINT, re.MULTILINE),
    )
    assert sorted(queue for found in taken if found for queue in found[1].split(",")) == sorted(CELERY_QUEUES)


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_containers_may_do_little(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service, "the image says who runs it, and that is not root"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_container_is_let_out(name: str) -> None:
    assert not {"privileged", "pid", "ipc", "devices", "cap_add", "userns_mode"} & set(SERVICES[name])
    assert SERVICES[name].get("network_mode") in (None, "service:web")
    assert all(volume.partition(":")[0] in compose()["volumes"] for volume in SERVICES[name].get("volumes", ()))


def test_only_web_is_published_and_only_to_the_machine() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"web"}
    (port,) = SERVICES["web"]["ports"]
    assert port == "${KITARAN_WEB_ADDRESS:-127.0.0.1:8000}:8000"


def test_simulator_starts_only_on_request_and_gets_no_secret() -> None:
    assert SERVICES["simulator"]["profiles"] == ["simulator"]
    assert {name for name, service in SERVICES.items() if "profiles" in service} == {"simulator"}
    assert SERVICES["simulator"]["environment"] == {}


@pytest.mark.parametrize("name", sorted(ENGINE - {"migrate"}))
def test_nothing_starts_before_the_database_is_up_to_date(name: str) -> None:
    assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_command_is_one_that_the_entry_point_knows(name: str) -> None:
    assert re.search(rf"^{SERVICES[name]['command'][0]}\)$", ENTRYPOINT, re.MULTILINE)


def test_every_branch_of_the_entry_point_replaces_the_shell() -> None:
    lines = ENTRYPOINT[ENTRYPOINT.index("case ") :].splitlines()
    commands = [line for line in lines if re.match(r"    [a-z\"]", line) and not line.startswith("    #")]
    assert all(line.startswith(("    exec ", "    worker ")) for line in commands), commands
    assert "exec python -m celery" in ENTRYPOINT


# --- by Docker Compose itself -----------------------------------------------------------------------------

COMPOSE_PROGRAM = shutil.which("docker-compose")


def resolved(tmp_path: Path, *files: str, profile: str = "") -> dict[str, Any]:
    environment = tmp_path / "env"
    lines = [f"{name}={value}" for name, value in production().items() if name not in ("PATH", "COMPOSE_FILE")]
    environment.write_text("\n".join(lines), encoding="utf-8")
    words = [str(COMPOSE_PROGRAM), "--env-file", str(environment)]
    for file in files:
        words += ["-f", str(COMPOSE.with_name(file))]
    words += ["--profile", profile] if profile else []
    done = subprocess.run(
        [*words, "config"],
        env={"PATH": os.environ["PATH"], "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = yaml.safe_load(done.stdout)
    return document


@pytest.mark.skipif(COMPOSE_PROGRAM is None, reason="docker-compose is not installed")
class TestDockerCompose:
    def test_it_takes_the_file(self, tmp_path: Path) -> None:
        services = resolved(tmp_path, "compose.yml")["services"]
        assert set(services) - {"simulator"} == ENGINE | {"postgres", "redis"}  # some versions leave profiles out
        assert services["charge"]["stop_grace_period"] in ("4m30s", "270s")
        assert services["web"]["environment"]["KITARAN_PUBLIC_URL"] == "https://billing.example.com"
        assert "POSTGRES_PASSWORD" not in services["web"]["environment"]

    def test_the_simulator_shares_the_network_of_all_who_speak_to_it(self, tmp_path: Path) -> None:
        services = resolved(tmp_path, "compose.yml", "compose.simulator.yml", profile="simulator")["services"]
        sharing = {name for name, service in services.items() if service.get("network_mode") == "service:web"}
        assert sharing == {"simulator", "charge", "background"}
        assert all(str(port).startswith("127.0.0.1:") or port["host_ip"] for port in services["web"]["ports"])

    def test_secrets_come_from_files_for_every_service_of_the_engine(self, tmp_path: Path) -> None:
        document = resolved(tmp_path, "compose.yml", "compose.secrets.yml")
        for name in ENGINE:
            files = {
                key
                for key, value in document["services"][name]["environment"].items()
                if key.endswith("_FILE") and value
            }
            assert files == {"KITARAN_SECRET_KEY_FILE", "KITARAN_ENCRYPTION_KEYS_FILE", "DATABASE_URL_FILE"}
