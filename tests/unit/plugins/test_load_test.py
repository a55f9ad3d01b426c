"""The options of a load test, its workers, and its result in a few lines."""

from __future__ import annotations

from typing import Any

import pytest

from courseload import load_test

OPTIONS: dict[str, Any] = {
    "users": 100,
    "rate": 2,
    "arrivals": "closed",
    "spawn_rate": 20,
    "duration": "60s",
    "pool": 1000,
    "seed": 1,
    "slo_p99_ms": 500,
    "slo_failure_ratio": 0.01,
    "shape": "constant",
    "objectives": [],
    "abort": False,
    "ui": False,
}
ROUTES = ["relay", "direct"]
SHAPES = {"constant": [[0, 1], [1, 1]]}
POSSIBLE = [
    {},
    {"users": "999999", "spawn_rate": "99999"},
    {"rate": "0", "users": 1},
    {"rate": 0.5, "ui": "yes"},
    {"arrivals": "open"},
    {"duration": "5m"},
    {"seed": 0, "slo_failure_ratio": "1"},
]
IMPOSSIBLE = [
    ("users", 0),
    ("users", "1e3"),
    ("rate", "-1"),
    ("rate", "0.0001"),
    ("arrivals", "sometimes"),
    ("spawn_rate", 0),
    ("duration", "4s"),
    ("duration", "1d"),
    ("duration", "5s"),  # as long as the users take to start
    ("pool", 0),
    ("pool", 100001),
    ("seed", "x"),
    ("slo_p99_ms", 0),
    ("slo_failure_ratio", 1.1),
    ("shape", "wave"),
    ("abort", "never"),
    ("ui", "maybe"),
]


@pytest.mark.parametrize("options", POSSIBLE)
def test_what_is_possible_is_not_refused(options: dict[str, Any]) -> None:
    assert load_test.refusals(OPTIONS | options, ["here"], ROUTES, SHAPES) == []


@pytest.mark.parametrize(("name", "value"), IMPOSSIBLE)
def test_what_is_not_possible_is_refused_by_its_name_and_value(name: str, value: object) -> None:
    options = OPTIONS | {"users": 10 if name == "rate" else 100, "rate": 0.1 if name == "users" else 2} | {name: value}
    said = load_test.refusals(options, ["here"], ROUTES, SHAPES)
    assert said
    assert all(sentence.endswith(f", not '{options[sentence.split()[0]]}'.") for sentence in said)
    assert any(sentence.startswith(f"{name} must be ") for sentence in said)


@pytest.mark.parametrize(("users", "duration", "rate"), [(1, "8s", 0.05), (9, "10s", "0.011")])
def test_a_rate_at_which_no_request_falls_due_is_refused(users: int, duration: str, rate: object) -> None:
    options = OPTIONS | {"users": users, "duration": duration, "rate": rate}
    (said,) = load_test.refusals(options, ["here"], ROUTES, SHAPES)
    assert said.startswith("rate must be high enough for a request to fall due")
    assert said.endswith(f", not '{rate}'.")


def test_open_arrivals_need_a_rate() -> None:
    assert load_test.refusals(OPTIONS | {"arrivals": "open", "rate": 0}, ["here"], ROUTES, SHAPES) == [
        "rate must be above 0 with open arrivals, not '0'."
    ]


CAPACITY: dict[str, Any] = {
    "capacity_start_rate": 200,
    "capacity_step": "10s",
    "capacity_hold": "60s",
    "capacity_precision": 0.05,
    "capacity_limit": "12m",
    "capacity_replicas": "max",
    "clustered": True,
    "pool": 1000,
    "seed": 1,
    "objectives": OPTIONS["objectives"],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("capacity_start_rate", 0.5),
        ("capacity_step", "4s"),
        ("capacity_hold", "5s"),
        ("capacity_precision", 0),
        ("capacity_precision", 1.5),
        ("capacity_limit", "90s"),
        ("capacity_replicas", "most"),
        ("pool", 0),
        ("seed", "x"),
    ],
)
def test_a_search_that_is_not_possible_is_refused_by_the_name_and_value(name: str, value: object) -> None:
    assert load_test.capacity_refusals(CAPACITY, ["here"], ROUTES) == []
    (said,) = load_test.capacity_refusals(CAPACITY | {name: value}, ["here"], ROUTES)
    assert said.startswith(f"{name} must be ")
    assert said.endswith(f", not '{value}'.")


AB = {
    "a": {},
    "b": {"route_cpu": "500m"},
    "ab_rounds": 5,
    "ab_sample": "35s",
    "ab_rate": 0,
    "ab_users": 64,
    "capacity_replicas": "max",
    "clustered": True,
    "pool": 1000,
    "seed": 1,
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ab_rounds", 1),
        ("ab_rounds", "many"),
        ("ab_sample", "4s"),
        ("ab_rate", "fast"),
        ("ab_users", 0),
        ("capacity_replicas", "most"),
        ("pool", 0),
        ("a", "route_cpu=250m"),
    ],
)
def test_a_comparison_that_is_not_possible_is_refused_by_the_name_and_value(name: str, value: object) -> None:
    assert load_test.ab_refusals(AB, ["here"], []) == []
    (said,) = load_test.ab_refusals(AB | {name: value}, ["here"], [])
    assert said.startswith(f"{name} must be ")
    assert said.endswith(f", not '{value}'.")


