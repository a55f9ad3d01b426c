"""What follows from the descriptions of workloads."""

from __future__ import annotations

from typing import Any

from courseload.workloads import credentials_seen_by
from helpers.plugins import load

filters: dict[str, Any] = load("filter", "courseload").FILTERS

WORKLOADS: dict[str, Any] = {
    "mongodb": {"credentials": {"uri": "mongodb://{password}"}},
    "redis": {"credentials": {"uri": "redis://{password}"}},
    "ledger": {"calls": ["mongodb"]},
    "relay": {"calls": ["ledger"]},
}


def test_only_workloads_that_have_credentials_are_listed_with_them() -> None:
    wanted = filters["credentials_of"](["ledger", "redis"], WORKLOADS)
    assert wanted == {"redis": {"uri": "redis://{password}"}}


def test_the_first_description_of_a_workload_counts() -> None:
    other = {"redis": {"credentials": {"other": ""}}, "grafana": {"credentials": {"admin": "{password}"}}}
    wanted = filters["credentials_of"](["redis", "grafana"], WORKLOADS, other)
    assert wanted == {"redis": {"uri": "redis://{password}"}, "grafana": {"admin": "{password}"}}


def test_a_workload_sees_its_own_credentials_those_of_what_it_calls_and_those_it_asks_for() -> None:
    seen = credentials_seen_by
    assert seen("redis", WORKLOADS["redis"], WORKLOADS) == ["redis"]
    assert seen("ledger", WORKLOADS["ledger"], WORKLOADS) == ["mongodb"]
    assert seen("relay", WORKLOADS["relay"], WORKLOADS) == []
    asking = {"credentials": {"admin": "{password}"}, "calls": ["redis", "elsewhere"], "credentials_of": ["cluster"]}
    assert seen("grafana", asking, WORKLOADS) == ["grafana", "redis", "cluster"]


def test_a_workload_whose_credentials_are_no_files_has_none() -> None:
    workloads: dict[str, Any] = {"ingress": {"credentials": {}}}
    assert filters["credentials_of"](["ingress"], workloads) == {}
    assert credentials_seen_by("ingress", workloads["ingress"], workloads) == []


def test_an_artifact_is_unpacked_under_its_version() -> None:
    artifacts = {"plugin": {"file": "plugin-1.2.0.zip"}, "other": {"file": "other-1.zip"}}
    assert filters["unpacked_at"](["plugin"], "/var/lib/a", artifacts) == {"plugin": "/var/lib/a/plugin-1.2.0"}


def test_the_ports_of_each_are_forwarded_by_a_container_of_its_own() -> None:
    forwards = filters["port_forwards"](["redis"], {"redis": {"port": 6379, "reading_port": 6380}}, "/run/kubeconfig")
    assert list(forwards) == ["forward-redis"]
    assert forwards["forward-redis"]["command"] == ["port-forward", "redis-0", "6379", "6380"]
    assert forwards["forward-redis"]["env"] == {"KUBECONFIG": "/run/kubeconfig"}


def test_a_quantity_of_cpu_is_a_number_of_cores() -> None:
    assert [filters["cpu_cores"](quantity) for quantity in ("250m", "2", 1, 0.5)] == [0.25, 2, 1, 0.5]


def test_a_published_port_has_the_name_of_its_workload() -> None:
    workloads = {"ingress": {"publish": {"address": "127.0.0.1", "port": 8080}}, "relay": {}}
    assert filters["published_ports"](workloads) == [{"name": "ingress", "address": "127.0.0.1", "port": 8080}]
    several = {"gate": {"publish": [{"address": "192.0.2.1", "port": 1}, {"address": "127.0.0.1", "port": 2}]}}
    assert [(port["name"], port["port"]) for port in filters["published_ports"](several)] == [("gate", 1), ("gate", 2)]


def test_the_most_pods_are_those_that_scaling_allows_or_a_fixed_number() -> None:
    described = {"relay": {"scale": {"min": 1, "max": 3}}, "ingress": {"replicas": 2}, "ledger": {}}
    assert filters["most_pods"](described) == {"relay": 3, "ingress": 2, "ledger": 1}
