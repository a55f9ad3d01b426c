"""The relay: its settings, its batches to the ledger, and how the parts are put together."""

import asyncio
from collections.abc import Mapping, Sequence
from time import perf_counter

import grpc
import msgspec
from grpc_health.v1 import health_pb2, health_pb2_grpc

from course import courses_pb2, courses_pb2_grpc
from course.app import App, closed, create_app, run
from course.group_commit import GroupCommit, Limits
from course.handler import Handler
from course.metrics import DatabaseMetrics, Exposition, Histogram, RequestMetrics, WriteMetrics
from course.note import Note
from course.outcome import Failure, Unavailable
from course.settings import Environment, settings_or_exit
from relay.forward import Forward

SERVICE = courses_pb2.DESCRIPTOR.services_by_name["Ledger"].full_name
_CALL_S = 1.2  # for one batch: under the group commit's patience, so that one more attempt fits
_PROBE_S = 0.8
_LIMITS = Limits(in_flight=2)  # while one batch is in the database, the relay and the ledger can work on the next
_STATUS = {courses_pb2.Failure.REASON_INVALID: 400, courses_pb2.Failure.REASON_CONFLICT: 422}
_CHANNEL = [
    ("grpc.enable_retries", 0),  # the group commit repeats a batch; gRPC's own machinery for it costs a sixth of a call
    ("grpc.enable_http_proxy", 0),  # the ledger is a neighbour: an HTTP proxy in the environment is not meant for it
    # A restarted ledger must be found within a second, not after gRPC's minutes of patience.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.dns_min_time_between_resolutions_ms", 500),
    # A ledger that is gone without a word is noticed, rather than waited for.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2_000),
]


class Settings(msgspec.Struct, frozen=True):
    """What the relay needs to know."""

    host: str
    port: int
    ledger: str  # host:port
    forward_url: str | None

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> "Settings":
        """The settings in environment variables; raises `BadSetting`."""
        env = Environment(variables)
        ledger_host = env.text("GRPC_SERVER_HOST", "127.0.0.1")
        return cls(
            host=env.text("GRPC_CLIENT_HOST", "0.0.0.0"),
            port=env.port("GRPC_CLIENT_PORT", 8000),
            ledger=f"{ledger_host}:{env.port('GRPC_SERVER_PORT', 8010)}",
            forward_url=env.optional_url("RELAY_FORWARD_URL", "http", "https"),
        )


class Ledger:
    """The ledger's client. Needs a running event loop; connects when first used and again when needed."""

    def __init__(self, address: str, seconds: Histogram) -> None:
        self._address = address
        self._seconds = seconds
        self._closing: set[asyncio.Task[None]] = set()
        self._connect()

    def _connect(self) -> None:
        self._channel = grpc.aio.insecure_channel(self._address, options=_CHANNEL)
        self._put = courses_pb2_grpc.LedgerStub(self._channel).PutCourses
        self._check = health_pb2_grpc.HealthStub(self._channel).Check

    def _reconnect(self) -> None:
        """Starts anew with a fresh channel, as a restarted ledger may have a new address.

        One that could not resolve the name once waits ever longer, up to two minutes, before it asks again (gRPC's
        polling resolver, whose patience is not an option). Calls under way end on the old channel.
        """
        closing = asyncio.create_task(self._channel.close(grace=2 * _CALL_S))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._connect()

    async def put(self, notes: Sequence[Note]) -> Mapping[int, Failure]:
        """Stores a batch; returns the failures by index, raises `Unavailable` when the outcome is unknown."""
        request = courses_pb2.PutCoursesRequest()
        add = request.courses.add
        for note in notes:
            course = note.course
            add(
                id=note.id,
                curso=course.curso,
                facultad=course.facultad,
                carrera=course.carrera,
                region=course.region,
            )
        started = perf_counter()
        try:
            answer = await self._put(request, timeout=_CALL_S)
        except grpc.aio.AioRpcError as problem:
            raise _unavailable(problem) from problem
        self._seconds.observe(perf_counter() - started)
        return {f.index: Failure(_STATUS.get(f.reason, 503), f.message) for f in answer.failures}

    async def ping(self) -> None:
        """Asks whether the ledger has its database; raises `Unavailable` if not."""
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        try:
            answer = await self._check(request, timeout=_PROBE_S)
        except grpc.aio.AioRpcError as problem:
            self._reconnect()
            raise _unavailable(problem) from problem
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise Unavailable("ledger: not serving")

    async def close(self) -> None:
        """Closes the connection."""
        await asyncio.gather(self._channel.close(), *self._closing)


def _unavailable(problem: grpc.aio.AioRpcError) -> Unavailable:
    return Unavailable(f"ledger: {problem.code().name}: {problem.details()}")


def create_relay(settings: Settings) -> App:
    """The relay's application; it connects when the server starts."""
    requests, writes, databases = RequestMetrics(), WriteMetrics(), DatabaseMetrics("ledger")
    handler = Handler("relay", requests, name_every_note=settings.forward_url is not None)
    forward = Forward(settings.forward_url) if settings.forward_url else None
    parts = (requests, writes, databases, *((forward,) if forward else ()))

    async def ready() -> None:
        await app.ctx.ledger.ping()

    app = create_app("relay", Exposition(*parts), {"ledger": ready}, handler)

    @app.before_server_start
    async def connect(app: App) -> None:
        app.ctx.ledger = ledger = Ledger(settings.ledger, databases.seconds["ledger"])
        if forward:
            await forward.start()
        put = forward.after(ledger.put) if forward else ledger.put
        handler.commit = GroupCommit(put, ledger.ping, _LIMITS, writes)

    @app.after_server_stop
    async def disconnect(app: App) -> None:
        await handler.commit.close()
        if forward:
            await forward.close()
        await closed(app.ctx.ledger.close())

    return app


def main() -> None:
    """Runs the relay."""
    settings = settings_or_exit(Settings.read)
    run(create_relay(settings), settings.host, settings.port)
