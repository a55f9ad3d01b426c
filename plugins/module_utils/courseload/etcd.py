"""The majority of etcd: why a server may not go now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .cluster import Object, condition

# What k3s says of etcd on the node of a server (pkg/etcd of its source): its role, and a condition kept by the leader.
ROLE = "node-role.kubernetes.io/etcd"
VOTES = "EtcdIsVoter"
NO_VOTE = ("MemberIsLearner", "NotAMember")

WHEN = {"remove": "it is gone", "restart": "it restarts", "wipe": "it is gone, and its vote stays behind,"}


class Voters(NamedTuple):
    """The members of etcd that have a vote, by the names of their nodes; for each that does not do its part, why."""

    names: frozenset[str]
    unavailable: Mapping[str, str]

    @property
    def well(self) -> frozenset[str]:
        return self.names - self.unavailable.keys()

    def without(self, leaving: frozenset[str]) -> Voters:
        return Voters(
            self.names - leaving, {name: why for name, why in self.unavailable.items() if name not in leaving}
        )


def refusal(nodes: Iterable[Object], leaving: str | Sequence[str], how: str) -> str:
    """A sentence that says why the servers called `leaving` may not go now, and what to do; "" where they may.

    `nodes` are the cluster's, as its API lists them. `how` they go is one of

    - remove: their nodes are deleted, and etcd drops them; then it needs a majority of the rest;
    - restart: they come back in a moment, and count meanwhile. Of two servers none can be spared, so where nothing else
      is wrong that has to be borne;
    - wipe: they are gone, and etcd counts them still.

    A server that is unavailable, or has no vote, costs no majority when it goes.
    """
    if how not in WHEN:
        raise ValueError(f"etcd_refusal knows {', '.join(WHEN)}, not {how!r}")
    names = frozenset([leaving] if isinstance(leaving, str) else leaving)
    voters = _voters(nodes)
    going = names & voters.well
    others = {name: why for name, why in voters.unavailable.items() if name not in names}
    if not going or (how == "restart" and not others):
        return ""
    left = len(voters.well - going)
    counted = voters.without(names) if how == "remove" else voters
    if not counted.names or left >= _majority(counted):
        return ""
    return _sentence(sorted(going), others, how, left, counted)


def _voters(nodes: Iterable[Object]) -> Voters:
    servers = [node for node in nodes if node["metadata"].get("labels", {}).get(ROLE) == "true"]
    voting = {node["metadata"]["name"]: node for node in servers if condition(node, VOTES).get("reason") not in NO_VOTE}
    return Voters(frozenset(voting), {name: why for name, node in voting.items() if (why := _fault(node))})


def _fault(node: Object) -> str:
    """Why a server does not do its part, or ""; what k3s does not say of etcd is not held against it."""
    if condition(node, "Ready").get("status") != "True":
        return "is not Ready"
    if condition(node, VOTES).get("status") == "False":
        return "is Ready, but its etcd does not answer"
    return ""


def _majority(voters: Voters) -> int:
    return len(voters.names) // 2 + 1


def _sentence(going: list[str], others: Mapping[str, str], how: str, left: int, counted: Voters) -> str:
    who = " and ".join(going)
    verb = {"remove": "removed", "restart": "restarted", "wipe": "reset"}[how]
    state = "; ".join(f"{name} {why}" for name, why in sorted(others.items()))
    arithmetic = (
        f"when {WHEN[how]} {left} of {len(counted.names)} servers would be left to etcd, "
        f"which needs {_majority(counted)}, and the cluster would stop"
    )
    if others:
        first = min(others)
        advice = (
            f"bring {' and '.join(sorted(others))} back first, or, if it is gone for good, remove that one "
            f"(playbooks/remove_node.yml -e node={first}), then run this again"
        )
    else:
        advice = f"let playbooks/remove_node.yml -e node={going[0]} take it out of the cluster, which also cleans it"
    return f"{who} cannot be {verb} now: {state + ', and ' if state else ''}{arithmetic}. So {advice}."
