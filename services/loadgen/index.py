"""The page of all runs: `python3 -m loadgen.index REPORTS` writes `index.html` beside their reports.

It runs where the reports are, on the control machine, which has of the load test's libraries only Jinja.
"""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadgen.charts import STYLES, Drawn, Line, latency_over_runs, over_runs
from loadgen.pages import template

_MOST_CHARTED = 120
"""How many of the newest runs are charted: each keeps a few pixels of its own."""


@dataclass(frozen=True)
class Run:
    """One run: its summary as far as it is one, for what was written by an earlier version may lack something."""

    number: int
    directory: str
    has_report: bool
    summary: dict[str, Any]

    @property
    def verdict(self) -> str:
        """`pass` or `fail`; empty where nobody knows."""
        verdict = str(self.summary.get("verdict"))
        return verdict if verdict in ("pass", "fail") else ""

    def figure(self, *names: str) -> float | None:
        """A number of the summary, found by its name or by the names of what it is in; None where there is none."""
        value: Any = self.summary
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    @property
    def started_at(self) -> str:
        """When it began, such as 2026-11-24 04:00:00; of a run without a summary by the name of its directory."""
        if match := re.match(r"(\d{4})-?(\d\d)-?(\d\d)T(\d\d):?(\d\d):?(\d\d)Z", self._started):
            return "{}-{}-{} {}:{}:{}".format(*match.groups())
        return self.directory

    @property
    def load(self) -> str:
        """How the load differs from a constant one with closed arrivals, such as `spike, open`; empty where not."""
        asked = (self.summary.get("shape", "constant"), self.summary.get("arrivals", "closed"))
        return ", ".join(str(each) for each in asked if each not in ("constant", "closed"))

    @property
    def asked(self) -> float | None:
        """The requests a second that were asked for; None where they changed, or came as fast as answers did."""
        users, rate = self.figure("users"), self.figure("rate")
        constant = self.summary.get("shape", "constant") == "constant"
        return users * rate if users and rate and constant else None

    @property
    def lost(self) -> int | None:
        """Acknowledged notes that are missing, in MongoDB or in Redis."""
        found = [self.figure("reconciliation", database, "missing") for database in ("mongodb", "redis")]
        return None if None in found else sum(int(missing or 0) for missing in found)

    @property
    def _started(self) -> str:
        return str(self.summary.get("started_at") or self.directory)


def write_index(reports: Path) -> Path:
    """Writes the page of all runs below a directory; returns where it is."""
    runs = read_runs(reports)
    page = reports / "index.html"
    partial = page.with_suffix(".partial")
    partial.write_text(render(runs), encoding="utf-8")
    partial.replace(page)
    return page


def read_runs(reports: Path) -> list[Run]:
    """The runs, oldest first: their directories begin with the time, and have a report, a summary, or both."""
    found: list[Run] = []
    for directory in sorted(path for path in reports.iterdir() if path.is_dir()):
        has_report, summary = (directory / "report.html").is_file(), _read(directory / "summary.json")
        if has_report or summary:
            found.append(Run(len(found) + 1, directory.name, has_report, summary))
    return found


def render(runs: Sequence[Run]) -> str:
    """The page, which needs nothing but the reports beside it."""
    return template("index.html.j2").render(runs=runs, charts=_charts(runs[-_MOST_CHARTED:]))


def _read(path: Path) -> dict[str, Any]:
    """A summary; nothing where there is none that can be read."""
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return summary if isinstance(summary, dict) else {}


def _charts(runs: Sequence[Run]) -> list[Drawn]:
    """The trend, of what is known."""
    throughput = [
        Line("requests/s", STYLES[0], [(run.number, run.figure("rps")) for run in runs]),
        Line("asked for", STYLES[2], [(run.number, run.asked) for run in runs]),
    ]
    latency = [
        Line("p50", STYLES[1], [(run.number, run.figure("latency_ms", "p50")) for run in runs]),
        Line("p99", STYLES[0], [(run.number, run.figure("latency_ms", "p99")) for run in runs]),
    ]
    if all(run.figure("rps") is None for run in runs):
        return []
    return [
        Drawn(
            "Throughput",
            "Answers a second, and how many requests were asked for, where that was said.",
            over_runs("Throughput by run", "requests/s", throughput),
        ),
        Drawn(
            "Latency",
            "Of all requests of a run, from when each was due. Logarithmic scale.",
            latency_over_runs("Latency by run", "ms", latency),
        ),
    ]


if __name__ == "__main__":
    write_index(Path(sys.argv[1]))
