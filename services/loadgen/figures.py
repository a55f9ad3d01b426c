"""What Prometheus knows of a run: replicas, CPU, memory, batches and databases, as its recording rules have them.

A run is one without it as well: what it does not tell is a gap in the report, or a sentence on why there is nothing.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from loadgen.charts import MOST_POINTS
from loadgen.collector import Load
from loadgen.prometheus import NoAnswer, Prometheus, Row
from loadgen.settings import RunDirectory, Settings

EVERY_S = 5
"""How often Prometheus looks, and its rules with it."""

FRESH_S = 12
"""A figure that is older is none: Prometheus would give its last one for minutes after it was killed itself."""

PATIENCE_S = 10.0
PATIENCE_NOW_S = 1.0

Lines = dict[str, list[tuple[int, float]]]
"""(second of the run, value) pairs by the name of their line."""

OF_WORKLOADS = ("workload",)
OF_DATABASES = ("workload", "database")

T = TypeVar("T")


class WorkloadSecond(msgspec.Struct, kw_only=True):
    """One workload at one second of the run, all its replicas together; None is what is not known, or not there."""

    second: int
    replicas: int | None = None
    cpu_cores: float | None = None
    memory_bytes: float | None = None
    batch_notes: float | None = None
    write_seconds: float | None = None


class DatabaseSecond(msgspec.Struct, kw_only=True):
    """A service's wait for one of its databases at one second of the run: the p99."""

    second: int
    p99_seconds: float | None = None


class Question(NamedTuple):
    """One thing to ask for every run, and how it is shown: a line for each value of the labels `by`.

    `field` of `WorkloadSecond` or `DatabaseSecond` has the answer; `scale` makes of it what `unit` says.
    """

    field: str
    series: str
    title: str
    reading: str
    unit: str
    scale: float = 1.0
    by: tuple[str, ...] = OF_WORKLOADS


REPLICAS = Question(
    "replicas",
    "workload:replicas:count",
    "Replicas",
    "How many of each workload answered Prometheus. Lines of the same number lie side by side.",
    "replicas",
)
QUESTIONS = (
    REPLICAS,
    Question(
        "cpu_cores",
        "workload:cpu_cores:rate30s",
        "CPU by workload",
        "Cores in use, all replicas of a workload together. Of databases, known in a cluster only.",
        "cores",
    ),
    Question(
        "memory_bytes",
        "workload:memory_bytes:sum",
        "Memory by workload",
        "What is in use, all replicas of a workload together. Of databases, known in a cluster only.",
        "MiB",
        scale=1 / 2**20,
    ),
    Question(
        "batch_notes",
        "workload:batch_notes:mean30s",
        "Notes per batch",
        "How many notes a write carried on average: what arrives while one is under way goes with the next.",
        "notes",
    ),
    Question(
        "write_seconds",
        "workload:write_seconds:p99_30s",
        "p99 of a write",
        "How long the slowest hundredth of the writes took, each with all the notes of its batch.",
        "ms",
        scale=1000.0,
    ),
    Question(
        "p99_seconds",
        "workload_database:seconds:p99_30s",
        "p99 of the databases",
        "How long a service waited for a database, and relay for the ledger, in the slowest hundredth of its writes.",
        "ms",
        scale=1000.0,
        by=OF_DATABASES,
    ),
)


class RunFigures(msgspec.Struct):
    """The answers of a run, a row every `step_s`, but where nothing is known.

    `databases` are by who waited for which, such as `ledger to mongodb`. `missing` is a sentence on what was not told,
    empty where all was, or nothing was asked.
    """

    step_s: int = EVERY_S
    workloads: dict[str, list[WorkloadSecond]] = {}
    databases: dict[str, list[DatabaseSecond]] = {}
    missing: str = ""


def take_figures(settings: Settings, load: Load) -> RunFigures:
    """Asks all questions about a run that has ended, until one is not answered."""
    if not settings.prometheus:
        return RunFigures()
    prometheus = Prometheus(settings.prometheus, PATIENCE_S)
    step_s = max(EVERY_S, math.ceil((load.ended_at - load.started_at) / MOST_POINTS))
    found: dict[Question, Lines] = {}
    problem = ""
    for question in QUESTIONS:
        try:
            rows = prometheus.over(_fresh(question.series), load.started_at, load.ended_at, step_s)
        except NoAnswer as why:
            problem = str(why)
            break
        found[question] = _lines(question, rows, settings, load.started_at)
    return RunFigures(
        step_s=step_s,
        workloads=_rows(WorkloadSecond, [question for question in found if question.by == OF_WORKLOADS], found),
        databases=_rows(DatabaseSecond, [question for question in found if question.by == OF_DATABASES], found),
        missing=_missing(found, problem),
    )


def read_figures(directory: RunDirectory) -> RunFigures:
    """What was told of the run; nothing where nobody asked."""
    if not directory.figures.exists():
        return RunFigures()
    return msgspec.json.decode(directory.figures.read_bytes(), type=RunFigures)


def replicas_now(settings: Settings) -> dict[str, int]:
    """The replicas of each workload at this moment, as far as they are known within a second or two."""
    if not settings.prometheus:
        return {}
    try:
        rows = Prometheus(settings.prometheus, PATIENCE_NOW_S).now(_fresh(REPLICAS.series))
    except NoAnswer:
        return {}
    lines = _lines(REPLICAS, rows, settings, 0.0)
    return {name: int(points[-1][1]) for name, points in lines.items()}


def replica_ranges(workloads: Mapping[str, Sequence[WorkloadSecond]]) -> dict[str, tuple[int, int]]:
    """The fewest and the most replicas of each workload; nothing where it was one of each all the time."""
    counts = {name: [row.replicas for row in rows if row.replicas is not None] for name, rows in workloads.items()}
    ranges = {name: (min(known), max(known)) for name, known in counts.items() if known}
    return ranges if set(ranges.values()) != {(1, 1)} else {}


def _fresh(series: str) -> str:
    """The expression for a series without what is old."""
    return f"{series} and time() - timestamp({series}) < {FRESH_S}"


def _lines(question: Question, rows: Sequence[Row], settings: Settings, started_at: float) -> Lines:
    """The lines of the system's workloads, in their order, the routes first; Prometheus knows others as well."""
    order = [*settings.weights, *settings.workloads]
    known = [row for row in rows if row.points and row.labels.get("workload") in order]
    known.sort(key=lambda row: (order.index(row.labels["workload"]), row.labels.get("database", "")))
    return {
        " to ".join(row.labels.get(label, "") for label in question.by): [
            (round(at - started_at), round(value, 6)) for at, value in row.points
        ]
        for row in known
    }


def _rows(row: Callable[..., T], questions: Sequence[Question], found: Mapping[Question, Lines]) -> dict[str, list[T]]:
    """The answers to some questions, second by second."""
    cells: dict[str, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for question in questions:
        for name, points in found[question].items():
            for second, value in points:
                cells[name][second][question.field] = int(value) if value.is_integer() else value
    return {
        name: [row(second=second, **seconds[second]) for second in sorted(seconds)] for name, seconds in cells.items()
    }


def _missing(found: Mapping[Question, Lines], problem: str) -> str:
    """What has no line, and why."""
    titles = ", ".join(question.title for question in QUESTIONS if not found.get(question))
    if not titles:
        return ""
    why = f"Prometheus did not answer ({problem})" if problem else "Prometheus knows no such figures of this run"
    return f"Not in this report: {titles}. {why}."
