"""The verdict: each reason for itself, and none without cause."""

from functools import partial

import msgspec
import pytest

from loadgen.attempted import Reported
from loadgen.collector import LatencyDetail, Load, WorkerRow
from loadgen.latency import Latency
from loadgen.reconcile import Reconciled, ReconciledDocuments, Reconciliation
from loadgen.settings import Objective
from loadgen.summary import Generator, summarise
from loadgen.verdict import judge


def detail(requests, p99=20.0):
    return LatencyDetail(requests, Latency(5, 10, p99, 50), [], {99.0: p99} if requests else {})


HEALTHY = Load(
    started_at=1000.0,
    ended_at=1060.0,
    requests=1200,
    failures=0,
    unsent=0,
    acknowledged={"relay": 600, "direct": 600},
    total=detail(1200),
    routes={"relay": detail(600), "direct": detail(600)},
    series=[],
    errors={},
    workers=[WorkerRow("host_1", requests=1200, complete=True, busiest_cpu=0.3, clock_ahead_s=-0.002)],
    lost_attempts={},
    users_reached=10,
    unknown=0,
)
FOUND = Reconciliation(ReconciledDocuments(1200, 1200, 0, 0, 0), Reconciled(600, 600, 0, 0, 0), Reported(1200))


FAILURES = partial(Objective, of="total", what="failure_ratio")


def worker(**fields):
    return {"workers": [msgspec.structs.replace(HEALTHY.workers[0], **fields)]}


def test_a_run_without_any_note_names_one_place_to_look_at(settings):
    nodes = msgspec.structs.replace(settings, target="http://10.0.0.1:30080,http://10.0.0.2:30080")
    nothing = msgspec.structs.replace(HEALTHY, acknowledged={"relay": 0, "direct": 0})
    (told,) = judge(nodes, nothing, FOUND).reasons
    assert told.startswith("No note was acknowledged: check that http://10.0.0.1:30080/course answers")


def test_a_run_after_which_a_database_is_away_fails_with_what_is_not_known(settings):
    (told,) = judge(settings, HEALTHY, "Redis did not answer for 60 s (ConnectionError)").reasons
    assert told.startswith("Whether every acknowledged note is stored is not known: Redis did not answer for 60 s")


def test_a_healthy_run_passes(settings):
    verdict = judge(settings, HEALTHY, FOUND)
    assert (verdict.verdict, verdict.reasons) == ("pass", [])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"total": detail(1200, p99=251)}, "p99 was 251 ms, the objective is at most 250 ms."),
        ({"failures": 13, "errors": {"relay": {"HTTP 503": 13}}}, "1.08% of the requests failed (13 × HTTP 503)"),
        ({"acknowledged": {}}, "No note was acknowledged"),
        ({"unsent": 100}, "100 requests were due but never sent"),
        ({"users_reached": 9}, "Only 9 of 10 users were at work"),
        ({"routes": {"relay": detail(1200)}}, "No request took the route direct, though its weight is 50"),
        ({"routes": {**HEALTHY.routes, "other": detail(7)}}, "7 requests took the route other, which is not in"),
        (worker(complete=False, silent_s=7), "Worker 1 (host) was lost"),
        (worker(silent_s=6), "Worker 1 (host) was silent for 6 s"),
        (worker(busiest_cpu=0.91), "Worker 1 (host) used 91% of its core"),
        (worker(held_back=0.4), "Worker 1 (host) was held back by its CPU limit 40% of the time"),
        (worker(clock_ahead_s=-3.0), "Worker 1 (host) has a clock that is 3.0 s behind the master's"),
    ],
)
def test_a_run_fails_for_exactly_one_reason(settings, change, reason):
    verdict = judge(settings, msgspec.structs.replace(HEALTHY, **change), FOUND)
    assert verdict.verdict == "fail"
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].startswith(reason)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({"mongodb": ReconciledDocuments(1200, 1199, 1, 0, 0)}, "1 of 1,200 acknowledged notes are missing in MongoDB"),
        (
            {"mongodb": ReconciledDocuments(1200, 1200, 0, 2, 0)},
            "MongoDB: 2 documents were stored that no request accounts for",
        ),
        ({"redis": Reconciled(600, 599, 1, 0, 0)}, "1 of 600 acknowledged notes are missing in Redis's counters"),
        ({"redis": Reconciled(600, 600, 0, 1, 0)}, "Redis's counters: 1 notes too many were counted"),
    ],
)
def test_a_single_lost_or_duplicated_note_fails_the_run(settings, found, reason):
    (told,) = judge(settings, HEALTHY, msgspec.structs.replace(FOUND, **found)).reasons
    assert told.startswith(reason)


