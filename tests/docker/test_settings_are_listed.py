"""Every setting is in .env.example and reaches the containers, and nothing else does."""

import re
import subprocess
import sys

import pytest

from tests.docker.reading import COMPOSE, ROOT, compose, example, production, settings_names

READ_BY_COMPOSE_ALONE = {"COMPOSE_FILE", "COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME", "POSTGRES_PASSWORD"}
# The image says where the data folder is.
NOT_FOR_CONTAINERS = {"KITARAN_DATA_DIR"}


def of_mail_providers() -> set[str]:
    """What a library reads that the settings do not name: whatever begins so."""
    return {name for name in example() if name.startswith("ANYMAIL_")}


def interpolated() -> set[str]:
    return set(re.findall(r"\$\{([A-Z_]+)", COMPOSE.read_text(encoding="utf-8")))


def test_the_example_lists_every_setting_and_nothing_else() -> None:
    named = set(settings_names()) | of_mail_providers()
    assert set(example()) == named | READ_BY_COMPOSE_ALONE | interpolated()


def test_a_number_that_is_shown_as_a_comment_is_the_default() -> None:
    listed = example()
    numbers = {name: default for name, default in settings_names().items() if default is not None}
    assert {name: listed[name] for name in numbers} == {name: (False, default) for name, default in numbers.items()}


def test_every_line_of_the_example_is_explained() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if re.match(r"#?[A-Z][A-Z0-9_]*=", line) and not re.match(
            r"#?(\w+_FILE|COMPOSE_FILE|COMPOSE_PROJECT_NAME|ANYMAIL_\w+)=", line
        ):
            assert lines[number - 1].startswith("# "), f"{line} has no sentence above it"


def test_the_example_carries_no_secret() -> None:
    listed = example()
    for name in ("KITARAN_SECRET_KEY", "KITARAN_ENCRYPTION_KEYS", "POSTGRES_PASSWORD"):
        assert listed[name] == (True, "")
    assert ":PASSWORD@" in listed["DATABASE_URL"][1]


def test_containers_get_every_setting_by_name_and_no_value() -> None:
    environment = compose()["x-settings"]
    assert set(environment) == (set(settings_names()) | of_mail_providers()) - NOT_FOR_CONTAINERS
    assert set(environment.values()) == {None}


def test_a_secret_of_a_mail_provider_may_come_from_a_file() -> None:
    plain = {name for name in of_mail_providers() if not name.endswith("_FILE")}
    assert of_mail_providers() == plain | {f"{name}_FILE" for name in plain}
    assert "ANYMAIL_WEBHOOK_SECRET" in plain, "bounces"


@pytest.mark.parametrize("setting", ["KITARAN_SECRET_KEY", "KITARAN_ENCRYPTION_KEYS"])
def test_in_production_a_secret_has_no_default(setting: str) -> None:
    done = manage("check", without=setting)
    assert done.returncode != 0
    assert setting in done.stderr
    assert "Traceback" not in done.stderr


def test_deployment_check_passes_with_production_settings() -> None:
    done = manage("check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr
    assert "no issues (0 silenced)" in done.stdout


def manage(*words: str, without: str = "") -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in production().items() if name != without}
    return subprocess.run(
        [sys.executable, "manage.py", *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
