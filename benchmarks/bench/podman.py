"""Runs the benchmark's containers with podman, and removes every one of them afterwards."""

import json
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

LABEL = "courseload.benchmark=yes"
NETWORK = "courseload"
# The same confinement as the product's pods.
CONFINED = (
    "--user=10001:10001",
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
)


class PodmanError(RuntimeError):
    """A podman command failed; the message is what podman said."""


@dataclass(frozen=True)
class Part:
    """One container: what it runs, the environment it runs with, and as whose its CPU time counts."""

    name: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[str, ...] = ()
    group: str = "route"


def podman(*arguments: str) -> str:
    """Run podman and return what it printed; raises PodmanError with podman's message."""
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PodmanError(f"podman {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def inspect(kind: str, *names: str) -> list[dict[str, Any]]:
    """What `podman <kind> inspect` says of each name."""
    found: list[dict[str, Any]] = json.loads(podman(kind, "inspect", *names)) if names else []
    return found


@contextmanager
def run_arguments(part: Part) -> Iterator[list[str]]:
    """The arguments of `podman run` for a part. Its environment has passwords in it: it goes in a file."""
    with tempfile.NamedTemporaryFile("w", prefix="courseload-benchmark-") as file:
        file.writelines(f"{name}={value}\n" for name, value in part.environment.items())
        file.flush()
        options = [f"--name={part.name}", f"--label={LABEL}", f"--network={NETWORK}", *CONFINED]
        options += [f"--env-file={file.name}", *(f"--volume={mount}" for mount in part.mounts)]
        yield [*options, part.image, *part.command]


def start(part: Part) -> None:
    """Start a part in the background; its name resolves on the network."""
    with run_arguments(part) as arguments:
        podman("run", "--detach", *arguments)


def address(name: str) -> str:
    """A container's address on the network, which the host reaches without a published port."""
    return str(inspect("container", name)[0]["NetworkSettings"]["Networks"][NETWORK]["IPAddress"])


def main_process(name: str) -> int:
    """The host's process id of a container's first process."""
    return int(inspect("container", name)[0]["State"]["Pid"])


def logs(name: str) -> str:
    """The last lines a container printed."""
    done = subprocess.run(["podman", "logs", "--tail=20", name], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def remove(names: Sequence[str]) -> None:
    """Remove containers of the benchmark at once, running or not, there or not; others' of the same names stay."""
    _remove(identity for identity, name in _ours() if name in names)


def remove_all() -> None:
    """Remove every container any run of the benchmark has left."""
    _remove(identity for identity, _ in _ours())


def _ours() -> list[tuple[str, str]]:
    """The id and the name of every container of the benchmark."""
    lines = podman("ps", "--all", f"--filter=label={LABEL}", "--format={{.ID}} {{.Names}}").splitlines()
    return [(identity, name) for identity, _, name in (line.partition(" ") for line in lines)]


def _remove(identities: Iterable[str]) -> None:
    if found := list(identities):
        podman("rm", "--force", "--ignore", "--time=0", *found)