def test_the_limits_themselves_are_met(settings):
    load = msgspec.structs.replace(HEALTHY, total=detail(1200, p99=250), failures=12)
    assert judge(settings, load, FOUND).verdict == "pass"


@pytest.mark.parametrize(("busiest_cpu", "warned"), [(0.849, False), (0.85, True), (0.90, True), (0.91, False)])
def test_a_worker_near_its_limit_is_a_warning_and_no_reason_to_fail(settings, busiest_cpu, warned):
    """Above the limit it is a reason, and needs no warning beside it."""
    verdict = judge(settings, msgspec.structs.replace(HEALTHY, **worker(busiest_cpu=busiest_cpu)), FOUND)
    assert bool(verdict.warnings) is warned
    assert bool(verdict.reasons) is (busiest_cpu > 0.9)


def test_the_warning_says_what_to_do(settings):
    (told,) = judge(settings, msgspec.structs.replace(HEALTHY, **worker(busiest_cpu=0.87)), FOUND).warnings
    assert told == (
        "Worker 1 (host) used 87% of its core in its busiest 5 s, and above 90% the generator is the limit: "
        "add workers or load hosts before you ask for more."
    )


def test_the_summary_says_how_near_its_limit_the_generator_was(settings):
    workers = [
        WorkerRow("a_1", cpu=0.2, busiest_cpu=0.3, waited=0.1, held_back=0.2),
        WorkerRow("b_2", cpu=0.5, busiest_cpu=0.86),
    ]
    load = msgspec.structs.replace(HEALTHY, workers=workers)
    verdict = judge(settings, load, FOUND)
    summary = summarise(settings, load, FOUND, verdict)
    assert summary.generator == Generator(workers=2, cpu=0.35, busiest_cpu=0.86, waited=0.05, held_back=0.2)
    assert summary.warnings == verdict.warnings != []


def test_a_run_shorter_than_the_busiest_seconds_is_judged_by_the_whole_of_it(settings):
    load = msgspec.structs.replace(HEALTHY, workers=[WorkerRow("a_1", cpu=0.4)])
    assert summarise(settings, load, FOUND, judge(settings, load, FOUND)).generator == Generator(1, 0.4, 0.4, 0.0)


def test_a_run_without_workers_has_no_generator_to_speak_of(settings):
    load = msgspec.structs.replace(HEALTHY, workers=[])
    assert summarise(settings, load, FOUND, judge(settings, load, FOUND)).generator is None


def test_a_worker_that_was_kept_from_running_is_named_beside_a_missed_p99(settings):
    load = msgspec.structs.replace(HEALTHY, total=detail(1200, p99=300), **worker(longest_pause_ms=280))
    (reason,) = judge(settings, load, FOUND).reasons
    assert "a worker was itself kept from running for up to 280 ms" in reason


def test_a_route_without_weight_may_stay_without_traffic(settings):
    only_relay = msgspec.structs.replace(settings, weights={"relay": 100, "direct": 0})
    load = msgspec.structs.replace(HEALTHY, routes={"relay": detail(1200)})
    assert judge(only_relay, load, FOUND).verdict == "pass"


def test_the_summary_says_what_scripts_read(settings):
    summary = msgspec.to_builtins(summarise(settings, HEALTHY, FOUND, judge(settings, HEALTHY, FOUND)))
    assert summary["verdict"] == "pass"
    assert (summary["users"], summary["duration_s"], summary["requests"], summary["failures"]) == (10, 60.0, 1200, 0)
    assert summary["rps"] == 20.0
    assert set(summary["latency_ms"]) == {"p50", "p95", "p99", "max"}
    assert {route: figures["share"] for route, figures in summary["routes"].items()} == {"relay": 0.5, "direct": 0.5}
    for database in ("mongodb", "redis"):
        assert set(summary["reconciliation"][database]) >= {"acknowledged", "stored", "missing", "duplicated"}


def test_failures_without_a_route_do_not_count_in_the_split(settings):
    load = msgspec.structs.replace(HEALTHY, routes={**HEALTHY.routes, "no route": detail(5)})
    summary = summarise(settings, load, FOUND, judge(settings, load, FOUND))
    assert summary.unrouted == 5
    assert sum(route.share for route in summary.routes.values()) == 1.0


