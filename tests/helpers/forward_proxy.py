"""An HTTP proxy on loopback that wants a password, as companies have them."""

from __future__ import annotations

import base64
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

IDLE_S = 30


class _Handler(BaseHTTPRequestHandler):
    """Connects whoever knows the password with whom they ask for: by CONNECT, or with a GET of a whole URL."""

    server: ForwardProxy

    def _admitted(self) -> bool:
        if self.headers.get("Proxy-Authorization") == self.server.wanted:
            self.server.asked.append(self.path)
            return True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", "Basic")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def do_CONNECT(self) -> None:
        if not self._admitted():
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), IDLE_S) as other:
            self.send_response(200)
            self.end_headers()
            _exchange(self.connection, other)
        self.close_connection = True

    def do_GET(self) -> None:
        if not self._admitted():
            return
        url = urlsplit(self.path)
        with socket.create_connection((url.hostname or "", url.port or 80), IDLE_S) as other:
            passed_on = [f"{name}: {value}" for name, value in self.headers.items() if not name.startswith("Proxy-")]
            lines = [f"GET {url._replace(scheme='', netloc='').geturl()} HTTP/1.0", *passed_on, "Connection: close"]
            other.sendall("\r\n".join([*lines, "", ""]).encode())
            _exchange(self.connection, other)
        self.close_connection = True

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def _exchange(one: socket.socket, other: socket.socket) -> None:
    while ready := select.select([one, other], [], [], IDLE_S)[0]:
        for source in ready:
            data = source.recv(1 << 16)
            if not data:
                return
            (other if source is one else one).sendall(data)


class ForwardProxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, user: str, password: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.asked: list[str] = []  # what it was asked for by those who know the password
        self.url = f"http://{user}:{password}@127.0.0.1:{self.server_port}"


@contextmanager
def forward_proxy(user: str, password: str) -> Iterator[ForwardProxy]:
    proxy = ForwardProxy(user, password)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
