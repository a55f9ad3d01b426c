"""What Podman gets for a workload: a Pod, and a ConfigMap for each directory of its configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from .pod_spec import Files, Manifest, Platform, configs, pod_spec
from .workloads import Workload, form_of_credentials, labels_of, published, unpacked_at


@dataclass(frozen=True)
class Podman(Platform):
    """Podman on a host."""

    artifacts_known: Mapping[str, Mapping[str, Any]]  # artifacts.yml
    config_dir: str
    state_dir: str
    once: bool = False  # whether the pod ends by itself

    @property
    def pull_policy(self) -> str:
        return "IfNotPresent"

    @property
    def restart_policy(self) -> str:
        return "Never" if self.once else "Always"

    def resources(self, asked: Mapping[str, Any]) -> Manifest:
        return {"requests": dict(asked), "limits": {"memory": asked["memory"]}}

    def reached(self, spec: Workload) -> Manifest:
        ports = [_port(spec.get("port", place["port"]), place) for place in published(spec)]
        return {"ports": ports} if ports else {}

    def pod(self, name: str, spec: Workload) -> Manifest:
        return {}

    def volumes(self, name: str, spec: Workload, credentials: Sequence[str]) -> list[Manifest]:
        claim = {"claimName": claim_name(name, spec)}
        data = [{"name": "data", "persistentVolumeClaim": claim}] if "volume" in spec else []
        directory = f"{self.config_dir}/credentials"
        return data + [_of_the_host(f"credentials-{seen}", f"{directory}/{seen}") for seen in credentials]

    def artifacts(self, name: str, spec: Workload) -> list[Manifest]:
        places = unpacked_at(
            spec.get("artifacts", {}).get("names", []), f"{self.state_dir}/artifacts/{name}", self.artifacts_known
        )
        return [_of_the_host(f"artifact-{artifact}", path) for artifact, path in places.items()]


def _port(of_container: Any, place: Mapping[str, Any]) -> Manifest:
    port = {"containerPort": int(of_container), "hostPort": int(place["port"])}
    # Podman 4.3 takes 0.0.0.0 for an address like others, to which nobody sends anything.
    return port if place["address"] == "0.0.0.0" else port | {"hostIP": place["address"]}


def claim_name(name: str, spec: Workload) -> str:
    """The name that Podman has for the volume of a workload's data."""
    return f"courseload-{spec.get('volume_name', name)}"


def _of_the_host(name: str, path: str) -> Manifest:
    return {"name": name, "hostPath": {"path": path, "type": "Directory"}}


def documents(name: str, files: Files, podman: Podman) -> list[Manifest]:
    """The Pod of a workload, then its ConfigMaps; `files` are those of its configuration."""
    spec = podman.described[name]
    metadata: Manifest = {"name": name, "labels": labels_of(name)}
    if form := form_of_credentials(name, spec, podman.described):
        metadata["annotations"] = {"courseload/credentials": form}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec(name, spec, podman)}
    maps = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-{volume}"}, "data": dict(content)}
        for (volume, _), content in zip(configs(spec), files, strict=True)
    ]
    return [pod, *maps]


def differs_only_in_configuration(before: Sequence[Manifest], after: Sequence[Manifest]) -> bool:
    """Whether two versions of `documents` are the same but for what is in the files of their ConfigMaps."""

    def outline(found: Sequence[Manifest]) -> list[Manifest]:
        return [document | {"data": sorted(document.get("data", {}))} for document in found]

    return before != after and outline(before) == outline(after)


def as_text(found: Sequence[Manifest]) -> str:
    """Documents as YAML for people: in the order in which they were made, and files as they are."""
    # Whatever Ansible has made of texts and lists is plain afterwards.
    plain = json.loads(json.dumps(found))
    return "# Ansible managed\n" + yaml.dump_all(plain, Dumper=_Dumper, sort_keys=False, width=10_000)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes texts of several lines as such."""


def _text(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
