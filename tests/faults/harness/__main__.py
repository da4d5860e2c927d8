"""Starts the servers, and beside them the program that kills: it must be free of the servers' threads."""

import os
import signal
import sys
import tempfile
from urllib.parse import quote

from billing.demo.supervisor import spawn
from config import embedded
from tests.faults.harness.figures import ROOT

# So that nobody waits for hours: the deadline of what is armed is 2 + 2 + 5 seconds.
SHORTENED = {
    "KITARAN_SEND_WINDOW_SECONDS": "2",
    "KITARAN_GATEWAY_TOTAL_SECONDS": "2",
    "KITARAN_CHECK_LADDER_SECONDS": "1,2,3",
    "KITARAN_REPORT_LADDER_SECONDS": "4,5",
    "KITARAN_REVERSED_CHECK_SECONDS": "1",
    "KITARAN_COLLECT_SECONDS": "20",
    "KITARAN_SENDERS": "4",
    # Killed workers and mixed fates are the point here; pauses and small beginnings have tests of their own.
    "KITARAN_CANARY": "64",
    "KITARAN_PAUSE_SECONDS": "1",
    "KITARAN_CLOCK_TOLERANCE_SECONDS": "0",  # recoveries play the time that passes; that is no wrong clock
    "KITARAN_LOG_LEVEL": "CRITICAL",
}


def main() -> int:
    with (
        tempfile.TemporaryDirectory(prefix="kitaran-faults-") as data_dir,
        embedded.throwaway(valkey=True) as info,
    ):
        options = quote("-c kitaran.allow_truncate=on -c idle_in_transaction_session_timeout=2s")
        environment = os.environ | SHORTENED
        environment |= {
            "DATABASE_URL": f"{info.database_url}&options={options}",
            "REDIS_URL": info.redis_url,
            "KITARAN_DATA_DIR": data_dir,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "PYTHONUNBUFFERED": "1",
        }
        command = [sys.executable, "-m", "tests.faults.harness.program", *sys.argv[1:]]
        program = spawn(command, environment=environment, folder=ROOT)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: program.terminate())
        return program.wait()


if __name__ == "__main__":
    sys.exit(main())
