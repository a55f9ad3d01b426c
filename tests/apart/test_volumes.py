"""The databases' volumes: one database at a time, whatever was killed, and no password where everybody may read it.

On volumes of the test's own, with the start scripts of this repository in the images that are installed.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import courseload
from helpers.machine import REPOSITORY, podman
from helpers.processes import command_lines_with

PATIENCE_S = 45  # for which a second one waits
START_S = 90  # within which a database answers on a busy machine
NAME = f"courseload-test-{os.getpid()}"
# By the kind of database: what runs it here, and what its volume is called in its container.
IMAGES = {"postgres": "mongodb-postgres", "redis": "redis-redis"}
VOLUMES = {"postgres": "mongodb", "redis": "redis"}


class Database:
    """A kind of database: how a container of it is started on a volume of the test's own, and how it is asked."""

    def __init__(self, kind: str, options: list[str], command: list[str], asks: list[str], process: str) -> None:
        self.kind, self.options, self.command, self.asks, self.process = kind, options, command, asks, process
        self.image = podman("inspect", "--format", "{{.ImageName}}", IMAGES[kind])
        self.volume = f"{NAME}-{kind}"
        self.holder = ""  # the container that has the volume

    def start(self, name: str) -> str:
        """Starts a container; returns its full name."""
        container = f"{self.volume}-{name}"
        options = ["--detach", "--name", container, "--network", "none", "--user", "10001:10001"]
        place = ["--volume", f"{self.volume}:/srv/{VOLUMES[self.kind]}"]
        podman("run", *options, *place, *self.options, self.image, *self.command)
        return container

    def serve(self, name: str) -> str:
        """Starts a container that has the volume; returns its full name once it answers."""
        self.holder = self.start(name)
        eventually(f"{self.kind} answers", lambda: self.answers(self.holder), START_S)
        return self.holder

    def answers(self, container: str) -> bool:
        asked = subprocess.run(["podman", "exec", container, *self.asks], check=False, capture_output=True)
        return asked.returncode == 0

    def runs(self, container: str) -> bool:
        """Whether the database itself has been started there."""
        return any(self.process in line for line in podman("top", container, "args").splitlines()[1:])


@contextlib.contextmanager
def on_a_volume(database: Database) -> Iterator[Database]:
    """The database on a volume of its own, of which nothing stays."""
    podman("volume", "create", database.volume)
    os.chown(podman("volume", "inspect", "--format", "{{.Mountpoint}}", database.volume), 10001, 10001)
    try:
        yield database
    finally:
        for container in json.loads(podman("ps", "--all", "--format", "json", "--filter", f"name={database.volume}-")):
            podman("rm", "--force", "--time", "0", container["Id"])
        podman("volume", "rm", database.volume)


@pytest.fixture(scope="module")
def password() -> str:
    return secrets.token_hex(16)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, password: str) -> Iterator[tuple[Database, set[str]]]:
    """PostgreSQL, made on its volume, and the command lines that had its password in them meanwhile."""
    if not courseload.has_postgresql():
        pytest.skip("MongoDB itself runs here, which has a lock of its own")
    credentials = tmp_path_factory.mktemp("host") / "credentials"
    credentials.mkdir()
    for file, content in {"username": "courseload", "password": password, "reader": password}.items():
        (credentials / file).write_text(content)
    for path in (credentials.parent, credentials, *credentials.iterdir()):
        os.chown(path, 10001, 10001)
    script = REPOSITORY / "roles/image/files/documentdb/run-postgres"
    database = Database(
        kind="postgres",
        options=[
            *("--tmpfs", "/run/postgresql:mode=1777"),
            *("--volume", f"{credentials}:/run/credentials/mongodb:ro"),
            *("--volume", f"{script}:/usr/local/bin/run-postgres:ro"),
        ],
        command=["run-postgres"],
        asks=["psql", "--host=/run/postgresql", "--username=statistics", "--dbname=statistics", "-Atc", "SELECT 1"],
        process="postgres -D",
    )
    with on_a_volume(database):
        with command_lines_with(password) as seen:
            database.serve("first")
        yield database, seen.found


@pytest.fixture(scope="module")
def postgres(made: tuple[Database, set[str]]) -> Database:
    return made[0]


@pytest.fixture(scope="module")
def redis() -> Iterator[Database]:
    described: dict[str, Any] = yaml.safe_load((REPOSITORY / "group_vars/all/workloads.yml").read_text())
    command = described["workloads"]["redis"]["command"]
    database = Database(
        kind="redis",
        options=[],
        command=[word for word in command if not word.startswith("--aclfile")],
        asks=["redis-cli", "ping"],
        process="redis-server 0.0.0.0",
    )
    with on_a_volume(database):
        database.serve("first")
        yield database


