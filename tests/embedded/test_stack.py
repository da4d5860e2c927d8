"""The real servers, from start to stop."""

import os
import signal
import stat
import time
from pathlib import Path
from urllib.parse import unquote

import psutil
import psycopg
import pytest
import redis
from kombu import Connection

from config.embedded import AlreadyRunning, EmbeddedError, Stack, parse_database_url, redis_py_url, running, throwaway
from config.embedded.throwaway import remove_left_overs

pytestmark = pytest.mark.slow


def eventually(probe, *, seconds=15.0):
    """The first true result of `probe`; its errors of connection count as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if result := probe():
                return result
        except (psycopg.Error, redis.RedisError, EmbeddedError):
            pass
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def write(info, text):
    with psycopg.connect(info.database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS note (text text)")
        connection.execute("INSERT INTO note VALUES (%s)", [text])
    with redis.Redis.from_url(redis_py_url(info.redis_url)) as client:
        client.rpush("notes", text)


def read(info):
    """Both servers' notes."""
    with psycopg.connect(info.database_url) as connection:
        rows = connection.execute("SELECT text FROM note").fetchall()
    with redis.Redis.from_url(redis_py_url(info.redis_url)) as client:
        return [text for (text,) in rows], [text.decode() for text in client.lrange("notes", 0, -1)]


def test_data_of_both_servers_survives_a_stop(data_dir):
    with Stack(data_dir) as stack:
        write(stack.info, "kept ünïcode")
    assert running(data_dir) is None
    with Stack(data_dir) as stack:
        assert read(stack.info) == (["kept ünïcode"], ["kept ünïcode"])


def test_one_stack_can_be_started_again_and_stopped_twice(data_dir):
    stack = Stack(data_dir, postgres=False)
    first = stack.start()
    assert first.database_url == ""
    assert first.pid == os.getpid()
    stack.stop()
    stack.stop()
    assert stack.start() == first
    stack.stop()


def test_a_living_stack_is_found_by_its_folder(data_dir):
    with Stack(data_dir, postgres=False) as stack:
        found = running(data_dir)
        assert found == stack.info
        with Connection(found.redis_url) as connection:
            connection.ensure_connection(max_retries=1)


def test_second_start_is_refused_naming_the_folder_and_process(data_dir):
    with Stack(data_dir, postgres=False) as stack:
        with pytest.raises(AlreadyRunning) as caught:
            Stack(data_dir, postgres=False).start()
        assert str(data_dir) in str(caught.value)
        assert str(os.getpid()) in str(caught.value)
        assert running(data_dir) == stack.info


def test_cluster_is_utf8_in_utc_and_durable_by_default(data_dir):
    asked = "SELECT current_setting(s) FROM unnest(%s::text[]) WITH ORDINALITY AS t (s, n) ORDER BY n"
    names = ["server_encoding", "TimeZone", "fsync", "full_page_writes", "synchronous_commit", "max_connections"]
    for durable, word in ((True, "on"), (False, "off")):
        with Stack(data_dir, valkey=False, durable=durable, max_connections=37) as stack:
            with psycopg.connect(stack.info.database_url) as connection:
                values = [value for (value,) in connection.execute(asked, [names])]
                assert connection.execute("SELECT upper('é'), current_user").fetchone() == ("É", "kitaran")
            assert values == ["UTF8", "UTC", word, word, word, "37"]


def test_callers_environment_does_not_change_the_servers(data_dir, monkeypatch):
    for name, value in (("PGPORT", "6000"), ("PGDATA", "/nowhere"), ("TZ", "Asia/Tokyo"), ("PGTZ", "Asia/Tokyo")):
        monkeypatch.setenv(name, value)
    with Stack(data_dir, valkey=False, durable=False) as stack:
        assert (data_dir / "run" / ".s.PGSQL.5432").is_socket()
        with psycopg.connect(stack.info.database_url) as connection:
            assert connection.info.port == 5432


def test_a_dead_valkey_is_started_again_with_its_data(data_dir):
    with Stack(data_dir, postgres=False) as stack:
        client = redis.Redis.from_url(redis_py_url(stack.info.redis_url))
        client.set("paid", "yes")
        for _ in range(2):
            before = stack.valkey_pid
            os.kill(before, signal.SIGKILL)
            eventually(lambda before=before: stack.valkey_pid != before and client.ping())
            assert client.get("paid") == b"yes"
        client.close()


