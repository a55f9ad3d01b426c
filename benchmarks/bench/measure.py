"""Measures one contestant: starts it, sees to it that it keeps the contract, loads it, and counts what it stored."""

import http.client
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from . import contract, podman, store, usage, wrk
from .contestants import Contestant
from .podman import Part
from .wrk import Load

START_SECONDS = 30
ITSELF, INGRESS = "itself", "ingress"
PLACES = (ITSELF, INGRESS)
DATABASES = {"MONGODB_URI": ("MongoDB", "stored"), "REDIS_URL": ("Redis", "counted")}


class ContestantError(RuntimeError):
    """A contestant did not come up, or did not keep the contract."""


@dataclass(frozen=True)
class Cell:
    """What a figure is of: a contestant, by itself or through the ingress, with so many connections.

    `rate` is how many requests came a second, 0 for as many as were answered.
    """

    contestant: str
    place: str
    connections: int
    rate: int = 0


@dataclass(frozen=True)
class Ingress:
    """The product's ingress in front of a contestant, and the port on which it takes requests."""

    part: Part
    port: int


@dataclass(frozen=True)
class Measurement:
    """One round of one cell. Rates are a second, latencies milliseconds, memory MiB at its peak.

    `stored` and `counted` are the notes new in MongoDB and in Redis, None where the contestant keeps none. `cpu_us` is
    the CPU time of an acknowledged note by who took it, in microseconds; `rest_s` are the CPU seconds that nobody who
    took part has used, and `idle` is the part of the machine's time that was left over.
    """

    writes_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    created: int
    errors: int
    stored: int | None
    counted: int | None
    in_agreement: bool
    cpu_us: dict[str, float]
    rest_s: float
    idle: float
    memory_mib: dict[str, float]

    @property
    def cpu_total_us(self) -> float:
        """What a note takes of contestant, databases and ingress together."""
        return sum(self.cpu_us.values()) - self.cpu_us["wrk"]


@contextmanager
def running(parts: Sequence[Part]) -> Iterator[None]:
    """Containers in the order of their start, removed afterwards."""
    try:
        for part in parts:
            podman.start(part)
        yield
    finally:
        podman.remove([part.name for part in parts])


def check_contract(contestant: Contestant) -> None:
    """Raises ContestantError, with what it does otherwise, if a contestant does not keep the contract."""
    found = []
    with running(contestant.parts):
        for door in contestant.doors:
            address = podman.address(door.part)
            wait_until_it_stores(contestant.parts, address, door.port)
            store.clear()
            found += contract.problems(partial(contract.post, address, door.port), store.show, door.keeps)
    for setting, (database, kept) in DATABASES.items():
        if any(kept in door.keeps for door in contestant.doors):
            found += without_database(contestant.without(setting), database, kept)
    store.clear()
    if found:
        raise ContestantError(f"{contestant.name} does not keep the contract:\n" + "\n".join(found))


def without_database(contestant: Contestant, database: str, kept: str) -> list[str]:
    """What is wrong with the answers of a contestant that cannot reach one of its databases."""
    found = []
    with running(contestant.parts):
        for door in (door for door in contestant.doors if kept in door.keeps):
            answer = answered(contestant.parts, podman.address(door.part), door.port)
            found += contract.without_database(answer, database)
    return found


