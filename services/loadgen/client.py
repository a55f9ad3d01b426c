"""How a user posts: HTTP/1.1 over a connection of its own, with little work for each request.

A request is the bytes that all requests of a connection begin with, a key, and the bytes that are made once for each
note of the pool. Nearly every answer is a head that came before, but for its date, and a body of known length: such a
head is read once. Whatever else comes goes through geventhttpclient's parser.
"""

import select
import socket
import ssl
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import gevent.socket
import gevent.ssl
from gevent.monkey import get_original
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError, HTTPResponse

from loadgen.settings import CONNECT_TIMEOUT_S, GONE_S, REQUEST_TIMEOUT_S

BLOCK = 16_384
END_OF_HEAD = b"\r\n\r\n"
MOST_HEADS = 256  # one a second and route stays in use, because of its date


class Head(NamedTuple):
    """What a head says. `length` is that of the body, None where the body itself tells where it ends."""

    status: int
    route: str
    retry_after: bool
    length: int | None
    stays_open: bool


class Answer(NamedTuple):
    """The answer to a request: its status, the `X-Route`, whether it has a `Retry-After`, and its body."""

    status: int
    route: str
    retry_after: bool
    body: bytes


class Access(NamedTuple):
    """What a target wants of its clients: a token, and that they trust its certificate (PEM), whatever names that has.

    Without a certificate none is looked at.
    """

    token: str = ""
    certificate: str = ""

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> "Access":
        """From the files that environment variables name; raises OSError where one cannot be read."""
        token, certificate = (
            Path(variables[name]).read_text() if variables.get(name) else ""
            for name in ("COURSE_TOKEN_FILE", "COURSE_CERTIFICATE_FILE")
        )
        return cls(token.strip(), certificate)


ANYBODY = Access()


def note_request(body: bytes) -> bytes:
    """What follows the key in the request that posts a body."""
    return b"\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Connection:
    """Posts to one base URL. It is made when it is needed, and again after it has ended.

    One whose host is gone is told from one that is slow: a host that lives confirms at once what it gets.
    """

    def __init__(self, target: str, access: Access = ANYBODY) -> None:
        url = urlsplit(target)
        self._secure = url.scheme == "https"
        self._address = url.hostname or "", url.port or (443 if self._secure else 80)
        self._certificate = access.certificate
        token = f"Authorization: Bearer {access.token}\r\n" if access.token else ""
        self._beginning = (
            f"POST {url.path}/course HTTP/1.1\r\nHost: {url.netloc.rpartition('@')[2]}\r\n{token}"
            "Content-Type: application/json\r\nIdempotency-Key: "
        ).encode()
        self._socket: gevent.socket.socket | None = None
        self._poll = get_original("select", "poll")()

    def post(self, key: bytes, rest: bytes) -> Answer:
        """Posts what `note_request` has made, and waits for the answer.

        Raises OSError, or what geventhttpclient raises for an answer that is none; nothing is sent twice.
        """
        opened = self._socket
        if opened is None or self._poll.poll(0):  # what can be read before anything was asked is its end
            opened = self._open()
        try:
            try:  # noqa: SIM105 - contextlib.suppress takes a microsecond
                opened.sendall(b"%b%b%b" % (self._beginning, key, rest))
            except (ConnectionResetError, BrokenPipeError):
                pass  # the other end may have said why before it closed
            return self._read(opened)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the connection, if there is one."""
        if self._socket is not None:
            self._poll.unregister(self._socket)
            self._socket.close()
            self._socket = None

    def _open(self) -> gevent.socket.socket:
        self.close()
        opened = gevent.socket.create_connection(self._address, CONNECT_TIMEOUT_S)
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(GONE_S * 1000))
            if self._secure:
                opened = _context(self._certificate).wrap_socket(opened, server_hostname=self._address[0])
            opened.settimeout(REQUEST_TIMEOUT_S)
        except BaseException:
            opened.close()
            raise
        self._poll.register(opened, select.POLLIN)
        self._socket = opened
        return opened

    def _read(self, opened: gevent.socket.socket) -> Answer:
        read = opened.recv(BLOCK)
        end = read.find(END_OF_HEAD) + len(END_OF_HEAD)
        if end >= len(END_OF_HEAD):
            head = head_of(read[:end])
            if head.length == len(read) - end:
                if not head.stays_open:
                    self.close()
                return Answer(head.status, head.route, head.retry_after, read[end:])
        return self._read_on(opened, read)

    def _read_on(self, opened: gevent.socket.socket, read: bytes) -> Answer:
        """Reads an answer that came in pieces, or that does not tell its length."""
        parser = _Parser("POST")
        while True:
            try:
                parser.feed(read)
            except HTTPParseError:
                if read:
                    raise
            if parser.message_complete and parser.status_code >= 200:
                break
            if not read:
                raise HTTPConnectionClosed("connection closed")
            read = opened.recv(BLOCK)
        head = parser.head()
        if not head.stays_open:
            self.close()
        return Answer(head.status, head.route, head.retry_after, parser.body())


class _Parser(HTTPResponse):
    def head(self) -> Head:
        route = self.get("x-route")
        known = self.status_code >= 200 and (self.message_complete or self.content_length is not None)
        return Head(
            self.status_code,
            route if isinstance(route, str) else "",
            "retry-after" in self,
            (self.content_length or 0) if known else None,
            self.should_keep_alive(),
        )

    def body(self) -> bytes:
        return bytes(self._body_buffer)


@lru_cache(MOST_HEADS)
def head_of(head: bytes) -> Head:
    """Reads a head, with the empty line at its end."""
    parser = _Parser("POST")
    parser.feed(head)
    return parser.head()


@lru_cache
def _context(certificate: str) -> gevent.ssl.SSLContext:
    context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if certificate:
        # This one counts, and nothing that another signs below the same authority.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=certificate)
    else:
        context.verify_mode = gevent.ssl.CERT_NONE
    return context
