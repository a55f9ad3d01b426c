"""The universal scalability law of a search's steps, with its bounds, and as far as it can be believed."""

from collections.abc import Callable, Iterable, Sequence
from math import sqrt
from operator import itemgetter
from statistics import NormalDist, fmean

from loadgen.capacity.law import Law, fit, resampled
from loadgen.capacity.result import CurvePoint, Estimate, FittedLaw, Point, Scalability, StepResult
from loadgen.words import significant

LEAST_STEPS, LEAST_RATES = 6, 4  # the law has three parameters: with as many points, a curve always fits
MOST_UNSENT = 0.05  # of what was due: with more, the step was no steady state, and Little's law does not hold
MOST_OFF = 0.25  # of the throughput that a step had, root mean square
MOST_SPREAD = 2.0  # the high by the low end of a throughput's interval: one that is wider says nothing
MOST_SPREAD_OF_ONE = 10.0  # and of lambda's, which steps at high rates say little about
REACH = 2.0  # times the highest concurrency that was measured: beyond, nothing is said
CONFIDENCE = 0.95
CURVE_POINTS = 32
DIGITS = 4  # significant ones, of what is written down

_NOTHING = "The universal scalability law says nothing here: "


def scalability_of(steps: Iterable[StepResult]) -> Scalability:
    """The law as the steps tell it, or a sentence on why they do not."""
    steady = [step for step in steps if is_steady(step)]
    points = [Point(_rounded(concurrency_of(step)), step.rps) for step in steady]
    rates = len({step.step.rate for step in steady})
    if len(points) < LEAST_STEPS or rates < LEAST_RATES:
        return _without_law(
            points,
            f"Too few steps for the universal scalability law: it takes {LEAST_STEPS} at {LEAST_RATES} rates that the "
            "load generator kept up with, and in which nothing was refused or lost. Here it is "
            f"{len(points)}, at {rates}.",
        )
    law = fit(points)
    if law is None:
        return _without_law(points, f"{_NOTHING}by the nearest curve, one request at a time takes no time at all.")
    off = sqrt(fmean((law.rps(point.concurrency) / point.rps - 1) ** 2 for point in points))
    if off > MOST_OFF:
        return _without_law(points, f"{_NOTHING}the steps are {off:.0%} off the nearest curve.")
    others = resampled(points)
    known = [other for other in others if other is not None]
    if len(known) < CONFIDENCE * len(others):
        return _without_law(points, f"{_NOTHING}without a few of the steps there is no curve.")
    return _with_bounds(points, off, law, known)


def is_steady(step: StepResult) -> bool:
    """Whether a step says how the system works under a load that it kept up with, and the load generator too."""
    kept_up = step.unsent <= MOST_UNSENT * step.step.rate * step.step.seconds and not step.generator_limited
    return kept_up and step.failure_ratio == 0 and step.lost == 0 and concurrency_of(step) > 0


def concurrency_of(step: StepResult) -> float:
    """Requests under way on average, by Little's law: how many are answered a second, times the seconds of each."""
    return step.rps * step.mean_ms / 1000


def _without_law(points: list[Point], why: str) -> Scalability:
    return Scalability(sentences=[why], points=points, law=None, measured_to=None, told_to=None, curve=[])


def _with_bounds(points: list[Point], off: float, law: Law, others: Sequence[Law]) -> Scalability:
    outside = _outside(len(points))

    def estimate(figure: Callable[[Law], float]) -> Estimate:
        return _estimate(figure(law), sorted(map(figure, others)), outside)

    def throughput(concurrency: float) -> Estimate:
        return estimate(lambda each: each.rps(concurrency))

    least, most = (edge(point.concurrency for point in points) for edge in (min, max))
    fitted = FittedLaw(*(estimate(itemgetter(at)) for at in range(len(Law._fields))))
    if _spread(fitted.throughput_of_one) > MOST_SPREAD_OF_ONE or _spread(throughput(most)) > MOST_SPREAD:
        return _without_law(points, f"{_NOTHING}curves that are nothing like each other fit the steps as well.")
    told_to = REACH * most if _spread(throughput(REACH * most)) <= MOST_SPREAD else most
    between = (least + (told_to - least) * at / CURVE_POINTS for at in range(CURVE_POINTS))
    peak = law.peak
    return Scalability(
        sentences=[
            f"Up to {significant(most)} requests at a time, as measured, throughput follows the universal scalability "
            f"law: the steps are {significant(100 * off, 2)} % off it (root mean square).",
            *_unsure(fitted, estimate(lambda each: each.rps(most) / (each.one * most))),
            *(_highest(peak, throughput(peak), most) if peak and 1 <= peak <= told_to else ()),
            _range(most, told_to),
        ],
        points=points,
        law=fitted,
        measured_to=_rounded(most),
        told_to=_rounded(told_to),
        curve=[CurvePoint(_rounded(n), throughput(n)) for n in sorted({*between, most, told_to})],
    )


def _unsure(law: FittedLaw, efficiency: Estimate) -> list[str]:
    """What the steps cannot tell; the efficiency is the throughput by that of as many requests that do not meet."""
    if efficiency.high >= 1:
        return ["Whether requests hold each other up at all cannot be told."]
    unsure = [name for name in ("contention", "coherency") if getattr(law, name).low == 0]
    if len(unsure) > 1:
        return ["Requests hold each other up; whether by contention or by coherency cannot be told."]
    return [f"Whether there is any {name} cannot be told." for name in unsure]


def _highest(peak: float, rps: Estimate, most: float) -> list[str]:
    beyond = ", which is an extrapolation" if peak > most else ""
    return [
        f"By the law, throughput is highest with {significant(peak)} at a time{beyond}: {significant(rps.value)} a "
        f"second (95 %: {significant(rps.low)} to {significant(rps.high)}); more only take longer."
    ]


def _range(most: float, told_to: float) -> str:
    if told_to == most:
        return f"Beyond {significant(most)} at a time it says nothing: intervals are too wide."
    return (
        f"From {significant(most)} to {significant(told_to)} at a time the law is an extrapolation; beyond that, twice "
        "what was measured, it says nothing."
    )


def _estimate(value: float, others: Sequence[float], outside: float) -> Estimate:
    """A figure, between those that all of the others have but the part that lies outside at each end."""
    beyond = round(outside * (len(others) - 1))
    low, high = min(value, others[beyond]), max(value, others[-1 - beyond])
    return Estimate(*map(_rounded, (value, low, high)))


def _outside(points: int) -> float:
    """The part of a bootstrap's draws that is beyond each end of an interval.

    With few points, a percentile for each end makes intervals that are too narrow. This is the expanded percentile of
    T. Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 69 (2015), with Student's
    quantile as in M. Abramowitz and I. Stegun, "Handbook of Mathematical Functions", 26.7.5.
    """
    z, freedom = NormalDist().inv_cdf((1 + CONFIDENCE) / 2), points - 1
    student = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return NormalDist().cdf(-student * sqrt(points / freedom))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _spread(estimate: Estimate) -> float:
    return estimate.high / estimate.low if estimate.low > 0 else float("inf")