def test_a_comparison_needs_settings_that_exist_and_that_differ() -> None:
    assert load_test.ab_refusals(AB, ["here"], ["rute_cpu"]) == [
        "rute_cpu is no setting: nothing by that name is known."
    ]
    (said,) = load_test.ab_refusals(AB | {"a": AB["b"]}, ["here"], [])
    assert said == "a and b are the same, so there is nothing to compare."


def test_each_round_begins_with_the_side_that_the_last_one_ended_with() -> None:
    order = [(sample["round"], sample["side"]) for sample in load_test.ab_samples("3")]
    assert order == [(1, "a"), (1, "b"), (2, "b"), (2, "a"), (3, "a"), (3, "b")]


def test_replicas_are_held_in_a_cluster_only() -> None:
    options = CAPACITY | {"clustered": False}
    (said,) = load_test.capacity_refusals(options, ["here"], ROUTES)
    assert said == "capacity_replicas must be scaling where there is no cluster, not 'max'."
    assert load_test.capacity_refusals(options | {"capacity_replicas": "scaling"}, ["here"], ROUTES) == []


def test_a_search_asks_for_other_rates_than_a_throughput_would_allow() -> None:
    wanted = [{"of": "total", "what": "throughput", "at_least": 195}]
    (said,) = load_test.capacity_refusals(CAPACITY | {"objectives": wanted}, ["here"], ROUTES)
    assert said.startswith("objectives must be without a throughput")


def test_objectives_are_checked_with_the_load_that_is_asked_for() -> None:
    wanted = {"of": "total", "what": "throughput", "at_least": 201}
    (told,) = load_test.refusals(OPTIONS | {"objectives": [wanted]}, ["here"], ROUTES, SHAPES)
    assert "up to the 200 that are asked for (users times rate), not '201'" in told
    assert load_test.refusals(OPTIONS | {"objectives": [wanted], "rate": 0}, ["here"], ROUTES, SHAPES) == []


def test_notes_are_posted_to_all_addresses() -> None:
    assert (
        load_test.target(["192.0.2.1", "192.0.2.2"], "http", 30080) == "http://192.0.2.1:30080,http://192.0.2.2:30080"
    )
    assert load_test.target(["ingress"], "https", "8080") == "https://ingress:8080"
    assert load_test.target([], "http", 30080) == ""


def test_a_load_test_needs_a_host_that_sends_the_load() -> None:
    assert load_test.refusals(OPTIONS, [], ROUTES, SHAPES) == [
        "the group load must be hosts of the inventory that send the load, not ''."
    ]


@pytest.mark.parametrize(("duration", "seconds"), [("60s", 60), ("5m", 300), ("1h", 3600), (90, 90), ("soon", 0)])
def test_a_duration_is_so_many_seconds(duration: object, seconds: int) -> None:
    assert load_test.seconds(duration) == seconds


def test_each_core_has_a_worker_and_each_host_the_pods_of_its_own() -> None:
    cores = {name: {"ansible_facts": {"processor_vcpus": number}} for name, number in (("a", 2), ("b", 1))}
    workers = load_test.workers(["a", "b"], cores)
    assert [(worker["host"], worker["name"]) for worker in workers] == [
        ("a", "locust-worker-1"),
        ("a", "locust-worker-2"),
        ("b", "locust-worker-3"),
    ]
    assert list(load_test.pods_on("b", workers, {"locust-master": {}})) == ["locust-master", "locust-worker-3"]
    assert list(load_test.pods_on("a", workers, {})) == ["locust-worker-1", "locust-worker-2"]


def summary(**more: Any) -> dict[str, Any]:
    routes = {"relay": {"share": 0.5004, "replicas": None}, "direct": {"share": 0.4996, "replicas": [1, 3]}}
    return {
        "verdict": "pass",
        "requests": 100,
        "rps": 10.0,
        "latency_ms": {"p50": 1.5, "p99": 9.0},
        "failures": 0,
        "routes": routes,
        "reconciliation": {"mongodb": {"acknowledged": 100, "missing": 0}, "redis": {"missing": 0}},
        "generator": {"workers": 2, "cpu": 0.412, "busiest_cpu": 0.87, "waited": 0.021},
        "warnings": [],
    } | more


def test_a_run_is_summed_up_in_seven_lines() -> None:
    assert load_test.sum_up(summary(), None, "/reports/report.html") == [
        "PASS: 100 requests, 10.0 a second, p50 1.5 ms, p99 9.0 ms, 0 failed",
        "Split: relay 50.0 %, direct 50.0 %; replicas: direct 1-3",
        "Shared by the ingress: there is no mesh.",
        "MongoDB: acknowledged 100, missing 0",
        "Redis: missing 0",
        "Load generator: 2 workers, 41 % of a core each, the busiest up to 87 %; waited for a core 2 % of the time",
        "Report: /reports/report.html",
    ]


def test_a_warning_has_a_line_of_its_own_and_a_run_without_workers_is_summed_up_too() -> None:
    warned = load_test.sum_up(summary(warnings=["Worker 1 (host) used 87% of its core."]), None, "")
    assert warned[-2] == "Warning: Worker 1 (host) used 87% of its core."
    assert load_test.sum_up(summary(generator=None), None, "")[5] == "Load generator: not known"


def test_what_was_not_reconciled_is_not_known_and_the_mesh_tells_what_it_counted() -> None:
    mesh = {"split": {"relay": 1}, "calls": [], "silent": {}}
    lines = load_test.sum_up(summary(reconciliation=None), mesh, "")
    assert lines[2].startswith("Shared by the mesh, as its proxies counted: relay 1;")
    assert lines[3:5] == ["MongoDB: not known", "Redis: not known"]
