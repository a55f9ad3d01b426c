"""What the ingress itself answers, and what it does when a route is not ready."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from helpers import courseload
from helpers.courseload import ADDRESS, NOTE, ROUTES, Answer, notes, post
from helpers.machine import podman
from helpers.manifests import Rendered

HEAD = b"POST /course HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
NETWORK = "courseload"
SLOW_S = 15  # `timeout http-request` of the ingress
AT_ONCE = 256  # `maxconn` of a route there


def answered(*pieces: bytes, gap_s: float = 0.1) -> tuple[bytes, float]:
    """The answer to a request in pieces, and the seconds that it took; raises TimeoutError without one."""
    with socket.create_connection(ADDRESS, timeout=2 * SLOW_S) as client:
        started = time.monotonic()
        for piece in pieces:
            client.sendall(piece)
            time.sleep(gap_s)
        return client.recv(65536), time.monotonic() - started


@pytest.fixture(scope="module", autouse=True)
def unfinished() -> Iterator[list[Future[tuple[bytes, float]]]]:
    """The answers to requests that do not arrive: they take long, so they are waited for beside other tests."""
    requests = [(HEAD,), (HEAD + b"Content-Length: 80\r\n\r\n", b'{"curso"'), (CHUNKED, b"8\r\n")]
    with ThreadPoolExecutor() as pool:
        yield [pool.submit(answered, *pieces) for pieces in requests]


@pytest.mark.parametrize(
    "pieces",
    [
        (CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",),
        (CHUNKED + b"2\r\n{}no end\r\n0\r\n\r\n",),
        (CHUNKED, b"2\r\n{}\r\n", b"zz\r\n"),
    ],
    ids=["no size", "no end", "a good one first"],
)
def test_malformed_chunks_are_a_bad_request(pieces: tuple[bytes, ...]) -> None:
    answer, _ = answered(*pieces)
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_body_that_is_too_large_is_refused() -> None:
    answer, seconds = answered(HEAD + b"Content-Length: 2000000\r\n\r\n" + b"x" * 100_000)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert seconds < 2


def test_nothing_but_the_notes_is_there() -> None:
    for path in (b"/", b"/metrics", b"/course/", b"/readyz"):
        answer, _ = answered(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", gap_s=0)
        assert answer.startswith(b"HTTP/1.1 404 "), path


@contextmanager
def frozen(container: str) -> Iterator[None]:
    podman("pause", container)
    try:
        yield
    finally:
        podman("unpause", container)


def until(holds: Callable[[list[Answer]], bool]) -> float:
    """Seconds until something holds of ten notes in turn, each answered within a second."""
    started = time.monotonic()
    while time.monotonic() - started < 30:
        answers = []
        before = time.monotonic()
        try:
            answers = [post(NOTE, timeout=1) for _ in range(10)]
        except OSError:
            continue
        if holds(answers):
            return before - started
    raise AssertionError("never")


def all_by(*routes: str) -> Callable[[list[Answer]], bool]:
    return lambda answers: {(answer.status, answer.route) for answer in answers} == {(201, route) for route in routes}


def test_a_route_whose_database_is_unavailable_is_out_and_comes_back_by_itself() -> None:
    with frozen("redis-redis"):
        out = until(all_by("relay"))
    back = until(all_by(*ROUTES))
    # A second until the next look, one for the route to give the database up, and the requests that waited meanwhile.
    assert out < 5
    assert back < 5


def test_while_no_route_is_ready_the_ingress_says_when_to_come_back() -> None:
    def refused(answers: list[Answer]) -> bool:
        return {(answer.status, answer.route) for answer in answers} == {(503, None)}

    with frozen("mongodb-mongodb"):
        out = until(refused)
        assert {post(NOTE, timeout=1).retry_after for _ in range(5)} == {"1"}
        assert post(NOTE, timeout=1).body["error"]
    back = until(all_by(*ROUTES))
    assert out < 5
    assert back < 10


async def all_at_once(number: int) -> list[tuple[bytes, float]]:
    """The answers to so many requests at once, each with the seconds that it took."""
    body = json.dumps(NOTE).encode()

    async def one() -> tuple[bytes, float]:
        started = time.monotonic()
        reader, writer = await asyncio.open_connection(*ADDRESS)
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        answer = await reader.read(65536)
        writer.close()
        return answer, time.monotonic() - started

    return await asyncio.gather(*(one() for _ in range(number)))


def test_what_is_more_than_the_routes_take_at_once_gets_a_quick_503() -> None:
    more = 100
    with frozen("relay-relay"), frozen("direct-direct"):
        answers = asyncio.run(all_at_once(2 * AT_ONCE + more))
    refused = [(answer, seconds) for answer, seconds in answers if answer.startswith(b"HTTP/1.1 503 ")]
    assert len(refused) >= more
    assert all(b"retry-after: 1\r\n" in answer.lower() for answer, _ in refused)
    assert max(seconds for _, seconds in refused) < 4
    assert {answer.split(b" ")[1] for answer, _ in answers} == {b"503", b"504"}
    until(all_by(*ROUTES))


def test_a_route_that_is_gone_costs_no_request() -> None:
    course = "a-route-is-gone"
    podman("stop", "--time=10", "relay-relay")
    try:
        answers = [post(NOTE | {"curso": course}) for _ in range(30)]
    finally:
        podman("start", "relay-relay")
        courseload.wait_until_it_serves(30)
    assert {(answer.status, answer.route) for answer in answers} == {(201, "direct")}
    with notes() as collection:
        assert collection.count_documents({"curso": course}) >= len(answers)


# Before the next one, which restarts the ingress.
def test_a_request_that_does_not_arrive_ends(unfinished: list[Future[tuple[bytes, float]]]) -> None:
    for ending in unfinished:
        answer, seconds = ending.result()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert SLOW_S - 1 < seconds < SLOW_S + 3


def test_a_route_that_has_not_been_checked_gets_no_request() -> None:
    """As after a reboot: the relay is there after the ingress and before the ledger."""
    pod = podman("pod", "inspect", "--format={{.InfraContainerID}}", "relay")
    podman("network", "disconnect", NETWORK, pod)
    podman("stop", "--time=5", "ledger-ledger")
    podman("stop", "--time=5", "ingress-ingress")
    podman("start", "ingress-ingress")
    try:
        until(all_by("direct"))
        podman("network", "connect", "--alias=relay", NETWORK, pod)
        until_s = time.monotonic() + 4
        answers = [post(NOTE)]
        while time.monotonic() < until_s:
            answers.append(post(NOTE))
    finally:
        podman("start", "ledger-ledger")
        courseload.wait_until_it_serves(30)
    assert {(answer.status, answer.route) for answer in answers} == {(201, "direct")}


@pytest.mark.parametrize("mesh", ["none", "linkerd"])
def test_its_configuration_for_a_cluster_is_valid(clusters: dict[str, Rendered], tmp_path: Path, mesh: str) -> None:
    objects = clusters[mesh].of_kind("ConfigMap")
    (found,) = (found for found in objects if found["metadata"]["name"] == "ingress-config")
    pod = next(yaml.safe_load_all((courseload.MANIFESTS / "ingress.yml").read_text()))
    image = pod["spec"]["containers"][0]["image"]
    for name, text in found["data"].items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o644)
    command = ["podman", "run", "--rm", "--user=root", f"--volume={tmp_path}:/etc/haproxy:ro", image]
    checked = subprocess.run(
        [*command, "haproxy", "-c", "-V", "-f", "/etc/haproxy/haproxy.cfg"], check=False, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    assert "Configuration file is valid" in checked.stdout + checked.stderr
