"""The system's tests run against courseload on this machine, in the order of their files."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers import courseload, machine
from helpers.load import LOG, load_test, newest_report
from helpers.manifests import Rendered, render
from helpers.others import others_here, their_files_here


@pytest.fixture(scope="session", autouse=True)
def system() -> None:
    if why := machine.obstacle():
        pytest.skip(f"courseload {why}")
    if not courseload.pods():
        pytest.skip("courseload is not installed on this machine: `bin/test system` sets it up first")
    courseload.wait_until_it_serves(60)


@dataclass(frozen=True)
class FirstLoadTest:
    """What the first load test of a clone left, and what it took of what is somebody else's."""

    report: Path
    taken: list[str]


@pytest.fixture(scope="session")
def first_load_test(tmp_path_factory: pytest.TempPathFactory) -> FirstLoadTest:
    """Beside what is somebody else's; in the middle of it Prometheus and what is beside it were killed."""
    started, reports = time.time(), tmp_path_factory.mktemp("clone") / "reports"
    watching = [container for container in courseload.containers() if container.startswith("prometheus-")]
    with others_here() as others, their_files_here() as files:
        # Time for some figures of before, and for some of after.
        with load_test(users=60, duration="25s", slo_p99_ms=5000, locust_reports_dir=str(reports)) as process:
            time.sleep(2)
            for container in watching:
                courseload.kill(container)
            process.wait(timeout=180)
        taken = [*({*others.all()} - {*others.here()}), *(str(path) for path in files if not path.exists())]
    assert process.returncode == 0, "the load test failed, see tests/results/loadtest.log"
    said = LOG.read_text()
    assert "WARNING" not in said, "the first load test of a clone warns of something, see tests/results/loadtest.log"
    assert "DEPRECAT" not in said
    return FirstLoadTest(newest_report(started, reports), taken)


@pytest.fixture(scope="session")
def report(first_load_test: FirstLoadTest) -> Path:
    return first_load_test.report


@pytest.fixture(scope="session")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rendered]:
    """What the workloads become in a cluster, by its mesh. Rendering takes seconds: once, and both at once."""
    # Ten years, and thirty days and ten minutes, after the beginning of time.
    ends = {"anchor": "19791230000000Z", "issuer": "19700131001000Z"}
    with ThreadPoolExecutor() as pool:
        renderings = {
            mesh: pool.submit(render, tmp_path_factory.mktemp(mesh), "packages", mesh=mesh, linkerd_expiry=ends)
            for mesh in ("none", "linkerd")
        }
    return {mesh: rendering.result() for mesh, rendering in renderings.items()}
