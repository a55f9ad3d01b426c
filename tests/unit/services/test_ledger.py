"""The ledger over gRPC, and the relay's client of it, with a notes collection that does what a test tells it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from course import courses_pb2, courses_pb2_grpc
from course.ids import new_id
from course.metrics import SECONDS, Histogram, RequestMetrics, WriteMetrics
from course.note import Course, Note
from course.notes import OTHER_NOTE, Stored
from course.outcome import Failure, Unavailable
from ledger.service import MAX_IN_FLIGHT, MAX_NOTES, SERVICE, Ledger, Server
from relay.service import Ledger as Client
from unit.services.helpers import free_port

GOOD: dict[str, Any] = {"curso": "SO1", "facultad": "ingenieria", "carrera": "sistemas", "region": "NORTE"}


class Notes:
    def __init__(self) -> None:
        self.documents: list[dict[str, Any]] = []
        self.answer = Stored({}, {})
        self.down = False
        self.open = asyncio.Event()
        self.open.set()

    async def put(self, documents: Sequence[dict[str, Any]]) -> Stored:
        await self.open.wait()
        if self.down:
            raise Unavailable("mongodb: down")
        self.documents += documents
        return self.answer

    async def ping(self) -> None:
        if self.down:
            raise Unavailable("mongodb: down")


class Running:
    def __init__(self, notes: Notes, channel: grpc.aio.Channel, address: str, requests: RequestMetrics) -> None:
        self.notes = notes
        self.requests = requests
        self.address = address
        self.channel = channel
        self.put = courses_pb2_grpc.LedgerStub(channel).PutCourses


async def serving(notes: Notes, requests: RequestMetrics | None = None) -> tuple[Server, str]:
    """A ledger that listens, and its address."""
    address = f"127.0.0.1:{free_port()}"
    ledger = Ledger(notes, requests or RequestMetrics(), WriteMetrics())  # type: ignore[arg-type]
    server = Server(address, ledger, notes)  # type: ignore[arg-type]
    await server.start()
    return server, address


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    notes, requests = Notes(), RequestMetrics()
    server, address = await serving(notes, requests)
    async with grpc.aio.insecure_channel(address) as channel:
        yield Running(notes, channel, address, requests)
    notes.open.set()
    await server.stop()


def batch(*courses: dict[str, Any]) -> courses_pb2.PutCoursesRequest:
    return courses_pb2.PutCoursesRequest(courses=[{"id": new_id()} | course for course in courses])


async def code_of(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


async def test_a_good_batch_is_stored_and_its_answer_is_empty(running: Running) -> None:
    request = batch(GOOD, GOOD)
    assert not (await running.put(request)).failures
    assert [document["_id"].binary for document in running.notes.documents] == [c.id for c in request.courses]
    assert {document["route"] for document in running.notes.documents} == {"relay"}


async def test_a_bad_note_is_named_and_not_stored_and_the_others_are(running: Running) -> None:
    bad = [GOOD | {"curso": ""}, GOOD | {"region": "x" * 129}, GOOD | {"id": b"short"}, GOOD | {"carrera": " \n"}]
    answer = await running.put(batch(bad[0], GOOD, bad[1], GOOD, bad[2], bad[3]))
    assert [failure.index for failure in answer.failures] == [0, 2, 4, 5]
    assert {failure.reason for failure in answer.failures} == {courses_pb2.Failure.REASON_INVALID}
    assert "curso" in answer.failures[0].message
    assert len(running.notes.documents) == 2


async def test_what_the_database_refuses_is_named_by_its_place_in_the_request(running: Running) -> None:
    running.notes.answer = Stored({1: Failure(503, "refused")}, {0: {}})
    answer = await running.put(batch(GOOD | {"curso": ""}, GOOD, GOOD))
    assert [(failure.index, failure.reason) for failure in answer.failures] == [
        (0, courses_pb2.Failure.REASON_INVALID),
        (2, courses_pb2.Failure.REASON_REFUSED),
    ]


async def test_a_note_under_whose_id_is_another_is_a_conflict_and_for_the_relays_client_a_422(running: Running) -> None:
    running.notes.answer = Stored({1: OTHER_NOTE}, {})
    answer = await running.put(batch(GOOD, GOOD))
    (failure,) = answer.failures
    assert (failure.index, failure.reason) == (1, courses_pb2.Failure.REASON_CONFLICT)
    client = Client(running.address, Histogram(SECONDS))
    assert await client.put([Note(new_id(), Course(**GOOD))] * 2) == {1: OTHER_NOTE}
    await client.close()


async def test_a_batch_that_ends_by_its_deadline_or_is_cancelled_is_not_counted_as_ok(running: Running) -> None:
    running.notes.open.clear()
    assert await code_of(running.put(batch(GOOD), timeout=0.3)) is grpc.StatusCode.DEADLINE_EXCEEDED
    call = running.put(batch(GOOD))
    await asyncio.sleep(0.3)
    call.cancel()
    await asyncio.sleep(0.5)
    assert running.requests.by_status == {"DEADLINE_EXCEEDED": 1, "CANCELLED": 1}


async def test_a_batch_that_fails_in_a_way_nobody_foresaw_is_not_counted_as_ok(running: Running) -> None:
    running.notes.put = None  # type: ignore[assignment,method-assign]
    assert await code_of(running.put(batch(GOOD))) is grpc.StatusCode.UNKNOWN
    assert running.requests.by_status == {"UNKNOWN": 1}


async def test_an_empty_batch_is_fine(running: Running) -> None:
    assert not (await running.put(batch())).failures


async def test_too_many_notes_are_an_invalid_argument(running: Running) -> None:
    assert await code_of(running.put(batch(*[GOOD] * (MAX_NOTES + 1)))) is grpc.StatusCode.INVALID_ARGUMENT
    assert not running.notes.documents


async def test_too_many_batches_at_once_exhaust_the_resource(running: Running) -> None:
    running.notes.open.clear()
    calls = [asyncio.ensure_future(running.put(batch(GOOD))) for _ in range(MAX_IN_FLIGHT)]
    await asyncio.sleep(0.2)
    assert await code_of(running.put(batch(GOOD))) is grpc.StatusCode.RESOURCE_EXHAUSTED
    running.notes.open.set()
    await asyncio.gather(*calls)


async def test_a_database_that_is_down_makes_it_unavailable_and_not_serving(running: Running) -> None:
    running.notes.down = True
    assert await code_of(running.put(batch(GOOD))) is grpc.StatusCode.UNAVAILABLE
    await asyncio.sleep(1.2)
    check = health_pb2_grpc.HealthStub(running.channel).Check
    answer = await check(health_pb2.HealthCheckRequest(service=SERVICE))
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_reflection_names_the_service(running: Running) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(running.channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    names = {service.name async for answer in call for service in answer.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names


async def test_the_relays_client_tells_failures_by_index_and_unavailability(running: Running) -> None:
    client = Client(running.address, Histogram(SECONDS))
    notes = [Note(new_id(), Course(**GOOD)), Note(b"short", Course(**GOOD))]
    await client.ping()
    assert {index: failure.status for index, failure in (await client.put(notes)).items()} == {1: 400}
    running.notes.down = True
    with pytest.raises(Unavailable, match="UNAVAILABLE"):
        await client.put(notes)
    await client.close()


async def test_a_client_that_vanished_does_not_keep_it_from_stopping() -> None:
    server, address = await serving(Notes())
    reader, writer = await asyncio.open_connection(*address.split(":"))
    # The beginning of HTTP/2 and empty settings; then it answers nothing any more, and does not close.
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
    await reader.read(1)
    async with asyncio.timeout(5):
        await server.stop()
    writer.close()


async def test_a_batch_under_way_is_finished_before_it_stops() -> None:
    notes = Notes()
    server, address = await serving(notes)
    notes.open.clear()
    async with grpc.aio.insecure_channel(address) as channel:
        call = courses_pb2_grpc.LedgerStub(channel).PutCourses(batch(GOOD))
        await asyncio.sleep(0.2)
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(2)  # longer than clients have to take leave
        assert not stopping.done()
        notes.open.set()
        assert not (await call).failures
        await stopping
    assert len(notes.documents) == 1
