"""Settings and inventories that cannot be are refused, with a sentence each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from courseload.settings import checked, inventory_refusals, refusals

OF_A_MACHINE: dict[str, Any] = {
    "platform": "pods",
    "routes": {"relay": 50, "direct": "50"},
    "ingress_port": 8080,
    "ingress_address": "127.0.0.1",
    "ingress_tls": False,
    "ingress_names": [],
    "ingress_token": "true",
    "reader_port": 8030,
    "prometheus_port": "9090",
    "prometheus_retention": "15d",
    "prometheus_retention_size": "1GB",
    "prometheus_memory": "512Mi",
    "grafana_port": 3000,
    "grafana_memory": "1Gi",
}
OF_A_CLUSTER: dict[str, Any] = OF_A_MACHINE | {
    "platform": "k3s",
    "cluster_name": "courseload",
    "k3s_version": "v1.34.4-rc1+k3s1",
    "ingress_node_port": 30080,
    "cluster_pod_network": "10.42.0.0/16",
    "cluster_service_network": "10.43.0.0/16",
    "bundle_dir": "",
    "mesh": "none",
    "linkerd_version": "edge-26.10.1",
    "linkerd_dir": "",
    "registry_mirror": "http://user:secret@10.0.0.5:5000/path",
    "http_proxy": "",
    "firewall_allowed": ["192.0.2.7", "10.1.0.0/16", "2001:db8::/32"],
    "prometheus_write_port": 9091,
}
WRONG: dict[str, list[Any]] = {
    "platform": ["", "docker"],
    "routes": ["relay", {"relay": 0, "direct": 0}, {"relay": -5, "direct": 10}, {"relay": 0.5}, {"redis": 50}, {}],
    "ingress_port": [0, 65536, "abc", ""],
    "ingress_address": ["256.1.1.1", "1.2.3", "localhost", "1.2.3.4."],
    "ingress_tls": ["self-signed", {"certificate": "/etc/passwd"}, {"certificate": "/nowhere", "key": "/nowhere"}],
    "ingress_names": ["notes.example.org", ["notes example"], [""]],
    "ingress_token": ["secret", ""],
    "prometheus_retention": ["15", "0d"],
    "prometheus_retention_size": ["1GiB"],
    "prometheus_memory": ["512MB"],
    "cluster_name": ["a/b", ""],
    "k3s_version": ["1.34", "v1.34.4"],
    "ingress_node_port": [80, 29999, 32768],
    "cluster_pod_network": ["10.42.0.0", "10.42.0.1/16", "10.42.0.0/255.255.0.0", "fd00::/64"],
    "bundle_dir": ["/nowhere"],
    "mesh": ["istio"],
    "linkerd_dir": ["/nowhere"],
    "registry_mirror": ["10.0.0.5:5000"],
    "http_proxy": ["proxy", "http://"],
    "firewall_allowed": ["10.0.0.0/8", ["everyone"], ["10.0.0.1/8"]],
    "prometheus_write_port": [80, 8030, 9090, 3000, 5557, 70000],
}


def test_settings_that_can_be_are_not_refused(tmp_path: Path) -> None:
    assert refusals(OF_A_MACHINE) == refusals(OF_A_CLUSTER) == []
    (tmp_path / "bundle.yml").touch()
    assert refusals(OF_A_CLUSTER | {"bundle_dir": str(tmp_path), "linkerd_dir": str(tmp_path)}) == []
    (tmp_path / "key.pem").touch()
    files = {"certificate": str(tmp_path / "bundle.yml"), "key": str(tmp_path / "key.pem")}
    assert refusals(OF_A_MACHINE | {"ingress_tls": files, "ingress_names": ["notes.example.org", "2001:db8::1"]}) == []
    assert checked("pods") == list(OF_A_MACHINE)
    assert set(checked("k3s")) == set(OF_A_CLUSTER)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in WRONG for value in WRONG[name]], ids=str)
def test_one_that_cannot_be_is_refused_alone(name: str, value: Any) -> None:
    told = refusals(OF_A_CLUSTER | {name: value})
    assert len(told) == 1
    assert told[0].startswith(f"{name} must be ")


def test_the_sentence_has_the_value_without_a_password() -> None:
    assert refusals(OF_A_MACHINE | {"routes": {"relay": 0}}) == [
        "routes must be weights for relay and direct, whole numbers that are not all 0, like {relay: 90, direct: 10}, "
        'not {"relay": 0}.'
    ]
    (told,) = refusals(OF_A_CLUSTER | {"http_proxy": "ftp://user:secret@proxy"})
    assert told == 'http_proxy must be a URL, like http://10.0.0.5:3128, or empty, not "ftp://***@proxy".'


def test_networks_of_a_cluster_do_not_overlap() -> None:
    assert refusals(OF_A_CLUSTER | {"cluster_pod_network": "10.0.0.0/8"}) == [
        "cluster_pod_network 10.0.0.0/8 and cluster_service_network 10.43.0.0/16 overlap: choose two that do not."
    ]


GROUPS = {"servers": ["one"], "agents": ["two"], "ops": ["three"], "load": ["three", "four"]}


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"servers": []}, "The inventory has no servers: put one host into its group servers"),
        ({"servers": ["one", "five"]}, "The inventory has 2 servers, and their etcd needs a majority: put one host"),
        ({"ops": []}, "The inventory has no hosts in its group ops"),
        ({"ops": ["three", "four"]}, "The inventory has 2 hosts in its group ops"),
        ({"load": []}, "The inventory has no host to send load from"),
        ({"agents": ["one"]}, "one cannot be both"),
        ({"load": ["one", "two"]}, "one and two cannot be a node and in ops or load"),
    ],
    ids=str,
)
def test_a_cluster_needs_its_groups(groups: dict[str, list[str]], words: str) -> None:
    assert inventory_refusals(GROUPS, []) == []
    (told,) = inventory_refusals(GROUPS | groups, [])
    assert told.startswith(words)


def test_hosts_of_a_cluster_do_not_share_an_address() -> None:
    (told,) = inventory_refusals(GROUPS, ["one and two (192.0.2.1)"])
    assert told.startswith("one and two (192.0.2.1) have the same address in the inventory")
