"""PostgreSQL and Valkey as unprivileged child processes, in a data folder of the project.

Only the standard library is used, and nothing of the rest of the project, so that `manage.py`, the settings
and the tests can all use it. The servers listen on Unix sockets in a folder that only their owner can open;
no port is ever taken.
"""

from config.embedded.errors import AlreadyRunning, EmbeddedError, NotInstalled
from config.embedded.stack import Stack, StackInfo, running
from config.embedded.throwaway import throwaway
from config.embedded.urls import parse_database_url, redis_py_url

__all__ = [
    "AlreadyRunning",
    "EmbeddedError",
    "NotInstalled",
    "Stack",
    "StackInfo",
    "parse_database_url",
    "redis_py_url",
    "running",
    "throwaway",
]
