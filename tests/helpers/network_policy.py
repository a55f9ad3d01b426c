"""What NetworkPolicies let through, decided as Kubernetes describes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Pod:
    namespace: str
    labels: Mapping[str, str]


Peer = Pod | str  # a pod, or the address of something that is none


def enters(policies: Iterable[Policy], source: Peer, target: Pod, port: int, protocol: str = "TCP") -> bool:
    """Whether the pod may be reached by that peer."""
    rules = _rules(policies, "Ingress", target)
    return rules is None or any(
        _covers(rule.get("from", []), target.namespace, source) and _opens(rule, port, protocol) for rule in rules
    )


def leaves(policies: Iterable[Policy], source: Pod, target: Peer, port: int, protocol: str = "TCP") -> bool:
    """Whether the pod may reach that peer."""
    rules = _rules(policies, "Egress", source)
    return rules is None or any(
        _covers(rule.get("to", []), source.namespace, target) and _opens(rule, port, protocol) for rule in rules
    )


def _rules(policies: Iterable[Policy], direction: str, pod: Pod) -> list[Mapping[str, Any]] | None:
    """What is let through, by all policies that select the pod together; None where none does, and everything is."""
    selecting = [
        policy["spec"]
        for policy in policies
        if policy["metadata"]["namespace"] == pod.namespace
        and direction in policy["spec"]["policyTypes"]
        and _matches(policy["spec"]["podSelector"], pod.labels)
    ]
    return [rule for spec in selecting for rule in spec.get(direction.lower(), [])] if selecting else None


def _covers(entries: list[Mapping[str, Any]], namespace: str, peer: Peer) -> bool:
    return not entries or any(_is(entry, namespace, peer) for entry in entries)


def _is(entry: Mapping[str, Any], namespace: str, peer: Peer) -> bool:
    if isinstance(peer, str):
        return "ipBlock" in entry and ip_address(peer) in ip_network(entry["ipBlock"]["cidr"])
    if "ipBlock" in entry:
        return False
    # Kubernetes gives each namespace its name as a label.
    namespaces = entry.get("namespaceSelector", {"matchLabels": {"kubernetes.io/metadata.name": namespace}})
    return _matches(namespaces, {"kubernetes.io/metadata.name": peer.namespace}) and _matches(
        entry.get("podSelector", {}), peer.labels
    )


def _opens(rule: Mapping[str, Any], port: int, protocol: str) -> bool:
    return "ports" not in rule or {"port": port, "protocol": protocol} in rule["ports"]


def _matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    if not selector.keys() <= {"matchLabels"}:
        raise ValueError(f"only matchLabels are understood, not {selector}")
    return bool(selector.get("matchLabels", {}).items() <= labels.items())
