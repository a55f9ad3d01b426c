"""Whether a run is worse than its baseline: by more than the baseline's runs differ, and by so much that it matters."""

import random

import msgspec
import pytest

from loadgen.latency import Latency
from loadgen.regression import BaselineRun, compare, read_baseline
from loadgen.settings import write_json
from loadgen.summary import summarise
from loadgen.verdict import judge
from unit.loadgen.test_verdict import FOUND, HEALTHY, detail


def run(p99=20.0, rps=20.0, failure_ratio=0.0):
    return BaselineRun(rps, failure_ratio, Latency(5, 10, p99, 50))


def worse(load, baseline):
    return [figure.name for figure in compare(load, baseline) if figure.worse]


def test_a_run_like_those_of_its_baseline_is_no_worse():
    assert worse(HEALTHY, [run(19.0), run(20.0), run(21.0)]) == []


@pytest.mark.parametrize(("p99", "names"), [(24.0, []), (24.7, ["p99"])])
def test_the_limit_is_as_far_away_as_the_spread_says(p99, names):
    """Mean 20, deviation 1, of five runs: 20 + 3.747 * 1 * sqrt(1 + 1/5) = 24.1; of the wider ones it is more."""
    baseline = [run(value) for value in (19.0, 19.0, 20.0, 21.0, 21.0)]
    (limit,) = [figure.limit for figure in compare(HEALTHY, baseline) if figure.name == "p99"]
    assert limit == pytest.approx(20 + 3.747 * 1.2**0.5)
    load = msgspec.structs.replace(HEALTHY, total=detail(1200, p99=p99))
    assert worse(load, baseline) == names
    assert worse(load, [run(value) for value in (14.0, 18.0, 20.0, 22.0, 26.0)]) == []


@pytest.mark.parametrize(("p99", "names"), [(20.9, []), (21.1, ["p99"])])
def test_without_any_spread_what_is_below_5_percent_does_not_matter(p99, names):
    load = msgspec.structs.replace(HEALTHY, total=detail(1200, p99=p99))
    assert worse(load, [run()] * 3) == names


@pytest.mark.parametrize(("failures", "names"), [(0, []), (1, []), (2, ["failure ratio"])])
def test_of_failures_one_in_a_thousand_requests_matters(failures, names):
    load = msgspec.structs.replace(HEALTHY, failures=failures)
    assert worse(load, [run()] * 3) == names


@pytest.mark.parametrize(("requests", "names"), [(1400, []), (1141, []), (1139, ["throughput"])])
def test_less_throughput_is_worse_and_more_is_not(requests, names):
    load = msgspec.structs.replace(HEALTHY, requests=requests)
    assert worse(load, [run()] * 3) == names


def test_better_is_never_worse():
    load = msgspec.structs.replace(HEALTHY, total=detail(1200, p99=1.0), requests=5000)
    assert worse(load, [run(failure_ratio=0.1)] * 3) == []


@pytest.mark.parametrize("runs", [3, 5, 30])
def test_a_run_that_is_like_its_baseline_is_called_worse_once_in_a_hundred_times(runs):
    rng = random.Random(1)  # noqa: S311 - not for secrets
    trials, alarms = 3000, 0
    for _ in range(trials):
        baseline = [run(rng.gauss(100, 20)) for _ in range(runs)]
        load = msgspec.structs.replace(HEALTHY, total=detail(1200, p99=rng.gauss(100, 20)))
        alarms += worse(load, baseline) == ["p99"]
    assert 0.004 < alarms / trials < 0.016


@pytest.mark.parametrize("baseline", [[], [run()]])
def test_fewer_than_two_runs_have_no_spread_to_judge_by(baseline):
    assert compare(HEALTHY, baseline) == []


def test_a_run_without_a_request_is_not_compared():
    assert compare(msgspec.structs.replace(HEALTHY, requests=0), [run()] * 3) == []


def test_a_worse_figure_fails_the_run_and_says_by_how_much(settings):
    load = msgspec.structs.replace(HEALTHY, total=detail(1200, p99=48.0))
    compared = compare(load, [run(value) for value in (19.0, 19.0, 20.0, 21.0, 21.0)])
    verdict = judge(settings, load, FOUND, compared)
    assert verdict.reasons == [
        "p99 was 48 ms, worse than the baseline: 20 ms on average in 5 runs, whose spread reaches to 24.1 ms."
    ]
    assert "p50 is no worse than the baseline's" in [judgement.name for judgement in verdict.judgements]
    assert summarise(settings, load, FOUND, verdict).baseline == compared


def test_the_baseline_is_read_from_whole_summaries(settings, directory):
    assert read_baseline(directory) == []
    write_json(directory.baseline_runs, [summarise(settings, HEALTHY, FOUND, judge(settings, HEALTHY, FOUND))] * 3)
    assert read_baseline(directory) == [run()] * 3
