"""What follows from the descriptions of workloads (group_vars/all/workloads.yml and ops.yml)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from .credentials import Files

Workload = Mapping[str, Any]
Described = Mapping[str, Workload]  # by name
Rendered = Mapping[str, Mapping[str, str]]  # the templates of roles, by the names of the role and of the file


def labels_of(name: str) -> dict[str, str]:
    """The labels of all that belongs to a workload."""
    return {"app": name, "part-of": "courseload"}


def credentials_of(names: Iterable[str], *described: Described) -> dict[str, Files]:
    """The files of those workloads that have credentials, each from the first description that there is of it."""
    specs = {name: next(workloads[name] for workloads in described if name in workloads) for name in names}
    return {name: spec["credentials"] for name, spec in specs.items() if spec.get("credentials")}


def credentials_seen_by(name: str, spec: Workload, workloads: Described) -> list[str]:
    """The credentials that a workload gets as files: its own, those of what it calls, and those that it asks for."""
    own = [name] if spec.get("credentials") else []
    called = [callee for callee in spec.get("calls", []) if workloads.get(callee, {}).get("credentials")]
    return [*own, *called, *spec.get("credentials_of", [])]


def form_of_credentials(name: str, spec: Workload, workloads: Described) -> str:
    """What changes when the files of the credentials that a workload sees get another form; empty where it sees none.

    What runs has read them when it started, so it is replaced then. Podman takes no value of more than 63 letters.
    """
    seen = credentials_seen_by(name, spec, workloads)
    carried = [workloads.get(other, {}).get("credentials", {}) for other in seen]
    return sha256(json.dumps(carried).encode()).hexdigest()[:40] if carried else ""


def offered_to(spec: Workload, workloads: Described) -> dict[str, Any]:
    """The environment variables that tell a workload where it finds what it calls."""
    offers = (workloads[callee].get("offers", {}) for callee in spec.get("calls", []))
    return {name: value for offer in offers for name, value in offer.items()}


def namespace_of(spec: Workload, usual: str) -> str:
    """Where a workload lives: in the usual namespace, unless it has one of its own."""
    return str(spec.get("namespace", usual))


def callers_of(name: str, workloads: Described) -> list[str]:
    """The workloads that call one."""
    return [caller for caller, spec in workloads.items() if name in spec.get("calls", [])]


def collectors(workloads: Described) -> list[str]:
    """The workloads that scrape the others."""
    return [name for name, spec in workloads.items() if spec.get("scrapes")]


def most_pods(workloads: Described) -> dict[str, int]:
    """How many pods of each there may be at most, in a cluster."""
    return {
        name: int(spec["scale"]["max"] if "scale" in spec else spec.get("replicas", 1))
        for name, spec in workloads.items()
    }


def cpu_cores(quantity: str | float) -> float:
    """A quantity of CPU, as Kubernetes writes it: 250m is a quarter of a core."""
    text = str(quantity)
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def published(spec: Workload) -> list[Mapping[str, Any]]:
    """Where a host has a container's ports: its `publish`, which may be one place or a list of them."""
    return _listed(spec.get("publish", []))


def places_of(spec: Workload) -> list[Mapping[str, Any]]:
    """The directories of a workload's configuration: its `config`, which may be one or a list of them."""
    return _listed(spec.get("config", []))


def _listed(value: Any) -> list[Mapping[str, Any]]:
    return [value] if isinstance(value, Mapping) else list(value)


def templates_of(names: Iterable[str], workloads: Described, *, objects: bool) -> dict[str, list[str]]:
    """The templates that workloads need, by the roles that have them; with those of their `objects` or without."""
    wanted: dict[str, dict[str, None]] = {}
    for spec in (workloads[name] for name in names):
        of_objects = spec.get("objects", []) if objects else []
        for place in (place for place in places_of(spec) if "role" in place):
            wanted.setdefault(place["role"], {}).update(dict.fromkeys([*place["files"], *of_objects]))
    return {role: list(names) for role, names in wanted.items()}


def files_of(spec: Workload, rendered: Rendered, root: Path) -> list[dict[str, str]]:
    """The files of a workload's configuration, for each of its directories; `root` is that of the repository."""
    return [
        {
            name: (
                rendered[place["role"]][name] if "role" in place else (root / place["source"] / name).read_text()
            ).rstrip("\n")
            + "\n"
            for name in place["files"]
        }
        for place in places_of(spec)
    ]


def objects_of(spec: Workload, rendered: Rendered) -> list[str]:
    """The texts of the further objects of a workload, from the role that has its configuration."""
    return [rendered[places_of(spec)[0]["role"]][name] for name in spec.get("objects", [])]


def unpacked_at(names: Iterable[str], directory: str, artifacts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Where the host has each artifact, unpacked: under its version, so that another one is another pod."""
    return {name: f"{directory}/{PurePosixPath(artifacts[name]['file']).stem}" for name in names}


def port_forwards(names: Iterable[str], workloads: Described, kubeconfig: str) -> dict[str, Workload]:
    """Containers, by name, each of which forwards the ports of a workload of the cluster into its pod."""
    return {
        f"forward-{name}": {
            "image": "kubectl",
            "command": ["port-forward", f"{name}-0", *_ports(workloads[name])],
            "env": {"KUBECONFIG": kubeconfig},
            "resources": {"cpu": "50m", "memory": "256Mi"},
        }
        for name in names
    }


def _ports(spec: Workload) -> list[str]:
    """Where it is found by those that write, and by those that only read if that is elsewhere."""
    return [str(spec[port]) for port in ("port", "reading_port") if port in spec]


def published_ports(workloads: Described) -> list[dict[str, Any]]:
    """What workloads publish on their host, each with the workload's name."""
    return [{"name": name, **place} for name, spec in workloads.items() for place in published(spec)]
