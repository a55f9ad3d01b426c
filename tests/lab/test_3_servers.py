"""Three servers that share etcd: they join one after another, and the cluster goes on without one."""

from __future__ import annotations

from functools import partial

import pytest

from lab import hosts
from lab.cluster import TOKEN, Kubectl, attempt, begin, eventually, install, run, write
from lab.hosts import Host, wait_until_booted
from lab.paths import LAB
from lab.podman import podman
from lab.release import Release
from lab.traces import Traces

READY_S = 120
INVENTORY = LAB / "three-servers.yml"


@pytest.fixture(scope="module")
def trio(before: Traces, built: Release) -> dict[str, Host]:
    """Three servers and an agent, on hosts of their own."""
    hosts.down()
    found = {host.name: host for host in hosts.read(INVENTORY) if {"servers", "agents"} & set(host.groups)}
    hosts.up(list(found.values()))
    for host in found.values():
        install(host, built)
    first = found["server1"]
    begin(first, "server", {"cluster-init": True, "secrets-encryption": True})
    token = run(first, f"cat {TOKEN}")
    url = f"https://{first.address}:6443"
    for host in found.values():
        write(host, "/etc/rancher/k3s/token", token)
    assert "critical configuration mismatched" in attempt(
        found["server2"], "server", {"server": url, "token-file": "/etc/rancher/k3s/token"}
    )
    for name in ("server2", "server3"):
        begin(
            found[name], "server", {"server": url, "token-file": "/etc/rancher/k3s/token", "secrets-encryption": True}
        )
    begin(found["agent1"], "agent", {"server": url, "token-file": "/etc/rancher/k3s/token"})
    eventually("every node is Ready", lambda: Kubectl(first).ready_nodes() == set(found), READY_S)
    return found


def test_every_server_answers_for_the_whole_cluster(trio: dict[str, Host]) -> None:
    for name in ("server1", "server2", "server3"):
        assert Kubectl(trio[name]).ready_nodes() == set(trio)


def test_servers_are_known_by_their_role(trio: dict[str, Host]) -> None:
    selected = Kubectl(trio["server2"]).get("nodes", "--selector=node-role.kubernetes.io/etcd=true")
    assert {node["metadata"]["name"] for node in selected["items"]} == {"server1", "server2", "server3"}


def test_a_secret_is_readable_through_another_server(trio: dict[str, Host]) -> None:
    Kubectl(trio["server1"])("create", "secret", "generic", "shared", "--from-literal=value=ours")
    found = Kubectl(trio["server3"])("get", "secret", "shared", "--output=jsonpath={.data.value}")
    assert found == "b3Vycw=="


def test_a_server_whose_node_is_deleted_loses_its_vote_and_may_join_anew(trio: dict[str, Host]) -> None:
    gone, others = trio["server3"], Kubectl(trio["server1"])
    run(gone, "systemctl stop k3s")
    others("delete", "node", gone.name)
    eventually("etcd has forgotten it", partial(has_forgotten, trio["server1"], trio["server2"], name=gone.name), 60)
    run(gone, "systemctl start k3s || systemctl stop k3s", seconds=120)
    assert "etcd ended" in run(gone, "journalctl --no-pager --unit k3s --lines 50")
    run(gone, "rm -r /var/lib/rancher/k3s/server/db && systemctl start k3s", seconds=180)
    eventually("it is back", lambda: others.ready_nodes() == set(trio), READY_S)


def has_forgotten(*servers: Host, name: str) -> bool:
    line = f"etcd has forgotten {name}"
    return any(line in run(server, "journalctl --no-pager --unit k3s") for server in servers)


def test_the_api_goes_on_without_the_first_server_and_takes_it_back(trio: dict[str, Host]) -> None:
    others = Kubectl(trio["server2"])
    podman("kill", trio["server1"].container)
    eventually("the node is missed", lambda: "server1" not in others.ready_nodes(), 120)
    assert others.ready_nodes() >= {"server2", "server3", "agent1"}, "the agent had joined the server that is off"
    others("create", "configmap", "written-meanwhile")
    podman("start", trio["server1"].container)
    wait_until_booted(trio["server1"])
    eventually("the server is back", lambda: "server1" in others.ready_nodes(), READY_S)
    eventually(
        "it knows what was written meanwhile",
        lambda: bool(Kubectl(trio["server1"]).get("configmap", "written-meanwhile")),
        READY_S,
    )
