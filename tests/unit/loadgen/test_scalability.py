"""The universal scalability law: it is found where steps follow it, and nothing is said where they do not tell."""

import random
import re
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest

from loadgen.capacity.law import Law, fit
from loadgen.capacity.result import Evidence, Point, StepResult
from loadgen.capacity.scalability import scalability_of
from loadgen.capacity.search import BISECTION, Step
from loadgen.latency import Latency

LAW = Law(one=200.0, contention=0.02, coherency=0.0002)
CONCURRENCIES = (1.0, 2.0, 4.0, 8.0, 16.0, 24.0, 32.0, 40.0, 48.0, 56.0)

# Of a search on two cores: answers a second, and milliseconds.
FOUND_ONCE = (
    *((812, 5.95), (1737, 7.35), (3252, 15.7), (4101, 18.0), (4340, 19.2)),
    *((4182, 17.4), (4525, 20.0), (4483, 21.2), (4419, 22.2), (4397, 21.0)),
)


def steps(law: Law, concurrencies: Sequence[float] = CONCURRENCIES, noise: float = 0.0) -> list[StepResult]:
    """Steps of a system that follows a law, but for some noise of its latencies: a part of them, one sigma."""
    draw = random.Random(7)  # noqa: S311 (noise, not secrets)
    return [step(law.rps(n), 1000 * n / law.rps(n) * (1 + draw.gauss(0, noise))) for n in concurrencies]


def step(rps: float, mean_ms: float) -> StepResult:
    return StepResult(
        step=Step(BISECTION, round(rps), 10),
        met=True,
        reasons=[],
        started_at="2026-11-24T04:00:00Z",
        rps=rps,
        latency_ms=Latency(mean_ms, mean_ms, mean_ms, mean_ms),
        failure_ratio=0.0,
        unsent=0,
        lost=0,
        generator_cpu=0.2,
        generator_cores=0.2,
        generator_limited=False,
        evidence=Evidence(),
        mean_ms=mean_ms,
    )


@pytest.mark.parametrize("law", [LAW, Law(1000, 0.3, 0), Law(50, 0, 0.001), Law(300, 0, 0)])
def test_a_law_that_steps_follow_is_found(law):
    found = fit([Point(n, law.rps(n)) for n in CONCURRENCIES])
    assert found == pytest.approx(law, rel=1e-6, abs=1e-9)


def test_no_parameter_is_below_0():
    """Throughput that grows more than in proportion: the nearest law is the proportion."""
    found = fit([Point(n, 100 * n**1.2) for n in CONCURRENCIES])
    assert found is not None
    assert found.contention == found.coherency == 0


def test_the_parameters_lie_in_their_intervals_and_the_same_steps_give_the_same_ones():
    noisy = steps(LAW, noise=0.05)
    found = scalability_of(noisy)
    assert found.law is not None
    for name, truth in zip(found.law.__struct_fields__, LAW, strict=True):
        estimate = getattr(found.law, name)
        assert estimate.low <= truth <= estimate.high
        assert estimate.low < estimate.high
    assert scalability_of(noisy) == found


def test_the_law_is_told_as_far_as_it_was_measured_and_to_twice_that():
    found = scalability_of(steps(LAW, noise=0.02))
    assert found.measured_to == pytest.approx(56, rel=0.1)
    assert found.told_to == pytest.approx(2 * (found.measured_to or 0), rel=1e-3)
    assert found.curve[-1].concurrency == found.told_to
    assert all(one.concurrency < next_.concurrency for one, next_ in pairwise(found.curve))
    assert found.sentences[0].startswith("Up to 5")
    highest = re.search(r"throughput is highest with ([0-9.]+) at a time", found.sentences[-2])
    assert highest
    assert float(highest[1]) == pytest.approx(70, rel=0.1), "sqrt(0.98 / 0.0002)"
    assert "an extrapolation" in found.sentences[-2]
    assert "beyond that, twice what was measured, it says nothing" in found.sentences[-1]


def test_a_peak_that_lies_beyond_is_not_told():
    found = scalability_of(steps(Law(200, 0.02, 0.000001), noise=0.02))
    assert found.law is not None
    assert not any("highest" in sentence for sentence in found.sentences)


def test_a_peak_that_was_measured_is_no_extrapolation():
    found = scalability_of(steps(Law(200, 0.02, 0.002), noise=0.01))
    assert "throughput is highest with 22" in " ".join(found.sentences)
    assert "highest with 22.1 at a time, which" not in " ".join(found.sentences)


def test_what_cannot_be_told_apart_is_said():
    apart = [step(200 * n, 1000 / 200 * (1.05 if at % 2 else 0.95)) for at, n in enumerate(CONCURRENCIES)]
    assert "Whether requests hold each other up at all cannot be told." in scalability_of(apart).sentences
    together = scalability_of(step(rps, ms) for rps, ms in FOUND_ONCE)
    assert "Requests hold each other up; whether by contention or by coherency cannot be told." in together.sentences


@pytest.mark.parametrize(
    "changes",
    [
        {"generator_limited": True},
        {"failure_ratio": 0.001},
        {"lost": 1},
        {"lost": None},
        {"unsent": 1_000_000},
        {"mean_ms": 0.0},
    ],
)
def test_steps_that_were_no_steady_state_do_not_count(changes):
    good = steps(LAW)
    wild = msgspec.structs.replace(step(10.0, 90_000.0), **changes)
    assert scalability_of([*good, wild]) == scalability_of(good)


def test_of_too_few_steps_nothing_is_said_but_that():
    found = scalability_of(steps(LAW)[:5])
    assert found.law is None
    assert not found.curve
    (sentence,) = found.sentences
    assert sentence.startswith("Too few steps")
    assert sentence.endswith("Here it is 5, at 5.")
    same_rate = scalability_of(steps(LAW, [8.0] * 10))
    assert same_rate.sentences[0].endswith("Here it is 10, at 1.")


def test_of_steps_that_follow_no_such_law_nothing_is_said():
    found = scalability_of(
        [step(rps, 20.0) for rps in (100.0, 200.0, 400.0)] + [step(rps, 2.0) for rps in (150.0, 300.0, 600.0)]
    )
    assert found.law is None
    assert "off the nearest curve" in found.sentences[0]


def test_of_steps_near_each_other_nothing_is_said():
    """Any curve through one place fits them."""
    found = scalability_of(steps(LAW, (40, 40.5, 41, 41.5, 42, 42.5), noise=0.08))
    assert found.law is None
    assert found.sentences[0].startswith("The universal scalability law says nothing here")
