"""The system's tests run against courseload on this machine, in the order of their files."""

import time
from pathlib import Path

import pytest

from helpers import courseload, machine
from helpers.load import load_test, newest_report


@pytest.fixture(scope="session", autouse=True)
def system() -> None:
    if why := machine.obstacle():
        pytest.skip(f"courseload {why}")
    if not courseload.pods():
        pytest.skip("courseload is not installed on this machine: `bin/test system` sets it up first")
    courseload.wait_until_it_serves(60)


@pytest.fixture(scope="session")
def report() -> Path:
    """What an ordinary load test left, in the middle of which Prometheus and what is beside it were killed."""
    started = time.time()
    # Time for some figures of before, and for some of after.
    with load_test(users=60, duration="25s", slo_p99_ms=5000) as process:
        time.sleep(2)
        for container in courseload.containers():
            if container.startswith("prometheus-"):
                courseload.kill(container)
        process.wait(timeout=180)
    assert process.returncode == 0, "the load test failed, see tests/results/loadtest.log"
    return newest_report(started)
