"""The reader against the real databases: what it tells is what the services have stored."""

import json
from collections.abc import AsyncIterator

import pytest

from services.parts import Databases, Process, System, _kill, mongodb_uri, redis_url
from unit.services.helpers import GOOD, free_port


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


@pytest.fixture
async def reader(system: System) -> AsyncIterator[Process]:
    """A reader behind the gates of the system, whose databases are out of reach when it starts."""
    system.mongodb.shut()
    system.redis.shut()
    port = free_port()
    places = {"MONGODB_URI": mongodb_uri(system.mongodb.address), "REDIS_URL": redis_url(system.redis.address)}
    reader = Process("reader", places | {"READER_HOST": "127.0.0.1", "READER_PORT": str(port)}, port)
    await reader.start(ready=False)
    yield reader
    await _kill(reader)


async def test_it_starts_without_databases_and_then_tells_what_is_stored(
    reader: Process, system: System, databases: Databases
) -> None:
    assert (await reader.ask(get("/healthz"))).status == 200
    away = await reader.ask(get("/notes/counts?by=region"))
    assert (away.status, away.json["error"]) == (503, "MongoDB does not answer. Redis does not answer")
    await system.mongodb.open()
    await system.redis.open()
    await reader.is_ready(True, within_s=10)
    for service in system.routes.values():
        await service.is_ready(True, within_s=10)

    texts = ["<b>&amp;", "$set", "ñandú 𝔸"]
    for text in texts:
        for service in system.routes.values():
            assert (await service.post(json.dumps(GOOD | {"curso": text}).encode())).status == 201
    # Other documents are no notes, whatever they hold.
    await databases.notes.insert_many([{"route": "relay"}, {"at": "yesterday"}, {"curso": 5, "route": {"a": 1}}])

    latest = (await reader.ask(get("/notes"))).json["notes"]
    assert [(note["curso"], note["route"]) for note in latest[::-1]] == [
        (text, route) for text in texts for route in system.routes
    ]
    assert set(latest[0]) == {"at", "route", "curso", "facultad", "carrera", "region", "id"}
    redis = (await reader.ask(get("/notes?of=redis&limit=2"))).json["notes"]
    assert [note["curso"] for note in redis] == texts[:0:-1]
    # Stored by relay, and sent again to direct, which takes it over: from then on Redis counts it as well.
    for route in ("relay", "direct"):
        body = json.dumps(GOOD | {"curso": texts[0]}).encode()
        assert (await system.routes[route].post(body, "Idempotency-Key: again")).status == 201
    found = (await reader.ask(get("/notes/counts?by=curso"))).json
    assert found["direct"] == {"mongodb": 4, "redis": 4, "difference": 0}
    assert {
        row["text"]: (row["notes"], row["redis_direct"], row["difference"]) for row in found["counts"]
    } == dict.fromkeys(texts, (2, 1, 0)) | {texts[0]: (3, 2, 0)}
    minutes = (await reader.ask(get("/notes/rate?minutes=2"))).json["minutes"]
    by_route = {route: sum(row["routes"].get(route, 0) for row in minutes) for route in system.routes}
    assert by_route == {"relay": 4, "direct": 3}
    await reader.ends_well()


async def test_a_database_that_says_nothing_is_told_and_holds_nobody(reader: Process, system: System) -> None:
    await system.mongodb.open()
    await system.redis.open()
    await reader.is_ready(True, within_s=10)
    system.redis.stick()
    found = (await reader.ask(get("/notes/counts?by=region"))).json
    assert found["problems"] == {"redis": "Redis does not answer"}
    assert found["mongodb"] == {"notes": 0, "by_route": {}}
    await reader.ends_well()
