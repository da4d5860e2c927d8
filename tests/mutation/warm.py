"""A process of one copy of the tree that has imported what is not the project's own, and forks for each run of pytest.

Most of a short run is imports. The project itself is imported by the forked process, as it is in the copy just then.

It is started with a file for the names of modules, and the arguments of pytest by which they are found out. Then it
speaks lines of JSON: it is told the arguments of pytest, a file for what that says, and seconds; it answers with the
exit code, or null when the time was over."""

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

OWN = ("tests", "config", "billing", "rm_gateway", "__main__")
# Read the settings or the registry of applications when they are imported; pytest wants to import its plugins itself.
LEFT_OUT = ("django.contrib", "rest_framework", "axes", "unfold", "drf_spectacular", "django_filters", "csp",
            "whitenoise", "celery.fixups", "pytest_django", "pytest_timeout", "_hypothesis_pytestplugin")  # fmt: skip


def main() -> None:
    sys.path.insert(0, os.getcwd())
    known = Path(sys.argv[1])
    if _fork(sys.argv[2:], os.devnull, 300, names_to=known) != 0:
        sys.exit("the modules to import beforehand could not be found out")
    for name in json.loads(known.read_text(encoding="utf-8")):
        if not name.startswith((*OWN, *LEFT_OUT)):
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        told = json.loads(line)
        print(json.dumps(_fork(told["arguments"], told["output"], told["seconds"])), flush=True)


def _fork(arguments: list[str], output: str, seconds: int, names_to: Path | None = None) -> int | None:
    child = os.fork()
    if child == 0:
        _run(arguments, output, names_to)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _run(arguments: list[str], output: str, names_to: Path | None) -> None:
    """In the forked process, which ends here."""
    os.setsid()  # the servers that its tests start end with it
    said = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    code = 70
    try:
        import pytest

        code = int(pytest.main(arguments))
        if names_to:
            names_to.write_text(json.dumps(list(sys.modules)), encoding="utf-8")
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except BaseException:  # noqa: BLE001  (it is shown, and the code says that nothing was tried)
        traceback.print_exc()
    finally:
        _end(code)


def _end(code: int) -> None:
    """With what the tests left to be done at the end, such as ending the processes that they started."""
    import atexit

    with contextlib.suppress(Exception):
        atexit._run_exitfuncs()
    os._exit(code)


if __name__ == "__main__":
    main()
