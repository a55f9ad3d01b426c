"""courseload as it runs on this machine, seen from outside: the ingress, the databases, the pods."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from pymongo import MongoClient
from pymongo.collection import Collection

from helpers.machine import mongodb_uri, podman, redis_url

MANIFESTS = Path("/etc/courseload/pods")
ADDRESS = ("127.0.0.1", 8080)
READER = ("127.0.0.1", 8030)
ROUTES = {"relay", "direct"}
may_reset = pytest.mark.skipif(
    os.environ.get("COURSELOAD_MAY_RESET") != "yes",
    reason="courseload was on this machine before the tests: it stays, with its data",
)
NOTE = {"curso": "SO1", "facultad": "ingenieria", "carrera": "sistemas", "region": "NORTE"}


@dataclass(frozen=True)
class Answer:
    status: int
    route: str | None  # what X-Route says
    body: Any  # decoded, where it is JSON
    retry_after: str | None = None


def post(
    note: Any = None, *, body: bytes | None = None, key: str | None = None, timeout: float = 5, **headers: str
) -> Answer:
    """Posts a note (or raw bytes) to the ingress over a connection of its own; raises OSError without an answer."""
    sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    if key is not None:
        sent["Idempotency-Key"] = key
    content = json.dumps(NOTE if note is None else note).encode() if body is None else body
    connection = http.client.HTTPConnection(*ADDRESS, timeout=timeout)
    try:
        connection.request("POST", "/course", content, sent)
        response = connection.getresponse()
        text = response.read()
        is_json = "json" in response.headers.get("Content-Type", "")
        return Answer(
            status=response.status,
            route=response.headers.get("X-Route"),
            body=json.loads(text) if is_json else text,
            retry_after=response.headers.get("Retry-After"),
        )
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


def read(target: str) -> Any:
    """What the reader answers."""
    connection = http.client.HTTPConnection(*READER, timeout=15)
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        content = json.loads(response.read())
        assert response.status == 200, content
        return content
    finally:
        connection.close()


def post_on_both_routes(key: Callable[[], str | None] = lambda: None, **arguments: Any) -> dict[str, Answer]:
    """Posts until each route has answered; returns one answer of each."""
    answers: dict[str, Answer] = {}
    for _ in range(50):
        answer = post(key=key(), **arguments)
        answers[answer.route or ""] = answer
        if answers.keys() >= ROUTES:
            return answers
    raise AssertionError(f"50 requests, and only these routes answered: {', '.join(answers)}")


def fresh_key() -> str:
    return f"test-{secrets.token_hex(12)}"


def serves() -> bool:
    """Whether a note posted now is stored, on each route.

    It is always the same note, by its key: asking again leaves nothing behind that a load test would have to explain.
    """
    try:
        answers = post_on_both_routes(key=lambda: "test-serves", timeout=3)
    except (OSError, AssertionError):
        return False
    return all(answers[route].status == 201 for route in ROUTES)


def wait_until_it_serves(seconds: float) -> float:
    """Returns after how many seconds it served; fails when that takes longer than `seconds`."""
    started = time.monotonic()
    while not serves():
        waited = time.monotonic() - started
        assert waited < seconds, f"does not serve on both routes after {waited:.0f} s"
        time.sleep(0.2)
    return time.monotonic() - started


@contextmanager
def notes() -> Iterator[Collection[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](mongodb_uri(), serverSelectionTimeoutMS=10_000) as client:
        yield client.get_default_database()["notes"]


@contextmanager
def counters() -> Iterator[redis.Redis]:
    client: redis.Redis = redis.Redis.from_url(redis_url(), decode_responses=True)
    try:
        yield client
    finally:
        client.close()


def pods() -> list[str]:
    """The names of the system's pods on this machine; those of a running load test are not part of it."""
    return sorted(path.stem for path in MANIFESTS.glob("*.yml") if not path.stem.startswith("locust-"))


def containers() -> list[str]:
    """The names of the pods' containers, except those that only hold a pod together."""
    ours = [option for pod in pods() for option in ("--filter", f"pod={pod}")]
    lines = podman("ps", *ours, "--format", "{{.Names}} {{.IsInfra}}").splitlines()
    return sorted(line.split()[0] for line in lines if line.endswith("false"))


def kill(container: str) -> int:
    """Kills a container's main process as the kernel would, for lack of memory; returns its process id."""
    process = main_process(container)
    assert process, f"{container} is not running"
    os.kill(process, signal.SIGKILL)
    return process


def main_process(container: str) -> int:
    """The process id of a container's main process; 0 while it is not running."""
    return int(podman("inspect", "--format", "{{.State.Pid}}", container))


def has_postgresql() -> bool:
    """Whether MongoDB is FerretDB in front of PostgreSQL here."""
    return "mongodb-postgres" in containers()


def psql(role: str, database: str, statement: str) -> str:
    """What PostgreSQL answers to a role; raises CalledProcessError where it refuses."""
    place = ("--host=/run/postgresql", f"--username={role}", f"--dbname={database}")
    return podman("exec", "mongodb-postgres", "psql", *place, "-Atc", statement)
