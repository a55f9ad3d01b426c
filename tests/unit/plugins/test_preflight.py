"""Why a host cannot carry the system: each reason is a sentence with what to do, and a good host has none."""

from __future__ import annotations

from typing import Any

import pytest

from courseload import preflight
from helpers.plugins import load

FACTS: dict[str, Any] = {
    "distribution": "Debian",
    "distribution_version": "12.5",
    "distribution_major_version": "12",
    "user_uid": 0,
    "service_mgr": "systemd",
    "architecture": "x86_64",
    "hostname": "server-1",
    "default_ipv4": {"address": "192.0.2.1"},
    "all_ipv4_addresses": ["192.0.2.1"],
    "eth0": {"ipv4": {"network": "192.0.2.0", "prefix": "24"}},
    "locally_reachable_ips": {"ipv4": ["127.0.0.0/8", "192.0.2.1"]},
    "lo": {"ipv4": {"network": "127.0.0.0", "prefix": ""}},
}
FOUND: dict[str, Any] = {
    "memory_mb": 2000,
    "disk": {"mount": "/var", "free_mb": 9000},
    "images_missing": [],
    "ports_taken": [],
    "cgroup": 2,
    "controllers": ["cpu", "cpuset", "memory", "pids"],
    "modules_missing": [],
    "k3s": False,
    "listeners": [],
}
NODE: dict[str, Any] = {
    "name": "one",
    "memory_mb": 1500,
    "disk_mb": "6000",  # as -e gives it
    "networks": ["10.42.0.0/16", "10.43.0.0/16"],
    "ports": [6443, 10250],
}
MEMBER: dict[str, Any] = {
    "name": "one",
    "node": True,
    "beside": False,
    "address": "192.0.2.1",
    "clock_s": -3.2,
    "skew_s": 30,
    "architectures": ["x86_64", "aarch64"],
    "firewalls": [],
    "ports": [{"port": "6443", "protocol": "tcp"}, {"port": "2379-2380", "protocol": "tcp"}],
    "node_port": 30080,
    "networks": ["10.42.0.0/16", "10.43.0.0/16"],
    "needs_way_in": True,
    "control_address": "198.51.100.7",
    "ssh": "user root\nproxycommand none\n",
}


def said(refusals: list[str]) -> str:
    """The one sentence that is expected."""
    assert len(refusals) == 1, refusals
    return refusals[0]


def test_a_good_host_is_refused_nowhere() -> None:
    assert preflight.system_refusals(FACTS) == []
    assert preflight.pod_host_refusals(FOUND, [], {}, 1800, 8000) == []
    assert preflight.node_refusals(FOUND, FACTS, NODE) == []
    assert preflight.member_refusals(FACTS, MEMBER) == []
    assert (
        preflight.cluster_refusals({"one": {"ansible_facts": FACTS}}, nodes=["one"], addresses={}, hosts=["one"]) == []
    )


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            {"distribution": "Fedora", "distribution_major_version": "42"},
            "This host runs Fedora: use a host with Debian 12",
        ),
        (
            {"distribution_version": "11.9", "distribution_major_version": "11"},
            "Debian 11.9 is too old for what will run",
        ),
        (
            {"distribution": "Ubuntu", "distribution_version": "22.04", "distribution_major_version": "22"},
            "Ubuntu 22.04",
        ),
        ({"user_uid": 1000}, "Run this as root (for example with sudo)"),
    ],
)
def test_the_system_and_the_user_are_named(facts: dict[str, Any], words: str) -> None:
    assert words in said(preflight.system_refusals(FACTS | facts))


