"""The generators: how each is started to post notes over some connections, for longer than it is measured."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

import bench.wrk
from loadgen.pool import make_pool
from loadgen.settings import RunDirectory, Settings, write_json

from .programs import HERE

POOL = 1000
SEED = 1
SERVICES = HERE.parents[1] / "services"


@dataclass(frozen=True)
class Task:
    """What a generator is to do: post to a base URL over so many connections, for so many seconds at least."""

    target: str
    connections: int
    seconds: int
    directory: Path


Start = Callable[[Task], list[list[str]]]
"""Makes the commands of a generator's processes."""


def courseload(task: Task) -> list[list[str]]:
    """The load test's master and one worker as `loadtest.yml` runs them, with what reconciliation needs of them."""
    directory = RunDirectory(task.directory)
    settings = Settings(
        run=f"benchmark-{os.getpid()}-{task.directory.name}",
        target=task.target,
        users=task.connections,
        rate=0,
        spawn_rate=task.connections,
        duration_s=task.seconds,
        pool=POOL,
        seed=SEED,
        workers=1,
        objectives=(),
        weights={"relay": 50, "direct": 50},
    )
    write_json(directory.settings, settings)
    loadgen = [sys.executable, "-m", "loadgen"]
    return [[*loadgen, "work", "--master=127.0.0.1"], [*loadgen, "drive", f"--directory={task.directory}"]]


def k6(programs: Path) -> Start:
    """k6 with a script like a user's first one: it looks at the status and records no id."""

    def start(task: Task) -> list[list[str]]:
        pool = task.directory / "pool.json"
        pool.write_bytes(msgspec.json.encode(make_pool(POOL, SEED)))
        command = [str(programs / "k6"), "run", "--quiet", "--no-usage-report"]
        command += [f"--vus={task.connections}", f"--duration={task.seconds}s"]
        command += [f"--env=TARGET={task.target}/course", f"--env=POOL={pool}", str(HERE / "notes.js")]
        return [command]

    return start


def wrk(task: Task) -> list[list[str]]:
    """wrk, as the services are measured with: it counts and records nothing, so nothing in Python comes near it."""
    return [
        bench.wrk.command(task.target, 1, task.connections, task.seconds, bench.wrk.Load(task.seconds, 0, keys=True))
    ]


def contestants(programs: Path) -> dict[str, Start]:
    """All generators that are on this machine, by name."""
    found: dict[str, Start] = {"courseload": courseload, "k6": k6(programs)}
    return found | ({"wrk": wrk} if shutil.which("wrk") else {})


@contextmanager
def running(commands: Sequence[Sequence[str]], log: Path) -> Iterator[list[int]]:
    """The processes of a generator, while they are needed; they end with this at the latest."""
    environment = {**os.environ, "PYTHONPATH": str(SERVICES)}
    with log.open("w") as file:
        processes = [
            subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT) for command in commands
        ]
        try:
            yield [process.pid for process in processes]
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()


@contextmanager
def target(programs: Path) -> Iterator[str]:
    """The base URL of a target that answers at once, for as long as it is needed."""
    with subprocess.Popen([str(programs / "target")], stdout=subprocess.PIPE, text=True) as process:
        try:
            port = process.stdout.readline().strip() if process.stdout else ""
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
