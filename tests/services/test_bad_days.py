"""Databases and services that die in the middle of it: nothing acknowledged is lost, nothing is stored twice."""

import asyncio
import signal
import time

import pytest

from services.parts import Databases, Load, Process, System, running
from unit.services.helpers import BODY


async def all_there(databases: Databases, load: Load) -> None:
    """Every acknowledged note is stored, and Redis has counted each of direct's notes exactly once."""
    assert load.acknowledged
    assert len(set(load.acknowledged)) == len(load.acknowledged)
    assert (await databases.stored(load.acknowledged)).keys() == set(load.acknowledged)


async def counts_agree(databases: Databases, load: Load) -> None:
    """Redis has counted at least what was acknowledged by direct, and nothing twice."""
    stored = await databases.stored(load.acknowledged)
    acknowledged = sum(document["route"] == "direct" for document in stored.values())
    counted = int(await databases.redis.get("notes:count") or 0)
    assert acknowledged <= counted <= await databases.notes.count_documents({"route": "direct"})


async def serves_again(*services: Process) -> None:
    """Each service acknowledges a note within 10 seconds."""
    async with asyncio.timeout(10):
        await asyncio.gather(*map(acknowledges, services))


async def acknowledges(service: Process) -> None:
    while True:
        if (await service.post()).status == 201:
            return
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("how", ["shut", "stick"])
async def test_mongodb_away_means_quick_refusals_on_both_routes_and_then_service_again(
    system: System, databases: Databases, how: str
) -> None:
    load = Load(*system.routes.values())
    await asyncio.sleep(0.5)
    getattr(system.mongodb, how)()
    await asyncio.sleep(3)
    for service in system.routes.values():
        started = time.monotonic()
        answer = await service.post()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert time.monotonic() - started < 0.5
        await service.is_ready(False, within_s=5)
    await system.mongodb.open()
    await serves_again(*system.routes.values())
    for service in system.all:
        await service.is_ready(True, within_s=5)
    await load.stop()
    assert set(load.statuses) == {201, 503}
    assert load.slowest < 5
    await all_there(databases, load)
    await counts_agree(databases, load)


async def test_redis_away_stops_direct_only_and_loses_nothing(system: System, databases: Databases) -> None:
    load = Load(*system.routes.values())
    await asyncio.sleep(0.5)
    system.redis.shut()
    await asyncio.sleep(2.5)
    assert (await system.direct.post()).status == 503
    assert (await system.relay.post()).status == 201
    await system.direct.is_ready(False, within_s=3)
    await system.relay.is_ready(True, within_s=1)
    await system.redis.open()
    await serves_again(system.direct)
    await load.stop()
    await all_there(databases, load)
    await counts_agree(databases, load)


async def test_a_full_redis_refuses_quickly_and_counts_once_when_there_is_room_again(
    system: System, databases: Databases
) -> None:
    limit = str((await databases.redis.config_get("maxmemory"))["maxmemory"])
    await databases.redis.config_set("maxmemory", "1mb")
    try:
        assert (await system.direct.post(BODY, "Idempotency-Key: full")).status == 503
        started = time.monotonic()
        assert (await system.direct.post()).status == 503
        assert time.monotonic() - started < 0.5
        await system.direct.is_ready(False, within_s=3)
        assert (await system.relay.post()).status == 201
    finally:
        await databases.redis.config_set("maxmemory", limit)
    await serves_again(system.direct)
    before = int(await databases.redis.get("notes:count") or 0)
    for _ in range(2):
        assert (await system.direct.post(BODY, "Idempotency-Key: full")).status == 201
        assert int(await databases.redis.get("notes:count") or 0) == before + 1


@pytest.mark.parametrize("name", ["ledger", "relay", "direct"])
async def test_a_killed_service_takes_no_other_route_down_and_loses_nothing(
    system: System, databases: Databases, name: str
) -> None:
    victim = {service.name: service for service in system.all}[name]
    other = system.relay if name == "direct" else system.direct
    load = Load(*system.routes.values())
    await asyncio.sleep(0.5)
    await victim.end(signal.SIGKILL)
    await asyncio.sleep(2)
    assert (await other.post()).status == 201
    await victim.start()
    await serves_again(*system.routes.values())
    await load.stop()
    assert set(load.statuses) <= {201, 503}
    await all_there(databases, load)
    await counts_agree(databases, load)


async def test_services_start_without_their_databases_and_become_ready_with_them(databases: Databases) -> None:
    async with running(databases=False) as system:
        for service in system.all:
            await service.is_ready(False, within_s=3)
            assert (await service.ask(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")).status == 200
        for service in system.routes.values():
            assert (await service.post()).status == 503
        await system.mongodb.open()
        await system.redis.open()
        await serves_again(*system.routes.values())
        for service in system.all:
            await service.is_ready(True, within_s=5)
