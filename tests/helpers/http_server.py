"""Small HTTP servers of the tests' own, on a free port of loopback."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Exchange(BaseHTTPRequestHandler):
    """A request, and its answer."""

    answer: Callable[[Exchange], None]

    def do_GET(self) -> None:
        type(self).answer(self)

    def do_PATCH(self) -> None:
        type(self).answer(self)

    def reply(self, status: int, body: bytes = b"", content_type: str = "application/json") -> None:
        """Answers whole."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def serving(answer: Callable[[Exchange], None]) -> Iterator[int]:
    """Has each request answered so; the port."""
    handler = type("Answering", (Exchange,), {"answer": staticmethod(answer)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
