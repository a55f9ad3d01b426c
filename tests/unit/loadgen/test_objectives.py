"""Objectives: what is measured of a run, what is said of a missed one, and when one is out of reach for certain."""

from functools import partial

import msgspec
import pytest

from loadgen.__main__ import _parser, _settings
from loadgen.attempted import Reported
from loadgen.collector import Collector, Load
from loadgen.latency import count, new_histogram
from loadgen.objectives import out_of_reach, outcomes, tolerated_failures
from loadgen.reconcile import Reconciled, ReconciledDocuments, Reconciliation
from loadgen.settings import NO_ROUTE, Objective, write_json
from loadgen.shapes import Shape
from loadgen.verdict import judge

P99 = partial(Objective, what="p99")
FAILURES = partial(Objective, what="failure_ratio")
THROUGHPUT = partial(Objective, what="throughput")
FOUND = Reconciliation(ReconciledDocuments(200, 200, 0, 0, 0), Reconciled(100, 100, 0, 0, 0), Reported(200))


@pytest.fixture
def with_objectives(settings):
    """A function that makes settings with objectives: 10 users with 2 requests a second each, for 60 s."""
    return lambda *objectives, **fields: msgspec.structs.replace(settings, objectives=objectives, **fields)


@pytest.fixture
def load(with_objectives, directory, make_report, make_second):
    """A function that runs 10 s: relay answers in 1 to 100 ms, direct in 1 to 100 ms but one; two fail of each."""

    def make(*objectives):
        collector = Collector(with_objectives(*objectives), directory, 1000.0)
        latencies = {"relay": range(1, 101), "direct": [*range(1, 100), 900]}
        second = make_second(failures={"relay": 1, "direct": 1}, **latencies)
        errors = {"relay": {"HTTP 503": 1}, "direct": {"HTTP 504": 1}}
        ids = {"relay": bytes(99 * 12), "direct": bytes(99 * 12)}
        collector.take(
            make_report(
                seconds={1001: second}, errors=errors, acknowledged=ids, final=True, requests_so_far=200, sent_at=1002.0
            ),
            now=1002.0,
        )
        return collector.finish(1010.0, 1010.0)

    return make


@pytest.mark.parametrize(
    ("objective", "measured", "texts"),
    [
        (P99(of="total", at_most=100), 100, ("at most 100 ms", "99 ms")),
        (Objective(of="direct", what="p99.5", at_most=250), 900, ("at most 250 ms", "900 ms")),
        (Objective(of="relay", what="p100", at_most=250), 100, ("at most 250 ms", "100 ms")),
        (Objective(of="relay", what="p37.5", at_most=250), 38, ("at most 250 ms", "38 ms")),
        (FAILURES(of="total", at_most=0.02), 0.01, ("at most 2 %", "1 %")),
        (FAILURES(of="relay", at_most=0.02), 0.01, ("at most 2 %", "1 %")),
        (THROUGHPUT(of="total", at_least=19), 19.8, ("at least 19 notes/s", "19.8 notes/s")),
        (THROUGHPUT(of="direct", at_least=9), 9.9, ("at least 9 notes/s", "9.9 notes/s")),
        (THROUGHPUT(of="nowhere", at_least=9), 0, ("at least 9 notes/s", "0 notes/s")),
    ],
    ids=str,
)
def test_each_is_measured_and_written_in_its_own_unit(load, with_objectives, objective, measured, texts):
    (outcome,) = outcomes(with_objectives(objective), load(objective))
    assert outcome.measured == pytest.approx(measured, rel=0.011)
    assert outcome.met is objective.allows(outcome.measured)
    assert (outcome.limit_text, outcome.measured_text) == texts


@pytest.mark.parametrize(
    ("objective", "name", "reason"),
    [
        (
            Objective(of="relay", what="p50", at_most=20),
            "p50 of relay is at most 20 ms",
            "p50 of relay was 50 ms, the ",
        ),
        (
            FAILURES(of="direct", at_most=0.001),
            "failure ratio of direct is at most 0.1 %",
            "1% of the requests of direct failed (1 × HTTP 504), the objective is at most 0.1%.",
        ),
        (
            FAILURES(of="total", at_most=0),
            "failure ratio is at most 0 %",
            "1% of the requests failed (1 × HTTP 503, 1 × HTTP 504), the objective is at most 0%.",
        ),
        (
            THROUGHPUT(of="total", at_least=20),
            "throughput is at least 20 notes/s",
            "19.8 notes/s were acknowledged, the objective is at least 20.",
        ),
        (
            THROUGHPUT(of="relay", at_least=10),
            "throughput of relay is at least 10 notes/s",
            "9.9 notes/s of relay were acknowledged, the objective is at least 10.",
        ),
        (
            P99(of="nowhere", at_most=20),
            "p99 of nowhere is at most 20 ms",
            "No request took the route nowhere, so its p99 is not known.",
        ),
    ],
    ids=str,
)
def test_a_missed_one_is_the_reason_of_its_judgement(load, with_objectives, objective, name, reason):
    verdict = judge(with_objectives(objective, users=0), load(objective), FOUND)
    missed = {judgement.name: judgement.reason for judgement in verdict.judgements if judgement.reason}
    assert list(missed) == [name]
    assert missed[name].startswith(reason)


