"""Which figures of two sides differ, by the rounds in which both were measured one after the other.

Other work on the machines comes and goes over minutes, and meets both sides of a round alike. So a figure is compared
by its ratios, B to A, one for each round. All means are geometric, with intervals of 95 % by Student's t distribution
of the logarithms. Where the ratio's interval holds 1, there is no difference that anybody can tell.
"""

from collections.abc import Callable, Sequence
from math import exp, log, sqrt
from statistics import fmean, stdev

import msgspec

from loadgen.ab.samples import A, B, Sample
from loadgen.capacity.growth import LEAST_SECONDS
from loadgen.capacity.result import Estimate, StepResult

STUDENT_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
)
"""The 97.5th percentile of Student's t distribution with 1 to 20 degrees of freedom; with more it is hardly less."""

LEAST_CORES = 0.005  # a workload that uses less has no figure that says anything

Measure = Callable[[StepResult], float | None]


class Figure(msgspec.Struct):
    """A figure of both sides, the ratio of B to A, and what that says in a sentence."""

    name: str
    unit: str
    a: Estimate
    b: Estimate
    ratio: Estimate
    sentence: str

    @property
    def differs(self) -> bool:
        """Whether the interval of the ratio is all on one side of 1."""
        return self.ratio.low > 1 or self.ratio.high < 1


def figures_of(samples: Sequence[Sample]) -> list[Figure]:
    """All figures that were measured above 0 in every sample; each round has a sample of either side."""
    measures: list[tuple[str, str, Measure]] = [
        ("Requests answered", "a second", lambda result: result.rps),
        ("Latency, p50", "ms", lambda result: result.latency_ms.p50),
        ("Latency, p99", "ms", lambda result: result.latency_ms.p99),
    ]
    if min(sample.result.step.seconds for sample in samples) >= LEAST_SECONDS:
        workloads = dict.fromkeys(name for sample in samples for name in sample.result.evidence.cpu_cores)
        measures.append(("CPU a note, all hosts", "µs", _cpu_us_of_hosts))
        measures += [(f"CPU a note, {name}", "µs", _cpu_us_of(name)) for name in workloads]
    found = (_figure(name, unit, measure, samples) for name, unit, measure in measures)
    return [figure for figure in found if figure]


def _figure(name: str, unit: str, measure: Measure, samples: Sequence[Sample]) -> Figure | None:
    a, b = _values(samples, A, measure), _values(samples, B, measure)
    if len(a) != len(b) or 2 * len(a) != len(samples):
        return None
    ratio = geometric([of_b / of_a for of_a, of_b in zip(a, b, strict=True)])
    figure = Figure(name, unit, geometric(a), geometric(b), ratio, "")
    times = f"{ratio.value:.2f} times A's, {ratio.low:.2f} to {ratio.high:.2f}"
    figure.sentence = f"{name}: B's {times}." if figure.differs else f"{name}: no difference (B's {times})."
    return figure


def _values(samples: Sequence[Sample], side: str, measure: Measure) -> list[float]:
    """A side's values, in the order of the rounds; those that are not above 0 are none."""
    own = sorted((sample for sample in samples if sample.side == side), key=lambda sample: sample.round)
    return [value for sample in own if (value := measure(sample.result))]


def geometric(values: Sequence[float]) -> Estimate:
    """The geometric mean of two or more values above 0, and the interval in which it is with 95 %."""
    logarithms, freedom = [log(value) for value in values], len(values) - 1
    mean = fmean(logarithms)
    half = STUDENT_T[min(freedom, len(STUDENT_T)) - 1] * stdev(logarithms) / sqrt(len(values))
    return Estimate(exp(mean), exp(mean - half), exp(mean + half))


def _cpu_us_of_hosts(result: StepResult) -> float | None:
    used = result.evidence.cores_used
    return 1e6 * used / result.rps if used is not None and result.rps else None


def _cpu_us_of(workload: str) -> Measure:
    def measure(result: StepResult) -> float | None:
        cores = result.evidence.cpu_cores.get(workload, 0.0)
        return 1e6 * cores / result.rps if cores >= LEAST_CORES and result.rps else None

    return measure
