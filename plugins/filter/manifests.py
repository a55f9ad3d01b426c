"""The filters for what workloads become: their manifests, the templates for these, and the names that pods take."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

# Ansible hands module_utils to modules only; what runs on the control machine takes it from beside.
sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from courseload import kubernetes, pod_names, podman, workloads
from courseload.kubernetes import Cluster
from courseload.pod_spec import Manifest
from courseload.podman import Podman
from courseload.policies import Mesh, Network
from courseload.workloads import Described, Rendered

Settings = Mapping[str, Any]

REPOSITORY = Path(__file__).parents[2]


def cluster_manifests(
    names: Iterable[str], described: Described, rendered: Rendered, cluster: Settings
) -> list[Manifest]:
    """The objects of workloads in a cluster, in the order in which it gets them.

    `described` is all workloads of the cluster, `rendered` the templates of roles, and `cluster` the fields of Cluster.
    """
    network = cluster["network"]
    mesh = Mesh(**network["mesh"]) if network["mesh"] else None
    platform = Cluster(
        **{**cluster, "uid": int(cluster["uid"]), "network": Network(**{**network, "mesh": mesh})}, described=described
    )
    manifests: list[Manifest] = []
    for name in names:
        files, further = _files(described[name], rendered), workloads.objects_of(described[name], rendered)
        manifests += kubernetes.objects(name, files, further, platform)
    return manifests


def autoscalers(described: Described, namespace: str) -> list[Manifest]:
    """Those of the workloads that scale, as `cluster_manifests` has them."""
    return [
        kubernetes.autoscaler(name, spec, workloads.namespace_of(spec, namespace))
        for name, spec in described.items()
        if "scale" in spec
    ]


def pod_manifests(names: Iterable[str], described: Described, rendered: Rendered, host: Settings) -> dict[str, str]:
    """What Podman gets for each workload, as YAML; `host` is the fields of Podman."""
    platform = Podman(**{**host, "uid": int(host["uid"])}, described=described)
    return {name: podman.as_text(podman.documents(name, _files(described[name], rendered), platform)) for name in names}


def _files(spec: workloads.Workload, rendered: Rendered) -> list[dict[str, str]]:
    return workloads.files_of(spec, rendered, REPOSITORY)


class FilterModule:
    def filters(self) -> Mapping[str, Callable[..., Any]]:
        return {
            "cluster_manifests": cluster_manifests,
            "autoscalers": autoscalers,
            "pod_manifests": pod_manifests,
            "templates_of": workloads.templates_of,
            "pod_names": pod_names.pod_names,
            "manifest_names": pod_names.manifest_names,
            "differs_only_in_configuration": podman.differs_only_in_configuration,
        }
