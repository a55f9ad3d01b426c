"""Runs Podman with the lab's own settings, and lists what of it is the lab's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from lab.paths import CONTAINERS_CONF, LAB, REPOSITORY

LABEL = "courseload.lab=yes"
NETWORK = "lab"
FOLLOWS_S = 10  # within which a command ends whose container has ended
CGROUPS = Path("/sys/fs/cgroup")
CGROUP = "courseload-lab"  # below which, in every hierarchy, all hosts are


class PodmanError(RuntimeError):
    """A podman command failed; the message is what podman said."""


def attempt(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs podman, whatever comes of it."""
    environment = {**os.environ, "CONTAINERS_CONF": str(CONTAINERS_CONF)}
    return subprocess.run(["podman", *arguments], capture_output=True, text=True, env=environment, check=False)


def podman(*arguments: str) -> str:
    """Runs podman and returns what it prints; raises PodmanError."""
    done = attempt(*arguments)
    if done.returncode:
        raise PodmanError(f"podman {' '.join(arguments[:2])}: {done.stderr.strip()}")
    return done.stdout.strip()


@contextmanager
def following(*arguments: str) -> Iterator[list[str]]:
    """Runs podman beside what is done within; afterwards the list has the lines that it printed."""
    environment = {**os.environ, "CONTAINERS_CONF": str(CONTAINERS_CONF)}
    lines: list[str] = []
    with subprocess.Popen(
        ["podman", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        reader = Thread(target=lambda: lines.extend(process.stdout or ()))
        reader.start()
        yield lines
        reader.join(FOLLOWS_S)
        process.terminate()
        reader.join()


def settle() -> None:
    """Installs Podman where it is missing and writes the lab's settings of it, once."""
    if CONTAINERS_CONF.exists() and shutil.which("podman") and shutil.which("mmdebstrap"):
        return
    CONTAINERS_CONF.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["ansible-playbook", "-i", "localhost,", LAB / "machine.yml", "-e", f"containers_conf={CONTAINERS_CONF}"],
        cwd=REPOSITORY,
        check=True,
    )


def containers() -> list[dict[str, Any]]:
    """The lab's containers, as `podman ps` describes them."""
    listed: list[dict[str, Any]] = json.loads(podman("ps", "--all", "--format=json", f"--filter=label={LABEL}"))
    return listed


def volumes() -> list[str]:
    return podman("volume", "ls", "--quiet", f"--filter=label={LABEL}").split()


def network_exists() -> bool:
    """Whether the lab's network is there; where another's has its name, Podman makes none."""
    return NETWORK in podman("network", "ls", "--format={{.Name}}", f"--filter=label={LABEL}").split()


def remove_cgroups() -> None:
    """Removes the directories that hosts have made for their own parts: Podman removes only the one that it made."""
    deadline = time.monotonic() + 10
    for hierarchy in CGROUPS.iterdir():
        while True:
            try:
                for directory, _, _ in os.walk(hierarchy / CGROUP, topdown=False):
                    Path(directory).rmdir()
                break
            except OSError:  # the last processes are still on their way out
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
