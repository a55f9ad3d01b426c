"""The HTTP side of every service: its Sanic application, health, readiness, metrics, the ordinary `POST /course`."""

import asyncio
import gc
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from time import monotonic
from typing import Any, cast

import msgspec
from sanic import HTTPResponse, Request, Sanic
from sanic.exceptions import SanicException
from sanic.http import Http
from sanic.server.protocols.http_protocol import HttpProtocol

from course.fast_path import FastPath
from course.handler import JSON, MAX_BODY, PATH, TOO_LARGE, TOO_SLOW, WRONG_TYPE, Handler, failure_body, is_json
from course.metrics import CONTENT_TYPE, Exposition
from course.outcome import Failure

FAREWELL_S = 1.5  # after SIGTERM a route takes requests for so long: the ingress asks each second whether it is ready
GRACE_S = 10.0  # then what is in flight has this long to finish
CLOSE_S = 2.0  # and connections this long to close after that
KEEP_ALIVE_S = 75  # longer than proxies keep theirs, so that they close first
REQUEST_S = 10  # a request must have arrived whole by then
DISCARD_MAX = 1024 * 1024  # of a body that is refused, so much is read so that the client sees the answer

log = logging.getLogger(__name__)

App = Sanic[Any, Any]
Check = Callable[[], Awaitable[None]]


class Readiness:
    """Whether the databases answer: checks with a time limit, remembered for a moment so that probes cost little."""

    def __init__(self, checks: Mapping[str, Check], *, limit_s: float = 1.0, keep_s: float = 1.0) -> None:
        self._checks = checks
        self._limit_s = limit_s
        self._keep_s = keep_s
        self._known: dict[str, str] = {}
        self._until = 0.0
        self._lock = asyncio.Lock()
        self.stopping = False

    async def look(self) -> dict[str, str]:
        """For every check `ok` or what is wrong."""
        async with self._lock:
            if monotonic() >= self._until:
                answers = await asyncio.gather(*map(self._one, self._checks.values()))
                self._known = dict(zip(self._checks, answers, strict=True))
                self._until = monotonic() + self._keep_s
        return self._known | ({"service": "stopping"} if self.stopping else {})

    async def _one(self, check: Check) -> str:
        try:
            async with asyncio.timeout(self._limit_s):
                await check()
        except TimeoutError:
            return f"no answer within {self._limit_s:g} s"
        except Exception as problem:
            return type(problem).__name__  # never the message: it may show an address or a user name
        return "ok"


def create_app(name: str, exposition: Exposition, checks: Mapping[str, Check], handler: Handler | None = None) -> App:
    """The Sanic application of a service; with a handler it takes notes as well."""
    app = Sanic(name, configure_logging=False)
    app.config.update(
        ACCESS_LOG=False,
        FALLBACK_ERROR_FORMAT="json",
        GRACEFUL_SHUTDOWN_TIMEOUT=GRACE_S,
        KEEP_ALIVE_TIMEOUT=KEEP_ALIVE_S,
        REQUEST_MAX_SIZE=DISCARD_MAX,
        REQUEST_TIMEOUT=REQUEST_S,
        RESPONSE_TIMEOUT=2 * REQUEST_S,  # the handler ends by itself before
    )
    app.ctx.readiness = Readiness(checks)
    app.ctx.exposition = exposition
    app.ctx.handler = handler
    app.add_route(healthz, "/healthz", methods=["GET", "HEAD"])
    app.add_route(readyz, "/readyz", methods=["GET", "HEAD"])
    app.add_route(metrics, "/metrics", methods=["GET", "HEAD"])
    if handler is not None:
        app.add_route(post_course, PATH, methods=["POST"], stream=True)
    app.exception(Exception)(on_exception)
    app.on_response(close_when_stopping)
    app.after_server_start(settle_memory)
    app.before_server_stop(begin_stopping)
    return app


def run(app: App, host: str, port: int) -> None:
    """Serves until SIGTERM or SIGINT, then finishes what is in flight and returns."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("sanic").setLevel(logging.WARNING)
    protocol = FastPath if app.ctx.handler is not None else HttpProtocol
    app.run(host, port, protocol=protocol, single_process=True, access_log=False, motd=False, backlog=1024)


async def healthz(_: Request) -> HTTPResponse:
    """The process runs."""
    return _json(200, {"status": "ok"})


async def readyz(request: Request) -> HTTPResponse:
    """The databases answer."""
    checks = await request.app.ctx.readiness.look()
    return _json(200 if set(checks.values()) == {"ok"} else 503, checks)


async def metrics(request: Request) -> HTTPResponse:
    """Prometheus's page."""
    return HTTPResponse(request.app.ctx.exposition.page(), content_type=CONTENT_TYPE)


