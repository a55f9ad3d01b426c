"""The report of a run: report.html, which needs nothing beside it, and files for scripts and CI."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from loadgen.charts import (
    STYLES,
    Drawn,
    Limit,
    Line,
    counts_over_time,
    distribution,
    latency_over_time,
    number,
    over_time,
    thin,
)
from loadgen.collector import Load, SecondRow
from loadgen.figure_charts import draw_figures
from loadgen.figures import DatabaseSecond, WorkloadSecond, read_figures, replica_ranges
from loadgen.junit import Judged, junit_xml
from loadgen.mesh import Mesh, read_mesh
from loadgen.objectives import Outcome
from loadgen.pages import template
from loadgen.reconcile import Reconciliation
from loadgen.regression import compare, read_baseline
from loadgen.settings import NO_ROUTE, RunDirectory, Settings, write_csv, write_json
from loadgen.summary import Summary, summarise
from loadgen.verdict import NEAR_CPU, SATURATED_CPU, Verdict, judge, most_common_errors


class Data(msgspec.Struct):
    """Everything behind the report. `workloads` and `databases` are what Prometheus knows, a row every `step_s`.

    `missing` is a sentence on what it did not tell; `mesh` is there where there is a mesh.
    """

    summary: Summary
    settings: Settings
    load: Load
    previous: Summary | None
    step_s: int
    workloads: dict[str, list[WorkloadSecond]]
    databases: dict[str, list[DatabaseSecond]]
    missing: str
    mesh: Mesh | None


def write_report(directory: RunDirectory) -> Summary:
    """Judges the run and writes its report into its directory."""
    data, verdict = _gather(directory)
    write_json(directory.summary, data.summary)
    write_json(directory.data, data)
    _write_csv(directory, data)
    directory.report.write_text(render(data), encoding="utf-8")
    judged = Judged("load test", data.summary.started_at, data.summary.duration_s)
    directory.junit.write_bytes(junit_xml(judged, verdict.judgements, verdict.warnings))
    directory.markdown.write_text(template("summary.md.j2").render(summary=data.summary), encoding="utf-8")
    return data.summary


def render(data: Data) -> str:
    """The report as one HTML page."""
    return template("report.html.j2").render(
        data=data,
        summary=data.summary,
        settings=data.settings,
        load=data.load,
        charts=_charts(data),
        figures=draw_figures(data.workloads, data.databases, data.step_s, list(data.summary.routes)),
        errors=most_common_errors(data.load),
        changes=_changes(data),
        no_route=NO_ROUTE,
        near_cpu=NEAR_CPU,
        saturated_cpu=SATURATED_CPU,
    )


def _gather(directory: RunDirectory) -> tuple[Data, Verdict]:
    settings = msgspec.json.decode(directory.settings.read_bytes(), type=Settings)
    load = msgspec.json.decode(directory.load.read_bytes(), type=Load)
    # A text is why nothing is known.
    found = msgspec.json.decode(directory.reconciliation.read_bytes(), type=Reconciliation | str)
    known = read_figures(directory)
    verdict = judge(settings, load, found, compare(load, read_baseline(directory)))
    reconciliation = found if isinstance(found, Reconciliation) else None
    data = Data(
        summary=summarise(settings, load, reconciliation, verdict, replica_ranges(known.workloads)),
        settings=settings,
        load=load,
        previous=_previous(directory),
        step_s=known.step_s,
        workloads=known.workloads,
        databases=known.databases,
        missing=known.missing,
        mesh=read_mesh(directory),
    )
    return data, verdict


def _previous(directory: RunDirectory) -> Summary | None:
    """The run before this one; None when there is none, or when its summary is of another version."""
    try:
        return msgspec.json.decode(directory.previous.read_bytes(), type=Summary)
    except (OSError, msgspec.DecodeError):
        return None


def _charts(data: Data) -> list[Drawn]:
    """What the users saw."""
    load, series = data.load, _whole_seconds(data.load)
    routes = list(data.summary.routes)
    objectives = [outcome for outcome in data.summary.objectives if outcome.percentile is not None]
    of_total = _limits(outcome for outcome in objectives if outcome.of_total)
    of_p99 = _limits(outcome for outcome in objectives if outcome.what == "p99")
    return [
        Drawn(
            "Throughput",
            "Answers a second, and how many of them were failures.",
            over_time("Throughput", "requests/s", _throughput(series, routes)),
        ),
        Drawn(
            "Latency",
            "Of all requests, from when each was due. Logarithmic scale.",
            latency_over_time("Latency percentiles", "ms", _percentiles(series), of_total),
        ),
        Drawn(
            "p99 by route",
            "The slowest hundredth of each second's requests. Logarithmic scale.",
            latency_over_time("p99 latency by route", "ms", _route_p99(series, routes), of_p99),
        ),
        Drawn(
            "Latency distribution",
            "How slow the slowest part was, over the whole run: at 99.9 %, one request in a thousand was slower.",
            distribution("Latency distribution by route", "ms", _distributions(load, routes), _limits(objectives)),
        ),
        Drawn("Users", "How many users were posting.", counts_over_time("Users", "users", _users(series))),
    ]


def _limits(objectives: Iterable[Outcome]) -> list[Limit]:
    """What latency is to stay under, said once where several objectives have the same limit."""
    names: dict[float, list[str]] = {}
    for objective in objectives:
        names.setdefault(objective.limit, []).append(objective.name)
    return [Limit(f"{', '.join(those)}: at most {number(limit)} ms", limit) for limit, those in names.items()]


def _users(series: Sequence[SecondRow]) -> list[Line]:
    return [_line("users", 0, series, lambda row: row.users, worst=False)]


def _whole_seconds(load: Load) -> list[SecondRow]:
    """The seconds of the run without those it began and ended in: of those it had only a part."""
    ends = {0, int(load.ended_at) - int(load.started_at)}
    return [row for row in load.series if row.second not in ends] or load.series


def _throughput(series: Sequence[SecondRow], routes: Sequence[str]) -> list[Line]:
    lines = [_line("all", 0, series, lambda row: row.requests, worst=False)]
    for at, route in enumerate(routes, start=1):
        lines.append(_line(route, at, series, _requests_of(route), worst=False))
    failures = thin([(row.second, row.failures) for row in series], worst=False)
    return [*lines, Line("failures", "line-failures", failures)]


def _percentiles(series: Sequence[SecondRow]) -> list[Line]:
    return [
        _line("p50", 2, series, lambda row: row.latency_ms.p50 if row.requests else None, worst=True),
        _line("p95", 1, series, lambda row: row.latency_ms.p95 if row.requests else None, worst=True),
        _line("p99", 0, series, lambda row: row.latency_ms.p99 if row.requests else None, worst=True),
    ]


def _route_p99(series: Sequence[SecondRow], routes: Sequence[str]) -> list[Line]:
    return [_line(route, at, series, _p99_of(route), worst=True) for at, route in enumerate(routes, start=1)]


def _distributions(load: Load, routes: Sequence[str]) -> list[Line]:
    named = [(at, route) for at, route in enumerate(routes, start=1) if route in load.routes]
    lines = [Line(route, STYLES[at % len(STYLES)], load.routes[route].distribution) for at, route in named]
    return [Line("all", STYLES[0], load.total.distribution), *lines]


def _line(
    name: str, style: int, series: Sequence[SecondRow], value: Callable[[SecondRow], float | None], worst: bool
) -> Line:
    return Line(name, STYLES[style % len(STYLES)], thin([(row.second, value(row)) for row in series], worst))


def _requests_of(route: str) -> Callable[[SecondRow], float]:
    return lambda row: row.requests_by_route.get(route, 0)


def _p99_of(route: str) -> Callable[[SecondRow], float | None]:
    return lambda row: row.latency_ms_by_route[route].p99 if route in row.latency_ms_by_route else None


class Change(msgspec.Struct):
    """One figure beside the previous run's. `better` is None when neither is."""

    name: str
    now: str
    before: str
    change: str
    better: bool | None


