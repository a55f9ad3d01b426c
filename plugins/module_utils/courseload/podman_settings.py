"""What Podman needs on a host beyond its defaults: the text of a containers.conf."""

from __future__ import annotations

from dataclasses import dataclass

NOFILE = 1048576  # what Podman asks for
NPROC = 10000
UNLIMITED = -1


@dataclass(frozen=True)
class Limits:
    """The hard limits of open files and of processes; UNLIMITED where there is none."""

    nofile: int
    nproc: int


def containers_conf(limits: Limits, *, cgroup2: bool, systemd: bool) -> str:
    """The text for a host with these limits, with control groups of version 2 or not, and with systemd or not."""
    lines = ["# What Podman needs on this host beyond its defaults. Ansible managed", "[containers]"]
    if UNLIMITED < limits.nofile < NOFILE:
        ulimits = [f'"nofile={limits.nofile}:{limits.nofile}"']
        if limits.nproc != UNLIMITED:
            processes = min(limits.nproc, NPROC)
            ulimits.append(f'"nproc={processes}:{processes}"')
        lines += [
            "# The hard limit here is below what Podman would ask for.",
            f"default_ulimits = [{', '.join(ulimits)}]",
        ]
    lines.append("[engine]")
    if not cgroup2:
        lines += ["# crun refuses cgroup v1 beside v2.", 'runtime = "runc"']
    if not systemd:
        lines += [
            "# No systemd, hence neither its cgroup manager nor its journal.",
            'cgroup_manager = "cgroupfs"',
            'events_logger = "file"',
        ]
    return "".join(f"{line}\n" for line in lines)
