"""The charts of what Prometheus knows of a run: one for each question that has an answer."""

from collections.abc import Mapping, Sequence

from loadgen.charts import STYLES, Drawn, Line, Points, counts_over_time, over_time
from loadgen.figures import (
    OF_WORKLOADS,
    QUESTIONS,
    REPLICAS,
    DatabaseSecond,
    Question,
    WorkloadSecond,
    replica_ranges,
)

Rows = Mapping[str, Sequence[WorkloadSecond | DatabaseSecond]]
"""By the name of their line."""


def draw_figures(
    workloads: Mapping[str, Sequence[WorkloadSecond]],
    databases: Mapping[str, Sequence[DatabaseSecond]],
    step_s: int,
    routes: Sequence[str],
) -> list[Drawn]:
    """The charts. There is none of the replicas where it was one of each all the time."""
    order = list(dict.fromkeys([*routes, *workloads]))
    drawn = []
    for question in QUESTIONS:
        rows: Rows = workloads if question.by == OF_WORKLOADS else databases
        if question is REPLICAS and not replica_ranges(workloads):
            continue
        if lines := _lines(question, rows, step_s, order):
            draw = counts_over_time if question is REPLICAS else over_time
            drawn.append(Drawn(question.title, question.reading, draw(question.title, question.unit, lines)))
    return drawn


def _lines(question: Question, rows: Rows, step_s: int, order: Sequence[str]) -> list[Line]:
    """A line for each name of which something is known, but no more than can be told apart."""
    points = {name: _points(seconds, question, step_s) for name, seconds in rows.items()}
    known = [name for name, values in points.items() if any(value is not None for _, value in values)]
    return [Line(name, style, points[name]) for name, style in _styles(known[: len(STYLES)], order).items()]


def _styles(names: Sequence[str], order: Sequence[str]) -> dict[str, str]:
    """A style for each line: its workload's, the same in every chart; for `one to another` that of either, if free."""
    own = {workload: STYLES[at % len(STYLES)] for at, workload in enumerate(order, start=1)}
    styles: dict[str, str] = {}
    for name in names:
        wanted = [own[workload] for workload in name.split(" to ") if workload in own]
        styles[name] = next(style for style in [*wanted, *STYLES] if style not in styles.values())
    return styles


def _points(rows: Sequence[WorkloadSecond | DatabaseSecond], question: Question, step_s: int) -> Points:
    """The points of a line, and one without a value wherever some are missing."""
    points: list[tuple[float, float | None]] = []
    for row in rows:
        value = getattr(row, question.field)
        if points and row.second - points[-1][0] > 1.5 * step_s:
            points.append((points[-1][0] + step_s, None))
        points.append((row.second, None if value is None else value * question.scale))
    return points
