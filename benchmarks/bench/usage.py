"""Reads CPU time and memory of the processes that take part, from /proc."""

import os
from collections.abc import Mapping
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
# The databases run in the product's own pods: known by their process names, whatever runs them. FerretDB on PostgreSQL
# takes MongoDB's place, so the two count as it.
DATABASES = {
    "ferretdb": "MongoDB",
    "mongod": "MongoDB",
    "postgres": "MongoDB",
    "redis-server": "Redis",
}


def processes() -> list[int]:
    """Every process id on the machine."""
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def cpu_seconds(pid: int) -> tuple[str, float]:
    """A process's name, and the CPU seconds it and its finished children have used."""
    name, _, rest = (PROC / str(pid) / "stat").read_text().partition("(")[2].rpartition(")")
    return name, sum(int(ticks) for ticks in rest.split()[11:15]) / TICKS


def namespace(pid: int) -> str:
    """The PID namespace of a process: one a container; empty where it is not ours to know."""
    try:
        return str((PROC / str(pid) / "ns" / "pid").readlink())
    except PermissionError:
        return ""


def cpu_by_group(groups: Mapping[int, str]) -> dict[str, float]:
    """CPU seconds so far of each group of containers (by their first process) and of each database.

    Finished children count through their parent, so that the sum of a group never goes back.
    """
    namespaces = {namespace(pid): group for pid, group in groups.items()}
    used = dict.fromkeys(groups.values(), 0.0)
    for pid in processes():
        try:
            name, seconds = cpu_seconds(pid)
            owner = namespaces.get(namespace(pid)) or DATABASES.get(name)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        if owner:
            used[owner] = used.get(owner, 0.0) + seconds
    return used


def machine_cpu_seconds() -> tuple[float, float]:
    """CPU seconds the whole machine has been busy, and idle, since it started."""
    total = (PROC / "stat").read_text().splitlines()[0]
    user, nice, system, idle, iowait, irq, softirq, *_ = map(int, total.split()[1:])
    return (user + nice + system + irq + softirq) / TICKS, (idle + iowait) / TICKS


def peak_memory_mib(first: int) -> float:
    """Peak resident memory in MiB of the container that starts with this process: its processes' summed."""
    wanted = namespace(first)
    kibibytes = 0
    for pid in processes():
        try:
            if namespace(pid) == wanted:
                status = (PROC / str(pid) / "status").read_text()
                kibibytes += int(status.partition("VmHWM:")[2].split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return kibibytes / 1024
