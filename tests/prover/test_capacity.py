"""What a search for the capacity says of bottlenecks that are planted, and how near it comes to a known limit.

They are planted in the system on this machine, from outside, and taken away again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from helpers import courseload
from helpers.machine import podman
from helpers.playbook import play

pytestmark = pytest.mark.timeout(900)

# A short search: rough, since the bottlenecks are.
ROUGH = {"start_rate": 400, "step": "5s", "hold": "8s", "precision": 1, "limit": "5m"}
SLOW = {**ROUGH, "start_rate": 50}  # what takes long rather than much can take few requests beside each other
NEAR = {"start_rate": 400, "step": "10s", "hold": "20s", "precision": 0.03, "limit": "10m"}
REFUSES_ABOVE = 600  # requests in a second
# At most 1 % may fail. Requests come at random times: as many as this a second, and 1 % of them find the limit reached
# in the second before them (the normal distribution's 99th percentile of a Poisson process).
KNEE = (sqrt(REFUSES_ABOVE + 2.326**2 / 4) - 2.326 / 2) ** 2
PERIOD_US = 100_000
LONG_PERIOD_US = 1_000_000  # whoever has used up its share waits for the rest of it: too long for the objectives
SLOW_FLUSH_US = 150_000

CONFIGURATION = Path("/var/lib/containers/storage/volumes/ingress-config/_data/haproxy.cfg")
LIMITED = f"""frontend course
    stick-table type integer size 1 expire 10s store http_req_rate(1s)
    http-request track-sc0 int(1)
    http-request deny deny_status 503 if {{ sc_http_req_rate(0) gt {REFUSES_ABOVE} }}
"""


def limit(container: str, cores: float, period_us: int = PERIOD_US) -> None:
    """Gives a container so many cores, in each such period."""
    command = ["podman", "update", f"--cpu-period={period_us}", f"--cpu-quota={int(cores * period_us)}", container]
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def limited(cores: float, *containers: str, period_us: int = PERIOD_US) -> Iterator[None]:
    """Containers that have less CPU."""
    for container in containers:
        limit(container, cores, period_us)
    try:
        yield
    finally:
        for container in containers:
            limit(container, os.cpu_count() or 1)  # Podman takes no limit away again


@contextmanager
def limited_workers(cores: float) -> Iterator[None]:
    """Workers of the load generator that have less CPU, from when they are there."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.5):
            for container in podman("ps", "--filter=name=-locust-worker", "--format={{.Names}}").split():
                with suppress(subprocess.CalledProcessError):  # it has just ended
                    limit(container, cores)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def slow_disk(container: str) -> Iterator[None]:
    """A container whose processes, as they are now, wait long for each flush to the disk.

    A stand-in: strace delays the calls, because cgroup v1 slows no writes that go through the page cache.
    """
    if not shutil.which("strace"):
        pytest.skip("strace is not installed: apt-get install strace")
    top = subprocess.run(["podman", "top", container, "hpid"], check=True, capture_output=True, text=True)
    processes = [f"--attach={process}" for process in top.stdout.split()[1:]]
    delayed = [f"--inject={call}:delay_exit={SLOW_FLUSH_US}" for call in ("fsync", "fdatasync")]
    quietly = ["--trace=fsync,fdatasync", "--quiet=all", "--output=/dev/null"]
    with subprocess.Popen(["strace", "--follow-forks", *quietly, *delayed, *processes]) as strace:
        try:
            yield
        finally:
            strace.terminate()


@contextmanager
def limited_ingress() -> Iterator[None]:
    """An ingress that refuses what is more than a known rate."""
    before = CONFIGURATION.read_text()
    assert before.count("frontend course\n") == 1
    reload = ["podman", "exec", "ingress-ingress", "sh", "-c", "kill -USR2 1"]
    try:
        CONFIGURATION.write_text(before.replace("frontend course\n", LIMITED))
        subprocess.run(reload, check=True)
        yield
    finally:
        CONFIGURATION.write_text(before)
        subprocess.run(reload, check=True)


def search(reports: Path, settings: dict[str, Any], **objectives: Any) -> dict[str, Any]:
    """What a search says, all of it."""
    done = play(
        "capacity.yml",
        locust_reports_dir=str(reports),
        **{f"capacity_{name}": value for name, value in settings.items()},
        **objectives,
    )
    found = sorted(reports.glob("*-capacity/capacity.json"))
    assert found, done.output[-4000:]
    answer: dict[str, Any] = json.loads(found[-1].read_text())
    return answer


@pytest.fixture(scope="module", autouse=True)
def system() -> None:
    courseload.wait_until_it_serves(60)


@pytest.mark.parametrize(
    ("bottleneck", "settings", "what"),
    [
        (lambda: limited(0.06, "relay-relay"), ROUGH, "CPU limit of relay"),
        (lambda: limited(0.06, "ledger-ledger"), ROUGH, "CPU limit of ledger"),
        (lambda: limited(0.1, "mongodb-mongodb", "mongodb-postgres"), ROUGH, "mongodb"),
        (lambda: limited(0.02, "redis-redis", period_us=LONG_PERIOD_US), SLOW, "redis"),
        (lambda: slow_disk("mongodb-postgres"), SLOW, "mongodb"),
    ],
    ids=["route", "ledger", "database", "Redis", "disk"],
)
def test_a_bottleneck_is_named(
    bottleneck: Callable[[], AbstractContextManager[None]], settings: dict[str, Any], what: str, tmp_path: Path
) -> None:
    with bottleneck():
        answer = search(tmp_path, settings)
    assert answer["finding"], answer["answer"]
    assert answer["finding"]["what"] == what, answer["finding"]["sentence"]
    assert all(step["lost"] == 0 for step in answer["steps"])


def test_where_the_generator_is_starved_there_is_no_answer(tmp_path: Path) -> None:
    with limited_workers(0.1):
        answer = search(tmp_path, ROUGH)
    assert not answer["proven"]
    assert answer["refusal"].startswith("The load generator was the limit"), answer["refusal"]


@pytest.mark.parametrize("attempt", range(3))
def test_a_known_limit_is_found_within_a_tenth(attempt: int, tmp_path: Path) -> None:
    with limited_ingress():
        answer = search(tmp_path, NEAR)
    assert answer["proven"], answer["answer"]
    assert answer["met"] == pytest.approx(KNEE, rel=0.1), answer["answer"]
    assert answer["finding"]["what"] == "ingress", answer["finding"]["sentence"]
