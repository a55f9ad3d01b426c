"""The module pod_serves: what of a pod counts, for how long it is waited for, and who answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from helpers.http_server import serving
from helpers.plugins import load

pod_serves = load("modules", "pod_serves")

ADDRESS = "192.0.2.5"
CONTAINERS = ["mongodb-mongodb", "mongodb-postgres"]


def container(name: str, *, running: bool = True, paused: bool = False, address: str = ADDRESS) -> dict[str, Any]:
    return {
        "Name": name,
        "State": {"Running": running, "Paused": paused},
        "NetworkSettings": {"Networks": {"courseload": {"IPAddress": address}, "another": {"IPAddress": "192.0.2.9"}}},
    }


def gathered(*found: dict[str, Any], said: str | None = None) -> Any:
    """The state of the pod mongodb where Podman describes these containers, or says that."""

    def run(command: list[str]) -> tuple[int, str, str]:
        assert command == ["podman", "container", "inspect", *CONTAINERS]
        return int(len(found) < len(CONTAINERS)), json.dumps(found) if said is None else said, ""

    return pod_serves.gather(run, "mongodb", CONTAINERS, "courseload")


def test_a_pod_runs_when_all_of_its_containers_do() -> None:
    front, database = map(container, CONTAINERS)
    assert gathered(front, database) == pod_serves.State(there=True, runs=True, address=ADDRESS)
    assert not gathered(front).runs
    assert not gathered(front, container(CONTAINERS[1], running=False)).runs
    assert not gathered(container(CONTAINERS[0], address=""), database).runs


def test_a_pod_is_paused_when_one_of_its_containers_is() -> None:
    assert gathered(container(CONTAINERS[0]), container(CONTAINERS[1], paused=True)).paused


@pytest.mark.parametrize("said", ["", "[]", "null", "cannot connect to Podman"])
def test_where_podman_knows_nothing_of_it_nothing_is_there(said: str) -> None:
    assert gathered(said=said) == pod_serves.State()


RUNS = pod_serves.State(there=True, runs=True, address=ADDRESS)
STARTS = pod_serves.State(there=True)


def asked(states: list[Any], answers: list[bool], patience: int) -> tuple[dict[str, bool], int, int]:
    """What comes of a pod that goes through these states, then answers so; and how often it was looked at and asked.

    What comes last stays.
    """
    looks: list[Any] = []
    asks: list[str] = []

    def look() -> Any:
        looks.append(states[min(len(looks), len(states) - 1)])
        return looks[-1]

    def answer(address: str) -> bool:
        asks.append(address)
        return answers[min(len(asks), len(answers)) - 1]

    return pod_serves.ask(look, answer, patience, 0.0), len(looks), len(asks)


@pytest.mark.parametrize(
    ("states", "answers", "patience", "outcome"),
    [
        ([RUNS], [True], 1, (True, 1, 1)),
        ([RUNS], [False, True], 1, (True, 1, 2)),
        ([RUNS], [False], 3, (False, 1, 4)),
        ([STARTS, STARTS, RUNS], [True], 5, (True, 3, 1)),
        ([STARTS], [True], 2, (False, 3, 0)),
    ],
    ids=["at once", "after a moment", "never", "once it runs", "never runs"],
)
def test_it_is_waited_for_as_long_as_there_is_patience(
    states: list[Any], answers: list[bool], patience: int, outcome: tuple[bool, int, int]
) -> None:
    serves, looks, asks = outcome
    assert asked(states, answers, patience) == ({"serves": serves, "paused": False}, looks, asks)


def test_where_nothing_is_there_nothing_is_waited_for() -> None:
    assert asked([pod_serves.State()], [True], 90) == ({"serves": False, "paused": False}, 1, 0)


def test_what_is_paused_does_not_serve_although_it_takes_connections() -> None:
    paused = pod_serves.State(there=True, runs=True, paused=True, address=ADDRESS)
    assert asked([paused], [True], 90) == ({"serves": False, "paused": True}, 1, 0)


@contextmanager
def server(status: int) -> Iterator[int]:
    """A server on loopback that answers so; its port."""

    with serving(lambda exchange: exchange.reply(status if exchange.path == "/readyz" else 404)) as port:
        yield port


@pytest.mark.parametrize(
    ("status", "path", "good"), [(200, "/readyz", True), (503, "/readyz", False), (503, None, True)]
)
def test_with_a_path_the_answer_counts_and_without_one_the_connection(
    status: int, path: str | None, good: bool
) -> None:
    with server(status) as port:
        assert pod_serves.answers("127.0.0.1", port, path) is good


@pytest.fixture
def silent() -> Iterator[int]:
    """A port on which connections are taken and nothing is said, as of a process that is frozen."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_port_that_says_nothing_and_one_that_is_closed_do_not_answer(
    silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_serves, "ANSWER_S", 0.1)
    assert not pod_serves.answers("127.0.0.1", silent, "/readyz")
    with socket.create_server(("127.0.0.1", 0)) as closing:
        closed = closing.getsockname()[1]
    assert not pod_serves.answers("127.0.0.1", closed, None)
