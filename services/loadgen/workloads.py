"""The system's workloads during a run: how many replicas of each were ready, and the CPU that their pods used."""

from collections.abc import Mapping, Sequence

import msgspec

from loadgen.settings import RunDirectory


class WorkloadSecond(msgspec.Struct):
    """One workload at one second of the run; `cpu_cores` is None when nobody had measured its pods yet.

    A second without a row is one at which nothing was known.
    """

    second: int
    replicas: int
    cpu_cores: float | None


Workloads = dict[str, list[WorkloadSecond]]


def read_workloads(directory: RunDirectory) -> Workloads:
    """What was watched during the run; empty where nothing was."""
    if not directory.workloads.exists():
        return {}
    return msgspec.json.decode(directory.workloads.read_bytes(), type=Workloads)


def read_why_unwatched(directory: RunDirectory) -> str:
    """A sentence on what could not be watched; empty where everything was, or nothing was to be."""
    return directory.unwatched.read_text(encoding="utf-8") if directory.unwatched.exists() else ""


def replicas_now(directory: RunDirectory) -> Mapping[str, int]:
    """The replicas of each workload that are ready at this moment, as far as they are known."""
    try:
        return msgspec.json.decode(directory.replicas.read_bytes(), type=dict[str, int])
    except OSError:
        return {}


def replica_range(rows: Sequence[WorkloadSecond]) -> tuple[int, int] | None:
    """The fewest and the most replicas that there were; None when nothing is known."""
    return (min(row.replicas for row in rows), max(row.replicas for row in rows)) if rows else None
