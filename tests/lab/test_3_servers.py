"""Three servers that share etcd: they join one after another, and the cluster goes on without one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from helpers.machine import REPOSITORY
from helpers.playbook import Play, link_variables
from lab import hosts
from lab.cluster import TOKEN, Kubectl, assert_rotated, attempt, begin, eventually, install, key_files, run, write
from lab.hosts import Host, wait_until_booted
from lab.paths import LAB
from lab.podman import podman
from lab.release import Release
from lab.system import run as playbook
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
    # By these words the playbooks know a cluster of their own, and touch no other.
    for host in found.values():
        run(host, "sed --in-place '1i # Written by the role k3s' /etc/rancher/k3s/config.yaml")
    return found


def test_every_server_answers_for_the_whole_cluster(trio: dict[str, Host]) -> None:
    for name in ("server1", "server2", "server3"):
        assert Kubectl(trio[name]).ready_nodes() == set(trio)


def test_servers_are_known_by_their_role(trio: dict[str, Host]) -> None:
    selected = Kubectl(trio["server2"]).get("nodes", "--selector=node-role.kubernetes.io/etcd=true")
    assert {node["metadata"]["name"] for node in selected["items"]} == {"server1", "server2", "server3"}


def test_the_nodes_say_which_members_of_etcd_vote(trio: dict[str, Host]) -> None:
    kubectl = Kubectl(trio["server1"])
    eventually("all three vote", lambda: voting(kubectl) == {"server1", "server2", "server3"}, 60)
    for name, host in trio.items():
        metadata = kubectl.get("node", name)["metadata"]
        told = {key: value for key, value in metadata["annotations"].items() if key.startswith("etcd.k3s.cattle.io/")}
        known = {"etcd.k3s.cattle.io/node-name": name, "etcd.k3s.cattle.io/node-address": host.address}
        assert told == ({} if name == "agent1" else known)


def voting(kubectl: Kubectl) -> set[str]:
    """The nodes of which k3s says that they have a vote in etcd."""
    return {
        node["metadata"]["name"]
        for node in kubectl.get("nodes")["items"]
        for condition in node["status"]["conditions"]
        if (condition["type"], condition["status"]) == ("EtcdIsVoter", "True")
    }


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


@pytest.mark.timeout(300)
def test_a_server_and_an_agent_rotate_their_certificates_and_keys(trio: dict[str, Host], built: Release) -> None:
    kubectl = Kubectl(trio["server1"])
    eventually("all three vote", lambda: voting(kubectl) == {"server1", "server2", "server3"}, READY_S)
    before = {name: key_files(trio[name]) for name in ("server2", "agent1")}
    done = playbook(
        "playbooks/rotate_k3s_certificates.yml",
        f"--limit={','.join(before)}",
        release=built,
        inventory=INVENTORY,
        k3s_rotate_days=366,
    )
    assert done.ok, done.output[-4000:]
    for name, files in before.items():
        assert_rotated(files, key_files(trio[name]))
    assert kubectl.ready_nodes() == set(trio)


MAY_GO = """\
- hosts: server3
  gather_facts: false
  roles: [settings]
  tasks:
    - ansible.builtin.include_role: {{name: k3s, tasks_from: quorum}}
      vars: {{k3s_going: {going}, k3s_node_name: server3}}
"""
GONE = "is not a node of this cluster"


@pytest.fixture(scope="module")
def one_is_off(trio: dict[str, Host]) -> Kubectl:
    """server2 is off, and known to be; asked on server1."""
    kubectl = Kubectl(trio["server1"])
    eventually("all three vote", lambda: voting(kubectl) == {"server1", "server2", "server3"}, READY_S)
    hosts.power_off(trio["server2"])
    eventually("it is missed", lambda: voting(kubectl) == {"server1", "server3"}, 60)
    return kubectl


def remove(node: str, built: Release, **variables: str) -> Play:
    return playbook("playbooks/remove_node.yml", release=built, inventory=INVENTORY, node=node, **variables)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_healthy_server_is_not_removed_while_another_is_off(one_is_off: Kubectl, built: Release) -> None:
    done = remove("server3", built)
    assert not done.ok
    said = " ".join(done.reasons)
    assert "server3 cannot be removed now: server2" in said
    assert "1 of 2 servers" in said
    node = one_is_off.get("node", "server3")
    assert "unschedulable" not in node["spec"]
    assert voting(one_is_off) == {"server1", "server3"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("going", ["restart", "wipe"])
def test_nor_is_it_restarted_or_reset(one_is_off: Kubectl, built: Release, tmp_path: Path, going: str) -> None:
    playing = tmp_path / "may-go.yml"
    playing.write_text(MAY_GO.format(going=going))
    link_variables(tmp_path)
    done = playbook(str(playing), release=built, inventory=INVENTORY, repository_root=str(REPOSITORY))
    assert not done.ok
    assert f"server3 cannot be {'restarted' if going == 'restart' else 'reset'} now: server2" in " ".join(done.reasons)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_one_that_is_off_is_removed_and_etcd_drops_it(
    one_is_off: Kubectl, trio: dict[str, Host], built: Release
) -> None:
    done = remove("server2", built)
    assert done.ok, done.output[-4000:]
    assert {node["metadata"]["name"] for node in one_is_off.get("nodes")["items"]} == {"server1", "server3", "agent1"}
    assert has_forgotten(trio["server1"], trio["server3"], name="server2")


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_host_is_not_wiped_before_its_node_is_gone(
    one_is_off: Kubectl, trio: dict[str, Host], built: Release
) -> None:
    # Something holds on to the node, as k3s does while etcd has not dropped its member.
    held = '{"metadata": {"finalizers": ["wrangler.cattle.io/managed-etcd-controller", "lab.courseload/held"]}}'
    one_is_off("patch", "node", "server3", "--type=merge", f"--patch={held}")
    done = remove("server3", built, k3s_remove_timeout="10")
    assert not done.ok
    assert "server3 is to be deleted, but is listed still" in " ".join(done.reasons)
    assert run(trio["server3"], "ls /var/lib/rancher/k3s/server/db/etcd")
    one_is_off("patch", "node", "server3", "--type=merge", '--patch={"metadata": {"finalizers": []}}')
    eventually("it is gone", lambda: "server3" not in str(one_is_off.get("nodes")), 30)
    # What is left is a cluster.
    again = remove("server3", built)
    assert GONE in " ".join(again.reasons)
    one_is_off("create", "configmap", "written-afterwards")


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_server_that_is_removed_has_lost_its_place_in_etcd_before_it_is_cleaned(
    trio: dict[str, Host], built: Release
) -> None:
    first, second = trio["server1"], trio["server3"]
    kubectl = Kubectl(first)
    run(second, "systemctl stop k3s; rm -rf /var/lib/rancher/k3s/server/db; systemctl start k3s", seconds=180)
    eventually("both vote", lambda: voting(kubectl) == {"server1", "server3"}, READY_S)
    done = remove("server3", built)
    assert done.ok, done.output[-4000:]
    assert has_forgotten(first, name="server3")
    assert run(second, "test ! -e /var/lib/rancher/k3s && echo clean").strip() == "clean"
    # Of two servers one is left, which is its own majority.
    assert kubectl.ready_nodes() == {"server1", "agent1"}
    kubectl("create", "configmap", "written-alone")
