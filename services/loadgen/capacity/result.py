"""What a search for the capacity leaves: capacity.json, from which the certificate is drawn."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import msgspec

from loadgen.capacity.search import HOLD, Step
from loadgen.latency import Latency
from loadgen.settings import Settings
from loadgen.verdict import HELD_BACK, Judgement


class Evidence(msgspec.Struct):
    """What Prometheus knew at the end of a step; empty where it did not answer.

    `host_cpu` is the part (0 to 1) of a host's CPU that was in use, of its `host_cores`. `cpu_cores` and `replicas` are
    by workload, all its replicas together; `p99_s` is who waited for which database, such as `direct to mongodb`, in
    seconds. `throttled` is the part (0 to 1) of the time in which a CPU limit held a workload back, `disk_busy` that in
    which a host's disk had something to do; `own_errors` is the part of the requests that the ingress answered with an
    error of its own.
    """

    host_cpu: dict[str, float] = {}
    host_cores: dict[str, float] = {}
    cpu_cores: dict[str, float] = {}
    replicas: dict[str, int] = {}
    p99_s: dict[str, float] = {}
    throttled: dict[str, float] = {}
    own_errors: float = 0.0
    disk_busy: dict[str, float] = {}

    @property
    def cores_used(self) -> float | None:
        """The cores that were in use on all hosts, the load generator's among them; None where one is not known."""
        if not self.host_cpu or self.host_cpu.keys() != self.host_cores.keys():
            return None
        return sum(part * self.host_cores[host] for host, part in self.host_cpu.items())


class StepResult(msgspec.Struct):
    """One step: what was asked and what came of it. `rps` is in requests a second, latencies in milliseconds.

    `lost` are acknowledged notes that a database does not have as they were sent; None where nobody could look.
    `generator_cpu` is the part of its core that the busiest worker used in its busiest seconds. `generator_cores` are
    those that all workers used together over the step; for the part `generator_held_back` of it a CPU limit stopped the
    worker that it stopped most. `mean_ms` is the mean of all latencies.
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
    mean_ms: float
    generator_held_back: float = 0.0

    @property
    def generator_limit(self) -> str:
        """How the load generator was the limit, where it was."""
        if self.generator_held_back > HELD_BACK:
            return f"a CPU limit held a worker back {self.generator_held_back:.0%} of the time"
        return f"its busiest worker used {self.generator_cpu:.0%} of its core"


class Estimate(msgspec.Struct):
    """A figure, and the ends of its interval of 95 %."""

    value: float
    low: float
    high: float


class FittedLaw(msgspec.Struct):
    """The parameters of the universal scalability law: lambda in requests a second, sigma and kappa without a unit."""

    throughput_of_one: Estimate
    contention: Estimate
    coherency: Estimate


class Point(msgspec.Struct):
    """Requests under way at a time in a step, on average, and how many were answered a second."""

    concurrency: float
    rps: float


class CurvePoint(msgspec.Struct):
    """What the law says of so many requests at a time: answers a second."""

    concurrency: float
    rps: Estimate


class Scalability(msgspec.Struct):
    """The law of the steps that are `points`, in sentences and as a curve; without one, a sentence says why.

    `measured_to` is the highest concurrency among them. From there to `told_to` the law is an extrapolation, and beyond
    that it says nothing.
    """

    sentences: list[str]
    points: list[Point]
    law: FittedLaw | None
    measured_to: float | None
    told_to: float | None
    curve: list[CurvePoint]


class Finding(msgspec.Struct):
    """What gave in first, in a sentence with the figures that say so, and whether it was short of CPU."""

    what: str
    sentence: str
    of_cpu: bool


class Part(msgspec.Struct):
    """A part of the system: the CPU time of a note in microseconds, and how far that goes.

    With the cores that it can use at most, it is good for so many notes a second; None where there is no such limit.
    """

    name: str
    cpu_us: float
    cores_at_most: float | None
    rps_at_most: float | None


class Needed(msgspec.Struct):
    """Hosts for so many times the rate, in requests a second; None where nothing can be said."""

    times: int
    rate: float
    hosts: int | None


class Growth(msgspec.Struct):
    """Hosts for several times the rate, in sentences and figures; above `stops_at` requests a second nothing is said.

    Without figures, a sentence says why there are none.
    """

    sentences: list[str]
    parts: list[Part]
    stops_at: float | None
    needed: list[Needed]


class Machine(msgspec.Struct):
    """Where the master ran. Memory is in bytes."""

    cores: int
    processor: str
    memory_bytes: int
    kernel: str


class Capacity(msgspec.Struct):
    """The answer: between `met` and `missed` requests a second lies the highest rate that meets the objectives.

    `answer` says so in sentences. `proven` says that `met` was held and confirmed. `refusal` is why there is no answer,
    empty where there is one. `replicas` says how many the routes had: `min`, `max` or `scaling`; empty outside
    of a cluster.
    """

    answer: list[str]
    met: float | None
    missed: float | None
    proven: bool
    refusal: str
    finding: Finding | None
    steps: list[StepResult]
    scalability: Scalability
    growth: Growth
    replicas: str
    settings: Settings
    machine: Machine
    started_at: str
    seconds: float


def judge_notes(results: Sequence[StepResult], called: str) -> Judgement:
    """Whether any of these load tests lost a note; `called` is what they are."""
    lost, unknown = lost_notes(results), sum(result.lost is None for result in results)
    reasons = [
        f"{lost:,} acknowledged notes were lost." if lost else "",
        f"Of {unknown} {called} nobody knows whether notes were lost: a database did not answer." if unknown else "",
    ]
    return Judgement("notes", "no acknowledged note is lost", " ".join(filter(None, reasons)))


def lost_notes(results: Sequence[StepResult]) -> int:
    """Acknowledged notes that a database does not have as they were sent, as far as is known."""
    return sum(result.lost or 0 for result in results)


def held_step(steps: Sequence[StepResult], rate: float | None) -> StepResult | None:
    """The last step that held a rate; None where there is none."""
    return next(
        (each for each in reversed(steps) if each.met and each.step.kind == HOLD and each.step.rate == rate), None
    )


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
