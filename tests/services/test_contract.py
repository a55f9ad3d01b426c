"""What both routes promise: what is answered 201 is stored, once, as it was sent."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import DatetimeMS, ObjectId

from course.ids import id_of
from course.notes import NO_NOTE, OTHER_NOTE
from services.parts import Databases, System
from unit.services.helpers import BODY, GOOD, Client, post

ROUTES = ["relay", "direct"]
TEXTS = ["ñandú 𝔸", "a\0b", '"quoted" \\ / \n\t', "$set", "a.b", "\u2028\ufeff\uffff", " a ", "x" * 128, "𝔸" * 128]


@pytest.mark.parametrize("route", ROUTES)
async def test_an_acknowledged_note_is_stored_as_it_was_sent(system: System, databases: Databases, route: str) -> None:
    answer = await system.routes[route].post()
    assert (answer.status, answer.headers["x-route"], answer.json["route"]) == (201, route, route)
    document = (await databases.stored([answer.json["id"]]))[answer.json["id"]]
    assert abs(document.pop("at") - datetime.now(UTC)) < timedelta(seconds=30)
    if route == "direct":
        assert re.fullmatch("[0-9a-f]{26}", document.pop("batch"))
    assert document == GOOD | {"route": route}


async def test_every_text_that_is_taken_comes_back_from_the_databases_unchanged(
    system: System, databases: Databases
) -> None:
    for service in system.routes.values():
        for text in TEXTS:
            answer = await service.post(json.dumps(GOOD | {"curso": text}).encode())
            assert answer.status == 201, text
            assert (await databases.stored([answer.json["id"]]))[answer.json["id"]]["curso"] == text
    for text in TEXTS:
        assert await databases.counted("curso", text) == 1
    latest = [json.loads(note)["curso"] for note in await databases.redis.lrange("notes:latest", 0, -1)]
    assert latest == TEXTS[::-1]


async def test_a_key_stands_for_one_note_on_whichever_route_and_another_note_under_it_is_refused(
    system: System, databases: Databases
) -> None:
    other = json.dumps(GOOD | {"curso": "OTHER"}).encode()
    same = json.dumps(dict(reversed(GOOD.items())), indent=2).encode()
    for first, second in (("relay", "direct"), ("direct", "relay"), ("relay", "relay"), ("direct", "direct")):
        key = f"{first}-{second}"
        answers = [
            await system.routes[route].post(body, f"Idempotency-Key: {key}")
            for route, body in ((first, BODY), (second, other), (second, same))
        ]
        assert [answer.status for answer in answers] == [201, 422, 201]
        assert [answer.json["id"] for answer in (answers[0], answers[2])] == [id_of(key).hex()] * 2
        assert answers[1].json == {"error": OTHER_NOTE.error, "fields": {}}
        assert (await databases.stored([id_of(key).hex()]))[id_of(key).hex()]["curso"] == "SO1"
    assert await databases.notes.count_documents({}) == 4
    assert await databases.counted("curso", "SO1") == 3
    assert await databases.counted("curso", "OTHER") == 0


async def test_two_notes_of_one_batch_under_one_key_are_one_stored_and_one_refused(
    system: System, databases: Databases
) -> None:
    other = json.dumps(GOOD | {"curso": "OTHER"}).encode()
    for name, service in system.routes.items():
        client = await Client.connect(service.port)
        assert (await client.ask(post())).status == 201  # from now on, what comes in one piece is one batch
        pair = [post(body, f"Idempotency-Key: pair-{name}") for body in (BODY, other, BODY)]
        await client.send(post() + b"".join(pair) + post())
        assert [answer.status for answer in await client.answers(5)] == [201, 201, 422, 201, 201]
        page = (await service.ask(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")).body.decode()
        assert "courseload_batch_notes_count 2.0" in page, "all five were in one batch"
    assert await databases.redis.get("notes:count") == "4"


FOREIGN: dict[str, dict[str, Any]] = {
    "no time": {**GOOD, "route": "direct"},
    "no text": {"curso": "SO1", "at": datetime(2026, 1, 1, tzinfo=UTC)},
    "a number for a text": {**GOOD, "region": 5, "at": datetime(2026, 1, 1, tzinfo=UTC)},
    "a document for a text": {**GOOD, "region": {"$gt": 1}, "at": datetime(2026, 1, 1, tzinfo=UTC)},
    "something else for its batch": {**GOOD, "batch": {"$ne": None}, "at": datetime(2026, 1, 1, tzinfo=UTC)},
    "a time that Python does not know": {"curso": "SO1", "at": DatetimeMS(2**60)},
    "nothing": {},
}


async def test_a_foreign_document_under_a_keys_id_fails_that_note_and_disturbs_no_other(
    system: System, databases: Databases
) -> None:
    keys = {f"foreign-{number}": kept for number, kept in enumerate(FOREIGN.values())}
    await databases.notes.insert_many([{"_id": ObjectId(id_of(key)), **kept} for key, kept in keys.items()])
    for service in system.routes.values():
        client = await Client.connect(service.port)
        for key in keys:
            await client.send(post() + post(BODY, f"Idempotency-Key: {key}") + post())
            answers = await client.answers(3)
            assert [answer.status for answer in answers] == [201, 422, 201], key
            assert answers[1].json["error"] == NO_NOTE.error


async def test_the_same_key_many_times_at_once_is_stored_and_counted_once(system: System, databases: Databases) -> None:
    request = post(BODY, "Idempotency-Key: same")
    clients = [await Client.connect(service.port) for service in system.routes.values() for _ in range(20)]
    answers = await asyncio.gather(*(client.ask(request) for client in clients))
    assert {(answer.status, answer.json["id"]) for answer in answers} == {(201, id_of("same").hex())}
    assert await databases.notes.count_documents({}) == 1
    assert await databases.redis.get("notes:count") == "1"


async def test_redis_keeps_the_latest_hundred_and_counts_by_every_field(system: System, databases: Databases) -> None:
    client = await Client.connect(system.direct.port)
    regions = ["NORTE", "SUR", "NORTE"]
    bodies = [GOOD | {"curso": f"c{at}", "region": regions[at % 3]} for at in range(120)]
    for start in range(0, 120, 10):
        await client.send(b"".join(post(json.dumps(body).encode()) for body in bodies[start : start + 10]))
        assert {answer.status for answer in await client.answers(10)} == {201}
    latest = [json.loads(note) for note in await databases.redis.lrange("notes:latest", 0, -1)]
    assert [note["curso"] for note in latest] == [f"c{at}" for at in range(119, 19, -1)]
    assert set(latest[0]) == {"id", *GOOD}
    assert await databases.redis.hgetall("notes:count:region") == {"NORTE": "80", "SUR": "40"}
    assert await databases.counted("facultad", "ingenieria") == 120
    assert await databases.counted("carrera", "sistemas") == 120
    assert await databases.redis.get("notes:count") == "120"


async def test_redis_remembers_batches_and_not_notes(system: System, databases: Databases) -> None:
    for _ in range(3):
        await system.direct.post()
    ((process, highest),) = dict[Any, Any](await databases.redis.hgetall("notes:batches")).items()
    assert highest == "3"
    assert await databases.redis.zcard("notes:batches:except") == 0
    documents = await databases.notes.find({}).to_list()
    assert {document["batch"] for document in documents} == {f"{process}{number:010x}" for number in (1, 2, 3)}


async def test_a_note_of_the_relay_that_is_sent_to_direct_is_counted_once(system: System, databases: Databases) -> None:
    await system.relay.post(BODY, "Idempotency-Key: moved")
    assert await databases.redis.get("notes:count") is None
    for _ in range(2):
        assert (await system.direct.post(BODY, "Idempotency-Key: moved")).status == 201
        assert await databases.redis.get("notes:count") == "1"


async def test_what_an_earlier_version_counted_is_not_counted_again(system: System, databases: Databases) -> None:
    at = datetime.now(UTC)
    earlier = {"direct": "direct", "forwarded": "relay", "relay": "relay"}
    await databases.notes.insert_many(
        [{"_id": ObjectId(id_of(key)), **GOOD, "route": route, "at": at} for key, route in earlier.items()]
    )
    applied = f"notes:applied:{int(at.timestamp()) // 86_400}"
    await databases.redis.sadd(applied, id_of("forwarded"))
    for key in earlier:
        assert (await system.direct.post(BODY, f"Idempotency-Key: {key}")).status == 201
    assert await databases.redis.get("notes:count") == "1", "the relay's alone was not counted yet"


async def test_texts_beyond_a_thousand_of_a_field_are_counted_as_other(system: System, databases: Databases) -> None:
    client = await Client.connect(system.direct.port)
    for start in range(0, 1100, 50):
        bodies = [json.dumps(GOOD | {"curso": f"c{start + at}"}).encode() for at in range(50)]
        await client.send(b"".join(map(post, [*bodies, *bodies])))
        assert {answer.status for answer in await client.answers(100)} == {201}
    counts = await databases.redis.hgetall("notes:count:curso")
    assert len(counts) == 1001
    assert counts.pop("other") == "200"
    assert set(counts.values()) == {"2"}
    assert await databases.counted("region", "NORTE") == 2200


@pytest.mark.parametrize("key", ["notes:count", "notes:latest", "notes:count:region", "notes:batches:except"])
async def test_a_foreign_value_in_redis_counts_nothing_by_halves(
    system: System, databases: Databases, key: str
) -> None:
    await databases.redis.rpush(key, "foreign") if key != "notes:latest" else await databases.redis.set(key, "foreign")
    assert (await system.direct.post(BODY, "Idempotency-Key: foreign")).status == 503
    await databases.redis.delete(key)
    await system.direct.is_ready(True, within_s=5)
    await asyncio.sleep(1)  # until its group commit has seen it as well
    assert (await system.direct.post(BODY, "Idempotency-Key: foreign")).status == 201
    assert await databases.redis.get("notes:count") == "1"
    assert await databases.counted("curso", "SO1") == 1
    assert await databases.redis.llen("notes:latest") == 1


async def test_a_note_that_redis_lost_is_counted_when_it_is_sent_again(system: System, databases: Databases) -> None:
    await system.direct.post(BODY, "Idempotency-Key: lost")
    await databases.redis.flushdb()
    assert (await system.direct.post(BODY, "Idempotency-Key: lost")).status == 201
    assert await databases.redis.get("notes:count") == "1"


async def test_a_restarted_redis_that_forgot_the_script_is_told_it_again(system: System, databases: Databases) -> None:
    await system.direct.post()
    await databases.redis.script_flush()
    assert (await system.direct.post()).status == 201
    assert await databases.redis.get("notes:count") == "2"


async def test_the_metrics_page_tells_what_happened(system: System) -> None:
    for service in system.routes.values():
        await service.post()
        await service.post(b"[]")
        page = (await service.ask(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")).body.decode()
        assert 'courseload_requests_total{status="201"} 1.0' in page
        assert 'courseload_requests_total{status="400"} 1.0' in page
        assert "courseload_batch_notes_count 1.0" in page
    ledger = (await system.ledger.ask(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")).body.decode()
    assert 'courseload_database_seconds_count{database="mongodb"} 1.0' in ledger
