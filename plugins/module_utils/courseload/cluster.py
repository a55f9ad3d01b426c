"""Objects of a cluster as its API returns them, and the kubeconfig of an account in it."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Object = Mapping[str, Any]

API_PORT = 6443
EVENTS = 3  # the last ones of a pod are shown
WARNINGS = 5  # the last ones of a namespace


def not_ready(pods: Iterable[Object]) -> list[Object]:
    """The pods that do not serve."""
    return [pod for pod in pods if not _is_ready(pod)]


def _is_ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def condition(found: Object, kind: str) -> Object:
    """A condition of an object; {} where the cluster does not tell it."""
    conditions = found.get("status", {}).get("conditions") or []
    return next((told for told in conditions if told["type"] == kind), {})


def why_not_ready(pods: Sequence[Object], events: Sequence[Object], logs: Iterable[str]) -> list[str]:
    """A sentence or two for each pod, from the cluster's warnings and the end of the pod's own log."""
    reasons = [_why(pod, events, log) for pod, log in zip(pods, logs, strict=True)]
    return reasons or ["No pod was made: describe the Deployment or StatefulSet to see why."]


def _why(pod: Object, events: Iterable[Object], log: str) -> str:
    name = pod["metadata"]["name"]
    said = dict.fromkeys(event["message"] for event in events if event["involvedObject"].get("name") == name)
    states = _reasons_of(pod["status"].get("containerStatuses") or [])
    return (
        f"{_where(pod)} is {', '.join([pod['status']['phase'], *states])}. "
        f"Events: {' | '.join([*said][-EVENTS:]) or 'none'}. Its last lines: {log.strip() or 'none'}"
    )


def kubeconfig(token: Mapping[str, str], user: str, servers: Mapping[str, str], namespace: str) -> Object:
    """The kubeconfig of an account, from the data of its Secret: a context for each server, whichever answers is good.

    `servers` has the addresses by name; the first is the current context.
    """

    def cluster(address: str) -> Object:
        return {"server": f"https://{address}:{API_PORT}", "certificate-authority-data": token["ca.crt"]}

    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster(address)} for name, address in servers.items()],
        "users": [{"name": user, "user": {"token": b64decode(token["token"]).decode()}}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": user, "namespace": namespace}} for name in servers
        ],
        "current-context": next(iter(servers)),
    }


def deployments_not_available(found: Iterable[Object], names: Iterable[str]) -> list[str]:
    """The Deployments that do not run as they are described now, those that are not there first."""
    there = {deployment["metadata"]["name"]: deployment for deployment in found}
    absent = [name for name in names if name not in there]
    return absent + [name for name, deployment in there.items() if name in names and not available(deployment)]


def available(deployment: Object) -> bool:
    """Whether all replicas of a Deployment are there, as it is described now."""
    status, replicas = deployment["status"], deployment["spec"]["replicas"]
    counts = [status.get(kind, 0) for kind in ("updatedReplicas", "replicas", "availableReplicas")]
    return status.get("observedGeneration", 0) >= deployment["metadata"]["generation"] and counts == [replicas] * 3


def why_not_scaling(scalers: Iterable[Object]) -> list[str]:
    """What the cluster says of each HorizontalPodAutoscaler that cannot scale, the same only once."""
    return list(dict.fromkeys(why for scaler in scalers if (why := _why_not_scaling(scaler))))


def _why_not_scaling(scaler: Object) -> str:
    active = condition(scaler, "ScalingActive")
    if not active:
        return f"Of {scaler['metadata']['name']} the cluster says nothing yet."
    return "" if active["status"] == "True" else str(active.get("message") or active["reason"])


def containers_not_ready(pods: Iterable[Object]) -> list[dict[str, str]]:
    """`pod` and `container` of each that is not ready, init containers first."""
    return [
        {"pod": pod["metadata"]["name"], "container": container["name"]}
        for pod in pods
        for container in _unready_containers(pod)
    ]


def _unready_containers(pod: Object) -> list[Object]:
    status = pod["status"]
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return [container for container in containers if not container["ready"]]


def why_containers_not_ready(
    pods: Iterable[Object], events: Iterable[Object], containers: Iterable[Mapping[str, str]], logs: Iterable[str]
) -> list[str]:
    """A sentence for each pod and for each container that says something, and the cluster's last warnings."""
    reasons = []
    for pod in pods:
        states = _reasons_of(_unready_containers(pod))
        if pod["status"]["phase"] != "Running" or states:
            reasons.append(f"{_where(pod)} is {', '.join([pod['status']['phase'], *states])}.")
    for container, log in zip(containers, logs, strict=True):
        if log:
            reasons.append(f"{container['pod']} ({container['container']}) says: {log.strip()}")
    return reasons + [*dict.fromkeys(event["message"] for event in events)][-WARNINGS:]


def _reasons_of(containers: Iterable[Object]) -> list[str]:
    return [state["reason"] for found in containers for state in found["state"].values() if state.get("reason")]


def _where(pod: Object) -> str:
    return f"{pod['metadata']['name']} on {pod['spec'].get('nodeName', 'no node')}"
