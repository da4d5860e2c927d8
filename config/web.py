"""The web process's worker: gunicorn's threads, which speak the API's language where gunicorn speaks for itself."""

import json
import socket
from collections.abc import Callable, Iterable
from typing import Any

from gunicorn import util
from gunicorn.workers.gthread import ThreadWorker

# What gunicorn reads to its end after an answer; with more, it closes the connection without an answer.
_MOST_UNREAD_BYTES = 64 * 1024


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Closes the connection, and says so, where a body was refused that may not have been read."""

    wsgi: Any

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.wsgi = _closing(self.wsgi)


def _closing(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], error: Any = None) -> Any:
            if status[0] in "45" and _may_be_unread(environ):
                start_response.__self__.force_close()  # gunicorn drops a Connection header of the application
            return start_response(status, headers, error)

        return application(environ, start)

    return serve


def _may_be_unread(environ: dict[str, Any]) -> bool:
    return "HTTP_TRANSFER_ENCODING" in environ or int(environ.get("CONTENT_LENGTH") or 0) > _MOST_UNREAD_BYTES


def _write_problem(client: socket.socket, status: int, reason: str, detail: str) -> None:
    """What gunicorn refuses before any application sees it, such as a header that is too long, as a problem."""
    problem = {
        "type": "urn:kitaran:problem:unreadable_request",
        "title": reason,
        "status": status,
        "code": "unreadable_request",
        "detail": detail,
        "errors": [],
    }
    body = json.dumps(problem)
    head = (
        f"HTTP/1.1 {status} {reason}",
        "Connection: close",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(body)}",
    )
    util.write_nonblock(client, "\r\n".join((*head, "", body)).encode())


util.write_error = _write_problem
