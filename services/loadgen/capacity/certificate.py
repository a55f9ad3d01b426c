"""The certificate: one page that needs nothing beside it, the data behind it, and JUnit XML for CI."""

from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import msgspec

from loadgen.capacity.comparison import Comparison, compare, read_earlier
from loadgen.capacity.result import Capacity, Scalability, StepResult, held_step, judge_notes
from loadgen.charts import STYLES, Drawn, Limit, Line, latency_over_rates, over_concurrency, over_rates
from loadgen.junit import Judged, junit_xml
from loadgen.objectives import Outcome
from loadgen.pages import template
from loadgen.progress import say
from loadgen.settings import write_csv, write_json
from loadgen.verdict import Judgement

_COLUMNS = ("step", "kind", "rate", "seconds", "met", "rps", "mean_ms", "p50_ms", "p99_ms", "failure_ratio", "lost")

_REPLICAS = {
    "": "one of each",
    "min": "the fewest that they may have, all the time",
    "max": "the most that they may have, all the time",
    "scaling": "as the load asked for: each step's are in the data",
}
"""How many replicas the routes had."""


def write_certificate(directory: Path, capacity: Capacity) -> None:
    """Writes all files into the directory, and says the answer, also beside that of `earlier.json` if it is there."""
    earlier = read_earlier(directory / "earlier.json")
    comparison = compare(capacity, earlier) if earlier else None
    if comparison:
        before = f"{comparison.met:,g} a second on {comparison.started_at}"
        capacity.answer.append(f"Compared with {before}: {comparison.sentence}")
    write_json(directory / "capacity.json", capacity)
    write_csv(directory / "steps.csv", _COLUMNS, (_row(*numbered) for numbered in enumerate(capacity.steps, start=1)))
    (directory / "certificate.html").write_text(render(capacity, comparison), encoding="utf-8")
    judged = Judged("capacity", capacity.started_at, capacity.seconds)
    (directory / "junit.xml").write_bytes(junit_xml(judged, _judgements(capacity)))
    for line in capacity.answer:
        say(line)


def render(capacity: Capacity, comparison: Comparison | None = None) -> str:
    """The certificate as one HTML page."""
    held = held_step(capacity.steps, capacity.met)
    return template("certificate.html.j2").render(
        capacity=capacity,
        held=held,
        notes_per_cpu_s=_notes_per_cpu_s(held) if held else None,
        comparison=comparison,
        settings=capacity.settings,
        replicas=_REPLICAS.get(capacity.replicas, capacity.replicas),
        objectives=[f"{each.name} {each.limit_text}" for each in _objectives(capacity)],
        machine=capacity.machine,
        charts=_charts(capacity),
        law_chart=_law_chart(capacity.scalability),
    )


def _notes_per_cpu_s(held: StepResult) -> float | None:
    """Notes by the seconds of CPU time that all hosts used for them, load generators on them included."""
    used = held.evidence.cores_used
    return None if used is None else held.rps / used


def _objectives(capacity: Capacity) -> list[Outcome]:
    """What is asked for, as reports name it."""
    asked = capacity.settings.objectives
    return [Outcome(**msgspec.structs.asdict(each), measured=None, met=False) for each in asked]


def _judgements(capacity: Capacity) -> list[Judgement]:
    return [Judgement("answer", "the answer is proven", capacity.refusal), judge_notes(capacity.steps, "steps")]


def _row(number_: int, result: StepResult) -> tuple[object, ...]:
    step, latency = result.step, result.latency_ms
    lost = "" if result.lost is None else result.lost
    rates = (number_, step.kind, step.rate, step.seconds, result.met, result.rps)
    return (*rates, result.mean_ms, latency.p50, latency.p99, result.failure_ratio, lost)


def _charts(capacity: Capacity) -> list[Drawn]:
    """Throughput and latency against the rate that was asked for."""
    objectives = [each for each in _objectives(capacity) if each.percentile is not None]
    limits = [Limit(f"{each.name}: {each.limit_text}", each.limit) for each in objectives]
    steps = sorted(capacity.steps, key=lambda result: result.step.rate)
    throughput = [
        Line("answered", STYLES[0], _points(steps, lambda result: result.rps)),
        Line("asked for", STYLES[2], _points(steps, lambda result: result.step.rate)),
    ]
    latency = [
        Line("p50", STYLES[1], _points(steps, lambda result: result.latency_ms.p50)),
        Line("p99", STYLES[0], _points(steps, lambda result: result.latency_ms.p99)),
    ]
    return [
        Drawn(
            "Throughput",
            "Answers a second, against how many requests were asked for. Of a rate that was tried more than once, the "
            "mean.",
            over_rates("Throughput against rate", "requests/s", throughput),
        ),
        Drawn(
            "Latency",
            "From when each request was due, whether or not others were answered. Logarithmic scale.",
            latency_over_rates("Latency against rate", "ms", latency, limits),
        ),
    ]


def _law_chart(found: Scalability) -> Drawn | None:
    """The law beside the steps that it was fitted to; None where there is none."""
    if found.measured_to is None:
        return None
    measured = [each for each in found.curve if each.concurrency <= found.measured_to]
    beyond = [each for each in found.curve if each.concurrency >= found.measured_to]
    bounds: list[tuple[float, float | None]] = [
        *((each.concurrency, each.rps.low) for each in found.curve),
        (found.measured_to, None),
        *((each.concurrency, each.rps.high) for each in found.curve),
    ]
    lines = [
        Line("steps", STYLES[4], [(each.concurrency, each.rps) for each in found.points], dots=True),
        Line("law", STYLES[0], [(each.concurrency, each.rps.value) for each in measured]),
        Line("extrapolated", STYLES[1], [(each.concurrency, each.rps.value) for each in beyond]),
        Line("95 %", STYLES[2], bounds),
    ]
    return Drawn(
        "Throughput by the law",
        "Against the requests under way at a time: answers a second, times the mean latency (Little's law).",
        over_concurrency("Throughput against concurrency", "requests/s", [line for line in lines if line.points]),
    )


def _points(steps: list[StepResult], figure: Callable[[StepResult], float]) -> list[tuple[float, float | None]]:
    """The mean of a figure at each rate; the steps are sorted by theirs."""
    points: list[tuple[float, float | None]] = []
    for rate, tried in groupby(steps, key=lambda result: result.step.rate):
        values = [figure(result) for result in tried]
        points.append((rate, sum(values) / len(values)))
    return points