def test_a_run_without_objectives_is_judged_by_its_notes_and_its_generator(load, with_objectives):
    assert outcomes(with_objectives(), load()) == []
    assert judge(with_objectives(users=0), load(), FOUND).verdict == "pass"
    assert tolerated_failures(with_objectives()) == 1
    assert tolerated_failures(with_objectives(FAILURES(of="relay", at_most=0.1))) == 1
    assert tolerated_failures(with_objectives(*(FAILURES(of="total", at_most=limit) for limit in (0.2, 0.1)))) == 0.1


def test_what_was_measured_survives_the_file_that_it_is_kept_in(load, with_objectives, directory):
    objective = Objective(of="total", what="p99.9", at_most=500)
    write_json(directory.load, load(objective))
    kept = msgspec.json.decode(directory.load.read_bytes(), type=Load)
    assert outcomes(with_objectives(objective), kept) == outcomes(with_objectives(objective), load(objective))


def latencies(**milliseconds):
    """Histograms by route of so many requests with each latency."""
    made = {}
    for route, counts in milliseconds.items():
        made[route] = new_histogram()
        for latency, number in counts.items():
            made[route].record_value(int(latency * 1000), number)
    return made


# 10 users with 2 requests a second have at most 10 * (2 * (60 + 2) + 1) in 60 s, with the time to begin and to end.
MOST = 1250


@pytest.mark.parametrize(
    ("objective", "failed", "lost"),
    [
        (FAILURES(of="total", at_most=0.1), {"relay": 125}, False),
        (FAILURES(of="total", at_most=0.1), {"relay": 100, "direct": 26}, True),
        (FAILURES(of="total", at_most=0), {}, False),
        (FAILURES(of="total", at_most=0), {NO_ROUTE: 1}, True),
        (FAILURES(of="total", at_most=1), {"relay": MOST}, False),
        # Of a route, without those that took the other one: 1,250 - 250 = 1,000 at most.
        (FAILURES(of="relay", at_most=0.1), {"relay": 100, "direct": 200}, False),
        (FAILURES(of="relay", at_most=0.1), {"relay": 101}, True),
        # Of 1,250 requests 1,200 in 60 s are 20 a second.
        (THROUGHPUT(of="total", at_least=20), {"relay": 50}, False),
        (THROUGHPUT(of="total", at_least=20), {"relay": 51}, True),
        (THROUGHPUT(of="relay", at_least=10), {"relay": 400, "direct": 99}, False),
        (THROUGHPUT(of="relay", at_least=10), {"relay": 401}, True),
    ],
    ids=str,
)
def test_failures_put_one_out_of_reach_once_all_the_rest_could_not_make_up_for_them(
    with_objectives, objective, failed, lost
):
    seen = latencies(relay={5: 500}, direct={5: 250})
    assert bool(out_of_reach(with_objectives(objective), seen, failed)) is lost


@pytest.mark.parametrize(
    ("objective", "relay", "lost"),
    [
        (P99(of="total", at_most=250), {5: 1, 300: 13}, False),
        (P99(of="total", at_most=250), {5: 1, 300: 14}, True),
        (P99(of="total", at_most=250), {250: 1000}, False),
        (Objective(of="total", what="p50", at_most=250), {300: 625}, False),
        (Objective(of="total", what="p50", at_most=250), {300: 626}, True),
        (Objective(of="total", what="p100", at_most=250), {300: 1}, True),
        (P99(of="relay", at_most=250), {300: 10}, False),
        (P99(of="relay", at_most=250), {300: 11}, True),
        (P99(of="direct", at_most=250), {300: 1000}, False),
    ],
    ids=str,
)
def test_slow_requests_put_a_percentile_out_of_reach(with_objectives, objective, relay, lost):
    seen = latencies(relay=relay, direct={5: 250})
    assert bool(out_of_reach(with_objectives(objective), seen, {})) is lost


