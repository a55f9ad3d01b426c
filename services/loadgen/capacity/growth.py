"""Hosts for several times the rate that was held, by the CPU that a note costs, and where that is no prediction."""

from collections.abc import Mapping
from math import ceil

from loadgen.capacity.evidence import BUSY
from loadgen.capacity.result import Finding, Growth, Needed, Part, StepResult
from loadgen.capacity.system import System
from loadgen.words import significant

TIMES = (2, 5, 10)
REST = "all else"
LEAST_SECONDS = 30  # Prometheus's figures are of so long: of less, they are of what was before as well


def growth_of(held: StepResult | None, finding: Finding | None, system: System, workers: int) -> Growth:
    """Hosts for several times the rate of the step that held the answer; without figures, a sentence says why.

    `workers` is how many the load generator had.
    """
    if held is None:
        return _unknown("No rate was held and confirmed, so nothing is said of more hosts.")
    if held.step.seconds < LEAST_SECONDS:
        return _unknown(
            f"What a note costs takes {LEAST_SECONDS} s to measure, and the answer was held for {held.step.seconds} s "
            "(capacity_hold): nothing is said of more hosts."
        )
    evidence = held.evidence
    cores = {host: number for host, number in evidence.host_cores.items() if host not in system.beside}
    used = {host: part for host, part in evidence.host_cpu.items() if host not in system.beside}
    if not used or used.keys() != cores.keys():
        return _unknown("Prometheus did not say what CPU the hosts used, so nothing is said of more hosts.")
    if finding and not finding.of_cpu:
        return _unknown(f"{finding.what} gave in first, which more hosts do not mend, so nothing is said of them.")
    generator = held.generator_cores * system.workers / workers
    spent = sum(used[host] * cores[host] for host in used) - generator
    return _predicted(held, _parts(held, spent, system, min(cores.values())), cores, min(BUSY, max(used.values())))


def _unknown(why: str) -> Growth:
    return Growth(sentences=[why], parts=[], stops_at=None, needed=[])


def _parts(held: StepResult, spent: float, system: System, host_cores: float) -> list[Part]:
    """What a note costs, by part, and how many cores each part can use; `spent` cores were in use in all."""

    def part(name: str, cores: float, at_most: float | None) -> Part:
        most = at_most * BUSY * held.rps / cores if at_most and cores else None
        return Part(name, round(1e6 * cores / held.rps, 1), at_most, None if most is None else round(most, 1))

    known = {name: held.evidence.cpu_cores[name] for name in system.pods if name in held.evidence.cpu_cores}
    parts = [
        part(name, cores, system.pods[name] * (1 if name in system.single_threaded else host_cores))
        for name, cores in known.items()
    ]
    # What tells no CPU time of its own is in what is left over, which then may all be on one host.
    untold = [name for name in system.pods if name not in known]
    rest = max(0.0, spent - sum(known.values()))
    name = " and ".join([", ".join(untold), REST]) if untold else REST
    return [*parts, part(name, rest, host_cores if untold else None)]


def _predicted(held: StepResult, parts: list[Part], cores: Mapping[str, float], filled: float) -> Growth:
    first = min((part for part in parts if part.rps_at_most), key=lambda part: part.rps_at_most or 0, default=None)
    stops_at = first.rps_at_most if first else None
    a_note = sum(part.cpu_us for part in parts) / 1e6
    a_host = filled * min(cores.values())
    needed = []
    for times in TIMES:
        rate = times * held.step.rate
        within = stops_at is None or rate <= stops_at
        needed.append(Needed(times, rate, max(1, ceil(a_note * rate / a_host)) if within else None))
    return Growth(_sentences(held, first, cores, filled), parts, stops_at, needed)


def _sentences(held: StepResult, first: Part | None, cores: Mapping[str, float], filled: float) -> list[str]:
    hosts = "one machine" if len(cores) == 1 else f"{len(cores)} hosts"
    told = [
        f"A rule of three from {hosts}: a note costs the CPU that it cost at {significant(held.rps)} a second, and "
        f"hosts with {min(cores.values()):g} cores are filled to {filled:.0%}. What more hosts cost each other was not "
        "measured and is not in it, nor is the load generator."
    ]
    if first and first.rps_at_most and first.cores_at_most:
        told.append(
            f"It stops being a prediction at {significant(first.rps_at_most)} a second, "
            f"{significant(first.rps_at_most / held.step.rate, 2)} times the rate: there, {first.name} would use "
            f"{BUSY:.0%} of all the cores that it can ({first.cores_at_most:g}), however many hosts there are."
        )
        if first.name.endswith(REST):  # the databases, where they tell no CPU time
            told.append("That is the earliest it can be: these are not known apart, and all counts as one host's.")
    return told
