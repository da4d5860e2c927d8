"""What is left when the launcher is killed, and what is allowed to hold on to a folder."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from config.embedded import AlreadyRunning, EmbeddedError, Stack, redis_py_url, running

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = """
import sys, time
from pathlib import Path
from config.embedded import Stack
stack = Stack(Path(sys.argv[1]))
stack.start()
print("ready", flush=True)
time.sleep(60)
"""
FORKING_LAUNCHER = LAUNCHER.replace(
    'print("ready", flush=True)', "import os\nif forked := os.fork():\n    print(forked, flush=True)"
)


@contextmanager
def launcher(data_dir, *, source=LAUNCHER, **options):
    """A process that runs the servers of the folder, and the first line that it printed."""
    with subprocess.Popen(
        [sys.executable, "-c", source, str(data_dir)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    ) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def answer_to(ask):
    """What a process says of itself; None when it has ended meanwhile, as PostgreSQL's own come and go."""
    try:
        return ask()
    except psutil.NoSuchProcess:
        return None


def offspring(pid):
    return [process for process in psutil.Process(pid).children(recursive=True) if process.pid != pid]


def test_killed_launcher_leaves_no_orphans_and_a_usable_folder(data_dir):
    with launcher(data_dir) as (process, _):
        info = running(data_dir)
        assert info.pid == process.pid
        with psycopg.connect(info.database_url, autocommit=True) as connection:
            connection.execute("CREATE TABLE note AS SELECT 'committed' AS text")
            redis.Redis.from_url(redis_py_url(info.redis_url)).set("note", "acknowledged")
            children = offspring(process.pid)
            names = {answer_to(child.name) for child in children}
            assert {"postgres", "valkey-server"} <= names or {"postgres", "redis-server"} <= names

            os.kill(process.pid, signal.SIGKILL)
            _, alive = psutil.wait_procs(children, timeout=5)
            assert [child for child in alive if answer_to(child.status) not in (None, psutil.STATUS_ZOMBIE)] == []
    assert running(data_dir) is None

    with Stack(data_dir) as stack:
        with psycopg.connect(stack.info.database_url) as connection:
            assert connection.execute("SELECT text FROM note").fetchall() == [("committed",)]
        with redis.Redis.from_url(redis_py_url(stack.info.redis_url)) as client:
            assert client.get("note") == b"acknowledged"


def test_a_start_right_after_the_kill_waits_for_the_old_servers(data_dir):
    with launcher(data_dir) as (process, _):
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with Stack(data_dir) as stack:
            assert running(data_dir) == stack.info


def test_launcher_killed_in_first_start_leaves_a_usable_folder(data_dir):
    for delay_seconds in (0.15, 0.4, 0.8):
        process = subprocess.Popen([sys.executable, "-c", LAUNCHER, str(data_dir)], cwd=ROOT, stdout=subprocess.DEVNULL)
        time.sleep(delay_seconds)
        process.kill()
        process.wait()
    with Stack(data_dir) as stack, psycopg.connect(stack.info.database_url) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("kitaran",)


def test_a_launcher_in_another_process_is_refused_as_well(data_dir):
    with launcher(data_dir) as (process, _), pytest.raises(AlreadyRunning, match=str(process.pid)):
        Stack(data_dir).start()


def test_fork_that_outlives_the_launcher_frees_the_folder(data_dir):
    with launcher(data_dir, source=FORKING_LAUNCHER) as (process, line):
        forked = psutil.Process(int(line))
        try:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            deadline = time.monotonic() + 5
            while running(data_dir) is not None:  # the fork lets go as its first act, when it gets a processor
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert forked.is_running()
            with Stack(data_dir) as stack:
                assert running(data_dir) == stack.info
        finally:
            forked.kill()


def test_a_forgotten_stop_is_made_up_for_when_the_launcher_ends(data_dir):
    source = LAUNCHER.replace("time.sleep(60)", "")
    with launcher(data_dir, source=source, stderr=subprocess.PIPE) as (process, _):
        assert process.wait(20) == 0
        assert process.stderr.read() == ""
    assert not (data_dir / "stack.json").exists()
    assert not (data_dir / "pg" / "postmaster.pid").exists()


def test_servers_started_from_a_thread_that_has_ended_live_on(data_dir):
    stack = Stack(data_dir, durable=False)
    thread = threading.Thread(target=stack.start)
    thread.start()
    thread.join()
    try:
        before = (stack.postgres_pid, stack.valkey_pid)
        time.sleep(0.5)
        assert (stack.postgres_pid, stack.valkey_pid) == before
    finally:
        stack.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_without_namespaces_uses_an_existing_account(data_dir):
    for folder in (data_dir.parent, data_dir):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o711)
    (data_dir / "owner.json").write_text('{"way": "setuid", "uid": 65534, "gid": 65534}')
    stack = Stack(data_dir)
    try:
        info = stack.start()
    except EmbeddedError as error:
        if "cannot open" in str(error) and str(ROOT) in str(error):
            pytest.skip("this checkout lies in a folder that is closed to other accounts")
        raise
    try:
        for pid in (stack.postgres_pid, stack.valkey_pid):
            assert set(psutil.Process(pid).uids()) == {65534}
        with psycopg.connect(info.database_url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        before = stack.valkey_pid
        os.kill(before, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not _other_pid(stack, before):
            time.sleep(0.05)
        assert _other_pid(stack, before)
    finally:
        stack.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_folder_closed_to_the_other_account_is_refused_by_name(data_dir):
    data_dir.mkdir()
    data_dir.parent.chmod(0o700)
    (data_dir / "owner.json").write_text('{"way": "setuid", "uid": 65534, "gid": 65534}')
    with pytest.raises(EmbeddedError, match=f"because {data_dir.parent} is closed"):
        Stack(data_dir).start()


def _other_pid(stack, before):
    try:
        return stack.valkey_pid != before
    except EmbeddedError:
        return False
