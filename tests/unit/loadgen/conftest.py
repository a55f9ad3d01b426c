"""What the load test's unit tests share: settings, an empty run directory, and worker reports made by hand."""

from collections import Counter, defaultdict
from typing import Any

import pytest

from loadgen.latency import count, new_histogram
from loadgen.recorder import Second, WorkerReport
from loadgen.settings import Objective, RunDirectory, Settings, write_json

SETTINGS = Settings(
    run="20261124T040000Z-10u-beef",
    target="http://ingress:8080",
    users=10,
    rate=2,
    spawn_rate=10,
    duration_s=60,
    pool=100,
    seed=1,
    workers=1,
    objectives=(
        Objective(of="total", what="p99", at_most=250),
        Objective(of="total", what="failure_ratio", at_most=0.01),
    ),
    weights={"relay": 50, "direct": 50},
)


@pytest.fixture
def settings():
    return SETTINGS


@pytest.fixture
def directory(tmp_path):
    run = RunDirectory(tmp_path)
    write_json(run.settings, SETTINGS)
    return run


def encoded(*latencies_ms):
    """Latencies as a worker sends them."""
    histogram = new_histogram()
    for latency in latencies_ms:
        count(histogram, latency / 1000)
    return histogram.encode()


@pytest.fixture
def make_report():
    """A function that makes a worker's report; what it is not told is what a healthy, idle worker says."""
    so_far: dict[str, Counter[str]] = defaultdict(Counter)

    def make(number=0, **fields):
        counts = so_far[fields.get("worker", "host_1234")]
        counts.update({route: len(ids) // 12 for route, ids in fields.get("acknowledged", {}).items()})
        counts["?"] += len(fields.get("unknown", b"")) // 12
        healthy: dict[str, Any] = {
            "run": SETTINGS.run,
            "worker": "host_1234",
            "final": False,
            "sent_at": 1000.0,
            "users": 10,
            "seconds": {},
            "errors": {},
            "acknowledged": {},
            "unknown": b"",
            "attempts": {},
            "unsent": 0,
            "requests_so_far": 0,
            "acknowledged_so_far": {route: count for route, count in counts.items() if route != "?"},
            "unknown_so_far": counts["?"],
            "cpu_s": 0.1,
            "waited_s": 0.02,
            "wall_s": 1.0,
            "pause_s": 0.001,
        }
        return WorkerReport(number=number, **(healthy | fields))

    return make


@pytest.fixture
def make_second():
    """A function that makes one second of a worker from its latencies in milliseconds, by request name."""

    def make(failures=None, users=10, **latencies_ms):
        return Second(users, {name: encoded(*values) for name, values in latencies_ms.items()}, failures or {})

    return make
