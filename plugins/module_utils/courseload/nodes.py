"""Nodes of a cluster as its API returns them: ready in a version, drained, removed, upgraded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .cluster import Object, condition
from .k3s import Hosts
from .ours import K3S_UNIT

FINAL = 1_000_000  # a release comes after its candidates


def nodes_in(text: str) -> list[Object]:
    """The nodes that the API lists, or the one that was asked for, as kubectl prints the answer; none without one."""
    told = json.loads(text) if text.startswith("{") else {"items": []}
    found: list[Object] = told.get("items", [told])
    return found


def node_state(nodes: Sequence[Object], version: str) -> dict[str, Any]:
    """Whether the first of nodes, if there is one, is `ready` in a version, and the `message` of its condition."""
    node = nodes[0] if nodes else {}
    ready_condition = condition(node, "Ready")
    running = node.get("status", {}).get("nodeInfo", {}).get("kubeletVersion")
    ready = ready_condition.get("status") == "True" and running == version
    return {"ready": ready, "message": ready_condition.get("message", "")}


def deployments_of(pods: Iterable[Object]) -> list[dict[str, str]]:
    """`namespace` and `name` of the Deployments that pods belong to, by their ReplicaSets."""
    found = [
        (pod["metadata"]["namespace"], owner["name"].removesuffix(_suffix(pod)))
        for pod in pods
        for owner in pod["metadata"].get("ownerReferences") or []
        if owner["kind"] == "ReplicaSet"
    ]
    return [{"namespace": namespace, "name": name} for namespace, name in dict.fromkeys(found)]


def _suffix(pod: Object) -> str:
    """What the name of a ReplicaSet has behind that of its Deployment."""
    return f"-{pod['metadata'].get('labels', {}).get('pod-template-hash', '')}"


def node_of_host(nodes: Sequence[Object], name: str, address: str) -> dict[str, Any]:
    """`name`, `hostname` and `ready` of the node that a host is, by its name or else its address; {} where none is."""
    found = [node for node in nodes if node["metadata"]["name"] == name]
    found = found or [
        node for node in nodes if address in [known["address"] for known in node["status"].get("addresses", [])]
    ]
    if len(found) != 1:
        return {}
    own = found[0]["metadata"]["name"]
    hostname = found[0]["metadata"].get("labels", {}).get("kubernetes.io/hostname", own)
    return {"name": own, "hostname": hostname, "ready": condition(found[0], "Ready").get("status") == "True"}


def claims_on(volumes: Iterable[Object], node: Mapping[str, str]) -> list[dict[str, str]]:
    """`namespace`, `name` and `volume` of the claims whose volume is on that node alone which `node_of_host` found."""
    return [
        {"namespace": claim["namespace"], "name": claim["name"], "volume": volume["metadata"]["name"]}
        for volume in volumes
        if (claim := volume["spec"].get("claimRef")) and {node["name"], node["hostname"]} & _places(volume)
    ]


def _places(volume: Object) -> set[str]:
    """The names of nodes, and whatever else, that a volume is bound to."""
    terms = volume["spec"].get("nodeAffinity", {}).get("required", {}).get("nodeSelectorTerms", [])
    return {
        value
        for term in terms
        for expression in term.get("matchExpressions", [])
        for value in expression.get("values", [])
    }


def upgrade_refusal(nodes: Sequence[Object], name: str, version: str, cluster: Object, hosts: Hosts) -> str:
    """Why a host's node may not be upgraded to a version, in a sentence; "" where it may.

    `nodes` has the node, if the cluster has it; `cluster` is what `membership` returns for the host.
    """
    host = cluster["host"]
    node = next((node for node in nodes if node["metadata"]["name"] == name), None)
    if node is None:
        before = hosts[host]["k3s_found"]["version"] or "see k3s kubectl get nodes"
        return (
            f"{name} is not a node of the cluster yet: run site.yml with k3s_version as it was ({before}), or take it "
            "out of the inventory; then run this again."
        )
    if condition(node, "Ready").get("status") != "True" and not node["spec"].get("unschedulable"):
        return (
            f"{name} is not Ready: repair it first (journalctl -u {K3S_UNIT[cluster['kind']]} on {host} says why), "
            "since the pods of the others will need it."
        )
    running = node["status"]["nodeInfo"]["kubeletVersion"]
    old, new = _order(running), _order(version)
    if new < old:
        why = f"a step back, and Kubernetes has no way back: set k3s_version to {running} or later"
    elif new[0] != old[0] or new[1] - old[1] > 1:
        why = f"more than one minor release away: upgrade to the last v{old[0]}.{old[1] + 1} first"
    else:
        return ""
    return f"{name} runs {running}, from which {version} is {why}."


def _order(version: str) -> tuple[int, ...]:
    """What releases are sorted by: v1.34.4+k3s1 comes after v1.34.4-rc2+k3s1, and before v1.34.4+k3s10."""
    parts = re.match(r"v(\d+)\.(\d+)\.(\d+)(?:-rc(\d+))?(?:\+k3s(\d+))?", version)
    if not parts:
        raise ValueError(f"{version} is no release of k3s")
    major, minor, patch, candidate, build = parts.groups()
    return int(major), int(minor), int(patch), int(candidate or FINAL), int(build or 0)


def upgrade_state(nodes: Sequence[Object], name: str, notes: Iterable[str]) -> dict[str, Any]:
    """How an upgrade finds a node: its `version`, whether it is `cordoned`, and by an upgrade, which notes it then.

    `notes` are the annotations that do so, `elsewhere` the nodes that its pods could go to. A cluster of one node has
    none; there pods outlive the restart.
    """
    node = next(node for node in nodes if node["metadata"]["name"] == name)
    annotations = node["metadata"].get("annotations", {})
    others = [other for other in nodes if other is not node and "unschedulable" not in other["spec"]]
    return {
        "version": node["status"]["nodeInfo"]["kubeletVersion"],
        "cordoned": bool(node["spec"].get("unschedulable")),
        "cordoned_by_upgrade": any(annotations.get(note) == "upgrade" for note in notes),
        "elsewhere": [other["metadata"]["name"] for other in others],
    }
