"""Counted exactly once, whatever fails when: direct's own code and script and a real Redis, over a MongoDB that fails.

Replicas of direct store batches whose keys overlap, all at once. Every step that leaves a process may fail before it is
done, after it was done, or be done late, when everybody has given up on it; and a replica may die at any moment. In the
end each note that was acknowledged is sent once more. Then every one of them must have been counted, and none twice.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from bson import ObjectId
from redis.asyncio import Redis

from course.ids import id_of
from course.metrics import SECONDS, Histogram
from course.note import Course, Note
from course.notes import Document, Stored, document
from course.outcome import Unavailable
from direct import service
from direct.counters import Counters
from direct.service import Stores
from services.parts import redis_url

SEEDS = int(os.environ.get("EXACTNESS_SEEDS", "150"))
KEYS = [f"key-{number}" for number in range(6)]


class World:
    """What all replicas share: the documents, the chances of failure, and what is still on its way."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.documents: dict[ObjectId, dict[str, Any]] = {}
        self.failing = 0.15
        self.late: list[asyncio.Task[None]] = []
        self.counters: list[Counters] = []

    async def step(self, act: Callable[[], Awaitable[Any]]) -> Any:
        """Does one step of a replica: mostly well."""
        for _ in range(self.random.randrange(4)):
            await asyncio.sleep(0)
        if self.random.random() >= self.failing:
            return await act()
        how = self.random.choice(["before", "after", "late"])
        if how == "after":
            await act()
        elif how == "late":
            self.late.append(asyncio.create_task(self._later(act)))
        raise Unavailable(how)

    async def _later(self, act: Callable[[], Awaitable[Any]]) -> None:
        await asyncio.sleep(self.random.random() * 0.02)
        await act()


class ModelNotes:
    """MongoDB as one replica sees it: each document changes in one step, a whole command does not."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def put(self, documents: Sequence[dict[str, Any]]) -> Stored:
        async def insert() -> Stored:
            stored = Stored({}, {})
            for index, new in enumerate(documents):
                if new["_id"] in self._world.documents:
                    stored.known[index] = {}
                else:
                    self._world.documents[new["_id"]] = dict(new)
                if self._world.random.random() < 0.2:
                    await asyncio.sleep(0)
            return stored

        stored: Stored = await self._world.step(insert)
        found = await self.find(documents[index]["_id"] for index in stored.known) if stored.known else {}
        return Stored({}, {index: found[documents[index]["_id"]] for index in stored.known})

    async def find(self, ids: Iterable[ObjectId]) -> dict[ObjectId, Document]:
        wanted = list(ids)

        async def read() -> dict[ObjectId, Document]:
            return {note: dict(self._world.documents[note]) for note in wanted if note in self._world.documents}

        found: dict[ObjectId, Document] = await self._world.step(read)
        return found

    async def claim(self, ids: Mapping[str | None, Sequence[ObjectId]], batch: str) -> None:
        async def update() -> None:
            for owner, claimed in ids.items():
                for note in claimed:
                    if self._world.documents[note].get("batch") == owner:
                        self._world.documents[note]["batch"] = batch
                    if self._world.random.random() < 0.3:
                        await asyncio.sleep(0)

        await self._world.step(update)


class UncertainCounters(Counters):
    """The real counters; each call of the script may fail, be answered to nobody, or come late."""

    world: World

    async def _run(self, *arguments: Any) -> Any:
        return await self.world.step(lambda: super(UncertainCounters, self)._run(*arguments))


@pytest.fixture
async def redis(_named_databases: None) -> AsyncIterator[Redis]:
    client: Redis = Redis.from_url(redis_url(), decode_responses=True)
    yield client
    await client.flushdb()
    await client.aclose()


def note(key: str) -> Note:
    return Note(id_of(key), Course(key, "f", "c", "r"), key)


async def replica(world: World, acknowledged: set[str]) -> None:
    """Stores batches of random keys, some in flight at once, and may die at any moment."""
    counters = UncertainCounters(redis_url(), Histogram(SECONDS))
    counters.world = world
    world.counters.append(counters)  # closed when nothing is late any more
    stores = Stores(ModelNotes(world), counters)  # type: ignore[arg-type]

    async def write() -> None:
        keys = world.random.choices(KEYS, k=world.random.randint(1, 4))  # a key may be in a batch twice
        for _ in range(3):
            try:
                assert not await stores.put([note(key) for key in keys])
            except Unavailable:
                continue
            acknowledged.update(keys)
            return

    writing = [asyncio.create_task(write()) for _ in range(3)]
    if world.random.random() < 0.3:
        await asyncio.sleep(world.random.random() * 0.01)
        for task in writing:
            task.cancel()
    for ended in await asyncio.gather(*writing, return_exceptions=True):
        assert ended is None or isinstance(ended, asyncio.CancelledError), repr(ended)


async def one_world(redis: Redis, seed: int) -> tuple[set[str], dict[str, str], int]:
    """A whole history; returns what was acknowledged, Redis's counters by key, and their sum."""
    await redis.flushdb()
    world = World(Random(seed))  # noqa: S311 (a seed that can be repeated)
    for key in KEYS[:2]:  # stored by the relay before
        new = note(key)
        stored = document(new.id, new.course, "relay", datetime.now(UTC))
        world.documents[stored["_id"]] = stored
    acknowledged: set[str] = set()
    for _ in range(2):
        await asyncio.gather(*(replica(world, acknowledged) for _ in range(3)))
    await asyncio.gather(*world.late)
    await asyncio.gather(*(counters.close() for counters in world.counters))
    world.failing = 0
    counters = Counters(redis_url(), Histogram(SECONDS))
    stores = Stores(ModelNotes(world), counters)  # type: ignore[arg-type]
    for key in sorted(acknowledged):
        assert not await stores.put([note(key)])
    await counters.close()
    counts = dict[Any, Any](await redis.hgetall("notes:count:curso"))
    return acknowledged, counts, int(await redis.get("notes:count") or 0)


@pytest.mark.parametrize("tenth", range(10))
async def test_whatever_fails_every_acknowledged_note_is_counted_once(
    redis: Redis, tenth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_GRACE_S", 0.0)
    for seed in range(tenth * SEEDS // 10, (tenth + 1) * SEEDS // 10):
        acknowledged, counted, total = await one_world(redis, seed)
        assert counted.keys() >= acknowledged, f"seed {seed}"
        assert set(counted.values()) <= {"1"}, f"seed {seed}"
        assert total == len(counted), f"seed {seed}"
