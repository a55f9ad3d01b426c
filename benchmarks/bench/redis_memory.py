"""What Redis needs for millions of notes, and whether it counts them exactly.

Sends notes to the direct route as fast as it answers, first of a thousand different ones, then with random texts.
Every answer must be 201, the counters exact, the documents as many, and Redis under its limit all the time.
"""

import argparse
import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pymongo
import redis

from course.note import FIELDS
from course.stored import BATCHES, COLLECTION, COUNT, OTHER

from .databases import clear, named
from .product import MONGODB_DATABASE
from .sending import AT_ONCE, Chunk, request, send, start

LIMIT_MB = 100
POOL = 1000
SAMPLE_S = 2.0
TOLD_EVERY_S = 30.0

Body = dict[str, str]
Note = tuple[Body, bytes]


@dataclass
class Load:
    """What has been sent and answered, and the memory that Redis used meanwhile."""

    answered: Counter[str] = field(default_factory=Counter)
    texts: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in FIELDS})
    peak: int = 0
    numbers: Iterator[int] = field(default_factory=itertools.count)


def ordinary(random: Random) -> Body:
    """One of few: 200 courses, 8 of everything else."""
    kinds = {name: f"{name}-{random.randrange(8)}" for name in FIELDS}
    return kinds | {"curso": f"SO{random.randrange(200)}"}


def random_texts(random: Random) -> Body:
    """A note that has nothing in common with any other."""
    return {name: f"{random.getrandbits(128):032x}" for name in FIELDS}


def pooled(random: Random, notes: int, load: Load) -> Iterator[Chunk]:
    """So many notes of a pool, some at a time."""
    pool = [encoded(ordinary(random)) for _ in range(POOL)]
    for first in range(0, notes // AT_ONCE * AT_ONCE, AT_ONCE):
        yield chunk([pool[(first + number) % POOL] for number in range(AT_ONCE)], load)


def unique(random: Random, notes: int, load: Load) -> Iterator[Chunk]:
    """So many notes of random texts, some at a time."""
    for _ in range(notes // AT_ONCE):
        yield chunk([encoded(random_texts(random)) for _ in range(AT_ONCE)], load)


def encoded(body: Body) -> Note:
    """A note, and what is sent of it."""
    return body, json.dumps(body).encode()


def chunk(notes: list[Note], load: Load) -> Chunk:
    """Requests with these notes, which are counted once they are acknowledged."""

    def count() -> None:
        for name in FIELDS:
            load.texts[name].update([body[name] for body, _ in notes])

    return [request(sent, b"memory-%d" % next(load.numbers)) for _, sent in notes], count


async def watch(cache: redis.Redis, load: Load, notes: int) -> None:
    """Looks at Redis's memory, and tells how it goes, until it is cancelled."""
    started = told = time.monotonic()
    while True:
        memory = await asyncio.to_thread(cache.info, "memory")
        load.peak = max(load.peak, memory["used_memory"])
        if time.monotonic() - told > TOLD_EVERY_S:
            told = time.monotonic()
            done = load.answered["201"]
            rate = done / (told - started)
            print(f"{done:,} of {notes:,}, {rate:,.0f}/s, Redis {memory['used_memory'] / 1e6:.1f} MB", file=sys.stderr)
        await asyncio.sleep(SAMPLE_S)


def differences(cache: redis.Redis, load: Load, stored: int) -> list[str]:
    """What is not as it should be, a sentence each."""
    sent, found = load.answered["201"], []
    if set(load.answered) != {"201"}:
        found.append(f"not every answer was 201: {dict(load.answered)}")
    if stored != sent:
        found.append(f"MongoDB has {stored} documents, sent were {sent}")
    if (total := int(cache.get(COUNT) or 0)) != sent:
        found.append(f"Redis counted {total} notes, sent were {sent}")
    for name in FIELDS:
        counts = {str(text): int(count) for text, count in cache.hgetall(f"{COUNT}:{name}").items()}
        if sum(counts.values()) != sent:
            found.append(f"{name}: the counters' sum is {sum(counts.values())}, sent were {sent}")
        if wrong := [text for text in counts if text != OTHER and counts[text] != load.texts[name][text]]:
            found.append(f"{name}: {len(wrong)} texts have a wrong counter, such as {wrong[0]}")
    if load.peak > LIMIT_MB * 1e6:
        found.append(f"Redis used {load.peak / 1e6:.1f} MB, over {LIMIT_MB}")
    return found


async def run(options: argparse.Namespace, mongodb: str, cache_url: str) -> list[str]:
    """The whole measurement; returns what was not as it should be."""
    documents: Any = pymongo.MongoClient(mongodb)
    cache = redis.Redis.from_url(cache_url, decode_responses=True)
    clear(mongodb, cache_url)
    direct, port = await start({"MONGODB_URI": mongodb, "REDIS_URL": cache_url})
    load, random = Load(), Random(options.seed)  # noqa: S311 (notes, not secrets)
    watching = asyncio.create_task(watch(cache, load, options.notes + options.random))
    try:
        for what, make, notes in (("notes", pooled, options.notes), ("random", unique, options.random)):
            seconds = await send(port, options.connections, make(random, notes, load), load.answered)
            used = cache.info("memory")["used_memory"]
            print(f"{what}: {notes:,} in {seconds:.0f} s, {notes / seconds:,.0f}/s; Redis {used / 1e6:.1f} MB")
        found = differences(cache, load, documents[MONGODB_DATABASE][COLLECTION].count_documents({}))
    finally:
        watching.cancel()
        direct.terminate()
        await direct.wait()
    print(f"Redis at its peak: {load.peak / 1e6:.1f} MB (asked: under {LIMIT_MB})")
    sizes = {name: cache.hlen(f"{COUNT}:{name}") for name in FIELDS}
    print(
        f"texts with a counter: {sizes}; remembered: {cache.hlen(BATCHES)} processes, "
        f"{cache.zcard(f'{BATCHES}:except')} exceptions"
    )
    clear(mongodb, cache_url)
    return found


def main() -> int:
    """0 when everything is as it should be, 1 when not, 2 when nothing could be measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notes", type=int, default=5_000_000, help="notes of few different ones (5000000)")
    parser.add_argument("--random", type=int, default=200_000, help="then notes with random texts (200000)")
    parser.add_argument("--connections", type=int, default=24, help="connections (24)")
    parser.add_argument("--seed", type=int, default=1, help="what the notes are made from (1)")
    options = parser.parse_args()
    databases = named()
    if databases is None:
        return 2
    found = asyncio.run(run(options, *databases))
    for line in found:
        print(f"MISS  {line}")
    print("MISS" if found else "pass")
    return 1 if found else 0