class TestHostOfPods:
    PORT: dict[str, Any] = {"name": "ingress", "address": "127.0.0.1", "port": 8080, "setting": "ingress_port"}  # noqa: RUF012

    def refusals(self, published: dict[str, list[int]] | None = None, **found: Any) -> list[str]:
        return preflight.pod_host_refusals(FOUND | found, [self.PORT], published or {}, 1800, 8000)

    def test_a_port_in_use_is_named_with_the_setting_that_chooses_another(self) -> None:
        assert said(self.refusals(ports_taken=[self.PORT])) == (
            "Port 8080 on 127.0.0.1 is in use and ingress needs it: stop what listens there "
            "(ss -ltnp 'sport = :8080' names it), or choose another with -e ingress_port=...."
        )

    def test_a_port_that_the_pod_itself_has_is_good_and_that_of_another_pod_is_not(self) -> None:
        assert self.refusals({"ingress": [8080]}, ports_taken=[self.PORT]) == []
        assert self.refusals({"prometheus": [8080]}, ports_taken=[self.PORT]) != []

    def test_the_same_port_of_another_address_does_not_count(self) -> None:
        assert self.refusals(ports_taken=[self.PORT | {"address": "192.0.2.1"}]) == []

    def test_too_little_memory(self) -> None:
        words = "This host has 1000 MiB of memory and 1800 are needed: use a larger host, or set host_memory_mb"
        assert words in said(self.refusals(memory_mb=1000))

    def test_space_counts_while_an_image_is_missing(self) -> None:
        full: dict[str, Any] = {"disk": {"mount": "/var", "free_mb": 100}}
        assert self.refusals(**full) == []
        words = "100 MiB are free on /var and 8000 are needed for images and data: free some space"
        assert words in said(self.refusals(**full, images_missing=["redis"]))


class TestNode:
    def refusals(
        self, facts: dict[str, Any] | None = None, node: dict[str, Any] | None = None, **found: Any
    ) -> list[str]:
        return preflight.node_refusals(FOUND | found, FACTS | (facts or {}), NODE | (node or {}))

    def test_what_lacks_in_the_kernel_is_named(self) -> None:
        assert "for memory, pids, without which" in said(self.refusals(controllers=["cpu", "cpuset"]))
        assert "one has a kernel without nf_tables" in said(self.refusals(modules_missing=["nf_tables", "overlay"]))
        assert self.refusals(modules_missing=["overlay"]) == [], "that is a warning"
        assert "one is run by init, and systemd has to" in said(self.refusals({"service_mgr": "init"}))

    def test_what_is_free_before_k3s_is_there_need_not_be_after_it(self) -> None:
        wrong: dict[str, Any] = {
            "disk": {"mount": "/", "free_mb": 10},
            "listeners": [{"port": 6443, "name": "k3s-server", "pid": 7}, {"port": 22, "name": "sshd", "pid": 1}],
        }
        facts = {"cni0": {"ipv4": {"network": "10.42.1.0", "prefix": "24"}}}
        disk, network, ports = self.refusals(facts, **wrong)
        assert "one has 10 MiB free on / and 6000 are needed for images and data" in disk
        assert (
            "one is in the network 10.42.1.0/24, which overlaps the cluster's own (10.42.0.0/16, 10.43.0.0/16)"
            in network
        )
        assert ports == "On one, port 6443 is in use by k3s-server (7), and k3s needs it: stop what listens there."
        assert self.refusals(facts, **wrong, k3s=True) == []

    def test_a_network_around_the_clusters_own_overlaps_too(self) -> None:
        assert "10.0.0.0/8" in said(self.refusals({"eth0": {"ipv4": {"network": "10.0.0.0", "prefix": "8"}}}))

    def test_ports_of_whom_nobody_knows_are_named_once(self) -> None:
        unknown = [{"port": port, "name": "", "pid": 0} for port in (6443, 10250, 6443)]
        words = "port 6443 is in use and port 10250 is in use, and k3s needs them"
        assert words in said(self.refusals(listeners=unknown))


