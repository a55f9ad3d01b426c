"""The verdict: each reason for itself, and none without cause."""

import msgspec
import pytest

from loadgen.collector import LatencyDetail, Load, WorkerRow
from loadgen.latency import Latency
from loadgen.reconcile import Reconciled, Reconciliation
from loadgen.summary import summarise
from loadgen.verdict import judge


def detail(requests, p99=20.0):
    return LatencyDetail(requests, Latency(5, 10, p99, 50), [])


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
)
FOUND = Reconciliation(Reconciled(1200, 1200, 0, 0, 0), Reconciled(600, 600, 0, 0, 0))


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
        ({"total": detail(1200, p99=251)}, "p99 was 251 ms, the SLO is 250 ms."),
        ({"failures": 13, "errors": {"relay": {"HTTP 503": 13}}}, "1.08% of the requests failed (13 × HTTP 503)"),
        ({"acknowledged": {}}, "No note was acknowledged"),
        ({"unsent": 100}, "100 requests were due but never sent"),
        ({"users_reached": 9}, "Only 9 of 10 users were at work"),
        ({"routes": {"relay": detail(1200)}}, "No request took the route direct, though its weight is 50"),
        ({"routes": {**HEALTHY.routes, "other": detail(7)}}, "7 requests took the route other, which is not in"),
        (worker(complete=False, silent_s=7), "Worker 1 (host) was lost"),
        (worker(silent_s=6), "Worker 1 (host) was silent for 6 s"),
        (worker(busiest_cpu=0.91), "Worker 1 (host) used 91% of its core"),
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
        ({"mongodb": Reconciled(1200, 1199, 1, 0, 0)}, "1 of 1,200 acknowledged notes are missing in MongoDB"),
        ({"mongodb": Reconciled(1200, 1200, 0, 2, 0)}, "MongoDB: 2 documents were stored that no request accounts for"),
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
