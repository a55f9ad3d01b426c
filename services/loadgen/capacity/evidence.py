"""What was short of what: figures of one moment from Prometheus, and what they say gave in first."""

from collections.abc import Mapping

from loadgen.capacity.result import Evidence, Finding
from loadgen.capacity.system import System
from loadgen.prometheus import NoAnswer, Prometheus
from loadgen.verdict import HELD_BACK

PATIENCE_S = 5.0
BUSY = 0.90  # from here on a CPU has nothing left: requests come in bursts, and the kernel needs its part
_HOST_CORES = 'count by (host) (node_cpu_seconds_total{mode="idle"}) or max by (host) (machine_cpu_cores)'
REFUSED = 0.01  # of the requests
NAMED = 4  # of those who used the most of a host's CPU


def take_evidence(address: str, at: float) -> Evidence:
    """What Prometheus knows of the 30 s before a moment, in seconds since the epoch; nothing where it is not there."""
    if not address:
        return Evidence()
    prometheus = Prometheus(address, PATIENCE_S)

    def values(series: str, *labels: str) -> dict[str, float]:
        rows = prometheus.over(series, at, at, 1)
        return {
            " to ".join(row.labels.get(label, "") for label in labels): row.points[-1][1] for row in rows if row.points
        }

    try:
        replicas = values("workload:replicas:count", "workload")
        return Evidence(
            host_cpu=values("host:cpu_used:ratio30s", "host"),
            host_cores=values(_HOST_CORES, "host"),
            cpu_cores=values("workload:cpu_cores:rate30s", "workload"),
            replicas={name: int(number) for name, number in replicas.items()},
            p99_s=values("workload_database:seconds:p99_30s", "workload", "database"),
            throttled=values("workload:cpu_throttled:ratio30s", "workload"),
            own_errors=values("ingress:own_errors:ratio30s").get("", 0.0),
            disk_busy=values("host:disk_busy:ratio30s", "host"),
        )
    except NoAnswer:
        return Evidence()


def what_gave_in(evidence: Evidence, system: System) -> Finding | None:
    """What was short at a rate above the capacity; None where nothing is known."""
    found = (
        _of_limits(evidence),
        _of_hosts(evidence),
        _of_workloads(evidence, system),
        _of_ingress(evidence),
        _of_databases(evidence),
    )
    return next((finding for finding in found if finding), None)


def _of_limits(evidence: Evidence) -> Finding | None:
    name, part = max(evidence.throttled.items(), key=lambda pair: pair[1], default=("", 0.0))
    if part < HELD_BACK:
        return None
    used = f", at {evidence.cpu_cores[name]:.2f} cores" if name in evidence.cpu_cores else ""
    return Finding(
        f"CPU limit of {name}", f"{name} was held back by its CPU limit {part:.0%} of the time{used}.", of_cpu=False
    )


def _of_hosts(evidence: Evidence) -> Finding | None:
    host, used = max(evidence.host_cpu.items(), key=lambda pair: pair[1], default=("", 0.0))
    if used < BUSY:
        return None
    most = sorted(evidence.cpu_cores.items(), key=lambda pair: -pair[1])[:NAMED]
    who = ", ".join(f"{workload} {cores:.2f}" for workload, cores in most)
    if len(evidence.host_cpu) == 1 and host in evidence.host_cores:
        # Everything runs on it, also what tells no CPU time of its own.
        rest = used * evidence.host_cores[host] - sum(evidence.cpu_cores.values())
        who += f", all else (databases, load generator, kernel) {max(0.0, rest):.2f}"
    return Finding("CPU of a host", f"{host} had no CPU left: {used:.0%} was in use. Cores used: {who}.", of_cpu=True)


def _of_workloads(evidence: Evidence, system: System) -> Finding | None:
    per_replica = {
        name: cores / evidence.replicas[name]
        for name, cores in evidence.cpu_cores.items()
        if name in system.single_threaded and evidence.replicas.get(name)
    }
    name, cores = max(per_replica.items(), key=lambda pair: pair[1], default=("", 0.0))
    if cores < BUSY:
        return None
    number, most = evidence.replicas[name], system.pods.get(name, 1)
    at_most = 1 < most <= number
    return Finding(
        f"replicas of {name}" if at_most else f"CPU of {name}",
        f"{name} used {cores:.2f} of the one core that each of its replicas can use; it had {number}"
        f"{', as many as it may have' if at_most else ''}.",
        of_cpu=True,
    )


def _of_ingress(evidence: Evidence) -> Finding | None:
    if evidence.own_errors < REFUSED:
        return None
    part = f"{evidence.own_errors:.0%} of the requests"
    return Finding(
        "ingress", f"No CPU was short. The ingress answered {part} with an error that came from no route.", of_cpu=False
    )


def _of_databases(evidence: Evidence) -> Finding | None:
    waits = {tuple(who.split(" to ")): seconds for who, seconds in evidence.p99_s.items()}
    own = {(caller, called): seconds - _longest(waits, called) for (caller, called), seconds in waits.items()}
    (caller, database), _ = max(own.items(), key=lambda pair: pair[1], default=(("", ""), 0.0))
    if not database:
        return None
    said = (
        f"No CPU was short. {caller} waited longest, for {database}: {1000 * waits[caller, database]:.0f} ms in the "
        "slowest hundredth."
    )
    host, busy = max(evidence.disk_busy.items(), key=lambda pair: pair[1], default=("", 0.0))
    if busy < BUSY:
        return Finding(database, said, of_cpu=False)
    return Finding(f"disk of {host}", f"{said} The disk of {host} was busy {busy:.0%} of the time.", of_cpu=False)


def _longest(waits: Mapping[tuple[str, ...], float], caller: str) -> float:
    """How long a workload waits for others itself: for so long it is not the one that others wait for."""
    return max((seconds for (who, _), seconds in waits.items() if who == caller), default=0.0)
