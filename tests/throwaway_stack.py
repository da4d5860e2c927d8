"""A pytest plugin: the tests' own PostgreSQL, started before Django's settings are read and gone afterwards.

Workers of pytest-xdist inherit it through the environment; each makes a database of its own in it. So do the runs of
`tests.mutation`, which name KITARAN_TESTS_STACK.
"""

import atexit
import os
import tempfile
from urllib.parse import quote

from config import embedded

if not {"PYTEST_XDIST_WORKER", "KITARAN_TESTS_STACK"} & set(os.environ):
    _stack = embedded.throwaway()
    _url = _stack.__enter__().database_url
    atexit.register(_stack.__exit__, None, None, None)
    _folder = tempfile.TemporaryDirectory(prefix="kitaran-data-")
    atexit.register(_folder.cleanup)
    # Only these throw-away databases may be emptied.
    os.environ["DATABASE_URL"] = f"{_url}&options={quote('-c kitaran.allow_truncate=on')}"
    os.environ["REDIS_URL"] = "redis://127.0.0.1:1/0"  # nobody answers there
    os.environ["KITARAN_DATA_DIR"] = _folder.name
    os.environ["KITARAN_GATEWAY_TOTAL_SECONDS"] = "2"
    os.environ.pop("KITARAN_ALLOW_LIVE", None)
