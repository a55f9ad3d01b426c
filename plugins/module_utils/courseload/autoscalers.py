"""Replicas that are held still for a while: autoscalers with one number for both bounds, and a guard that undoes it.

The guard is a process of its own: `python -m courseload.autoscalers`, with a Guard as JSON on its standard input. It
puts the autoscalers back once another process has ended, however that was.
"""

from __future__ import annotations

import copy
import json
import os
import select
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from .cluster import available
from .pod_spec import Manifest

BOUNDS = {"min": "minReplicas", "max": "maxReplicas"}
SCALING = "scaling"
CHOICES = (*BOUNDS, SCALING)

MANAGER = "courseload"  # as in roles/workload: what another manager had set, site.yml would find to be changed
REQUEST_S = 10
TRIES, PAUSE_S = 60, 5.0  # of the guard: a cluster may be unavailable for some minutes


@dataclass
class Guard:
    """What a guard needs to know: the process that it waits for, and the autoscalers as they are to be afterwards."""

    pid: int
    kubeconfig: str
    autoscalers: list[Manifest]


def held(autoscalers: Iterable[Manifest], at: str) -> list[Manifest]:
    """The autoscalers with the number of replicas that is their `min` or `max`; with `scaling`, as they are."""
    found = copy.deepcopy(list(autoscalers))
    for autoscaler in found if at in BOUNDS else ():
        number = autoscaler["spec"][BOUNDS[at]]
        autoscaler["spec"] |= dict.fromkeys(BOUNDS.values(), number)
    return found


def apply(kubeconfig: str, autoscalers: Iterable[Manifest]) -> None:
    """Applies them as site.yml does; errors are those of the client."""
    from kubernetes import client  # noqa: PLC0415 (takes a second)

    api = client.AutoscalingV2Api(_connected(kubeconfig))
    for autoscaler in autoscalers:
        api.patch_namespaced_horizontal_pod_autoscaler(
            autoscaler["metadata"]["name"],
            autoscaler["metadata"]["namespace"],
            autoscaler,
            field_manager=MANAGER,
            force=True,
            _content_type="application/apply-patch+yaml",
            _request_timeout=REQUEST_S,
            _preload_content=False,
        )


def not_yet(kubeconfig: str, autoscalers: Iterable[Manifest]) -> list[str]:
    """The Deployments that do not have the number of replicas at which their autoscaler holds them, all available."""
    from kubernetes import client  # noqa: PLC0415 (takes a second)

    api = client.AppsV1Api(_connected(kubeconfig))
    waiting = []
    for autoscaler in autoscalers:
        spec = autoscaler["spec"]
        name = spec["scaleTargetRef"]["name"]
        answer: Any = api.read_namespaced_deployment(
            name, autoscaler["metadata"]["namespace"], _request_timeout=REQUEST_S, _preload_content=False
        )
        deployment = json.loads(answer.data)
        if deployment["spec"]["replicas"] != spec["minReplicas"] or not available(deployment):
            waiting.append(name)
    return waiting


def _connected(kubeconfig: str) -> Any:
    from kubernetes.config import new_client_from_config  # noqa: PLC0415 (takes a second)

    return new_client_from_config(kubeconfig)


def guard(told: Guard, sleep: Callable[[float], None] = time.sleep) -> int:
    """Waits for the end of the process, then puts the autoscalers back; returns an exit code."""
    try:
        process = os.pidfd_open(told.pid)
    except ProcessLookupError:
        pass
    else:
        select.select([process], [], [])
    for _ in range(TRIES):
        try:
            apply(told.kubeconfig, told.autoscalers)
        except Exception:  # nobody is there to be told, and the next try may do
            sleep(PAUSE_S)
        else:
            return 0
    return 1


def as_text(told: Guard) -> str:
    """What a guard reads."""
    return json.dumps(asdict(told))


if __name__ == "__main__":
    sys.exit(guard(Guard(**json.load(sys.stdin))))
