"""Load tests of courseload on this machine: those that run while things happen, and the reports that they leave."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers.courseload import counters
from helpers.machine import REPOSITORY

REPORTS = REPOSITORY / "reports"
LOG = REPOSITORY / "tests/results/loadtest.log"


def newest_report(since: float, reports: Path = REPORTS) -> Path:
    found = [path for path in reports.glob("*/summary.json") if path.stat().st_mtime >= since]
    assert len(found) == 1, f"one report expected, found {found}"
    return found[0].parent


def summary_of(report: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((report / "summary.json").read_text())
    return summary


def assert_nothing_lost(summary: dict[str, Any]) -> None:
    for database in ("mongodb", "redis"):
        figures = summary["reconciliation"][database]
        assert figures["acknowledged"] > 0, database
        kinds = ("missing", "duplicated", "altered", "misrouted", "appeared", "vanished")
        assert not any(figures.get(kind) for kind in kinds), f"{database}: {figures}"
    reported = summary["reconciliation"]["reported"]
    assert reported["read"] > 0
    assert not any(reported[kind] for kind in ("unread", "unreported", "repeated")), reported


@contextmanager
def load_test(**variables: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a load test in the background; begins when its notes arrive."""
    log = LOG
    log.parent.mkdir(exist_ok=True)
    command = ["bin/ansible-playbook", "loadtest.yml", "--extra-vars", json.dumps(variables)]
    with log.open("w") as output, subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=output) as process:
        try:
            await_notes(process)
            yield process
        finally:
            process.terminate()


def await_notes(process: subprocess.Popen[bytes], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while rate() <= 20:
        assert process.poll() is None, "the load test ended before it posted anything, see tests/results/loadtest.log"
        assert time.monotonic() < deadline, "the load test posts nothing"


def rate() -> float:
    """Notes counted per second on the route direct, just now."""
    with counters() as client:
        before, started = int(client.get("notes:count") or 0), time.monotonic()
        time.sleep(0.5)
        return (int(client.get("notes:count") or 0) - before) / (time.monotonic() - started)
