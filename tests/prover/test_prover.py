"""What a load test says when a service is wrong on purpose, and that it raises no alarm when nothing is."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from loadgen.settings import SEARCH, SearchDirectory
from prover import planted
from services.parts import ROOT, Databases, Process, System, mongodb_uri, redis_url
from unit.services.helpers import free_port

USERS, SECONDS = 24, 5
CLEAN_RUNS = 20
LOST_S = 0.5  # what a power cut takes of writes that were acknowledged before they were flushed
# Only what becomes of the notes is judged here.
OBJECTIVES = [{"of": "total", "what": "failure_ratio", "at_most": 1}]

Meanwhile = Callable[[System, Databases], Awaitable[None]]


async def nothing(_: System, __: Databases) -> None:
    """Nothing happens meanwhile."""


async def kill_direct(system: System, _: Databases) -> None:
    """Direct is killed, and comes back."""
    await system.direct.end(signal.SIGKILL)
    await system.direct.start()


async def cut_mongodb_off(system: System, _: Databases) -> None:
    """MongoDB is away for longer than the services try."""
    system.mongodb.shut()
    await asyncio.sleep(2)
    await system.mongodb.open()


async def cut_the_power(_: System, databases: Databases) -> None:
    """A stand-in: the last half second is gone, as after a power cut of a database that does not flush."""
    await databases.notes.delete_many({"at": {"$gte": datetime.now(UTC) - timedelta(seconds=LOST_S)}})


MISSING = "missing in MongoDB"
# The defect, what happens meanwhile, and what the load test has to say.
DEFECTS: list[tuple[Callable[[], None], Meanwhile, str]] = [
    (planted.acknowledges_before_the_write, kill_direct, MISSING),
    (planted.drops_a_note, nothing, MISSING),
    (planted.writes_one_twice, nothing, "documents were stored that no request accounts for"),
    (planted.swaps_two_fields, nothing, "have other texts than were sent"),
    (planted.truncates_a_text, nothing, "have other texts than were sent"),
    (planted.nothing, cut_the_power, MISSING),
    (planted.counts_twice, nothing, "notes too many were counted"),
    (planted.forgets_to_count, nothing, "missing in Redis's counters"),
    (planted.answers_201_on_a_timeout, cut_mongodb_off, MISSING),
    (planted.writes_to_another_collection, nothing, MISSING),
]


class Planted(Process):
    """A service with a defect."""

    def __init__(self, defect: Callable[[], None], of: Process) -> None:
        super().__init__(of.name, of.environment | {"PYTHONPATH": f"{ROOT}/services:{ROOT}/tests"}, of.port)
        self.program = ("-m", "prover.planted", defect.__name__, of.name)


@asynccontextmanager
async def running(defect: Callable[[], None]) -> AsyncIterator[System]:
    """The three services, each with the defect; of one that concerns a replica, only direct."""
    system = System()
    only_direct = defect is planted.writes_to_another_collection
    for process in system.all:
        if process is system.direct or not only_direct:
            setattr(system, process.name, Planted(defect, process))
    async with AsyncExitStack() as stack:
        for gate in (system.mongodb, system.redis):
            await gate.open()
            stack.callback(gate.shut)
        for process in system.all:
            await process.start()
            stack.push_async_callback(process.end, signal.SIGKILL)
        yield system


async def load_test(directory: Path, system: System, databases: Databases, meanwhile: Meanwhile) -> dict[str, Any]:
    """Runs the load test against both routes; returns its summary."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "services"),
        "LOCUST_PORT": str(free_port()),
        "MONGODB_URI": mongodb_uri(),
        "REDIS_URL": redis_url(),
    }
    targets = ",".join(f"http://127.0.0.1:{process.port}" for process in system.routes.values())
    settings = {
        "directory": directory,
        "target": targets,
        "users": USERS,
        "rate": 0,
        "spawn-rate": USERS,
        "duration": SECONDS,
        "pool": 200,
        "seed": 1,
        "workers": 1,
        "weights": "relay=50,direct=50",
        "objectives": json.dumps(OBJECTIVES),
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    worker = await python(environment, "work", "--master=127.0.0.1")
    master = await python(environment, "run", *options)
    try:
        while not (directory / "baseline.json").exists():
            assert master.returncode is None
            await asyncio.sleep(0.05)
        await asyncio.sleep(SECONDS / 2 + 1)
        await meanwhile(system, databases)
        async with asyncio.timeout(90):
            assert await master.wait() == 0
    finally:
        for process in (master, worker):
            if process.returncode is None:
                process.terminate()  # and with it the stage that it is at
                await process.wait()
    summary: dict[str, Any] = json.loads((directory / "summary.json").read_text())
    return summary


async def python(environment: dict[str, str], *arguments: str) -> asyncio.subprocess.Process:
    """A command of the load test."""
    command = (sys.executable, "-m", "loadgen", *arguments)
    return await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("defect", "meanwhile", "says"), DEFECTS, ids=[f"{defect.__name__}, {then.__name__}" for defect, then, _ in DEFECTS]
)
async def test_a_planted_defect_is_found_and_named(
    tmp_path: Path, databases: Databases, defect: Callable[[], None], meanwhile: Meanwhile, says: str
) -> None:
    async with running(defect) as system:
        summary = await load_test(tmp_path, system, databases, meanwhile)
    assert summary["verdict"] == "fail"
    assert any(says in reason for reason in summary["reasons"]), summary["reasons"]


@pytest.mark.parametrize(
    ("defect", "says"),
    [
        (planted.nothing, None),
        (planted.drops_a_note, MISSING),
        (planted.writes_one_twice, "documents were stored that no request accounts for"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
async def test_a_planted_defect_is_found_in_the_second_step_of_a_search(
    tmp_path: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch, defect: Callable[[], None], says: str | None
) -> None:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "services"),
        "MONGODB_URI": mongodb_uri(),
        "REDIS_URL": redis_url(),
    }
    await databases.notes.insert_many([{"curso": "CHESS"} for _ in range(100)])
    assert await (await python(environment, "baseline", f"--directory={tmp_path}")).wait() == 0
    monkeypatch.setenv(SEARCH, str(tmp_path))
    search, reasons = SearchDirectory(tmp_path), []
    for number, what in ((1, planted.nothing), (2, defect)):
        directory = search.step(number).path
        directory.mkdir(parents=True)
        async with running(what) as system:
            summary = await load_test(directory, system, databases, nothing)
        reasons.append(summary["reasons"])
    assert reasons[0] == []
    assert [says in reason for reason in reasons[1]] == ([True] if says else []), reasons[1]


@pytest.mark.parametrize("run", range(1, CLEAN_RUNS + 1))
async def test_a_clean_run_raises_no_alarm(tmp_path: Path, databases: Databases, run: int) -> None:
    async with running(planted.nothing) as system:
        summary = await load_test(tmp_path, system, databases, nothing)
    assert summary["reasons"] == []
    assert summary["requests"] > 1000