@pytest.mark.parametrize(
    ("weights", "routes"),
    [
        ({"relay": 50, "direct": 50}, {"relay": detail(1)}),
        ({"relay": 50, "direct": 50}, {"relay": detail(20)}),
        ({"relay": 99, "direct": 1}, {"relay": detail(80)}),
        ({"relay": 99, "direct": 1}, {"relay": detail(1443)}),
        ({"relay": 50, "direct": 50}, {"no route": detail(500)}),
    ],
)
def test_few_requests_may_leave_a_route_without_any(settings, weights, routes):
    load = msgspec.structs.replace(HEALTHY, routes=routes)
    assert judge(msgspec.structs.replace(settings, weights=weights), load, FOUND).verdict == "pass"


@pytest.mark.parametrize(
    ("weights", "requests"), [({"relay": 50, "direct": 50}, 21), ({"relay": 99, "direct": 1}, 1444)]
)
def test_so_many_that_chance_does_not_explain_it_do_not(settings, weights, requests):
    load = msgspec.structs.replace(HEALTHY, routes={"relay": detail(requests)})
    (reason,) = judge(msgspec.structs.replace(settings, weights=weights), load, FOUND).reasons
    assert reason.startswith("No request took the route direct")


@pytest.mark.parametrize(
    ("relay", "direct", "off"),
    [
        (1, 0, False),
        (12, 8, False),
        (60, 40, False),
        (600, 400, True),
        (540, 460, False),
        (5_400_000, 4_600_000, False),
    ],
)
def test_a_split_is_off_where_it_matters_and_chance_does_not_explain_it(settings, relay, direct, off):
    load = msgspec.structs.replace(HEALTHY, routes={"relay": detail(relay), "direct": detail(direct)})
    summary = summarise(settings, load, FOUND, judge(settings, load, FOUND))
    assert [route.off for route in summary.routes.values()] == [off, off]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"total": detail(1200, p99=250.4)}, "p99 was 250.4 ms, the objective is at most 250 ms."),
        ({"total": detail(1200, p99=61_234.5)}, "p99 was 61,234 ms, the objective is at most 250 ms."),
        (
            {"requests": 99_960, "failures": 1000, "errors": {"relay": {"HTTP 503": 1000}}},
            "1.0004% of the requests failed (1,000 × HTTP 503), the objective is at most 1%.",
        ),
    ],
)
def test_what_is_just_beyond_a_limit_does_not_read_like_the_limit(settings, change, reason):
    (told,) = judge(settings, msgspec.structs.replace(HEALTHY, **change), FOUND).reasons
    assert told == reason


def test_one_failure_in_millions_is_not_none(settings):
    strict = msgspec.structs.replace(settings, objectives=(FAILURES(at_most=0),))
    load = msgspec.structs.replace(HEALTHY, requests=5_000_000, failures=1, errors={"relay": {"HTTP 503": 1}})
    (told,) = judge(strict, load, FOUND).reasons
    assert told.startswith("0.00002% of the requests failed (1 × HTTP 503), the objective is at most 0%.")
    summary = summarise(strict, load, FOUND, judge(strict, load, FOUND))
    assert summary.failure_ratio == 2e-7


def test_without_a_request_no_objective_is_met(settings):
    load = msgspec.structs.replace(HEALTHY, requests=0, acknowledged={}, routes={}, total=detail(0, p99=0))
    verdict = judge(settings, load, FOUND)
    assert [reason.partition(":")[0] for reason in verdict.reasons] == ["No note was acknowledged"]
    objectives = summarise(settings, load, FOUND, verdict).objectives
    assert [(outcome.measured, outcome.met) for outcome in objectives] == [(None, False), (None, False)]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({"altered": 2}, "MongoDB: 2 notes have other texts than were sent"),
        ({"misrouted": 1}, "MongoDB: 1 notes are stored as those of another route"),
        ({"appeared": 3}, "MongoDB: 3 documents appeared that are not this run's"),
        ({"vanished": 1}, "MongoDB: 1 documents that were there before the run are gone"),
    ],
)
def test_each_difference_of_a_document_is_a_reason_by_itself(settings, found, reason):
    documents = msgspec.structs.replace(FOUND.mongodb, **found)
    (told,) = judge(settings, HEALTHY, msgspec.structs.replace(FOUND, mongodb=documents)).reasons
    assert told.startswith(reason)


@pytest.mark.parametrize(
    ("reported", "reason"),
    [
        ({"unread": 1}, "1 ids that the workers reported could not be read back"),
        ({"unreported": 1}, "1 ids more were read back than the workers say they reported"),
        ({"repeated": 1}, "1 ids were reported more than once"),
    ],
)
def test_ids_that_do_not_add_up_fail_the_run(settings, reported, reason):
    (told,) = judge(settings, HEALTHY, msgspec.structs.replace(FOUND, reported=Reported(1200, **reported))).reasons
    assert told.startswith(reason)