def test_killed_postgres_is_restarted_with_what_was_committed(data_dir):
    with Stack(data_dir, valkey=False) as stack:
        url = stack.info.database_url
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE note (text text)")
            connection.execute("INSERT INTO note VALUES ('committed')")
            before = stack.postgres_pid
            os.kill(before, signal.SIGKILL)

        def rows():
            with psycopg.connect(url) as connection:
                return connection.execute("SELECT text FROM note").fetchall()

        eventually(lambda: stack.postgres_pid != before and rows() == [("committed",)])


def test_a_dead_server_stays_dead_when_restarts_are_off(data_dir):
    with Stack(data_dir, postgres=False, restart=False) as stack:
        os.kill(stack.valkey_pid, signal.SIGKILL)
        time.sleep(0.5)
        with pytest.raises(EmbeddedError, match="valkey is not running"):
            _ = stack.valkey_pid


def test_an_interrupted_first_start_leaves_nothing_in_the_way(data_dir):
    (data_dir / "pg.new" / "base").mkdir(parents=True)
    with Stack(data_dir, valkey=False, durable=False) as stack:
        assert stack.postgres_pid
    assert not (data_dir / "pg.new").exists()


def test_pid_file_of_a_foreign_process_does_not_stop_the_start(data_dir):
    with Stack(data_dir, valkey=False, durable=False):
        left = (data_dir / "pg" / "postmaster.pid").read_text().splitlines()
    (data_dir / "pg" / "postmaster.pid").write_text("\n".join([str(os.getpid()), *left[1:]]) + "\n")
    with Stack(data_dir, valkey=False, durable=False) as stack:
        assert stack.postgres_pid


def test_failed_start_shows_why_and_releases_the_folder(data_dir):
    with Stack(data_dir, valkey=False, durable=False):
        pass
    conf = data_dir / "pg" / "postgresql.conf"
    whole = conf.read_text()
    conf.write_text(whole + "\nno_such_setting = 1\n")
    with pytest.raises(EmbeddedError, match="no_such_setting"):
        Stack(data_dir, valkey=False, durable=False).start()
    conf.write_text(whole)
    with Stack(data_dir, valkey=False, durable=False) as stack:
        assert stack.postgres_pid


def test_a_long_path_falls_back_to_a_short_private_socket_folder(data_dir):
    deep = data_dir / ("deep" * 20) / "down, and more"
    with Stack(deep, durable=False) as stack:
        write(stack.info, "short")
        assert read(stack.info) == (["short"], ["short"])
        folder = Path(str(parse_database_url(stack.info.database_url)["HOST"]))
        assert deep not in folder.parents
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert unquote(running(deep).redis_url).startswith(f"redis+socket://{folder}/")
    assert not folder.exists()


def test_the_servers_listen_on_sockets_only_in_a_private_folder(data_dir):
    with Stack(data_dir, durable=False) as stack:
        for pid in (stack.postgres_pid, stack.valkey_pid):
            server = psutil.Process(pid)
            for process in (server, *server.children(recursive=True)):
                assert process.net_connections(kind="inet") == []
        assert stat.S_IMODE((data_dir / "run").stat().st_mode) == 0o700
        assert {path.name for path in (data_dir / "run").iterdir() if path.is_socket()} == {
            ".s.PGSQL.5432",
            "valkey.sock",
        }


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_servers_have_no_privilege_even_when_root_starts_them(data_dir):
    with Stack(data_dir, durable=False) as stack:
        for pid in (stack.postgres_pid, stack.valkey_pid):
            status = dict(
                line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
            )
            assert int(status["CapEff"], 16) == 0
            assert int(status["CapPrm"], 16) == 0
            assert int(status["NoNewPrivs"]) == 1
            if os.geteuid() == 0:
                another_namespace = os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user")
                assert another_namespace or "0" not in status["Uid"].split()


def test_throwaway_servers_leave_nothing_behind():
    with throwaway(valkey=True) as info:
        write(info, "gone soon")
        folder = Path(str(parse_database_url(info.database_url)["HOST"])).parent
        assert running(folder) == info
    assert not folder.exists()


def test_leftovers_of_killed_runs_are_removed_but_not_live_ones(monkeypatch, tmp_path):
    dead, young, alive = (tmp_path / f"kitaran-tmp-{name}" for name in ("dead", "young", "alive"))
    for folder in (dead, young):
        folder.mkdir()
    long_ago = time.time() - 7200
    with Stack(alive, postgres=False):
        for folder in (dead, alive):
            os.utime(folder, (long_ago, long_ago))
        remove_left_overs(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([young, alive])
