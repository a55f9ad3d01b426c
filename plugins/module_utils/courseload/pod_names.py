"""The names that pods take on a host, to see whether they are free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .pod_spec import configs, scratch
from .podman import claim_name
from .workloads import Described

Names = dict[str, list[str]]


def pod_names(workloads: Described) -> Names:
    """The names of the pods of workloads (as workloads.yml describes them), their containers and their volumes.

    `scratch` is the volumes that Podman makes for a pod and removes with it; `volumes` those that outlive it.
    """
    names: Names = {"pods": [], "containers": [], "volumes": [], "scratch": []}
    for name, spec in workloads.items():
        names["pods"].append(name)
        names["containers"] += [f"{name}-{part}" for part in (name, *spec.get("sidecars", {}))]
        names["scratch"] += scratch(name, spec)
        if "volume" in spec:
            names["volumes"].append(claim_name(name, spec))
        names["volumes"] += [f"{name}-{volume}" for volume, _ in configs(spec)]
    return {kind: sorted(set(found)) for kind, found in names.items()}


def manifest_names(documents: Sequence[Mapping[str, Any]]) -> Names:
    """The same of what `podman kube play` is given."""
    names: Names = {"pods": [], "containers": [], "volumes": [], "scratch": []}
    for pod in (document for document in documents if document and document["kind"] == "Pod"):
        name, spec = pod["metadata"]["name"], pod["spec"]
        names["pods"].append(name)
        names["containers"] += [f"{name}-{container['name']}" for container in spec["containers"]]
        for volume in spec.get("volumes", []):
            if "emptyDir" in volume:
                names["scratch"].append(volume["name"])
            elif "persistentVolumeClaim" in volume:
                names["volumes"].append(volume["persistentVolumeClaim"]["claimName"])
            elif "configMap" in volume:
                names["volumes"].append(volume["configMap"]["name"])
    return {kind: sorted(set(found)) for kind, found in names.items()}
