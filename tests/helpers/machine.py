"""What this machine is and has: whether the system can be set up here, and whether it is here already."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

REPOSITORY = Path(__file__).parents[2]
CREDENTIALS = Path("/etc/courseload/credentials")
# How courseload marks a host, and what Podman keeps for it.
MARK = Path("/var/lib/courseload/made.json")
LABEL = "part-of=courseload"
# What the tests of the services write is kept apart from what people stored.
TEST_DATABASE = "courses_test"
TEST_REDIS_DATABASE = "15"


def obstacle() -> str | None:
    """Why the system cannot be set up on this machine, in a sentence; None where it can."""
    distribution = re.findall(r"^ID=\"?(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    if distribution not in (["debian"], ["ubuntu"]):
        return f"needs Debian or Ubuntu, and this is {' '.join(distribution) or 'unknown'}"
    if os.geteuid() != 0:
        return "needs root: run it with sudo"
    return None


def installed() -> bool:
    """Whether courseload, or data of it, is on this machine."""
    return Path("/etc/courseload").exists() or MARK.exists() or bool(podman_list("volume", f"--filter=label={LABEL}"))


def podman_list(kind: str, *options: str) -> list[str]:
    """The names of all volumes, pods, networks; none where there is no Podman."""
    if not shutil.which("podman"):
        return []
    template = {"image": "{{.Repository}}:{{.Tag}}"}.get(kind, "{{.Name}}")
    listed = podman(kind, "ls", "--format", template, *options)
    return listed.split()


def podman(*arguments: str) -> str:
    """Runs podman and returns what it prints."""
    return run("podman", *arguments)


def run(*command: str) -> str:
    """Runs a command and returns what it prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.strip()


def credential(workload: str, name: str) -> str:
    return (CREDENTIALS / workload / name).read_text().strip()


def mongodb_uri(database: str = "courses") -> str:
    """The URI of MongoDB as this machine reaches it."""
    uri = urlsplit(credential("mongodb", "uri"))
    return urlunsplit(uri._replace(netloc=_on_loopback(uri.netloc), path=f"/{database}"))


def redis_url(database: str = "0") -> str:
    url = urlsplit(credential("redis", "uri"))
    return urlunsplit(url._replace(netloc=_on_loopback(url.netloc), path=f"/{database}"))


def _on_loopback(netloc: str) -> str:
    """user:password@mongodb:27017 as user:password@127.0.0.1:27017."""
    user, _, address = netloc.rpartition("@")
    return f"{user}@127.0.0.1:{address.rpartition(':')[2]}"


def secrets() -> list[str]:
    """Every password of the system on this machine, so that it can be kept out of what is printed."""
    files = CREDENTIALS.glob("*/*") if os.access(CREDENTIALS, os.R_OK) else []
    found = {urlsplit(word).password or word for file in files for word in file.read_text().split()}
    # Shorter words, such as user names, are no secrets; redacting them would garble everything.
    return [word.removeprefix(">") for word in found if len(word) >= 24 and "/" not in word]


def own_addresses() -> list[str]:
    """This machine's address towards the network, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only chooses a route
        except OSError:
            return []
        return [probe.getsockname()[0]]
