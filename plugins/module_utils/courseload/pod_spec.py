"""The one pod spec: what every workload's pod is on every platform, and where the platforms differ."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .workloads import Described, Workload, credentials_seen_by, offered_to, places_of

Manifest = dict[str, Any]
TMP = "/tmp"  # noqa: S108 (of the container)
Files = Sequence[Mapping[str, str]]  # contents by file name, for each directory of a workload's configuration


@dataclass(frozen=True)
class Platform(ABC):
    """Where pods run. `described` is all workloads that others may call."""

    described: Described
    images: Mapping[str, str]
    uid: int

    @property
    @abstractmethod
    def pull_policy(self) -> str:
        """When an image is pulled."""

    @property
    def restart_policy(self) -> str:
        return "Always"

    @abstractmethod
    def resources(self, asked: Mapping[str, Any]) -> Manifest:
        """What a container asks for, and may use."""

    @abstractmethod
    def reached(self, spec: Workload) -> Manifest:
        """How a container is reached: its ports, and the probes where somebody asks."""

    @abstractmethod
    def pod(self, name: str, spec: Workload) -> Manifest:
        """What belongs to the pod, and not to a container."""

    @abstractmethod
    def volumes(self, name: str, spec: Workload, credentials: Sequence[str]) -> list[Manifest]:
        """The volumes of its data and of its credentials."""

    @abstractmethod
    def artifacts(self, name: str, spec: Workload) -> list[Manifest]:
        """The volumes of its artifacts."""


def pod_spec(name: str, spec: Workload, platform: Platform) -> Manifest:
    """The pod of a workload: its own container first, then its sidecars."""
    credentials = credentials_seen_by(name, spec, platform.described)
    environment = offered_to(spec, platform.described)
    empty = scratch(name, spec)
    shared = [
        *({"name": volume, "mountPath": path} for volume, path in empty.items()),
        *([{"name": "data", "mountPath": spec["volume"]}] if "volume" in spec else []),
        *(_read_only(f"credentials-{seen}", f"/run/credentials/{seen}") for seen in credentials),
    ]
    return {
        **platform.pod(name, spec),
        **({"hostAliases": _aliases(spec["hosts"])} if "hosts" in spec else {}),
        "restartPolicy": platform.restart_policy,
        "terminationGracePeriodSeconds": 30,
        "containers": [
            _container(part, of, environment, shared, platform)
            for part, of in {name: spec, **spec.get("sidecars", {})}.items()
        ],
        "volumes": [
            *({"name": volume, "emptyDir": {}} for volume in empty),
            *platform.volumes(name, spec, credentials),
            *({"name": volume, "configMap": {"name": f"{name}-{volume}"}} for volume, _ in configs(spec)),
            *platform.artifacts(name, spec),
        ],
    }


def scratch(name: str, spec: Workload) -> dict[str, str]:
    """The directories of a pod that are empty at its start, by the names of their volumes.

    They carry the workload's name: Podman would share them between pods.
    """
    return {f"{name}-scratch-{number}": path for number, path in enumerate([TMP, *spec.get("scratch", [])], 1)}


def configs(spec: Workload) -> list[tuple[str, Workload]]:
    """The directories of a workload's configuration, each with the name of its volume."""
    return [(f"config-{number}" if number > 1 else "config", place) for number, place in enumerate(places_of(spec), 1)]


def _aliases(hosts: Mapping[str, Sequence[str]]) -> list[Manifest]:
    return [{"ip": address, "hostnames": list(names)} for address, names in hosts.items()]


def _container(
    name: str, spec: Workload, environment: Mapping[str, Any], shared: Sequence[Manifest], platform: Platform
) -> Manifest:
    """A container of a pod, with the environment and the mounts that all containers of the pod have."""
    artifacts = spec.get("artifacts", {"names": []})
    return {
        "name": name,
        "image": platform.images[spec["image"]],
        "imagePullPolicy": platform.pull_policy,
        "command": list(spec["command"]),
        "env": [{"name": key, "value": value} for key, value in {**environment, **spec.get("env", {})}.items()],
        "resources": platform.resources(spec["resources"]),
        "securityContext": {
            "runAsUser": platform.uid,
            "runAsGroup": platform.uid,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        **platform.reached(spec),
        "volumeMounts": [
            *shared,
            *(_read_only(volume, place["directory"]) for volume, place in configs(spec)),
            *(
                _read_only(f"artifact-{unpacked}", f"{artifacts['directory']}/{unpacked}")
                for unpacked in artifacts["names"]
            ),
        ],
    }


def _read_only(volume: str, path: str) -> Manifest:
    return {"name": volume, "mountPath": path, "readOnly": True}
