"""What both routes promise: what is answered 201 is stored, once, as it was sent."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from course.ids import id_of
from services.parts import Databases, System
from unit.services.helpers import BODY, GOOD, Client, post

ROUTES = ["relay", "direct"]
TEXTS = ["ñandú 𝔸", "a\0b", '"quoted" \\ / \n\t', "$set", "a.b", "\u2028\ufeff\uffff", " ", "x" * 128, "𝔸" * 128]


@pytest.mark.parametrize("route", ROUTES)
async def test_an_acknowledged_note_is_stored_as_it_was_sent(system: System, databases: Databases, route: str) -> None:
    answer = await system.routes[route].post()
    assert (answer.status, answer.headers["x-route"], answer.json["route"]) == (201, route, route)
    document = (await databases.stored([answer.json["id"]]))[answer.json["id"]]
    assert abs(document.pop("at") - datetime.now(UTC)) < timedelta(seconds=30)
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


async def test_the_same_key_stores_one_document_on_whichever_route_and_the_first_body_wins(
    system: System, databases: Databases
) -> None:
    other = json.dumps(GOOD | {"curso": "OTHER"}).encode()
    for first, second in (("relay", "direct"), ("direct", "relay"), ("relay", "relay"), ("direct", "direct")):
        key = f"{first}-{second}"
        answers = [
            await system.routes[first].post(BODY, f"Idempotency-Key: {key}"),
            await system.routes[second].post(other, f"Idempotency-Key: {key}"),
        ]
        assert [answer.status for answer in answers] == [201, 201]
        assert [answer.json["id"] for answer in answers] == [id_of(key).hex()] * 2
        assert (await databases.stored([id_of(key).hex()]))[id_of(key).hex()]["curso"] == "SO1"
    assert await databases.notes.count_documents({}) == 4
    assert await databases.counted("curso", "SO1") == 3
    assert await databases.counted("curso", "OTHER") == 0


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


async def test_redis_remembers_applied_ids_for_a_bounded_time(system: System, databases: Databases) -> None:
    await system.direct.post()
    (applied,) = await databases.redis.keys("notes:applied:*")
    assert 86_400 < await databases.redis.ttl(applied) <= 2 * 86_400


async def test_a_note_that_redis_lost_is_counted_when_it_is_sent_again(system: System, databases: Databases) -> None:
    await system.direct.post(BODY, "Idempotency-Key: lost")
    await databases.redis.flushdb()
    assert (await system.direct.post(BODY, "Idempotency-Key: lost")).status == 201
    assert await databases.redis.get("notes:count") == "1"


async def test_a_note_too_old_for_redis_to_remember_is_not_counted_again(system: System, databases: Databases) -> None:
    await system.direct.post(BODY, "Idempotency-Key: old")
    await databases.notes.update_many({}, {"$set": {"at": datetime.now(UTC) - timedelta(days=2)}})
    await databases.redis.delete(*await databases.redis.keys("notes:applied:*"))
    assert (await system.direct.post(BODY, "Idempotency-Key: old")).status == 201
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
