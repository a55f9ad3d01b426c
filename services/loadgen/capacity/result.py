"""What a search for the capacity leaves: capacity.json, from which the certificate is drawn."""

import os
import platform
from pathlib import Path

import msgspec

from loadgen.capacity.search import Step
from loadgen.latency import Latency
from loadgen.settings import Settings


class Evidence(msgspec.Struct):
    """What Prometheus knew at the end of a step; empty where it did not answer.

    `host_cpu` is the part (0 to 1) of a host's CPU that was in use, of its `host_cores`. `cpu_cores` and `replicas` are
    by workload, all its replicas together; `p99_s` is who waited for which database, such as `direct to mongodb`, in
    seconds.
    """

    host_cpu: dict[str, float] = {}
    host_cores: dict[str, float] = {}
    cpu_cores: dict[str, float] = {}
    replicas: dict[str, int] = {}
    p99_s: dict[str, float] = {}


class StepResult(msgspec.Struct):
    """One step: what was asked and what came of it. `rps` is in requests a second, latencies in milliseconds.

    `lost` are acknowledged notes that a database does not have as they were sent; None where nobody could look.
    `generator_cpu` is the part of its core that the busiest worker used in its busiest seconds. `generator_cores` are
    those that all workers used together over the step.
    """

    step: Step
    met: bool
    reasons: list[str]
    started_at: str
    rps: float
    latency_ms: Latency
    failure_ratio: float
    unsent: int
    lost: int | None
    generator_cpu: float
    generator_cores: float
    generator_limited: bool
    evidence: Evidence


class Finding(msgspec.Struct):
    """What gave in first, in a sentence, and the figures that say so."""

    what: str
    sentence: str


class Machine(msgspec.Struct):
    """Where the master ran. Memory is in bytes."""

    cores: int
    processor: str
    memory_bytes: int
    kernel: str


class Capacity(msgspec.Struct):
    """The answer: between `met` and `missed` requests a second lies the highest rate that meets the objectives.

    `answer` says so in sentences. `proven` says that `met` was held and confirmed. `refusal` is why there is no answer,
    empty where there is one.
    """

    answer: list[str]
    met: float | None
    missed: float | None
    proven: bool
    refusal: str
    finding: Finding | None
    steps: list[StepResult]
    settings: Settings
    machine: Machine
    started_at: str
    seconds: float


def this_machine() -> Machine:
    """The machine that this process runs on."""
    cpu = dict(_pairs(Path("/proc/cpuinfo")))
    memory = dict(_pairs(Path("/proc/meminfo")))
    kibibytes = int(memory.get("MemTotal", "0 kB").split()[0])
    return Machine(os.cpu_count() or 0, cpu.get("model name", platform.machine()), kibibytes * 1024, platform.release())


def _pairs(file: Path) -> list[tuple[str, str]]:
    """The `name: value` lines of a file in /proc."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