def eventually(what: str, check: Callable[[], bool], seconds: float) -> float:
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if check():
            return time.monotonic() - started
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")


def processes(container: str) -> list[int]:
    """The process ids of a container, as the machine counts them."""
    # One that has ended meanwhile is shown as a question mark.
    return [int(line) for line in podman("top", container, "hpid").splitlines()[1:] if line.strip().isdigit()]


def running(container: str) -> bool:
    return podman("inspect", "--format", "{{.State.Running}}", container) == "true"


def said(container: str) -> str:
    done = subprocess.run(["podman", "logs", container], check=True, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_no_command_line_shows_the_password_while_the_database_is_made(
    made: tuple[Database, set[str]], password: str
) -> None:
    database, seen = made
    assert seen == set()
    # The password is the one that was given: it was set, not lost.
    assert password not in said(database.holder)
    assert accounts(database.holder) == ["courseload", "reader"]


def accounts(container: str) -> list[str]:
    """Those that can log in with a password."""
    return psql(container, "SELECT rolname FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256$%' ORDER BY 1").split()


def psql(container: str, statement: str) -> str:
    place = ("--host=/run/postgresql", "--username=postgres", "--dbname=postgres")
    return podman("exec", container, "psql", *place, "-Atc", statement)


def test_the_lock_is_held_until_the_last_process_of_the_database_is_gone(postgres: Database) -> None:
    locked = ["podman", "exec", postgres.holder, "flock", "--nonblock", "/srv/mongodb/postgres.lock", "true"]
    assert subprocess.run(locked, check=False).returncode == 1
    # Its first process is PostgreSQL itself, and it has the lock's file open.
    assert any(
        str(handle.readlink()).endswith("/postgres.lock")
        for handle in Path("/proc", str(courseload.main_process(postgres.holder)), "fd").iterdir()
    )


def test_a_stale_pid_file_of_a_killed_one_does_not_hold_up_the_next(postgres: Database) -> None:
    podman("kill", "--signal", "KILL", postgres.holder)
    volume = Path(podman("volume", "inspect", "--format", "{{.Mountpoint}}", postgres.volume))
    assert (volume / "postgres/postmaster.pid").exists()
    assert "waiting up to" not in said(postgres.serve("next"))


def test_the_readers_account_is_made_where_the_data_is_from_before_it(postgres: Database) -> None:
    psql(postgres.holder, 'SELECT documentdb_api.drop_user(\'{"dropUser": "reader"}\')')
    podman("stop", postgres.holder)
    volume = Path(podman("volume", "inspect", "--format", "{{.Mountpoint}}", postgres.volume))
    (volume / "postgres/reader.made").unlink()
    container = postgres.serve("with-reader")
    # PostgreSQL is started a first time for it.
    eventually("it is PostgreSQL itself", lambda: postgres.runs(container), START_S)
    eventually("it answers", lambda: postgres.answers(container), START_S)
    assert accounts(container) == ["courseload", "reader"]


def a_second_one(database: Database) -> None:
    """A second one on the volume of one that lives, and a third one when that is killed."""
    first = database.holder
    second = database.start("second")
    eventually("the second one ends", lambda: not running(second), PATIENCE_S + 30)
    assert podman("inspect", "--format", "{{.State.ExitCode}}", second) == "1"
    assert "two would destroy it: end the other pod or container that has this volume" in said(second)
    assert database.answers(first)

    # A third one waits; when everything of the first is killed at once, it starts at once.
    third = database.start("third")
    eventually("the third one says that it waits", lambda: "waiting up to" in said(third), 20)
    assert not database.runs(third)
    for process in processes(first):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    eventually("the third one has the volume", lambda: database.runs(third), 5)
    eventually("the third one answers", lambda: database.answers(third), START_S)


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> dict[str, Future[None]]:
    """What comes of a second one, by the kind of database: they are waited for at the same time."""
    kinds = ["redis", *(["postgres"] if courseload.has_postgresql() else [])]
    databases = {kind: request.getfixturevalue(kind) for kind in kinds}
    with ThreadPoolExecutor() as pool:
        return {kind: pool.submit(a_second_one, database) for kind, database in databases.items()}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_a_second_one_on_a_volume_does_not_start_while_the_first_lives(
    outcomes: dict[str, Future[None]], kind: str
) -> None:
    if kind not in outcomes:
        pytest.skip("MongoDB itself runs here, which has a lock of its own")
    outcomes[kind].result()
