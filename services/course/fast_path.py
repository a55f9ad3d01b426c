"""The fast path for the one request that comes by the thousand: a plain `POST /course`.

Sanic reads HTTP in Python and gives each request a task, a request and a response object: more work than storing the
note. So this protocol first shows what arrives to llhttp (C), in whatever pieces it comes. Ordinary `POST /course`
requests go straight to the group commit and are answered when it is done. Anything else, be it another path, chunked,
`Expect`, HTTP/1.0, `Connection: close`, malformed or long, goes untouched to Sanic, from its first byte on; there a
handler applies the same rules (`Handler`). Nothing in a piece is acted on before all of it is read, and answers keep
the order of the requests.
"""

from asyncio import TimerHandle
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from sanic.http import Stage
from sanic.server.protocols.http_protocol import HttpProtocol

from course.handler import JSON, PATH, TOO_SLOW, WRONG_TYPE, Handler, failure_body, is_json
from course.outcome import Failure

_START = f"POST {PATH} HTTP/1.1\r\n".encode()
_PATH = PATH.encode()
_JSON = JSON.encode()
_BLANK_LINE = b"\r\n\r\n"
_NOT_PLAIN = b"\0"
_MAX_UNREAD = 8192  # Sanic's own limit for headers, so both ways agree on what is too long
_MAX_DIGITS = 4  # of a Content-Length: a longer body is Sanic's, which may refuse it before it comes
_NO_REQUEST = Failure(408, "Request Timeout")  # as Sanic says it
_MAX_UNANSWERED = 256  # requests a client may send ahead of their answers
_ODD = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"trailer"))
_REASONS = {
    400: b"Bad Request",
    408: b"Request Timeout",
    415: b"Unsupported Media Type",
    422: b"Unprocessable Entity",
    503: b"Service Unavailable",
}


class PlainRequest:
    """What matters of a plain `POST /course`: header values as sent, None where the header is missing."""

    __slots__ = ("body", "content_type", "key")

    def __init__(self) -> None:
        self.content_type: bytes | None = None
        self.key: bytes | None = None
        self.body = b""


class Reader:
    """Reads what a connection receives, in whatever pieces it comes."""

    __slots__ = ("_found", "_parser", "_plain", "_request", "_url", "headers_read", "unread")

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._parser = HttpRequestParser(self)
        self._request = _BETWEEN
        self._plain = True
        self._url = b""
        self.headers_read = False  # of the request that has begun
        self.unread = b""  # what has come of it

    def read(self, piece: bytes) -> list[PlainRequest] | None:
        """The requests that have come whole with this piece, each a plain `POST /course`; the rest stays in `unread`.

        None if there is anything else, which leaves all of it, from the first of these requests on, in `unread`: it is
        to be taken before more is read.
        """
        data = self.unread + piece if self.unread else piece
        found = self._read(piece, data)
        if found is None:
            self.unread = data
        return found

    def _read(self, piece: bytes, data: bytes) -> list[PlainRequest] | None:
        if len(data) > _MAX_UNREAD or not _may_be_plain(data):
            return None
        self._found = found = list[PlainRequest]()
        try:
            self._parser.feed_data(piece)
        except (HttpParserError, HttpParserUpgrade):
            return None
        rest = b"" if self._request is _BETWEEN else _after(data, found)
        if not self._plain or not _may_be_plain(rest):
            return None
        self.unread = rest
        return found

    def take_unread(self) -> bytes:
        """Hands over what no request was read from, and begins anew."""
        unread = self.unread
        self._reset()
        return unread

    # What the parser calls, in this order.

    def on_message_begin(self) -> None:
        self._request = PlainRequest()
        self._url = b""
        self.headers_read = False

    def on_url(self, url: bytes) -> None:
        self._url += url  # in parts, where it was cut

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
        elif name == b"content-length" and len(value) > _MAX_DIGITS:
            self._plain = False  # refused by Sanic, without waiting for it

    def on_headers_complete(self) -> None:
        self.headers_read = True
        if self._url != _PATH or self._parser.get_method() != b"POST" or self._parser.get_http_version() != "1.1":
            self._plain = False

    def on_body(self, body: bytes) -> None:
        self._request.body += body

    def on_message_complete(self) -> None:
        self._found.append(self._request)
        self._request = _BETWEEN


_BETWEEN = PlainRequest()


def _may_be_plain(data: bytes) -> bool:
    """Whether these are the first bytes of a plain request, as far as they go."""
    return data.startswith(_START) or (len(data) < len(_START) and _START.startswith(data))


