"""Finds what `site.yml` set up: the services' image, commands and settings, and where the databases are."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from .podman import inspect, podman

# Its own places in the user's databases, emptied before and after each measurement.
MONGODB_DATABASE = "courseload_benchmark"
REDIS_DATABASE = "15"


class NotSetUp(RuntimeError):
    """The system is not running on this machine; the message says what to do."""


@dataclass(frozen=True)
class Service:
    """A service as its pod runs it: an image id, a command, and the environment."""

    image: str
    command: tuple[str, ...]
    environment: dict[str, str]


def container_of(pod: str) -> dict[str, Any]:
    """What podman knows of the one container that does a pod's work."""
    containers = json.loads(podman("ps", "--pod", "--format=json"))
    names = [c["Id"] for c in containers if c["PodName"] == pod and not c["IsInfra"]]
    if not names:
        raise NotSetUp(f"no pod '{pod}' runs here: first run `bin/ansible-playbook site.yml`, as root")
    return inspect("container", names[0])[0]


def environment_of(container: dict[str, Any]) -> dict[str, str]:
    """A container's environment; each NAME_FILE becomes NAME, with what that file on the host holds."""
    environment = dict(entry.split("=", 1) for entry in container["Config"]["Env"])
    for name in [name for name in environment if name.endswith("_FILE")]:
        path = Path(environment.pop(name))
        mounts = {Path(m["Destination"]): Path(m["Source"]) for m in container["Mounts"] if m.get("Source")}
        for destination, source in mounts.items():
            if path.is_relative_to(destination):
                contents = (source / path.relative_to(destination)).read_text()
                environment[name.removesuffix("_FILE")] = contents.strip()
    return environment


def with_database(uri: str, database: str) -> str:
    """The same server and credentials, another database."""
    return urlunsplit(urlsplit(uri)._replace(path=f"/{database}"))


def service(name: str) -> Service:
    """A service as it runs now, its databases replaced by the benchmark's own.

    Raises NotSetUp when its pod is not running.
    """
    container = container_of(name)
    environment = environment_of(container)
    if "MONGODB_URI" in environment:
        environment["MONGODB_URI"] = with_database(environment["MONGODB_URI"], MONGODB_DATABASE)
        environment["MONGODB_DATABASE"] = MONGODB_DATABASE
    if "REDIS_URL" in environment:
        environment["REDIS_URL"] = with_database(environment["REDIS_URL"], REDIS_DATABASE)
    command = (container["Path"], *container["Args"])
    return Service(container["Image"], command, environment)
