"""Pods that are not ready, and why; the kubeconfig of an account."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from helpers.plugins import load

filters: dict[str, Any] = load("filter", "courseload").FILTERS


def pod(name: str, ready: str | None, **more: Any) -> dict[str, Any]:
    conditions = [{"type": "PodScheduled", "status": "True"}]
    if ready:
        conditions.append({"type": "Ready", "status": ready})
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": "agent1"} | more.pop("spec", {}),
        "status": {"phase": "Running", "conditions": conditions} | more,
    }


def event(name: str, message: str) -> dict[str, Any]:
    return {"involvedObject": {"name": name}, "message": message}


def names(pods: list[dict[str, Any]]) -> list[str]:
    return [found["metadata"]["name"] for found in filters["pods_not_ready"](pods)]


def test_a_pod_is_ready_only_when_it_says_so() -> None:
    assert names([pod("relay-1", "True"), pod("relay-2", "False"), pod("relay-3", None)]) == ["relay-2", "relay-3"]


def test_a_pod_that_has_no_condition_yet_is_not_ready() -> None:
    assert names([{"metadata": {"name": "relay-1"}, "spec": {}, "status": {"phase": "Pending"}}]) == ["relay-1"]


def test_the_reason_has_the_pods_state_its_last_warnings_and_the_end_of_its_log() -> None:
    waiting = {"name": "relay", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    running = {"name": "proxy", "state": {"running": {"startedAt": "now"}}}
    events = [event("relay-1", text) for text in ("first", "second", "second", "third", "fourth")]
    (why,) = filters["why_not_ready"](
        [pod("relay-1", "False", containerStatuses=[waiting, running])], [*events, event("other", "no")], ["the end\n"]
    )
    assert why == (
        "relay-1 on agent1 is Running, CrashLoopBackOff. Events: second | third | fourth. Its last lines: the end"
    )


def test_a_pod_that_is_on_no_node_and_says_nothing_has_a_reason_too() -> None:
    pending = {"metadata": {"name": "relay-1"}, "spec": {}, "status": {"phase": "Pending"}}
    (why,) = filters["why_not_ready"]([pending], [], [""])
    assert why == "relay-1 on no node is Pending. Events: none. Its last lines: none"


def test_without_any_pod_one_is_told_where_to_look() -> None:
    (why,) = filters["why_not_ready"]([], [], [])
    assert why.startswith("No pod was made")


def test_a_kubeconfig_has_a_context_for_each_server_and_begins_with_the_first() -> None:
    data = {"ca.crt": "Y2E=", "token": b64encode(b"secret").decode()}
    config = filters["kubeconfig"](data, "ops", {"server1": "192.0.2.1", "server2": "192.0.2.2"}, "courses")
    assert config["current-context"] == "server1"
    assert [found["cluster"] for found in config["clusters"]] == [
        {"server": "https://192.0.2.1:6443", "certificate-authority-data": "Y2E="},
        {"server": "https://192.0.2.2:6443", "certificate-authority-data": "Y2E="},
    ]
    assert config["users"] == [{"name": "ops", "user": {"token": "secret"}}]
    assert config["contexts"][1] == {
        "name": "server2",
        "context": {"cluster": "server2", "user": "ops", "namespace": "courses"},
    }


def deployment(name: str, seen: int = 2, **counts: int) -> dict[str, Any]:
    status = {"updatedReplicas": 3, "replicas": 3, "availableReplicas": 3, "observedGeneration": seen} | counts
    return {"metadata": {"name": name, "generation": 2}, "spec": {"replicas": 3}, "status": status}


def test_a_deployment_runs_when_all_its_replicas_are_of_what_is_described_now() -> None:
    found = [
        deployment("good"),
        deployment("outdated", updatedReplicas=2),
        deployment("surging", replicas=4),
        deployment("starting", availableReplicas=0),
        deployment("unseen", seen=1),
        deployment("strange", seen=1),
        {"metadata": {"name": "new", "generation": 1}, "spec": {"replicas": 1}, "status": {}},
    ]
    names = ["good", "absent", "outdated", "surging", "starting", "unseen", "new"]
    late = filters["deployments_not_available"](found, names)
    assert late == ["absent", "outdated", "surging", "starting", "unseen", "new"]


def test_what_does_not_run_beside_a_container_that_does_is_found_and_explained() -> None:
    waiting = {"name": "proxy", "ready": False, "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    good = {"name": "identity", "ready": True, "state": {"running": {}}}
    init = {"name": "init", "ready": False, "state": {"terminated": {"reason": "Error"}}}
    pods = [
        pod("identity-1", "False", initContainerStatuses=[init], containerStatuses=[good, waiting]),
        pod("a", "True"),
    ]
    containers = filters["containers_not_ready"](pods)
    assert containers == [
        {"pod": "identity-1", "container": "init"},
        {"pod": "identity-1", "container": "proxy"},
    ]
    events = [event("identity-1", str(number)) for number in (0, 1, 2, 2, 3, 4, 5)]
    assert filters["why_containers_not_ready"](pods, events, containers, ["no route\n", ""]) == [
        "identity-1 on agent1 is Running, Error, ImagePullBackOff.",
        "identity-1 (init) says: no route",
        *("1", "2", "3", "4", "5"),
    ]


def scaler(name: str, *conditions: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"conditions": list(conditions)} if conditions else {}}


def test_a_scaler_without_metrics_is_named_with_what_the_cluster_says() -> None:
    active = {"type": "ScalingActive", "status": "True", "message": "fine"}
    failing = {"type": "ScalingActive", "status": "False", "message": "no metrics"}
    able = {"type": "AbleToScale", "status": "True", "message": "able"}
    why = filters["why_not_scaling"]
    assert why([scaler("relay", able, active)]) == []
    assert why([scaler("relay", failing), scaler("direct", failing)]) == ["no metrics"]
    assert why([scaler("relay")]) == ["Of relay the cluster says nothing yet."]