async def post_course(request: Request) -> HTTPResponse:
    """Stores one note: the ordinary way, for requests that `FastPath` leaves to Sanic."""
    handler: Handler = request.app.ctx.handler
    started = monotonic()
    outcome = await _outcome(handler, request)
    handler.metrics.seconds.observe(monotonic() - started)
    if isinstance(outcome, Failure):
        handler.metrics.by_status[str(outcome.status)] += 1
        headers = {"X-Route": handler.route, **outcome.headers()}
        return HTTPResponse(failure_body(outcome), outcome.status, headers, JSON)
    handler.metrics.by_status["201"] += 1
    return HTTPResponse(handler.stored_body(outcome), 201, {"X-Route": handler.route}, JSON)


async def _outcome(handler: Handler, request: Request) -> bytes | Failure:
    """The id of the stored note, or why there is none."""
    content_types = request.headers.getall("content-type", [])
    if len(content_types) != 1 or not is_json(content_types[0]):
        return WRONG_TYPE
    http = cast("Http", request.stream)
    body = bytearray()
    try:
        async with asyncio.timeout(request.app.config.REQUEST_TIMEOUT):
            while http.request_body:
                # Its Content-Length, or the chunks so far: refused without the rest.
                if (http.request_bytes or 0) > MAX_BODY:
                    return TOO_LARGE
                body += await http.read() or b""
    except TimeoutError:
        http.keep_alive = False
        http.request_body = None  # or Sanic would wait for the rest, without end
        return TOO_SLOW
    if len(body) > MAX_BODY:
        return TOO_LARGE
    keys = request.headers.getall("idempotency-key", [])
    note = handler.note(", ".join(keys).strip() if keys else None, bytes(body))  # two keys make no valid one
    if isinstance(note, Failure):
        return note
    return await handler.commit.store(note) or note.id


async def on_exception(request: Request, exception: Exception) -> HTTPResponse:
    """What Sanic itself refuses (404, 405, 408, a malformed request), told the way the services tell everything."""
    if isinstance(exception, SanicException):
        status, error = exception.status_code, str(exception)
        headers = dict(exception.headers)
    else:
        status, error, headers = 500, "internal error", {}
        log.error("a request failed in a way nobody foresaw", exc_info=exception)
    handler: Handler | None = request.app.ctx.handler
    if handler is not None and request.path == PATH:
        handler.metrics.by_status[str(status)] += 1
    if handler is not None:
        headers["X-Route"] = handler.route
    return HTTPResponse(failure_body(Failure(status, error)), status, headers, JSON)


async def close_when_stopping(request: Request, _: HTTPResponse) -> None:
    """A connection that is answered after SIGTERM is closed instead of kept."""
    if request.app.ctx.readiness.stopping and request.stream is not None:
        cast("Http", request.stream).keep_alive = False


async def closed(*connections: Coroutine[Any, Any, None]) -> None:
    """Waits for connections to close, but not long: a database that is gone must not hold a process that ends."""
    closing = [asyncio.create_task(connection) for connection in connections]
    done, late = await asyncio.wait(closing, timeout=CLOSE_S)
    for task in late:
        log.warning("a connection was not closed within %g s", CLOSE_S)
        task.cancel()
    for task in done:
        if problem := task.exception():
            log.warning("a connection was closed with an error: %r", problem)


async def settle_memory(_: App) -> None:
    """Spares the garbage collector what lives as long as the process: walking it would stall requests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


async def begin_stopping(app: App) -> None:
    """From SIGTERM on the service is not ready; what comes before that is known is served, each on its last connection.

    An idle connection that closed at once could meet a request on its way, which nobody may send again.
    """
    app.ctx.readiness.stopping = True
    if app.ctx.handler is not None:
        await asyncio.sleep(FAREWELL_S)


def _json(status: int, value: object) -> HTTPResponse:
    return HTTPResponse(msgspec.json.encode(value), status, content_type=JSON)
