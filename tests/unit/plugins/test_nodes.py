"""Nodes of a cluster: ready in a version, drained, removed, upgraded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from helpers.plugins import load

filters: dict[str, Any] = load("filter", "courseload").FILTERS

VERSION = "v1.34.4+k3s1"
NOTES = ["courseload/cordoned-by", "courseload/closed-for"]


def node(name: str, ready: str = "True", version: str = VERSION, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": spec.pop("labels", {}), "annotations": spec.pop("annotations", {})}
    conditions = [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready, "message": "why"}]
    addresses = [{"type": "InternalIP", "address": spec.pop("address", "203.0.113.1")}]
    info = {"kubeletVersion": version}
    return {
        "metadata": metadata,
        "spec": spec,
        "status": {"conditions": conditions, "addresses": addresses, "nodeInfo": info},
    }


def state(text: str) -> dict[str, Any]:
    told: dict[str, Any] = filters["k3s_node_state"](filters["k3s_nodes_in"](text), VERSION)
    return told


def test_a_node_is_ready_only_in_its_version_and_where_the_api_says_so() -> None:
    assert state(json.dumps(node("server1")))["ready"]
    assert state(json.dumps(node("server1", "False"))) == {"ready": False, "message": "why"}
    assert not state(json.dumps(node("server1", version="v1.33.1+k3s1")))["ready"]
    assert state("") == {"ready": False, "message": ""}
    assert state("Error from server {") == {"ready": False, "message": ""}


def test_the_nodes_of_a_list_are_found() -> None:
    assert filters["k3s_nodes_in"](json.dumps({"items": [node("a"), node("b")]})) == [node("a"), node("b")]


def test_deployments_are_known_by_the_replica_sets_of_their_pods() -> None:
    def pod(owner: str, name: str, **labels: str) -> dict[str, Any]:
        owners = {"ownerReferences": [{"kind": owner, "name": name}]} if owner else {}
        return {"metadata": {"namespace": "courseload", "labels": labels} | owners}

    hashed = {"pod-template-hash": "abc"}
    pods = [pod("ReplicaSet", "my-abc-relay-abc", **hashed), pod("ReplicaSet", "my-abc-relay-abc", **hashed)]
    pods += [pod("StatefulSet", "mongodb"), pod("", "bare")]
    assert filters["k3s_deployments_of"](pods) == [{"namespace": "courseload", "name": "my-abc-relay"}]


def test_the_node_of_a_host_has_its_name_or_else_its_address() -> None:
    nodes = [node("server1"), node("renamed", "Unknown", address="10.0.0.4", labels={"kubernetes.io/hostname": "old"})]
    of_host = filters["k3s_node_of_host"]
    assert of_host(nodes, "server1", "10.0.0.4") == {"name": "server1", "hostname": "server1", "ready": True}
    assert of_host(nodes, "agent1", "10.0.0.4") == {"name": "renamed", "hostname": "old", "ready": False}
    assert of_host(nodes, "agent1", "10.0.0.5") == {}
    assert of_host([*nodes, node("twin")], "agent1", "203.0.113.1") == {}, "two have this address"


def test_claims_lie_on_a_node_where_their_volume_is_bound_to_its_name_or_its_hostname() -> None:
    def volume(name: str, *places: str, claimed: bool = True) -> dict[str, Any]:
        terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [*places]}]}]
        bound = {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}} if places else {}
        claim = {"claimRef": {"namespace": "courseload", "name": f"data-{name}"}} if claimed else {}
        return {"metadata": {"name": name}, "spec": bound | claim}

    volumes = [volume("by-name", "agent1"), volume("by-hostname", "old"), volume("elsewhere", "agent2")]
    volumes += [volume("anywhere"), volume("unclaimed", "agent1", claimed=False)]
    claims = filters["k3s_claims_on"](volumes, {"name": "agent1", "hostname": "old"})
    assert claims == [
        {"namespace": "courseload", "name": f"data-{name}", "volume": name} for name in ("by-name", "by-hostname")
    ]


def refusal(found: dict[str, Any] | None, version: str = VERSION) -> str:
    cluster = {"host": "host1", "kind": "agent"}
    known = {"host1": {"k3s_found": {"version": "v1.33.1+k3s1"}}}
    told: str = filters["k3s_upgrade_refusal"]([found] if found else [], "agent1", version, cluster, known)
    return told


@pytest.mark.parametrize(
    ("running", "version", "reason"),
    [
        (VERSION, VERSION, ""),
        ("v1.34.4+k3s1", "v1.34.4+k3s10", ""),
        ("v1.34.4-rc2+k3s1", "v1.34.4+k3s1", ""),
        ("v1.33.9+k3s3", "v1.34.4+k3s1", ""),
        (
            "v1.34.4+k3s10",
            "v1.34.4+k3s9",
            "a step back, and Kubernetes has no way back: set k3s_version to v1.34.4+k3s10",
        ),
        ("v1.35.0+k3s1", "v1.34.4+k3s1", "a step back"),
        ("v1.32.9+k3s1", "v1.34.4+k3s1", "more than one minor release away: upgrade to the last v1.33 first."),
        ("v1.34.4+k3s1", "v2.0.0+k3s1", "more than one minor release away"),
    ],
)
def test_an_upgrade_goes_forward_by_one_minor_release_at_most(running: str, version: str, reason: str) -> None:
    told = refusal(node("agent1", version=running), version)
    assert (told == "") if not reason else told.startswith(f"agent1 runs {running}, from which {version} is {reason}")


def test_a_node_is_upgraded_only_where_it_is_one_and_well_or_cordoned() -> None:
    assert "agent1 is not a node of the cluster yet: run site.yml with k3s_version as it was (v1.33.1" in refusal(None)
    assert "agent1 is not Ready: repair it first (journalctl -u k3s-agent on host1" in refusal(
        node("agent1", "Unknown")
    )
    assert refusal(node("agent1", "Unknown", unschedulable=True)) == ""


@pytest.mark.parametrize("note", NOTES)
def test_an_upgrade_knows_its_own_cordon_and_where_pods_can_go(note: str) -> None:
    nodes = [
        node("server1"),
        node("agent1", version="v1.33.1+k3s1", unschedulable=True, annotations={note: "upgrade"}),
        node("agent2", unschedulable=True),
    ]
    assert filters["k3s_upgrade_state"](nodes, "agent1", NOTES) == {
        "version": "v1.33.1+k3s1",
        "cordoned": True,
        "cordoned_by_upgrade": True,
        "elsewhere": ["server1"],
    }
    ours = filters["k3s_upgrade_state"](nodes, "agent2", NOTES)
    assert (ours["cordoned"], ours["cordoned_by_upgrade"]) == (True, False)
    assert filters["k3s_upgrade_state"](nodes, "server1", NOTES)["elsewhere"] == []