def answered(parts: Sequence[Part], address: str, port: int) -> contract.Answer:
    """The first answer to a note; raises ContestantError with the logs when there is none within 30 s."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            return contract.post(address, port, contract.NOTE)
        except (OSError, http.client.HTTPException) as error:
            last = str(error)
            time.sleep(0.05)
    raise silent(parts, last)


def wait_until_it_stores(parts: Sequence[Part], address: str, port: int, routes: int = 1) -> None:
    """Return once notes are stored by as many routes; raises ContestantError when they are not within 30 s."""
    deadline = time.monotonic() + START_SECONDS
    seen = set()
    while time.monotonic() < deadline:
        answer = answered(parts, address, port)
        if answer.id:
            seen.add(answer.headers.get("x-route"))
            if len(seen) == routes:
                return
        else:
            time.sleep(0.05)
    raise silent(parts, f"{answer.status} {answer.body}, and notes only from {seen}")


def silent(parts: Sequence[Part], last: str) -> ContestantError:
    """The error that says why no note was stored."""
    logs = "\n".join(podman.logs(part.name) for part in parts)
    return ContestantError(f"{parts[-1].name} did not answer 201 within {START_SECONDS} s: {last}\n{logs}")


def measure(contestant: Contestant, ingress: Ingress, cells: Sequence[Cell], load: Load) -> dict[Cell, Measurement]:
    """Measure a contestant from a fresh start, each cell on empty databases, and remove it."""
    found = {}
    with running(contestant.parts):
        addresses = [f"{podman.address(door.part)}:{door.port}" for door in contestant.doors]
        for place in dict.fromkeys(cell.place for cell in cells):
            front = (ingress.part,) if place == INGRESS else ()
            with running(front):
                if front:
                    addresses = [f"{podman.address(ingress.part.name)}:{ingress.port}"]
                parts = (*contestant.parts, *front)
                for cell in cells:
                    if cell.place == place:
                        found[cell] = measured(contestant, parts, addresses, cell, replace(load, rate=cell.rate))
    store.clear()
    return found


def measured(
    contestant: Contestant, parts: Sequence[Part], addresses: Sequence[str], cell: Cell, load: Load
) -> Measurement:
    """One cell: the addresses are those of the contestant's doors, or of the ingress in front of them all."""
    store.clear()
    for address in addresses:
        host, _, port = address.rpartition(":")
        wait_until_it_stores(parts, host, int(port), len(contestant.doors) // len(addresses))
    # A thread for each route, also through the ingress: so the two are compared with the same load.
    threads = min(len(contestant.doors), cell.connections)
    wrk.run(addresses, threads, cell.connections, load.warm_up, load)
    before = store.settled()
    figures, cpu = loaded(addresses, threads, cell.connections, load, parts)
    after = store.settled()
    created = int(figures["created"])
    if not created:
        raise ContestantError(f"{contestant.name} answered none of wrk's requests with 201: {figures}")
    keeps = set.intersection(*(set(door.keeps) for door in contestant.doors))
    kept = {name: after[name] - before[name] for name in keeps}
    rest, idle = cpu.pop("rest"), cpu.pop("idle")
    return Measurement(
        writes_per_s=round(created / figures["seconds"], 1),
        p50_ms=figures["p50_ms"],
        p99_ms=figures["p99_ms"],
        max_ms=figures["max_ms"],
        created=created,
        errors=int(figures["other"] + figures["socket_errors"] + figures["timeouts"]),
        stored=kept.get("stored"),
        counted=kept.get("counted"),
        # Exactly what was acknowledged is kept, but for the requests that were in flight when wrk hung up.
        in_agreement=all(created <= number <= created + cell.connections for number in kept.values()),
        cpu_us={group: round(seconds / created * 1e6, 1) for group, seconds in cpu.items()},
        rest_s=round(rest, 2),
        idle=round(idle / (idle + rest + sum(cpu.values())), 3),
        memory_mib={part.name.removeprefix("benchmark-"): peak(part) for part in parts},
    )


def peak(part: Part) -> float:
    """A part's peak memory so far, in MiB."""
    return round(usage.peak_memory_mib(podman.main_process(part.name)), 1)


def loaded(
    addresses: Sequence[str], threads: int, connections: int, load: Load, parts: Sequence[Part]
) -> tuple[dict[str, float], dict[str, float]]:
    """Run wrk for the measured time; returns its figures, and the CPU seconds of all that took part."""
    groups: Mapping[int, str] = {podman.main_process(part.name): part.group for part in parts}
    before, wrk_before = usage.cpu_by_group(groups), wrk.cpu_seconds()
    busy_before, idle_before = usage.machine_cpu_seconds()
    figures = wrk.run(addresses, threads, connections, load.seconds, load)
    busy, idle = usage.machine_cpu_seconds()
    cpu = {group: seconds - before.get(group, 0.0) for group, seconds in usage.cpu_by_group(groups).items()}
    cpu["wrk"] = wrk.cpu_seconds() - wrk_before
    # Interrupts, the network's own work, and whatever else ran on the machine meanwhile.
    cpu["rest"] = max(0.0, busy - busy_before - sum(cpu.values()))
    cpu["idle"] = idle - idle_before
    return figures, cpu