def _after(data: bytes, requests: Sequence[PlainRequest]) -> bytes:
    """What comes behind some requests, with which these data begin."""
    end = 0
    for request in requests:
        if not data.startswith(_START, end):
            return _NOT_PLAIN
        headers_end = data.find(_BLANK_LINE, end)
        if headers_end < 0:
            return _NOT_PLAIN
        end = headers_end + len(_BLANK_LINE) + len(request.body)
    return data[end:]


class Answer:
    """The place of one request in its connection's order of answers."""

    __slots__ = ("data", "note_id", "protocol", "started")

    def __init__(self, protocol: "FastPath", started: float) -> None:
        self.protocol = protocol
        self.started = started
        self.note_id = b""
        self.data: bytes | None = None

    def done(self, failure: Failure | None) -> None:
        """Writes the answer as soon as every earlier one of the connection is written."""
        protocol = self.protocol
        metrics = protocol.handler.metrics
        metrics.seconds.observe(monotonic() - self.started)
        if failure is None:
            metrics.by_status["201"] += 1
            self.data = protocol.stored(self.note_id)
        else:
            metrics.by_status[str(failure.status)] += 1
            self.data = protocol.failed(failure)
        protocol.send_ready()


class FastPath(HttpProtocol):
    """Sanic's HTTP protocol, with the fast path in front."""

    __slots__ = ("_answers", "_begun", "_held", "_last", "_reader", "_readiness", "_timer", "handler")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._http = None  # Sanic sets it when its task first runs, which may be after the first bytes
        self.handler: Handler = self.app.ctx.handler
        self._readiness = self.app.ctx.readiness
        self._reader = Reader()
        self._answers: deque[Answer] = deque()
        self._held: bytes | None = None  # a piece that must wait until what came before it is answered
        self._last = False  # close once everything is answered
        self._begun = 0.0  # when the request began that has not come whole
        self._timer: TimerHandle | None = None  # for a request that never ends

    def data_received(self, data: bytes) -> None:
        """Takes the fast path where it can, unless Sanic is in the middle of something."""
        if self._held is not None:
            self._held += data
        elif not self._sanic_is_idle():
            super().data_received(data)
        elif len(self._answers) >= _MAX_UNANSWERED:
            self._hold(data)
        else:
            self._read(data)

    def _read(self, data: bytes) -> None:
        reader = self._reader
        is_new = not reader.unread
        requests = reader.read(data)
        self._time = now = monotonic()
        if requests is None:
            data = reader.take_unread()
            if self._answers:
                self._hold(data)
            else:
                super().data_received(data)
            return
        for request in requests:
            self._take(request, now)
        if reader.unread:
            if is_new or requests:
                self._begun = now
            if self._timer is None:
                self._timer = self.loop.call_later(self.request_timeout, self._check_time)

    def _hold(self, data: bytes) -> None:
        self._held = data
        self._pause_reading()

    def _check_time(self) -> None:
        """Gives up a request that has not come whole in its time."""
        self._timer = None
        reader = self._reader
        if not reader.unread:
            return
        left = self._begun + self.request_timeout - monotonic()
        if left > 0:
            self._timer = self.loop.call_later(left, self._check_time)
            return
        failure = TOO_SLOW if reader.headers_read else _NO_REQUEST
        reader.take_unread()
        self._pause_reading()
        self._last = True
        answer = Answer(self, self._begun)
        self._answers.append(answer)
        answer.done(failure)

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
            outcome = self.handler.note(None if key is None else key.decode("latin-1"), request.body)
        if not isinstance(outcome, Failure):
            answer.note_id = outcome.id
            outcome = self.handler.commit.submit(outcome, answer.done)
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
            if self._closes() and not self._reader.unread:
                self.close()
            elif self._held is not None:
                held, self._held = self._held, None
                self.transport.resume_reading()
                self.data_received(held)

    def stored(self, note_id: bytes) -> bytes:
        """The whole HTTP answer for a stored note."""
        body = self.handler.stored_body(note_id)
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
        ) % (status, self.handler.route_header, headers, len(body), b"close" if self._closes() else b"keep-alive", body)

    def _closes(self) -> bool:
        """Whether the connection ends once everything is answered."""
        return self._last or self._readiness.stopping

    # The connection's life, beside what Sanic does.

    def close_if_idle(self) -> bool:
        """At shutdown: closes now, or as soon as what is under way is answered."""
        if self._answers or self._reader.unread:
            self._last = True
            return False
        return super().close_if_idle()

    def eof_received(self) -> bool:
        """A client that has finished sending still gets the answers of the fast path; Sanic's own are cut off."""
        self._last = True
        self._reader.take_unread()
        return bool(self._answers)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: its notes are stored all the same, its answers dropped."""
        self._answers.clear()
        self._held = None
        self._reader.take_unread()
        if self._timer is not None:
            self._timer.cancel()
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
