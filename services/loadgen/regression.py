"""Whether a run is worse than those of its baseline, by more than they differ from each other."""

import math
from collections.abc import Callable, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

import msgspec

from loadgen.collector import Load
from loadgen.latency import Latency
from loadgen.settings import RunDirectory
from loadgen.words import percent, significant

STUDENT_T = (
    *(31.821, 6.965, 4.541, 3.747, 3.365, 3.143, 2.998, 2.896, 2.821, 2.764),
    *(2.718, 2.681, 2.650, 2.624, 2.602, 2.583, 2.567, 2.552, 2.539, 2.528),
)
"""The 99th percentile of Student's t distribution with 1 to 20 degrees of freedom; with more it is hardly less."""


class BaselineRun(msgspec.Struct):
    """One run of the baseline, as its summary.json has it."""

    rps: float
    failure_ratio: float
    latency_ms: Latency


class Compared(msgspec.Struct):
    """A figure beside that of the runs of the baseline: their mean, and the limit beyond which it is worse."""

    name: str
    unit: str
    measured: float
    mean: float
    limit: float
    runs: int
    worse: bool

    def number(self, value: float) -> str:
        """A value of the figure; its unit is left out, where it has one."""
        return significant(value) if self.unit else percent(value)

    def text(self, value: float) -> str:
        """A value in the figure's unit."""
        return f"{self.number(value)} {self.unit}".rstrip()


class _Figure(NamedTuple):
    """What is compared. A difference below `matters`, or below the part of the mean `matters_part`, is none."""

    name: str
    unit: str
    of: Callable[[BaselineRun], float]
    more_is_better: bool = False
    matters_part: float = 0.05
    matters: float = 0.0


_FIGURES = (
    _Figure("throughput", "requests/s", lambda run: run.rps, more_is_better=True),
    _Figure("p50", "ms", lambda run: run.latency_ms.p50),
    _Figure("p95", "ms", lambda run: run.latency_ms.p95),
    _Figure("p99", "ms", lambda run: run.latency_ms.p99),
    _Figure("failure ratio", "", lambda run: run.failure_ratio, matters=0.001),
)


def read_baseline(directory: RunDirectory) -> list[BaselineRun]:
    """The runs of the baseline; none where there is no baseline."""
    if not directory.baseline_runs.exists():
        return []
    return msgspec.json.decode(directory.baseline_runs.read_bytes(), type=list[BaselineRun])


def compare(load: Load, baseline: Sequence[BaselineRun]) -> list[Compared]:
    """Each figure beside the baseline's; nothing to compare with fewer than two runs, or without a request.

    The limit is the end of a one-sided prediction interval for one more observation of a normal distribution (Hahn and
    Meeker, Statistical Intervals): a figure of a run like those of the baseline is beyond it once in a hundred times.
    """
    duration_s = load.ended_at - load.started_at
    if len(baseline) < 2 or not load.requests or not duration_s:
        return []
    run = BaselineRun(load.requests / duration_s, load.failures / load.requests, load.total.latency_ms)
    return [_compared(figure, run, baseline) for figure in _FIGURES]


def _compared(figure: _Figure, run: BaselineRun, baseline: Sequence[BaselineRun]) -> Compared:
    values = [figure.of(each) for each in baseline]
    mean, number = fmean(values), len(values)
    t = STUDENT_T[min(number - 1, len(STUDENT_T)) - 1]
    spread = t * stdev(values) * math.sqrt(1 + 1 / number)
    margin = max(spread, figure.matters, figure.matters_part * mean)
    measured = figure.of(run)
    limit = max(0.0, mean - margin) if figure.more_is_better else mean + margin
    worse = measured < limit if figure.more_is_better else measured > limit
    return Compared(figure.name, figure.unit, round(measured, 9), round(mean, 9), round(limit, 9), number, worse)
