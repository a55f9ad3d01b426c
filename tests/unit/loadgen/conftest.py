"""What the load test's unit tests share: settings, an empty run directory, reports made by hand, and a real run."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import msgspec
import pytest

import loadgen
from loadgen.collector import Load
from loadgen.latency import count, new_histogram
from loadgen.recorder import Second, WorkerReport
from loadgen.settings import Objective, RunDirectory, Settings, write_json
from unit.services.helpers import free_port

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
            "held_back_s": 0.0,
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


HERE = Path(__file__).parent
WORKER = ("-m", "loadgen", "work", "--master", "127.0.0.1")
HASTY_WORKER = ("-c", "from loadgen import drive; drive.REPORT_S = 0.005; drive.run_worker('127.0.0.1')")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(loadgen.__file__).parents[1])}


@pytest.fixture
def environment():
    """The environment of a master and its workers, with a port that nobody else uses."""
    return {**ENVIRONMENT, "LOCUST_PORT": str(free_port())}


@pytest.fixture
def start(environment):
    """A function that starts a Python process, which ends with the test at the latest."""
    processes = []

    def start_python(*arguments, **options):
        process = subprocess.Popen([sys.executable, *map(str, arguments)], env=environment, text=True, **options)
        processes.append(process)
        return process

    yield start_python
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def fake(start):
    """A function that starts a fake of the system and returns its base URL."""

    def start_fake(*options):
        process = start(HERE / "fake_courses.py", 0, *options, stdout=subprocess.PIPE)
        return f"http://127.0.0.1:{process.stdout.readline().strip()}"

    return start_fake


@pytest.fixture
def told():
    """The lines of progress."""
    return []


@pytest.fixture
def run(start, fake, settings, directory, told):
    """A function that drives the fake for some seconds, and returns the load and the worker that made it."""

    def run_load(*fake_options, worker=WORKER, others=(), users=20, duration_s=2, kill_worker_after=None, **further):
        target = ",".join([fake(*fake_options), *others])
        changes = {"target": target, "users": users, "rate": 5, "spawn_rate": 100, "duration_s": duration_s}
        write_json(directory.settings, msgspec.structs.replace(settings, **(changes | further)))
        worker = start(*worker)
        master = start("-m", "loadgen", "drive", "--directory", directory.path, stdout=subprocess.PIPE)
        for line in master.stdout:
            told.append(line.strip())
            if kill_worker_after and " left" in line:
                time.sleep(kill_worker_after)
                worker.send_signal(signal.SIGKILL)
                kill_worker_after = None
        assert master.wait() == 0
        return msgspec.json.decode(directory.load.read_bytes(), type=Load), worker

    return run_load
