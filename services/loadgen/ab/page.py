"""The page of an A/B comparison, which needs nothing beside it, the data behind it, and JUnit XML for CI."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from loadgen.ab.result import Comparison
from loadgen.ab.samples import SIDES, Sample
from loadgen.capacity.result import StepResult, judge_notes
from loadgen.charts import STYLES, Drawn, Line, latency_over_runs, over_runs
from loadgen.junit import Judged, junit_xml
from loadgen.pages import template
from loadgen.settings import write_csv, write_json
from loadgen.verdict import Judgement

_COLUMNS = ("round", "side", "rps", "p50_ms", "p99_ms", "failure_ratio", "lost")


def read_comparison(directory: Path) -> Comparison | None:
    """What was measured so far; None where nothing was."""
    file = directory / "ab.json"
    return msgspec.json.decode(file.read_bytes(), type=Comparison) if file.exists() else None


def write_comparison(directory: Path, comparison: Comparison) -> None:
    """Writes all files into the directory."""
    write_json(directory / "ab.json", comparison)
    write_csv(directory / "samples.csv", _COLUMNS, map(_row, comparison.samples))
    (directory / "ab.html").write_text(render(comparison), encoding="utf-8")
    judged = Judged("ab", comparison.started_at, comparison.seconds)
    (directory / "junit.xml").write_bytes(junit_xml(judged, _judgements(comparison)))


def render(comparison: Comparison) -> str:
    """The comparison as one HTML page."""
    names = sorted({name for settings in comparison.sides.values() for name in settings})
    return template("ab.html.j2").render(
        comparison=comparison,
        settings=comparison.settings,
        machine=comparison.machine,
        setting_names=names,
        rounds=max(sample.round for sample in comparison.samples),
        charts=_charts(comparison),
    )


def _row(sample: Sample) -> tuple[object, ...]:
    result, latency = sample.result, sample.result.latency_ms
    lost = "" if result.lost is None else result.lost
    return (sample.round, sample.side, result.rps, latency.p50, latency.p99, result.failure_ratio, lost)


def _judgements(comparison: Comparison) -> list[Judgement]:
    notes = judge_notes([sample.result for sample in comparison.samples], "samples")
    return [Judgement("answer", "something can be said", comparison.refusal), notes]


def _charts(comparison: Comparison) -> list[Drawn]:
    def lines(measure: Callable[[StepResult], float]) -> list[Line]:
        return [
            Line(
                side.upper(),
                style,
                [(sample.round, measure(sample.result)) for sample in comparison.samples if sample.side == side],
            )
            for side, style in zip(SIDES, STYLES, strict=False)
        ]

    throughput = over_runs("Throughput by round", "requests/s", lines(lambda result: result.rps), "round")
    latency = latency_over_runs("p99 by round", "ms", lines(lambda result: result.latency_ms.p99), "round")
    return [
        Drawn("Throughput", "Answers a second in each round.", throughput),
        Drawn("p99", "Of all requests of a sample. Logarithmic scale.", latency),
    ]
