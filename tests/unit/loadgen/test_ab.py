"""The A/B comparison: what it says of known differences, how often it is wrong, and what it refuses to say."""

import random
from datetime import UTC, datetime
from xml.etree import ElementTree

import msgspec
import pytest

from loadgen.ab.figures import figures_of, geometric
from loadgen.ab.page import read_comparison, write_comparison
from loadgen.ab.result import compared
from loadgen.ab.samples import Sample, sample_settings
from loadgen.capacity.result import Evidence, StepResult, this_machine
from loadgen.capacity.search import Step
from loadgen.latency import Latency
from loadgen.settings import CLOSED, OPEN
from unit.loadgen.conftest import SETTINGS

SIDES: dict[str, dict[str, object]] = {"a": {}, "b": {"route_cpu": "500m"}}
MACHINE = this_machine()
NOW = datetime(2026, 11, 29, 22, 13, 20, tzinfo=UTC).timestamp()


def result(rps: float, *, cores: float = 0.5, seconds: int = 35, lost: int | None = 0, limited: bool = False):
    """A load test in which so many requests a second were answered."""
    return StepResult(
        step=Step("sample", 0, seconds),
        met=True,
        reasons=[],
        started_at="2026-11-29T22:00:00Z",
        rps=rps,
        latency_ms=Latency(10, 15, 20, 30),
        failure_ratio=0.0,
        unsent=0,
        lost=lost,
        generator_cpu=0.95 if limited else 0.2,
        generator_cores=0.4,
        generator_limited=limited,
        evidence=Evidence(host_cpu={"here": 0.5}, host_cores={"here": 2}, cpu_cores={"relay": cores}),
        mean_ms=10,
    )


def rounds(*pairs, **of_b):
    """Samples of rounds, each with the answers a second of A and of B; what else is said is of all of B's results."""
    return [
        sample
        for number, (a, b) in enumerate(pairs, start=1)
        for sample in (Sample(number, "a", result(a)), Sample(number, "b", result(b, **of_b)))
    ]


def comparison_of(samples):
    return compared(SIDES, samples, SETTINGS, MACHINE, NOW)


def failures(directory):
    """The messages of what failed in junit.xml."""
    suites = ElementTree.parse(directory / "junit.xml")  # noqa: S314 (our own)
    return [failure.attrib["message"] for failure in suites.iter("failure")]


def test_a_difference_is_told_with_its_interval():
    # A machine that gets slower by half meanwhile; B is 1.2 times as fast all the time, within 1 %.
    found = comparison_of(rounds((1000, 1210), (800, 952), (500, 600), cores=1.2))
    throughput, p50, _, cpu, relay = found.figures
    assert throughput.differs
    assert throughput.ratio.value == pytest.approx(1.2, rel=0.005)
    assert throughput.ratio.low > 1.15
    assert throughput.a.low < 500 < throughput.a.high, "by itself A says little"
    assert found.answer[0].startswith("Requests answered: B's 1.20 times A's, 1.1")
    assert not p50.differs
    assert found.answer[1] == "Latency, p50: no difference (B's 1.00 times A's, 1.00 to 1.00)."
    assert (cpu.name, cpu.ratio.value) == ("CPU a note, all hosts", pytest.approx(1 / 1.2, rel=0.005))
    assert (relay.name, relay.ratio.value) == ("CPU a note, relay", pytest.approx(1.2 / 0.5 / 1.2, rel=0.005))
    assert found.seconds == 800


def test_two_sides_that_are_the_same_seldom_seem_to_differ():
    chance = random.Random(1)  # noqa: S311 (no secret)
    trials = [
        figures_of(rounds(*[(chance.lognormvariate(7, 0.1), chance.lognormvariate(7, 0.1)) for _ in range(5)]))[0]
        for _ in range(1000)
    ]
    # 5 % are asked for; of 1000 that is 36 to 64 with 95 %.
    assert 36 <= sum(trial.differs for trial in trials) <= 64


def test_the_interval_is_students():
    # Logarithms 0, 1, 2: mean 1, deviation 1, so 1 +- 4.303 / sqrt(3), by any table of the distribution.
    found = geometric([1, 2.718281828, 7.389056099])
    assert found.value == pytest.approx(2.71828, rel=1e-4)
    assert found.low == pytest.approx(0.22668, rel=1e-3)
    assert found.high == pytest.approx(32.597, rel=1e-3)


def test_of_samples_shorter_than_prometheus_looks_back_nothing_is_said_of_cpu():
    names = [figure.name for figure in figures_of(rounds((100, 100), (100, 101), seconds=10))]
    assert names == ["Requests answered", "Latency, p50", "Latency, p99"]


def test_a_workload_that_one_side_does_not_use_has_no_figure():
    names = [figure.name for figure in figures_of(rounds((100, 100), (100, 101), cores=0.0))]
    assert names[-1] == "CPU a note, all hosts"


def test_a_round_of_one_side_is_left_out():
    samples = rounds((100, 200), (100, 202))
    assert comparison_of([*samples, Sample(3, "b", result(9000))]).figures == comparison_of(samples).figures


@pytest.mark.parametrize(
    ("samples", "why"),
    [
        (rounds((100, 200)), "1 of at least 2 rounds are there: nothing can be said yet."),
        (rounds((100, 200), (100, 200), limited=True), "The load generator was the limit in round 1, on side b: its "),
    ],
    ids=["one round", "generator"],
)
def test_what_cannot_be_said_is_refused_with_its_reason(samples, why):
    found = comparison_of(samples)
    assert found.refusal.startswith(why)
    assert found.answer == [found.refusal]
    assert found.figures == []


def test_the_comparison_is_written_whole_and_read_back(tmp_path):
    found = comparison_of(rounds((1000, 1210), (800, 952), (500, 600)))
    write_comparison(tmp_path, found)
    assert read_comparison(tmp_path) == found
    page = (tmp_path / "ab.html").read_text()
    assert ">DIFFERENT<" in page
    assert '<code>"500m"</code>' in page
    assert page.count("<svg") == 2
    assert len((tmp_path / "samples.csv").read_text().splitlines()) == 7
    assert not failures(tmp_path)


@pytest.mark.parametrize(
    ("lost", "why"),
    [(3, "6 acknowledged notes were lost."), (None, "Of 2 samples nobody knows whether notes were lost")],
)
def test_a_side_that_loses_notes_fails(tmp_path, lost, why):
    write_comparison(tmp_path, comparison_of(rounds((100, 200), (100, 201), lost=lost)))
    (message,) = failures(tmp_path)
    assert message.startswith(why)


def test_there_is_no_comparison_before_the_first_sample(tmp_path):
    assert read_comparison(tmp_path) is None


def test_a_sample_is_as_fast_as_its_users_or_at_a_rate_with_open_arrivals():
    settings = msgspec.structs.replace(SETTINGS, users=64, workers=2)
    fast = sample_settings(settings, Step("sample", 0, 35), "a")
    assert (fast.users, fast.rate, fast.arrivals, fast.duration_s) == (64, 0, CLOSED, 38)
    steady = sample_settings(settings, Step("sample", 500, 35), "a")
    assert (steady.users, steady.rate, steady.arrivals) == (2, 250, OPEN)
    assert fast.run.endswith("-a")
