"""Small HTTP servers of the tests' own, on a free port of loopback."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Exchange(BaseHTTPRequestHandler):
    """A request, and its answer."""

    answer: Callable[[Exchange], None]

    def do_GET(self) -> None:
        type(self).answer(self)

    def do_HEAD(self) -> None:
        type(self).answer(self)

    def do_PATCH(self) -> None:
        type(self).answer(self)

    def reply(self, status: int, body: bytes = b"", content_type: str = "application/json", **headers: str) -> None:
        """Answers whole. Underscores in the names of further headers stand for dashes."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def certificate(directory: Path) -> Path:
    """Makes a certificate of loopback with its key, in one file; whoever has that as SSL_CERT_FILE trusts it."""
    path = directory / "server.pem"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(path)]
    subject = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
    subprocess.run(["openssl", "req", "-x509", *key, *subject, "-out", path], check=True, capture_output=True)
    return path


@contextmanager
def serving(answer: Callable[[Exchange], None], tls: Path | None = None) -> Iterator[int]:
    """Has each request answered so, over TLS with such a certificate; the port."""
    handler = type("Answering", (Exchange,), {"answer": staticmethod(answer)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
