"""The short way for the one request that comes by the thousand: a whole, plain `POST /course` in one piece.

Sanic reads HTTP in Python and gives each request a task, a request and a response object: more work than storing the
note. So this protocol first shows what arrives to llhttp (C). If that is nothing but complete, ordinary `POST /course`
requests, they go straight to the group commit and are answered when it is done. Anything else, be it another path,
a request in several pieces, chunked, `Expect`, HTTP/1.0, `Connection: close` or malformed, goes untouched to
Sanic, whose handler applies the same rules (`Intake`). The choice is made for a received piece as a whole, before
anything in it is acted on, and answers keep the order of the requests.
"""

from collections import deque
from time import monotonic
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from sanic.http import Stage
from sanic.server.protocols.http_protocol import HttpProtocol

from course.intake import JSON, PATH, WRONG_TYPE, Intake, failure_body, is_json
from course.outcome import Failure

_START = f"POST {PATH} HTTP/1.1\r\n".encode()
_PATH = PATH.encode()
_JSON = JSON.encode()
_MAX_PIECE = 8192  # Sanic's own limit for headers, so both ways agree on what is too long
_MAX_UNANSWERED = 256  # requests a client may send ahead of their answers
_ODD = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"trailer"))
_REASONS = {400: b"Bad Request", 415: b"Unsupported Media Type", 503: b"Service Unavailable"}


class PlainRequest:
    """What matters of a plain `POST /course`: header values as sent, None where the header is missing."""

    __slots__ = ("body", "content_type", "key")

    def __init__(self) -> None:
        self.content_type: bytes | None = None
        self.key: bytes | None = None
        self.body = b""


class Reader:
    """Reads received pieces; holds a connection's parser, which is always between two requests."""

    __slots__ = ("_found", "_parser", "_plain", "_request")

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._parser = HttpRequestParser(self)
        self._request = PlainRequest()

    def read(self, piece: bytes) -> list[PlainRequest] | None:
        """The requests a piece consists of; None if it holds anything but whole, plain `POST /course` requests."""
        if len(piece) > _MAX_PIECE or not piece.startswith(_START):
            return None
        self._found: list[PlainRequest] = []
        self._plain = True
        self._request = PlainRequest()
        try:
            self._parser.feed_data(piece)
        except (HttpParserError, HttpParserUpgrade):
            self._plain = False
        if self._plain and self._request is _BETWEEN and self._found:
            return self._found
        self._reset()
        return None

    # What the parser calls, in this order.

    def on_message_begin(self) -> None:
        self._request = PlainRequest()

    def on_url(self, url: bytes) -> None:
        if url != _PATH:
            self._plain = False

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        request = self._request
        if name == b"content-type":
            self._plain = self._plain and request.content_type is None
            request.content_type = value
        elif name == b"idempotency-key":
            self._plain = self._plain and request.key is None
            request.key = value
        elif name in _ODD or (name == b"connection" and value.lower() != b"keep-alive"):
            self._plain = False

    def on_headers_complete(self) -> None:
        if self._parser.get_method() != b"POST" or self._parser.get_http_version() != "1.1":
            self._plain = False

    def on_body(self, body: bytes) -> None:
        self._request.body += body

    def on_message_complete(self) -> None:
        self._found.append(self._request)
        self._request = _BETWEEN


_BETWEEN = PlainRequest()


class Answer:
    """The place of one request in its connection's order of answers."""

    __slots__ = ("data", "note_id", "protocol", "started")

    def __init__(self, protocol: "PlainPosts", started: float) -> None:
        self.protocol = protocol
        self.started = started
        self.note_id = b""
        self.data: bytes | None = None

    def done(self, failure: Failure | None) -> None:
        """Writes the answer as soon as every earlier one of the connection is written."""
        protocol = self.protocol
        metrics = protocol.intake.metrics
        metrics.seconds.observe(monotonic() - self.started)
        if failure is None:
            metrics.by_status["201"] += 1
            self.data = protocol.stored(self.note_id)
        else:
            metrics.by_status[str(failure.status)] += 1
            self.data = protocol.failed(failure)
        protocol.send_ready()


