"""A part that is frozen, as a debugger freezes it: it takes connections and requests, and answers none."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from helpers import courseload
from helpers.courseload import NOTE, Answer, notes, post
from helpers.machine import podman
from helpers.playbook import play

BOUND_S = 10
AT_ONCE = 20


@pytest.fixture
def frozen() -> Iterator[str]:
    """A route that is frozen."""
    route = "relay"
    podman("pod", "pause", route)
    try:
        yield route
    finally:
        podman("pod", "unpause", route)
        courseload.wait_until_it_serves(30)


def timed(course: str) -> tuple[Answer, float]:
    started = time.monotonic()
    answer = post(NOTE | {"curso": course}, timeout=60)
    return answer, time.monotonic() - started


def test_a_request_to_a_frozen_route_is_refused_in_time_and_sent_nowhere_else(frozen: str) -> None:
    courses = [f"frozen-{secrets.token_hex(8)}" for _ in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = dict(zip(courses, pool.map(timed, courses), strict=True))
    assert max(seconds for _, seconds in answers.values()) < BOUND_S
    refused = [course for course, (answer, _) in answers.items() if answer.status in (502, 503, 504)]
    assert refused, "else none of them was on its way to the frozen route"
    assert {answer.route for course, (answer, _) in answers.items() if course not in refused} == {"direct"}
    later = [timed("SO1") for _ in range(10)]
    assert {(answer.status, answer.route) for answer, _ in later} == {(201, "direct")}
    assert max(seconds for _, seconds in later) < 1
    with notes() as collection:
        assert collection.count_documents({"curso": {"$in": refused}}) == 0, "what was refused went elsewhere"


def test_site_unpauses_what_is_frozen() -> None:
    for pod in ("redis", "relay", "ingress"):
        podman("pod", "pause", pod)
    done = play("site.yml")
    assert done.ok, done.output[-4000:]
    assert done.changes == ["Unpause redis", "Unpause relay", "Unpause ingress"]
    courseload.wait_until_it_serves(10)
