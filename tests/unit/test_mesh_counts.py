"""The module mesh_counts, on what proxies of Linkerd (edge releases of August 2026) told."""

from __future__ import annotations

from helpers.plugins import load

mesh_counts = load("modules", "mesh_counts")

# Shortened: the labels that are not read are left out.
INGRESS = """\
# HELP outbound_http_route_backend_requests The total number of requests dispatched
# TYPE outbound_http_route_backend_requests counter
outbound_http_route_backend_requests_total{parent_name="course",route_name="course-split",backend_name="direct"} 20
outbound_http_route_backend_requests_total{parent_name="course",route_name="course-split",backend_name="relay"} 17
outbound_http_route_backend_requests_total{parent_name="other",route_name="default",backend_name="relay"} 5
request_total{direction="inbound",target_addr="0.0.0.0:4191",tls="no_identity",no_tls_reason="no_tls_from_remote"} 3
request_total{direction="outbound",tls="true",dst_pod="direct-1",dst_service="direct"} 20
request_total{direction="outbound",tls="true",dst_pod="relay-1",dst_service="relay"} 11
request_total{direction="outbound",tls="true",dst_pod="relay-2",dst_service="relay"} 6
tcp_open_total{direction="outbound",peer="src",target_addr="10.43.2.196:80",tls="no_identity"} 1
tcp_open_total{direction="outbound",peer="dst",tls="true",dst_pod="relay-1",dst_service="relay"} 1
"""
LEDGER = """\
request_total{direction="inbound",target_addr="10.42.0.17:8010",tls="true",srv_name="ledger"} 181
tcp_open_total{direction="outbound",peer="dst",tls="true",dst_pod="mongodb-0",dst_service="mongodb"} 3
tcp_open_total{direction="outbound",peer="src",target_addr="10.43.233.235:27017",tls="no_identity"} 3
tcp_open_total{direction="outbound",peer="dst",tls="no_identity",dst_pod="mongodb-0",dst_service="mongodb"} 2
tcp_open_connections{direction="outbound",peer="dst",tls="true",dst_pod="mongodb-0",dst_service="mongodb"} 3
tcp_open_connections{direction="outbound",peer="src",target_addr="10.43.233.235:27017",tls="no_identity"} 3
"""


def test_requests_are_counted_by_backend_of_the_parent_that_is_asked_for() -> None:
    counts = mesh_counts.Counts()
    counts.add("ingress", INGRESS, "course")
    counts.add("ingress", INGRESS, "course")
    assert dict(counts.split) == {"direct": 40, "relay": 34}


def test_calls_are_counted_with_tls_and_without() -> None:
    counts = mesh_counts.Counts()
    counts.add("ingress", INGRESS, "course")
    counts.add("ledger", LEDGER, "course")
    assert counts.calls() == [
        {"caller": "ingress", "called": "direct", "of": "requests", "secured": 20, "plain": 0},
        {"caller": "ingress", "called": "relay", "of": "requests", "secured": 17, "plain": 0},
        {"caller": "ledger", "called": "mongodb", "of": "connections", "secured": 3, "plain": 2},
    ]


def test_what_went_without_tls_is_over_once_no_connection_is_left() -> None:
    counts = mesh_counts.Counts()
    counts.add("ledger", LEDGER, "course")
    assert counts.unsecured() == []
    still = 'direction="outbound",peer="dst",tls="no_identity",dst_pod="ledger-1",dst_service="ledger"'
    counts.add("relay", f"tcp_open_connections{{{still}}} 1\n", "course")
    assert counts.unsecured() == [{"caller": "relay", "called": "ledger", "connections": 1}]


def test_what_is_told_is_of_all_proxies_together_and_of_each() -> None:
    ingress, ledger, pair = mesh_counts.Counts(), mesh_counts.Counts(), mesh_counts.Counts()
    for counts, workload, page in ((ingress, "ingress", INGRESS), (ledger, "ledger", LEDGER), (pair, "ledger", LEDGER)):
        counts.add(workload, page, "course")
    told = mesh_counts.result({"ingress-1": ingress, "ledger-1": ledger, "ledger-2": pair}, {"redis-0": "no answer"})
    assert told["split"] == {"direct": 20, "relay": 17}
    assert told["calls"][-1] == {"caller": "ledger", "called": "mongodb", "of": "connections", "secured": 6, "plain": 4}
    assert told["proxies"]["ledger-2"] == {"split": {}, "calls": [told["calls"][-1] | {"secured": 3, "plain": 2}]}
    assert (sorted(told["proxies"]), told["silent"]) == (
        ["ingress-1", "ledger-1", "ledger-2"],
        {"redis-0": "no answer"},
    )


def test_a_proxy_that_has_counted_nothing_says_nothing() -> None:
    counts = mesh_counts.Counts()
    counts.add("redis", "# EOF\n", "course")
    assert (dict(counts.split), counts.calls()) == ({}, [])