class PlainPosts(HttpProtocol):
    """Sanic's HTTP protocol, with the short way in front."""

    __slots__ = ("_answers", "_held", "_last", "_reader", "_stored", "intake")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._http = None  # Sanic sets it when its task first runs, which may be after the first bytes
        self.intake: Intake = self.app.ctx.intake
        self._reader = Reader()
        self._answers: deque[Answer] = deque()
        self._held: bytes | None = None  # a piece that must wait until what came before it is answered
        self._last = False  # close once everything is answered

    def data_received(self, data: bytes) -> None:
        """Takes the short way if the piece allows it and Sanic is not in the middle of something."""
        if self._held is not None:
            self._held += data
            return
        requests = self._reader.read(data) if self._sanic_is_idle() else None
        if requests is not None and len(self._answers) < _MAX_UNANSWERED:
            self._time = now = monotonic()
            for request in requests:
                self._take(request, now)
        elif self._answers:
            self._held = data
            self._pause_reading()
        else:
            super().data_received(data)

    def _sanic_is_idle(self) -> bool:
        http = self._http
        return (
            http is not None
            and http.stage is Stage.IDLE
            and not http.request_body  # else the rest of a refused body is still to come
            and http.keep_alive
            and not self.recv_buffer
        )

    def _take(self, request: PlainRequest, now: float) -> None:
        answer = Answer(self, now)
        self._answers.append(answer)
        outcome: Any = WRONG_TYPE
        if request.content_type == _JSON or is_json((request.content_type or b"").decode("latin-1")):
            key = request.key
            outcome = self.intake.note(None if key is None else key.decode("latin-1"), request.body)
        if not isinstance(outcome, Failure):
            answer.note_id = outcome.id
            outcome = self.intake.commit.submit(outcome, answer.done)
        if outcome is not None:
            answer.done(outcome)

    def send_ready(self) -> None:
        """Writes the answers whose turn it is."""
        answers, ready = self._answers, []
        while answers and (data := answers[0].data) is not None:
            ready.append(data)
            answers.popleft()
        if not ready or self.transport is None or self.transport.is_closing():
            return
        self.transport.write(ready[0] if len(ready) == 1 else b"".join(ready))
        if not answers:
            if self._last:
                self.close()
            elif self._held is not None:
                held, self._held = self._held, None
                self.transport.resume_reading()
                self.data_received(held)

    def stored(self, note_id: bytes) -> bytes:
        """The whole HTTP answer for a stored note."""
        body = self.intake.stored_body(note_id)
        return self._response(b"201 Created", b"", body)

    def failed(self, failure: Failure) -> bytes:
        """The whole HTTP answer for a note that was not stored."""
        status = b"%d %b" % (failure.status, _REASONS[failure.status])
        headers = "".join(f"{name}: {value}\r\n" for name, value in failure.headers().items())
        return self._response(status, headers.encode(), failure_body(failure))

    def _response(self, status: bytes, headers: bytes, body: bytes) -> bytes:
        return (
            b"HTTP/1.1 %b\r\nX-Route: %b\r\n%bcontent-length: %d\r\nconnection: %b\r\n"
            b"content-type: application/json\r\n\r\n%b"
        ) % (status, self.intake.route_header, headers, len(body), b"close" if self._last else b"keep-alive", body)

    # The connection's life, beside what Sanic does.

    def close_if_idle(self) -> bool:
        """At shutdown: closes now, or as soon as what is under way is answered."""
        if self._answers:
            self._last = True
            return False
        return super().close_if_idle()

    def eof_received(self) -> bool:
        """A client that has finished sending still gets the answers of the short way; Sanic's own are cut off."""
        self._last = True
        return bool(self._answers)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: its notes are stored all the same, its answers dropped."""
        self._answers.clear()
        self._held = None
        super().connection_lost(exc)  # type: ignore[no-untyped-call]

    def pause_writing(self) -> None:
        """A client that does not read its answers is not read from either."""
        super().pause_writing()  # type: ignore[no-untyped-call]
        self._pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()  # type: ignore[no-untyped-call]
        if self._held is None and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def _pause_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()
