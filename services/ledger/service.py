"""The ledger: its settings, its gRPC service, and how the parts are put together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from time import perf_counter

import grpc
import msgspec
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from course import courses_pb2, courses_pb2_grpc
from course.app import GRACE_S, App, closed, create_app, run
from course.metrics import DatabaseMetrics, Exposition, RequestMetrics, WriteMetrics
from course.note import FIELDS, MAX_CHARACTERS, is_blank, problems
from course.notes import Notes, document, now
from course.outcome import Unavailable
from course.settings import Environment, settings_or_exit

SERVICE = courses_pb2.DESCRIPTOR.services_by_name["Ledger"].full_name
MAX_NOTES = 1000  # in one batch
MAX_IN_FLIGHT = 16  # batches
_WATCH_S = 1.0  # how often the health that gRPC clients see is looked at
_FAREWELL_S = 1.0  # how long clients have to let go of their connections when the last batch is done
_REASON = courses_pb2.Failure


class Settings(msgspec.Struct, frozen=True):
    """What the ledger needs to know."""

    host: str
    port: int
    metrics_port: int
    mongodb_uri: str

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Settings:
        """The settings in environment variables; raises `BadSetting`."""
        env = Environment(variables)
        return cls(
            host=env.text("GRPC_SERVER_HOST", "0.0.0.0"),
            port=env.port("GRPC_SERVER_PORT", 8010),
            metrics_port=env.port("METRICS_PORT", 8011),
            mongodb_uri=env.secret_url("MONGODB_URI", "mongodb", "mongodb+srv"),
        )


class Ledger(courses_pb2_grpc.LedgerServicer):
    """The gRPC service: one insert command a batch."""

    def __init__(self, notes: Notes, requests: RequestMetrics, writes: WriteMetrics) -> None:
        self._notes = notes
        self._requests = requests
        self._writes = writes
        self._in_flight = 0
        self.idle = asyncio.Event()  # no batch is under way
        self.idle.set()
        writes.watch(lambda: 0, lambda: self._in_flight)

    async def PutCourses(  # noqa: N802  (the name is the contract's)
        self,
        request: courses_pb2.PutCoursesRequest,
        context: grpc.aio.ServicerContext[courses_pb2.PutCoursesRequest, courses_pb2.PutCoursesResponse],
    ) -> courses_pb2.PutCoursesResponse:
        """Stores the good notes of a batch and names the others."""
        started = perf_counter()
        code = grpc.StatusCode.UNKNOWN
        self._in_flight += 1
        self.idle.clear()
        try:
            if self._in_flight > MAX_IN_FLIGHT:
                code = grpc.StatusCode.RESOURCE_EXHAUSTED
                await context.abort(code, f"{MAX_IN_FLIGHT} batches are under way already")
            if len(request.courses) > MAX_NOTES:
                code = grpc.StatusCode.INVALID_ARGUMENT
                await context.abort(code, f"a batch has at most {MAX_NOTES} notes")
            try:
                answer = await self._store(request)
                code = grpc.StatusCode.OK
                return answer
            except Unavailable as problem:
                code = grpc.StatusCode.UNAVAILABLE
                await context.abort(code, str(problem))
        except asyncio.CancelledError:
            remaining = context.time_remaining()
            late = remaining is not None and remaining <= 0
            code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
            raise
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self.idle.set()
            self._requests.by_status[code.name] += 1
            self._requests.seconds.observe(perf_counter() - started)

    async def _store(self, request: courses_pb2.PutCoursesRequest) -> courses_pb2.PutCoursesResponse:
        answer = courses_pb2.PutCoursesResponse()
        documents, places, at = [], [], now()
        for index, course in enumerate(request.courses):
            if wrong := what_is_wrong(course):
                answer.failures.add(index=index, reason=_REASON.REASON_INVALID, message=wrong)
            else:
                documents.append(document(course.id, course, "relay", at))
                places.append(index)
        self._writes.batch_size.observe(len(documents))
        if documents:
            started = perf_counter()
            refused = (await self._notes.put(documents)).refused
            self._writes.write_seconds.observe(perf_counter() - started)
            for place, failure in refused.items():
                reason = _REASON.REASON_CONFLICT if failure.status == 422 else _REASON.REASON_REFUSED
                answer.failures.add(index=places[place], reason=reason, message=failure.error)
        self._writes.write_errors += len(answer.failures)
        return answer


def what_is_wrong(course: courses_pb2.Course) -> str:
    """Why a note must not be stored; empty when it may."""
    limit = MAX_CHARACTERS
    if (
        len(course.id) == 12
        and 0 < len(course.curso) <= limit
        and 0 < len(course.facultad) <= limit
        and 0 < len(course.carrera) <= limit
        and 0 < len(course.region) <= limit
        and not is_blank(course)
    ):
        return ""
    found = problems({name: getattr(course, name) for name in FIELDS})
    if len(course.id) != 12:
        found["id"] = "must have 12 bytes"
    return "; ".join(f"{name} {problem}" for name, problem in found.items())


class Server:
    """The gRPC server: the ledger, health (which follows the database) and reflection."""

    def __init__(self, address: str, ledger: Ledger, notes: Notes) -> None:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self._health = health.aio.HealthServicer()
        self._ledger = ledger
        self._notes = notes
        courses_pb2_grpc.add_LedgerServicer_to_server(ledger, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self._server.add_insecure_port(address)
        self._watching: asyncio.Task[None]

    async def start(self) -> None:
        """Listens."""
        await self._server.start()
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Takes no more batches and finishes those under way."""
        self._watching.cancel()
        await self._health.enter_graceful_shutdown()
        stopping = asyncio.create_task(self._server.stop(GRACE_S))
        # gRPC waits for every client to take leave, and one that vanished, as its host was switched off, never does.
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                await self._ledger.idle.wait()
        await self._server.stop(_FAREWELL_S)
        await stopping

    async def _watch(self) -> None:
        states = health_pb2.HealthCheckResponse
        while True:
            try:
                async with asyncio.timeout(_WATCH_S):
                    await self._notes.ping()
                state = states.SERVING
            except Exception:  # whatever it is, the ledger cannot store now
                state = states.NOT_SERVING
            for name in (SERVICE, ""):
                await self._health.set(name, state)
            await asyncio.sleep(_WATCH_S)


def create_ledger(settings: Settings) -> App:
    """The ledger's application: HTTP for probes and metrics, with the gRPC server beside it in the same loop."""
    requests, writes, databases = RequestMetrics(), WriteMetrics(), DatabaseMetrics("mongodb")

    async def ready() -> None:
        await app.ctx.notes.ping()

    app = create_app("ledger", Exposition(requests, writes, databases), {"mongodb": ready})

    @app.before_server_start
    async def start(app: App) -> None:
        app.ctx.notes = notes = Notes(settings.mongodb_uri, databases.seconds["mongodb"])
        address = f"{settings.host}:{settings.port}"
        app.ctx.server = Server(address, Ledger(notes, requests, writes), notes)
        await app.ctx.server.start()

    @app.before_server_stop
    async def stop(app: App) -> None:
        await app.ctx.server.stop()
        await closed(app.ctx.notes.close())

    return app


def main() -> None:
    """Runs the ledger."""
    settings = settings_or_exit(Settings.read)
    run(create_ledger(settings), settings.host, settings.metrics_port)
