"""Puts the product's own ingress in front of a contestant: its image, and its configuration with other routes."""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from . import product
from .contestants import Contestant
from .measure import Ingress
from .podman import Part

BENCHMARKS = Path(__file__).parents[1]
RENDERED = BENCHMARKS / ".cache/ingress"
NAME = "benchmark-ingress"


class NotRenderedError(RuntimeError):
    """The configuration of the ingress could not be rendered; the message is what Ansible said."""


def settings(contestants: Iterable[Contestant]) -> dict[str, Any]:
    """What ingress.yml needs to know: for each contestant its doors, as the product describes workloads and routes."""
    return {
        "benchmark_directory": str(RENDERED),
        "benchmark_contestants": {
            contestant.name: {
                "workloads": {
                    door.part: {"port": door.port, "readiness": {"port": door.port, "path": "/readyz"}}
                    for door in contestant.doors
                },
                # As much for each as for any other.
                "routes": {door.part: 100 // len(contestant.doors) for door in contestant.doors},
            }
            for contestant in contestants
        },
    }


def render(contestants: Iterable[Contestant]) -> dict[str, Ingress]:
    """The ingress for each contestant, by its name."""
    print("rendering the configuration of the ingress", file=sys.stderr)
    contestants = list(contestants)
    command = [str(BENCHMARKS.parent / "bin/ansible-playbook"), str(BENCHMARKS / "ingress.yml")]
    command += ["--extra-vars", json.dumps(settings(contestants))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotRenderedError(f"the configuration of the ingress could not be rendered:\n{done.stdout}{done.stderr}")
    found: Mapping[str, Any] = json.loads((RENDERED / "ingress.json").read_text())
    service = product.service("ingress")
    return {c.name: Ingress(part(service, RENDERED / c.name, found["directory"]), found["port"]) for c in contestants}


def part(service: product.Service, rendered: Path, directory: str) -> Part:
    """The ingress as its pod runs it, with the configuration that was rendered into a directory."""
    mounts = (f"{rendered}:{directory}:ro",)
    return Part(NAME, service.image, service.command, service.environment, mounts, group="ingress")
