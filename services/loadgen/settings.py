"""What a run was asked to do, and the files it leaves in its directory."""

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from loadgen.shapes import CONSTANT, Shape

REQUEST_TIMEOUT_S = 10.0
"""How long a user waits for an answer before it counts the request as failed."""

CONNECT_TIMEOUT_S = 2.0
"""How long a connection may take to be made: a host that is switched off refuses nothing."""

GONE_S = 5.0
"""For how long the host at the other end of a connection may leave unconfirmed that it got what it was sent."""

SETTLED_S = 6
"""For how long no request may fail after a fault, so that the system counts as serving again."""

CLOSED, OPEN = ARRIVALS = ("closed", "open")
"""How notes come: closed, a user waits for its answer before its next one; open, they come at their times."""

STEP = "LOADGEN_STEP"
"""The variable with what each line of progress begins with, in a run that is a step of several."""

SEARCH = "LOADGEN_SEARCH"
"""The variable with the directory of a search, in a run that is a step of it."""

NO_ROUTE = "no route"
"""The name of requests that failed without an X-Route: nobody knows which route they took, if any."""


TOTAL = "total"
"""What an objective is of, when it is of all requests."""


class Objective(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a run must reach: `what` of the total or of a route is `at_most` or `at_least` a limit.

    `what` is a percentile of latency such as p99 or p99.9, in milliseconds; `failure_ratio`, from 0 to 1; or
    `throughput`, in acknowledged notes per second. A throughput has `at_least`, everything else `at_most`.
    """

    of: str
    what: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def percentile(self) -> float | None:
        """The percentile, from 0 to 100; None when it is another objective."""
        return float(self.what.removeprefix("p")) if re.fullmatch(r"p[0-9.]+", self.what) else None

    @property
    def limit(self) -> float:
        return self.at_least or 0.0 if self.at_most is None else self.at_most

    @property
    def of_total(self) -> bool:
        return self.of == TOTAL

    def is_about(self, name: str) -> bool:
        """Whether the requests under this name, a route or `NO_ROUTE`, are among those it is of."""
        return self.of_total or name == self.of

    def allows(self, measured: float) -> bool:
        """Whether a value keeps to the limit; the limit itself does."""
        return measured >= self.limit if self.at_most is None else measured <= self.limit


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the load test. `rate` is requests per second and user, 0 for as fast as answers come.

    What is answered in the first `warm_up_s` seconds is reconciled, and not judged.

    `target` is a base URL, or several with commas between them. `prometheus` is one as well, empty where there is none;
    it is asked about `workloads`, and about the routes, which `weights` names. With `abort` the run ends as soon as an
    objective cannot be met any more. `shape` says how many of the users are at work when. With `faults`, somebody makes
    faults during the run, which ends once the system has served for a while after them.
    """

    run: str
    target: str
    users: int
    rate: float
    spawn_rate: float
    duration_s: float
    pool: int
    seed: int
    workers: int
    objectives: tuple[Objective, ...]
    weights: dict[str, int]
    arrivals: str = CLOSED
    warm_up_s: int = 0
    abort: bool = False
    faults: bool = False
    shape: Shape = CONSTANT
    prometheus: str = ""
    workloads: tuple[str, ...] = ()


class RunDirectory:
    """The files of one run, each written by one stage and read by the later ones."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = path / "settings.json"
        self.followed = path / "followed"  # made by whoever follows the run
        self.steady = path / "steady"  # made once the load is there, where somebody waits for it to make faults
        self.faults = path / "faults.json"  # what became of the faults, by whoever made them
        self.baseline = path / "baseline.json"
        self.before = path / "before.ids"  # of the documents that were there before the run, sorted
        self.load = path / "load.json"
        self.unknown = path / "unknown.ids"
        self.attempted = path / "attempted.ids"  # all ids of the run, sorted, each with what became of its request
        self.stored = path / "stored.ids"  # of the documents that the reconciliation found, sorted
        self.reconciliation = path / "reconciliation.json"
        self.missing = path / "missing.csv"
        self.differences = path / "differences.csv"
        self.previous = path / "previous.json"
        self.baseline_runs = path / "baseline-runs.json"  # earlier runs, where the run is judged by such
        self.figures = path / "figures.json"  # what Prometheus knows of the run
        self.mesh = path / "mesh.json"  # what the proxies counted, where there is a mesh
        self.summary = path / "summary.json"
        self.data = path / "data.json"
        self.report = path / "report.html"
        self.junit = path / "junit.xml"
        self.markdown = path / "summary.md"

    def acknowledged(self, route: str) -> Path:
        """The ids that a route acknowledged, 12 bytes each, one after the other."""
        return self.path / f"acknowledged-{route}.ids"


class SearchDirectory(RunDirectory):
    """The files of a search for the capacity: a baseline that its steps share, and a run's directory for each step."""

    def step(self, number: int) -> RunDirectory:
        return RunDirectory(self._steps / f"{number:02}")

    def steps(self) -> list[RunDirectory]:
        """The steps so far, with the one that is under way."""
        return [RunDirectory(path) for path in self._steps.iterdir()]

    @property
    def _steps(self) -> Path:
        return self.path / "steps"


def write_json(path: Path, value: object) -> None:
    """Writes a value as indented JSON, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    partial.replace(path)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a table with a header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