@pytest.mark.parametrize("slow", [0, 12, 13, 14, 15, 100])
@pytest.mark.parametrize("requests", [100, 625, 1249, MOST])
def test_a_percentile_that_is_out_of_reach_is_missed_however_many_requests_there_are_in_the_end(
    with_objectives, slow, requests
):
    settings = with_objectives(P99(of="total", at_most=250))
    if out_of_reach(settings, latencies(relay={300: slow}), {}):
        (at,) = latencies(relay={300: slow, 5: requests - slow}).values()
        assert at.get_value_at_percentile(99) > 250_000


@pytest.mark.parametrize(
    ("objective", "failed", "lost"),
    [
        (FAILURES(of="total", at_most=0.5), 1_000_000, False),
        (FAILURES(of="total", at_most=0), 1, True),
        (THROUGHPUT(of="total", at_least=20), 1_000_000, False),
        (P99(of="total", at_most=0.1), 0, False),
        (Objective(of="relay", what="p100", at_most=0.1), 0, True),
    ],
    ids=str,
)
def test_without_a_rate_only_what_must_never_happen_is_out_of_reach(with_objectives, objective, failed, lost):
    settings = with_objectives(objective, rate=0)
    assert bool(out_of_reach(settings, latencies(relay={5: 1_000_000}), {"relay": failed})) is lost


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (FAILURES(of="total", at_most=0.01), "20 requests of at most 1,250 have failed, the objective is at most 1 %"),
        (P99(of="relay", at_most=2), "500 requests of relay of at most 1,250 took longer than 2 ms, the limit of p99"),
        (
            THROUGHPUT(of="total", at_least=20.6),
            "with 20 failed requests no more than 20.5 notes/s can be acknowledged, the objective is at least 20.6",
        ),
        (P99(of="total", at_most=5000), ""),
    ],
    ids=str,
)
def test_it_is_said_why_one_is_out_of_reach(with_objectives, objective, said):
    assert out_of_reach(with_objectives(objective), latencies(relay={5: 500}), {"relay": 20}) == said


def test_failures_that_arrive_before_their_latencies_are_those_of_their_own_route(with_objectives):
    settings = with_objectives(FAILURES(of="relay", at_most=0))
    assert out_of_reach(settings, latencies(relay={5: 5}), {"direct": 1}) == ""
    assert "1 requests of relay" in out_of_reach(settings, {}, {"relay": 1})


def test_users_that_start_anew_may_have_one_more_request_each(with_objectives):
    twice = Shape("twice", ((0, 1), (0.5, 0), (0.5, 1), (1, 1)))
    settings = with_objectives(FAILURES(of="total", at_most=0.5), shape=twice)
    assert "of at most 1,260 have failed" in out_of_reach(settings, {}, {"relay": 631})


def test_the_first_one_that_is_out_of_reach_is_told(with_objectives):
    settings = with_objectives(P99(of="total", at_most=5000), FAILURES(of="total", at_most=0))
    assert "have failed" in out_of_reach(settings, latencies(relay={5: 5}), {"relay": 1})


def test_a_run_that_ended_early_fails_with_the_reason_and_does_not_miss_its_other_users(load, with_objectives):
    ended = msgspec.structs.replace(load(), ended_early="it could not be met", users_reached=1)
    (reason,) = judge(with_objectives(), ended, FOUND).reasons
    assert reason == "The run ended early: it could not be met."


def test_the_command_line_takes_objectives_as_data():
    objectives = '[{"of":"total","what":"p99.9","at_most":500.0},{"of":"relay","what":"throughput","at_least":7.0}]'
    arguments = (
        "run --directory=/tmp --target=http://x --users=1 --rate=1 --spawn-rate=1 --duration=1 --pool=1 --seed=1"
    )
    arguments += f" --workers=1 --weights=relay=1 --abort=true --objectives={objectives}"
    settings = _settings(_parser().parse_args(arguments.split()))
    assert settings.objectives == (
        Objective(of="total", what="p99.9", at_most=500),
        Objective(of="relay", what="throughput", at_least=7),
    )
    assert settings.abort is True


@pytest.mark.parametrize(("seconds", "slower"), [(0.2499, 0), (0.251, 1)])
def test_a_request_is_slow_when_it_took_longer_than_the_limit(seconds, slower, with_objectives):
    histogram = new_histogram()
    count(histogram, seconds)
    settings = with_objectives(Objective(of="total", what="p100", at_most=250))
    assert bool(out_of_reach(settings, {"relay": histogram}, {})) is bool(slower)
