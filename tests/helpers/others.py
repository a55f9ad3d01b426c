"""What somebody else has on this machine, called as courseload calls its own: not courseload's to touch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from helpers import machine


@dataclass(frozen=True)
class Others:
    """What somebody else has of Podman's."""

    volumes: tuple[str, ...] = ("courseload-backup", "grafana-config", "locust-worker-9-scratch-1", "redis-config")
    pod: str = "locust-worker-9"
    container: str = "locust-report-old"
    network: str = "courseload-backups"
    image: str = "localhost/courseload/redis:theirs"

    def here(self) -> list[str]:
        """Everything of it that is here as it was, and runs."""
        running = machine.podman("pod", "ps", "--filter=status=running", "--format={{.Name}}").split()
        there = {
            *(name for name in self.volumes if name in machine.podman_list("volume") and noted(name)),
            *(name for name in (self.pod,) if name in running),
            *(name for name in (self.network,) if name in machine.podman_list("network")),
            *(name for name in (self.image,) if name in machine.podman_list("image")),
        }
        return sorted(there)

    def all(self) -> list[str]:
        return sorted((*self.volumes, self.pod, self.network, self.image))


def noted(volume: str) -> bool:
    """Whether what was written into a volume is still there."""
    return (mountpoint(volume) / "note").read_text() == volume


def mountpoint(volume: str) -> Path:
    return Path(machine.podman("volume", "inspect", "--format={{.Mountpoint}}", volume))


@contextmanager
def others_here() -> Iterator[Others]:
    """Volumes, a pod that runs and uses one, a network and an image of somebody else's."""
    found = Others()
    for volume in found.volumes:
        machine.podman("volume", "create", volume)
        (mountpoint(volume) / "note").write_text(volume)
    machine.podman("network", "create", found.network)
    machine.podman("pod", "create", f"--name={found.pod}", f"--volume={found.volumes[0]}:/backup")
    machine.podman("pod", "start", found.pod)
    pause = next(image for image in machine.podman_list("image") if image.startswith("localhost/podman-pause:"))
    machine.podman("tag", pause, found.image)
    try:
        yield found
    finally:
        machine.podman("pod", "rm", "--force", found.pod)
        machine.podman("volume", "rm", *found.volumes)
        machine.podman("network", "rm", found.network)
        machine.podman("untag", found.image, found.image)


THEIR_FILES = (
    "/etc/courseload/theirs.conf",
    "/etc/courseload/pods/theirs.yml",
    "/etc/courseload/credentials/redis/theirs",
    "/var/lib/courseload/theirs.db",
    "/var/lib/courseload/loadtest/theirs.log",
    "/var/cache/courseload/theirs.tar",
)


@contextmanager
def their_files_here() -> Iterator[list[Path]]:
    """Files of somebody else's in the directories that courseload works in."""
    files = [Path(name) for name in THEIR_FILES]
    made = [path.parent for path in files if not path.parent.exists()]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("theirs")
    try:
        yield files
    finally:
        for path in files:
            path.unlink(missing_ok=True)  # the tests of reset remove them themselves
        for directory in made:
            if directory.exists() and not any(directory.iterdir()):
                directory.rmdir()
