"""How long the load test's reconciliation takes over millions of notes, and how much memory.

Sends the notes to the direct route, as a load test would have sent them; leaves the files that a run's workers and
master leave; then runs `loadgen reconcile` on them. It must find every note, nothing else, and keep within time and
memory.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import msgspec

from course.ids import id_of
from course.note import FIELDS
from loadgen.collector import LatencyDetail, Load
from loadgen.ids import write_ids
from loadgen.keys import key_of, user_name
from loadgen.latency import Latency
from loadgen.pool import bodies, make_pool, place_in_pool
from loadgen.reconcile import COUNTED_ROUTE, Baseline, Reconciliation
from loadgen.settings import RunDirectory, Settings, write_json
from loadgen.stores import Counters

from .databases import clear, named
from .sending import AT_ONCE, SERVICES, Chunk, request, send, start

LIMIT_S = 180
LIMIT_MIB = 300
RUN = "benchmark"
USERS = 100
SETTINGS = Settings(
    run=RUN,
    target="http://nowhere",
    users=USERS,
    rate=0,
    spawn_rate=USERS,
    duration_s=1,
    pool=1000,
    seed=1,
    workers=1,
    objectives=(),
    weights={COUNTED_ROUTE: 1},
)


def notes(count: int, ids: BinaryIO) -> Iterator[Chunk]:
    """So many notes of users who take turns, some at a time; the ids of those that are acknowledged go into a file."""
    ready = bodies(make_pool(SETTINGS.pool, SETTINGS.seed))
    for first in range(0, count // AT_ONCE * AT_ONCE, AT_ONCE):
        keys = [key_of(RUN, user_name(0, number % USERS), number // USERS) for number in range(first, first + AT_ONCE)]
        note_ids = [id_of(key) for key in keys]
        requests = [
            request(ready[place_in_pool(note_id, len(ready))], key.encode())
            for key, note_id in zip(keys, note_ids, strict=True)
        ]
        yield requests, partial(ids.write, b"".join(note_ids))


def leave_files(directory: RunDirectory, acknowledged: int) -> None:
    """The files of a run that began with empty databases, beside the ids."""
    load = Load(
        started_at=0,
        ended_at=1,
        requests=acknowledged,
        failures=0,
        unsent=0,
        acknowledged={COUNTED_ROUTE: acknowledged},
        total=LatencyDetail(acknowledged, Latency(0, 0, 0, 0), []),
        routes={},
        series=[],
        errors={},
        workers=[],
        lost_attempts={},
        users_reached=USERS,
        unknown=0,
    )
    write_json(directory.load, load)
    write_json(directory.settings, SETTINGS)
    write_json(directory.baseline, Baseline(0, Counters(0, {field: {} for field in FIELDS})))
    write_ids(directory.before, [])


def reconcile(directory: RunDirectory, mongodb: str, cache: str) -> tuple[float, float]:
    """Runs the reconciliation as a load test does; returns its seconds and the most memory that it had, in MiB."""
    environment = {**os.environ, "PYTHONPATH": str(SERVICES), "MONGODB_URI": mongodb, "REDIS_URL": cache}
    command = [sys.executable, "-m", "loadgen", "reconcile", f"--directory={directory.path}"]
    started = time.monotonic()
    process = subprocess.Popen(command, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.monotonic() - started, used.ru_maxrss / 1024


async def fill(options: argparse.Namespace, mongodb: str, cache: str, directory: RunDirectory) -> Counter[str]:
    """Has the notes stored; returns the answers by status."""
    direct, port = await start({"MONGODB_URI": mongodb, "REDIS_URL": cache})
    answered = Counter[str]()
    try:
        with directory.acknowledged(COUNTED_ROUTE).open("wb") as ids:
            seconds = await send(port, options.connections, notes(options.notes, ids), answered)
    finally:
        direct.terminate()
        await direct.wait()
    print(f"stored: {answered['201']:,} in {seconds:.0f} s, {answered['201'] / seconds:,.0f}/s", flush=True)
    return answered


def misses(directory: RunDirectory, answered: Counter[str], seconds: float, memory_mib: float) -> list[str]:
    """What is not as it should be, a sentence each."""
    found, sent = [], answered["201"]
    result = msgspec.json.decode(directory.reconciliation.read_bytes(), type=Reconciliation)
    for name, database in (("MongoDB", result.mongodb), ("Redis", result.redis)):
        expected = dict.fromkeys(msgspec.structs.asdict(database), 0) | {"acknowledged": sent, "stored": sent}
        if (counts := msgspec.structs.asdict(database)) != expected:
            found.append(f"{name}: {counts}, sent were {sent}")
    if seconds > LIMIT_S:
        found.append(f"it took {seconds:.0f} s, over {LIMIT_S}")
    if memory_mib > LIMIT_MIB:
        found.append(f"it had {memory_mib:.0f} MiB, over {LIMIT_MIB}")
    return found


def main() -> int:
    """0 when everything is as it should be, 1 when not, 2 when nothing could be measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notes", type=int, default=5_000_000, help="how many notes (5000000)")
    parser.add_argument("--connections", type=int, default=24, help="connections that send them (24)")
    options = parser.parse_args()
    databases = named()
    if databases is None:
        return 2
    mongodb, cache = databases
    clear(mongodb, cache)
    with tempfile.TemporaryDirectory(prefix="courseload-reconciliation-") as path:
        directory = RunDirectory(Path(path))
        try:
            answered = asyncio.run(fill(options, mongodb, cache, directory))
            leave_files(directory, answered["201"])
            seconds, memory_mib = reconcile(directory, mongodb, cache)
        finally:
            clear(mongodb, cache)
        print(f"reconciled in {seconds:.0f} s (asked: {LIMIT_S}), {memory_mib:.0f} MiB at most (asked: {LIMIT_MIB})")
        found = misses(directory, answered, seconds, memory_mib)
    for line in found:
        print(f"MISS  {line}")
    print("MISS" if found else "pass")
    return 1 if found else 0