class TestMember:
    def refusals(self, facts: dict[str, Any] | None = None, **member: Any) -> list[str]:
        return preflight.member_refusals(FACTS | (facts or {}), MEMBER | member)

    @pytest.mark.parametrize(
        ("seconds", "words"), [(40.4, "one's clock is 40 s ahead of this"), (-31.0, "one's clock is 31 s behind this")]
    )
    def test_a_clock_that_is_off_is_named(self, seconds: float, words: str) -> None:
        assert words in said(self.refusals(clock_s=seconds))

    def test_a_node_needs_an_address_of_its_own(self) -> None:
        assert "one's host_address 192.0.2.9 is on none of its interfaces" in said(self.refusals(address="192.0.2.9"))
        assert "one has no address for the others to use: give it one" in self.refusals(address="")[0]
        assert "one's host_address name is no IPv4 address" in self.refusals(address="name")[0]
        assert self.refusals(address="192.0.2.9", node=False, beside=True) == [], "what is beside may be behind a NAT"
        assert self.refusals(address="", node=False) == [], "nobody asks what only builds"

    def test_a_node_needs_a_default_route_and_a_name_that_kubernetes_takes(self) -> None:
        assert "one has no default route" in said(self.refusals({"default_ipv4": {}}))
        for name in ("Server_1", "-a", "a.b", "a" * 64):
            assert f"one's host name is {name}, and" in said(self.refusals({"hostname": name}))
        assert self.refusals({"hostname": "Server_1", "default_ipv4": {}}, node=False, beside=True) == []

    def test_what_is_beside_the_cluster_needs_systemd(self) -> None:
        assert "one is run by init" in said(self.refusals({"service_mgr": "init"}, node=False, beside=True))

    def test_another_architecture_is_named(self) -> None:
        assert "one is riscv64: use hosts with amd64" in said(self.refusals({"architecture": "riscv64"}))

    def test_a_firewall_of_somebody_else_is_named_with_what_to_let_in(self) -> None:
        words = said(self.refusals(firewalls=["ufw", "firewalld"]))
        assert "one's ufw and firewalld would block" in words
        assert (
            "let in 6443/tcp, 2379:2380/tcp, 30080/tcp, and all that comes from 10.42.0.0/16 and 10.43.0.0/16," in words
        )
        assert "(ufw disable; systemctl disable --now firewalld)" in words
        assert "30080" not in said(self.refusals(firewalls=["ufw"], node=False, beside=True))
        assert self.refusals(firewalls=["ufw"], node=False, beside=True, ports=[]) == [], "nothing comes in there"

    @pytest.mark.parametrize(
        ("way", "words"),
        [
            ({"control_address": ""}, "since SSH does not say from which address it comes"),
            ({"control_address": "2001:db8::7"}, "since SSH comes from 2001:db8::7"),
            ({"ssh": "user root\nproxyjump bastion.example\n"}, "by way of another host (proxyjump bastion.example)"),
        ],
    )
    def test_a_way_in_that_says_nothing_of_this_machines_address_is_named(
        self, way: dict[str, Any], words: str
    ) -> None:
        assert words in said(self.refusals(**way))
        assert self.refusals(**way, needs_way_in=False) == []


def test_what_must_differ_or_be_the_same_is_named_with_its_hosts() -> None:
    names = {"one": "a", "two": "A", "three": "c"}
    hosts = {host: {"ansible_facts": FACTS | {"hostname": name}} for host, name in names.items()}
    hosts["three"]["ansible_facts"]["architecture"] = "aarch64"
    addresses = {"one": "192.0.2.1", "two": "192.0.2.2", "three": "192.0.2.1"}
    same_name, same_address, mixed = preflight.cluster_refusals(hosts, nodes=hosts, addresses=addresses, hosts=hosts)
    assert same_name.startswith("one and two are both called a: Kubernetes knows nodes by their host name")
    assert same_address.startswith("one and three both have the address 192.0.2.1: set host_address")
    assert "(x86_64: one, two; aarch64: three)" in mixed


def test_every_function_that_the_role_calls_is_a_filter() -> None:
    filters = load("filter", "courseload").FILTERS
    assert {name for name, function in filters.items() if function.__module__ == preflight.__name__} == {
        name for name in vars(preflight) if name.endswith("refusals") and not name.startswith("_")
    }
