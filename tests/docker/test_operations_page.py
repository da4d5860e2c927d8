"""docs/operations.md names only what exists: commands with their options, services, files and settings."""

import re
import shlex
from typing import Any

import pytest
from django.core.management import get_commands, load_command_class

from tests.docker.reading import ROOT, compose, example

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LINES = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
MANAGE = [line.partition("python manage.py ")[2] for line in LINES if "python manage.py " in line]


@pytest.mark.parametrize("words", MANAGE)
def test_a_management_command_takes_these_words(words: str) -> None:
    name, *rest = shlex.split(words, comments=True)
    app: Any = get_commands()[name]
    command = load_command_class(app, name) if isinstance(app, str) else app
    command.create_parser("manage.py", name).parse_args(rest)


def test_every_service_that_is_named_is_there() -> None:
    known = set(compose()["services"])
    rows = set(re.findall(r"^\| `(\w+)` \| .+ \| \d+ s \|$", PAGE, re.MULTILINE))
    assert rows == known - {"simulator"}
    for line in LINES:
        if found := re.match(r"docker compose (?:stop|logs|exec|run) (.+)$", line):
            plain = [
                word
                for word in found[1].split("python manage.py")[0].partition("|")[0].split()
                if re.fullmatch(r"[a-z]+", word)
            ]
            named = [word for word in plain if word not in ("pg_dump", "pg_restore", "dropdb", "createdb", "kitaran")]
            assert set(named) <= known, line


def test_the_time_to_stop_is_that_of_compose() -> None:
    for name, service in compose()["services"].items():
        if name != "simulator":
            assert re.search(rf"^\| `{name}` \| .+ \| {service['stop_grace_period'][:-1]} s \|$", PAGE, re.MULTILINE)


def test_every_setting_that_is_named_is_in_the_example() -> None:
    named = set(re.findall(r"\b(KITARAN_[A-Z_]+|DATABASE_URL|REDIS_URL|POSTGRES_PASSWORD|COMPOSE_[A-Z]+)\b", PAGE))
    assert named <= set(example())


def test_every_file_that_is_named_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGE)
    assert all((ROOT / "docs" / link).exists() for link in links)
    assert all((ROOT / path).exists() for path in re.findall(r"docker/[\w.-]+\.(?:sh|yml)|docker/Dockerfile", PAGE))


def test_every_link_inside_the_page_leads_to_a_heading() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= headings
