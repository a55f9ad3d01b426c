"""What there is on this machine that a lab could leave behind, for a comparison of before and after."""

from __future__ import annotations

import json
from pathlib import Path

from helpers.machine import run
from lab.hosts import KERNEL, SYSCTL
from lab.podman import CGROUPS, podman

Traces = dict[str, set[str]]


def find() -> Traces:
    """The names of what is on this machine, by kind."""
    return {
        "containers": set(podman("ps", "--all", "--format={{.Names}}").split()),
        "networks": set(podman("network", "ls", "--format={{.Name}}").split()),
        "volumes": set(podman("volume", "ls", "--format={{.Name}}").split()),
        "mounts": {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()},
        "routes": set(run("ip", "-4", "route", "show", "table", "all").splitlines()),
        "interfaces": {link["ifname"] for link in json.loads(run("ip", "-json", "link"))},
        "packet filter": set(run("iptables-save").splitlines()) - {""},
        "settings of the kernel": {f"{name}={(SYSCTL / name).read_text().strip()}" for name in KERNEL},
        "cgroups": {str(path) for path in CGROUPS.glob("*/**/") if path.is_dir()},
        "processes": set(filter(None, map(command, Path("/proc").glob("[0-9]*")))),
    }


def command(process: Path) -> str:
    """A process's id and command; nothing for those that came and went, and for the kernel's own."""
    try:
        words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return ""
    return f"{process.name} {' '.join(words).strip()[:200]}" if words[0] else ""


def left(before: Traces) -> Traces:
    """What is here now and was not before; the processes are those of containers, since others come and go."""
    now = find()
    added = {kind: now[kind] - before[kind] for kind in now}
    added["processes"] = {line for line in added["processes"] if any(word in line for word in CONTAINED)}
    # Time stamps and counters are no rules.
    added["packet filter"] = {line for line in added["packet filter"] if line.startswith("-A")}
    return {kind: names for kind, names in added.items() if names}


CONTAINED = ("conmon", "containerd", "k3s", "/sbin/init", "systemd", "sshd")
