"""How the services start and stop."""

import asyncio
import os
import sys

import pytest

from services.parts import ROOT, Databases, Load, System
from unit.services.helpers import Client, post


@pytest.mark.parametrize("name", ["relay", "direct"])
async def test_sigterm_under_load_finishes_what_is_in_flight_and_exits_0(
    system: System, databases: Databases, name: str
) -> None:
    service = system.routes[name]
    load = Load(service)
    idle = await Client.connect(service.port)
    await asyncio.sleep(0.5)
    async with asyncio.timeout(12):
        await service.ends_well()
    assert await idle.is_closed()
    await load.stop()
    assert set(load.statuses) == {201}, "every request that got an answer was stored"
    assert (await databases.stored(load.acknowledged)).keys() == set(load.acknowledged)


async def test_a_note_in_flight_at_sigterm_is_answered_on_a_connection_that_then_closes(system: System) -> None:
    client = await Client.connect(system.direct.port)
    assert (await client.ask(post())).status == 201
    system.redis.stick()
    await client.send(post())
    await asyncio.sleep(0.1)
    ending = asyncio.create_task(system.direct.ends_well())
    await asyncio.sleep(0.4)
    await system.redis.open()
    (answer,) = await client.answers(1)
    assert (answer.status, answer.headers["connection"]) == (201, "close")
    assert await client.is_closed()
    await ending


@pytest.mark.parametrize("name", ["relay", "direct"])
async def test_who_does_not_know_yet_that_a_route_stops_is_still_served(system: System, name: str) -> None:
    """The ingress asks each second: until then it sends notes, on connections that it has and on new ones."""
    service = system.routes[name]
    idle = await Client.connect(service.port)
    assert (await idle.ask(post())).headers["connection"] == "keep-alive"
    ending = asyncio.create_task(service.ends_well())
    await service.is_ready(False, within_s=0.5)
    await asyncio.sleep(0.5)
    answers = [await idle.ask(post()), await service.post()]
    assert [(answer.status, answer.headers["connection"]) for answer in answers] == [(201, "close")] * 2
    assert await idle.is_closed()
    await ending


async def test_the_ledger_finishes_its_batches_at_sigterm(system: System) -> None:
    system.mongodb.stick()
    answer = asyncio.create_task(system.relay.post())
    await asyncio.sleep(0.2)
    ending = asyncio.create_task(system.ledger.ends_well())
    await asyncio.sleep(0.2)
    await system.mongodb.open()
    assert (await answer).status == 201
    await ending


async def test_services_end_at_sigterm_while_their_databases_are_gone(system: System) -> None:
    system.mongodb.shut()
    system.redis.shut()
    await asyncio.gather(*(service.post() for service in system.routes.values()))
    await asyncio.gather(*(service.ends_well() for service in system.all))


async def test_a_bad_setting_ends_the_process_with_one_sentence_that_names_it() -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "services"), "MONGODB_URI": "nonsense"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ledger", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert said.decode().strip() == (
        "courseload: MONGODB_URI must be a URL that starts with mongodb:// or mongodb+srv://"
    )
