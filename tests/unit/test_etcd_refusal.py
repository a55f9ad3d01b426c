"""The filter etcd_refusal: a server goes only where etcd keeps its majority."""

from __future__ import annotations

from typing import Any

import pytest

from courseload.etcd import refusal as etcd_refusal

ETCD = {"node-role.kubernetes.io/etcd": "true", "node-role.kubernetes.io/control-plane": "true"}


def node(name: str, ready: str = "True", vote: str = "", labels: dict[str, str] | None = None) -> dict[str, Any]:
    """A node as the API lists it; `vote` is the reason of k3s's condition EtcdIsVoter, "" where there is none."""
    conditions = [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}]
    if vote:
        voting = "True" if vote == "MemberNotLearner" else "False"
        conditions.append({"type": "EtcdIsVoter", "status": voting, "reason": vote})
    return {
        "metadata": {"name": name, "labels": ETCD if labels is None else labels},
        "status": {"conditions": conditions},
    }


def servers(well: int, down: int = 0) -> list[dict[str, Any]]:
    """a1, a2, ... are well, z1, z2, ... are not Ready."""
    return [node(f"a{n}") for n in range(1, well + 1)] + [node(f"z{n}", "Unknown") for n in range(1, down + 1)]


# Of `well` servers that are Ready and `down` that are not, one that is Ready goes.
@pytest.mark.parametrize(
    ("well", "down", "how", "refused"),
    [
        (3, 0, "remove", False),
        (2, 0, "remove", False),  # both agree about it, and one alone is its own majority
        (2, 1, "remove", True),  # 1 of 2 would be left
        (4, 1, "remove", False),  # 3 of 4
        (3, 2, "remove", True),  # 2 of 4
        (1, 0, "restart", False),
        (2, 0, "restart", False),  # of two none can be spared, and nothing is wrong
        (3, 0, "restart", False),
        (2, 1, "restart", True),
        (4, 1, "restart", False),
        (3, 2, "restart", True),
        (2, 0, "wipe", True),
        (3, 0, "wipe", False),
        (2, 1, "wipe", True),
        (4, 1, "wipe", False),
        (3, 2, "wipe", True),
    ],
)
def test_a_healthy_server_goes_only_where_a_majority_stays(well: int, down: int, how: str, refused: bool) -> None:
    assert bool(etcd_refusal(servers(well, down), "a1", how)) is refused


@pytest.mark.parametrize("how", ["remove", "restart", "wipe"])
def test_one_that_is_away_costs_no_majority(how: str) -> None:
    assert etcd_refusal(servers(2, 1), "z1", how) == ""
    assert etcd_refusal(servers(3, 2), "z1", how) == ""


def test_several_that_go_together_are_counted_together() -> None:
    assert etcd_refusal(servers(3), ["a1", "a2"], "wipe") != ""
    assert etcd_refusal(servers(5), ["a1", "a2"], "wipe") == ""


def test_a_node_that_is_no_server_has_nothing_to_do_with_it() -> None:
    agent = node("agent1", labels={})
    assert etcd_refusal([*servers(2, 1), agent], "agent1", "remove") == ""
    # Nor does it help: three nodes are Ready here.
    assert etcd_refusal([*servers(2, 1), agent], "a1", "remove") != ""


def test_a_server_without_etcd_has_no_majority_to_lose() -> None:
    alone = node("server1", labels={"node-role.kubernetes.io/control-plane": "true"})
    for how in ("remove", "restart", "wipe"):
        assert etcd_refusal([alone], "server1", how) == ""


def test_what_k3s_says_of_etcd_counts_beside_ready() -> None:
    voting = [node("a1", vote="MemberNotLearner"), node("a2", vote="MemberNotLearner")]
    assert etcd_refusal([*voting, node("a3", vote="MemberNotLearner")], "a1", "remove") == ""
    refusal = etcd_refusal([*voting, node("a3", vote="Unhealthy")], "a1", "remove")
    assert "a3 is Ready, but its etcd does not answer" in refusal
    # A learner, and one that etcd has dropped, have no vote: two vote here, and they agree.
    for reason in ("MemberIsLearner", "NotAMember"):
        assert etcd_refusal([*voting, node("a3", vote=reason)], "a1", "remove") == ""
        assert etcd_refusal([*voting, node("a3", "Unknown", vote=reason)], "a3", "remove") == ""


def test_a_server_that_is_being_deleted_counts_until_it_is_gone() -> None:
    going = node("a3", "Unknown")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert etcd_refusal([*servers(2), going], "a1", "remove") != ""


def test_a_refusal_says_who_is_away_what_would_be_left_and_what_to_do() -> None:
    assert etcd_refusal(servers(2, 1), "a2", "remove") == (
        "a2 cannot be removed now: z1 is not Ready, and when it is gone 1 of 2 servers would be left to etcd, "
        "which needs 2, and the cluster would stop. So bring z1 back first, or, if it is gone for good, "
        "remove that one (playbooks/remove_node.yml -e node=z1), then run this again."
    )
    assert "a2 cannot be restarted now" in etcd_refusal(servers(2, 1), "a2", "restart")
    assert "1 of 3 servers" in etcd_refusal(servers(2, 1), "a2", "restart")
    assert "playbooks/remove_node.yml -e node=a1" in etcd_refusal(servers(2), "a1", "wipe")


def test_another_way_to_go_is_an_error() -> None:
    with pytest.raises(ValueError, match="explode"):
        etcd_refusal(servers(3), "a1", "explode")
