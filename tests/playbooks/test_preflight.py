"""What stops site.yml before it changes anything: each with one sentence that says what to do."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import machine
from helpers.playbook import Play, play

# Images that no machine has: their tags depend on the uid, so the checks of what a build needs take place everywhere.
UNBUILT = {"container_uid": 10999}
NOT_HERE = machine.obstacle()

pytestmark = pytest.mark.skipif(
    NOT_HERE is not None, reason=f"the checks on this machine stop at the first: it {NOT_HERE}"
)


def stopped(run: Play, *words: str) -> None:
    """Asserts that a run stopped early, changed nothing, and says these words in a sentence."""
    assert not run.ok, run.output
    assert run.changes == []
    said = " ".join(run.reasons)
    assert all(word in said for word in words), said
    assert "MODULE FAILURE" not in run.output
    assert "Traceback" not in run.output


def in_namespace(*options: str) -> list[str]:
    """A command that runs another in namespaces of its own; skips where the kernel has none for us."""
    command = ["unshare", *options]
    if subprocess.run([*command, "true"], check=False, capture_output=True).returncode:
        pytest.skip(f"{' '.join(command)} is not possible on this machine")
    return command


@pytest.fixture
def other_system(tmp_path: Path) -> list[str]:
    """A command that shows another distribution to what it runs."""
    (tmp_path / "os-release").write_text('NAME="Fedora Linux"\nID=fedora\nVERSION_ID=42\n')
    (tmp_path / "debian_version").write_text("")
    script = f"for file in /etc/os-release /usr/lib/os-release; do mount --bind {tmp_path}/os-release $file; done"
    hide = f'; mount --bind {tmp_path}/debian_version /etc/debian_version; exec "$@"'
    return [*in_namespace("--mount"), "sh", "-c", script + hide, "sh"]


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("what", "variables", "words"),
    [
        ("too little memory", {"host_memory_mb": str(10**9)}, ["MiB of memory", "larger host"]),
        ("too little disk", UNBUILT | {"host_disk_mb": 10**9}, ["MiB are free", "free some space"]),
        ("no network", UNBUILT | {"host_network_probes": ["http://127.0.0.1:9/"]}, ["127.0.0.1:9"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_stops_with_a_sentence(what: str, variables: dict[str, Any], words: list[str]) -> None:
    stopped(play("site.yml", **variables), *words)


def test_stops_without_root() -> None:
    stopped(play("site.yml", within=in_namespace("--user")), "root", "sudo")


def test_stops_on_another_distribution(other_system: list[str]) -> None:
    stopped(play("site.yml", within=other_system), "Debian 12", "Ubuntu 24.04")


def test_stops_when_a_port_is_in_use(taken_port: int) -> None:
    stopped(play("site.yml", ingress_port=taken_port), str(taken_port), "ingress_port")


@pytest.mark.parametrize(
    "settings",
    [
        {
            "routes": "relay",
            "ingress_port": "65536",
            "ingress_address": "256.1.1.1",
            "prometheus_port": "0",
            "prometheus_retention": "15",
            "prometheus_retention_size": "1GiB",
            "prometheus_memory": "512MB",
        },
        {"routes": {"relay": 0, "direct": 0}, "ingress_port": "abc", "ingress_address": "1.2.3"},
        {"routes": {"relay": -5, "direct": 10}},
        {"routes": {"relay": 0.5}},
        {"routes": {"redis": 50, "direct": 50}},
    ],
    ids=str,
)
def test_stops_on_settings_that_cannot_be(settings: dict[str, Any]) -> None:
    stopped(play("site.yml", **settings), *(f"{name} must be" for name in settings))


def test_a_load_test_stops_on_routes_that_cannot_be() -> None:
    stopped(play("loadtest.yml", routes={"relay": 0.5}), "routes must be", "relay: 90")


def cluster(directory: Path, **groups: dict[str, dict[str, Any]]) -> str:
    """The inventory of a cluster with these groups of hosts."""
    path = directory / "cluster.yml"
    inventory = {"vars": {"platform": "k3s"}, "children": {name: {"hosts": hosts} for name, hosts in groups.items()}}
    path.write_text(yaml.safe_dump({"all": inventory}))
    return str(path)


def test_a_cluster_needs_its_groups(tmp_path: Path) -> None:
    agents = {"two": {}, "three": {"ansible_host": "one"}}
    run = play("playbooks/hosts.yml", inventory=cluster(tmp_path, servers={"one": {}, "two": {}}, agents=agents))
    stopped(run, "has 2 servers", "no hosts in its group ops", "no host to send load", "two cannot be both")
    stopped(run, "one and three (one) have the same address")


def test_a_clusters_settings_are_checked_before_any_host_is_asked(tmp_path: Path) -> None:
    wrong: dict[str, Any] = {
        "cluster_name": "a/b",
        "k3s_version": "1.34",
        "ingress_node_port": 80,
        "cluster_pod_network": "10.42.0.0",
        "cluster_service_network": "10.43.0.1/16",
        "bundle_dir": str(tmp_path),
        "registry_mirror": "10.0.0.5:5000",
        "http_proxy": "proxy",
        "firewall_allowed": ["10.0.0.0/8", "everyone"],
    }
    inventory = cluster(tmp_path, servers={"one": {}}, ops={"two": {}}, load={"three": {}})
    stopped(play("playbooks/hosts.yml", inventory=inventory, **wrong), *(f"{name} must be" for name in wrong))


def test_names_each_host_that_does_not_answer(tmp_path: Path) -> None:
    away = {"ansible_host": "127.0.0.1", "ansible_user": "nobody"}
    ports = {"servers": 1, "ops": 2, "load": 3}
    groups = {group: {f"{group}1": {**away, "ansible_port": port}} for group, port in ports.items()}
    run = play("playbooks/hosts.yml", inventory=cluster(tmp_path, **groups))
    stopped(run, *(f"{group}1 cannot be reached as nobody@127.0.0.1 port {port}" for group, port in ports.items()))
    stopped(run, "refused", "check that it is on")