def _changes(data: Data) -> list[Change]:
    if data.previous is None:
        return []
    now, before = data.summary, data.previous
    figures = [
        ("requests/s", now.rps, before.rps, True),
        ("p50, ms", now.latency_ms.p50, before.latency_ms.p50, False),
        ("p95, ms", now.latency_ms.p95, before.latency_ms.p95, False),
        ("p99, ms", now.latency_ms.p99, before.latency_ms.p99, False),
        ("failures, %", 100 * now.failure_ratio, 100 * before.failure_ratio, False),
    ]
    return [_change(*figure) for figure in figures]


def _change(name: str, now: float, before: float, more_is_better: bool) -> Change:
    """What differs by less than 5 % is noise, and neither better nor worse."""
    if not before:
        return Change(name, _figure(now), _figure(before), "", (now > 0) == more_is_better if now else None)
    ratio = now / before - 1
    better = None if abs(ratio) < 0.05 else (ratio > 0) == more_is_better
    change = f"{ratio:+.0%}" if ratio < 3 else f"× {_figure(now / before)}"
    return Change(name, _figure(now), _figure(before), change, better)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _write_csv(directory: RunDirectory, data: Data) -> None:
    routes = list(data.load.routes)
    header = ["second", "users", "requests", "failures", "p50_ms", "p95_ms", "p99_ms", "max_ms"]
    for route in routes:
        name = route.replace(" ", "_")
        header += [f"{name}_requests", f"{name}_p50_ms", f"{name}_p95_ms", f"{name}_p99_ms"]
    write_csv(directory.path / "series.csv", header, (_series_row(row, routes) for row in data.load.series))
    errors = ((route, kind, times) for route, kinds in data.load.errors.items() for kind, times in kinds.items())
    write_csv(directory.path / "errors.csv", ["route", "kind", "count"], errors)
    curves = ((route, *point) for route, detail in data.load.routes.items() for point in detail.distribution)
    write_csv(directory.path / "latency.csv", ["route", "percentile", "ms"], curves)
    second, *fields = WorkloadSecond.__struct_fields__
    seen = ((name, msgspec.structs.astuple(row)) for name, rows in data.workloads.items() for row in rows)
    cells = ((at, name, *values) for name, (at, *values) in seen)
    write_csv(directory.path / "workloads.csv", [second, "workload", *fields], cells)


def _series_row(row: SecondRow, routes: Iterable[str]) -> list[object]:
    cells: list[object] = [row.second, row.users, row.requests, row.failures, *msgspec.structs.astuple(row.latency_ms)]
    for route in routes:
        latency = row.latency_ms_by_route.get(route)
        cells.append(row.requests_by_route.get(route, 0))
        cells += [latency.p50, latency.p95, latency.p99] if latency else ["", "", ""]
    return cells
