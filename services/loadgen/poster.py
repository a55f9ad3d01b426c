"""One who posts notes, one at a time: what it sends under which key, and what became of each."""

import errno
import re
import time
from collections.abc import Callable, Sequence

import msgspec
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError

from course.ids import id_of
from loadgen.client import Answer, Connection
from loadgen.keys import key_of
from loadgen.pool import place_in_pool
from loadgen.recorder import Recorder
from loadgen.settings import GONE_S, NO_ROUTE, REQUEST_TIMEOUT_S

ROUTE = re.compile(r"[a-z][a-z0-9-]{0,31}")


class Acknowledgement(msgspec.Struct):
    """The body of a 201."""

    id: str


read_acknowledgement = msgspec.json.Decoder(Acknowledgement).decode


Tell = Callable[[bytes, str, float, int, str | None], None]
"""Takes what became of a note: its id, the route, seconds since it was due, bytes of the answer, why it failed."""


class Poster:
    """Posts a note at a time, under keys that it numbers; `tell` is called with the outcome of each."""

    def __init__(
        self, name: str, connections: Sequence[Connection], requests: Sequence[bytes], recorder: Recorder, tell: Tell
    ) -> None:
        self.name = name
        self._connections = connections
        self._at = 0
        self._requests = requests
        self._recorder = recorder
        self._tell = tell
        self._asking: tuple[bytes, float] | None = None

    def post(self, due: float) -> None:
        """Posts the next note, which was due at that moment (`time.perf_counter`), and waits for its answer."""
        attempts = self._recorder.attempts
        key = key_of(self._recorder.run, self.name, attempts[self.name])
        attempts[self.name] += 1
        note_id = id_of(key)
        self._asking = note_id, due
        request = self._requests[place_in_pool(note_id, len(self._requests))]
        asked = time.perf_counter()
        try:
            answer = self._connections[self._at].post(key.encode(), request)
        except (OSError, HTTPParseError) as error:
            now = time.perf_counter()
            failure: str | None = _no_answer(error, now - asked)
            route, length = NO_ROUTE, 0
            self._at = (self._at + 1) % len(self._connections)  # the next note goes to the next target
        else:
            now = time.perf_counter()
            failure = failure_of(answer, note_id)
            route, length = route_of(answer), len(answer.body)
        self._asking = None
        self._tell(note_id, route, now - due, length, failure)

    def close(self) -> None:
        """Ends its connections. A note that was cut off while it waited for its answer is told as a failure."""
        if self._asking is not None:
            note_id, due = self._asking
            self._tell(note_id, NO_ROUTE, time.perf_counter() - due, 0, "still unanswered when the run ended")
        for connection in self._connections:
            connection.close()


def route_of(answer: Answer) -> str:
    """The route that answered, as X-Route names it."""
    return answer.route if ROUTE.fullmatch(answer.route) else NO_ROUTE


def failure_of(answer: Answer, note_id: bytes) -> str | None:
    """Why an answer is no acknowledgement of the note, or None when it is one."""
    if answer.status != 201:
        may_come_back = answer.status == 503 and answer.retry_after
        return f"HTTP {answer.status}{', with Retry-After' if may_come_back else ''}"
    if route_of(answer) == NO_ROUTE:
        return "201 without X-Route"
    try:
        acknowledged = bytes.fromhex(read_acknowledgement(answer.body).id)
    except ValueError:
        return "201 without an id"
    return None if acknowledged == note_id else "201 with another id than the Idempotency-Key's"


def _no_answer(error: Exception, waited_s: float) -> str:
    """Why there is no answer at all."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ETIMEDOUT:  # the kernel's; a timeout of ours has no number
        return f"connection lost: the host was silent for {GONE_S:.0f} s"
    if isinstance(error, TimeoutError):
        connected = waited_s >= REQUEST_TIMEOUT_S / 2  # waiting for an answer never ends sooner
        return f"no answer within {REQUEST_TIMEOUT_S:.0f} s" if connected else "no connection: the host is silent"
    if number in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return "no route to the host"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, (ConnectionResetError, BrokenPipeError, HTTPConnectionClosed)):
        return "connection closed before the answer"
    return f"{type(error).__name__}: {error}"
