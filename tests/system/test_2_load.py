"""Load tests: an ordinary one passes; one in which every process is killed in turn loses nothing."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from helpers import courseload
from helpers.load import assert_nothing_lost, await_notes, load_test, newest_report, summary_of

RECOVERY_S = 30  # within which the system must serve again by itself
READ_S = 60  # within which the reader knows of it
KILLING_S = 45  # some times as long as it takes to kill each process and see it return

WRITES = ("replicas", "cpu_cores", "memory_bytes", "batch_notes", "write_seconds")
KNOWN = {"relay": WRITES, "direct": WRITES, "ledger": WRITES, "ingress": ("replicas", "cpu_cores", "memory_bytes")}
"""What Prometheus knows of a run."""


def test_a_load_test_passes_and_leaves_its_report_although_prometheus_is_killed(report: Path) -> None:
    summary = summary_of(report)
    assert summary["verdict"] == "pass"
    assert summary["reasons"] == []
    assert summary["failures"] == 0
    # Every user posts twice a second by default.
    assert summary["requests"] == pytest.approx(summary["users"] * 2 * summary["duration_s"], rel=0.3)
    for route in courseload.ROUTES:
        assert summary["routes"][route]["share"] == pytest.approx(0.5, abs=0.02)
        latency = summary["routes"][route]["latency_ms"]
        assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["max"]
    assert_nothing_lost(summary)
    page = (report / "report.html").read_text()
    assert "<svg" in page
    assert "src=" not in page.replace('src="data:', ""), "the page loads something from elsewhere"
    assert list(report.glob("*.csv"))
    assert (report / "summary.md").read_text().startswith("# Load test: PASS")
    cases = ElementTree.parse(report / "junit.xml").getroot()  # noqa: S314 - it is ours
    assert (int(cases.get("tests", 0)) > 10, cases.get("failures")) == (True, "0")
    assert f'href="{report.name}/report.html"' in (report.parent / "index.html").read_text()
    data = json.loads((report / "data.json").read_text())
    assert data["missing"] == ""
    for workload, figures in KNOWN.items():
        for figure in figures:
            assert [row for row in data["workloads"][workload] if row[figure] is not None], f"{figure} of {workload}"
    assert set(data["databases"]) == {"relay to ledger", "direct to mongodb", "direct to redis", "ledger to mongodb"}


def test_a_load_test_touches_nothing_of_somebody_elses(first_load_test: Any) -> None:
    assert first_load_test.taken == []


@pytest.mark.parametrize("by", ["region", "curso"])
def test_the_reader_tells_what_both_databases_have_after_a_load_test(report: Path, by: str) -> None:
    # What it knows may be from before the test's end.
    with courseload.notes() as notes:
        stored = notes.count_documents({})
        # With those of the other route that it has taken over.
        of_direct = notes.count_documents({"$or": [{"route": "direct"}, {"batch": {"$exists": True}}]})
    deadline = time.monotonic() + READ_S
    while (found := courseload.read(f"/notes/counts?by={by}&limit=1000"))["mongodb"]["notes"] != stored:
        assert time.monotonic() < deadline, found
        time.sleep(1)
    assert found["direct"] == {"mongodb": of_direct, "redis": of_direct, "difference": 0}
    assert found["problems"] == {}
    assert {row["difference"] for row in found["counts"]} == {0}
    assert sum(row["notes"] for row in found["counts"]) == stored
    for database in ("mongodb", "redis"):
        assert len(courseload.read(f"/notes?of={database}&limit=5")["notes"]) == 5
    counted = [sum(row["routes"].values()) for row in courseload.read("/notes/rate?minutes=60")["minutes"]]
    assert 0 < sum(counted) <= stored


@pytest.fixture(scope="module")
def aftermath(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Kills the main process of every container, one after another, in the middle of one load test.

    Returns the seconds until each was back and both routes stored notes again, the load test's exit code and summary.
    """
    assert courseload.serves()
    started = time.time()
    recoveries: dict[str, float | None] = {}
    with load_test(users=30, rate=5, duration=f"{KILLING_S}s", slo_p99_ms=1) as process:
        for container in courseload.containers():
            assert_under_load(process)
            recoveries[container] = kill_and_wait(container)
            say(request, f"{container}: killed, served again after {recoveries[container]} s")
        assert_under_load(process)
        process.wait(timeout=KILLING_S + 120)
    return {"recoveries": recoveries, "code": process.returncode, "summary": summary_of(newest_report(started))}


def assert_under_load(process: subprocess.Popen[bytes]) -> None:
    assert process.poll() is None, "the load test ended before everything was killed: make it longer"
    # The ingress takes a route back at its next look, up to a second after its database answers again.
    await_notes(process, seconds=5)


def kill_and_wait(container: str) -> float | None:
    """The seconds until the process is back and notes are stored on both routes; None if that takes too long."""
    dead, started = courseload.kill(container), time.monotonic()
    while time.monotonic() - started < RECOVERY_S:
        if courseload.main_process(container) not in (0, dead) and courseload.serves():
            return round(time.monotonic() - started, 1)
        time.sleep(0.2)
    return None


def say(request: pytest.FixtureRequest, line: str) -> None:
    """Shows progress in the middle of a test."""
    plugins = request.config.pluginmanager
    capture, reporter = plugins.get_plugin("capturemanager"), plugins.get_plugin("terminalreporter")
    assert capture is not None
    assert reporter is not None
    with capture.global_and_fixture_disabled():
        reporter.ensure_newline()
        reporter.write_line(line)


def test_every_killed_process_is_replaced_within_30_s(aftermath: dict[str, Any]) -> None:
    # Grafana is there only where its image could be had.
    assert {container.split("-")[0] for container in aftermath["recoveries"]} - {"grafana"} == {
        *("direct", "ingress", "ledger", "mongodb", "prometheus", "reader", "redis", "relay")
    }
    assert [container for container, seconds in aftermath["recoveries"].items() if seconds is None] == []


def test_no_acknowledged_note_is_lost_or_stored_twice_when_processes_are_killed(aftermath: dict[str, Any]) -> None:
    assert_nothing_lost(aftermath["summary"])


def test_a_missed_objective_fails_the_load_test_with_its_reason(aftermath: dict[str, Any]) -> None:
    summary = aftermath["summary"]
    assert 0 < summary["failures"] < summary["requests"] / 2
    assert summary["verdict"] == "fail"
    assert any("p99" in reason for reason in summary["reasons"]), summary["reasons"]
    assert aftermath["code"] != 0
