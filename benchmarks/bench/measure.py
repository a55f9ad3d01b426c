"""One measurement: start a contestant, warm it up, load it with wrk, and count what it stored."""

import http.client
import json
import re
import resource
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from . import podman, store, usage
from .contestants import Contestant

SCRIPT = Path(__file__).parent / "notes.lua"
NOTE = b'{"curso": "SO1", "facultad": "ingenieria", "carrera": "sistemas", "region": "NORTE"}'
START_SECONDS = 30


class ContestantError(RuntimeError):
    """A contestant did not come up, or did not answer as the contract says."""


@dataclass(frozen=True)
class Load:
    """How wrk is run: how many connections, for how long, and whether each request has an Idempotency-Key."""

    connections: int
    seconds: int
    warm_up: int
    keys: bool


@dataclass(frozen=True)
class Measurement:
    """One round of one contestant. Rates are a second, latencies milliseconds, memory MiB at its peak.

    `stored` and `counted` are the notes new in MongoDB and in Redis, None where the contestant keeps none.
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
    cpu_s: dict[str, float]
    memory_mib: dict[str, float]


def measure(contestant: Contestant, load: Load) -> Measurement:
    """Measure a contestant from a fresh start on empty databases, and remove it."""
    store.clear()
    try:
        for part in contestant.parts:
            podman.start(part)
        address = podman.address(contestant.parts[-1].name)
        wait_until_it_stores(contestant, address)
        url = f"http://{address}:{contestant.port}/course"
        wrk(url, load, load.warm_up)
        before = store.settled()
        parts = {part.name: podman.main_process(part.name) for part in contestant.parts}
        figures, cpu = loaded(url, load, parts)
        after = store.settled()
        memory = {name: usage.peak_memory_mib(pid) for name, pid in parts.items()}
    finally:
        podman.remove([part.name for part in contestant.parts])
        store.clear()
    kept = {name: after[name] - before[name] for name in contestant.keeps}
    created = int(figures["created"])
    if not created:
        raise ContestantError(f"{contestant.name} answered none of wrk's requests with 201: {figures}")
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
        in_agreement=all(created <= number <= created + load.connections for number in kept.values()),
        cpu_s=by_short_name(cpu, 2),
        memory_mib=by_short_name(memory, 1),
    )


def wait_until_it_stores(contestant: Contestant, address: str) -> None:
    """Return once the contestant has answered one note as the contract says.

    Raises ContestantError with the last answer and the logs when it has not within 30 s.
    """
    deadline = time.monotonic() + START_SECONDS
    last = "no answer"
    while time.monotonic() < deadline:
        try:
            status, body = post(address, contestant.port)
        except (OSError, http.client.HTTPException) as error:
            last = str(error)
        else:
            if status == HTTPStatus.CREATED and re.fullmatch("[0-9a-f]{24}", str(json.loads(body)["id"])):
                return
            last = f"{status} {body}"
        time.sleep(0.1)
    logs = "\n".join(podman.logs(part.name) for part in contestant.parts)
    raise ContestantError(f"{contestant.name} did not answer 201 within {START_SECONDS} s: {last}\n{logs}")


def post(address: str, port: int) -> tuple[int, str]:
    """Post one note; returns the status and the body."""
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        connection.request("POST", "/course", NOTE, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def wrk(url: str, load: Load, seconds: int) -> dict[str, float]:
    """Run wrk on the host; returns the figures that notes.lua prints."""
    command = ["wrk", "--threads=1", f"--connections={load.connections}", f"--duration={seconds}s"]
    command += ["--timeout=10s", f"--script={SCRIPT}", url, "--", *(["keys"] if load.keys else [])]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result: dict[str, float] = json.loads(printed.splitlines()[-1])
    return result


def loaded(url: str, load: Load, parts: Mapping[str, int]) -> tuple[dict[str, float], dict[str, float]]:
    """Run wrk for the measured time; returns its figures, and the CPU seconds of all that took part."""
    before, wrk_before = usage.cpu_by_part(parts), wrk_cpu_seconds()
    busy_before, idle_before = usage.machine_cpu_seconds()
    figures = wrk(url, load, load.seconds)
    busy, idle = usage.machine_cpu_seconds()
    cpu = {name: seconds - before.get(name, 0.0) for name, seconds in usage.cpu_by_part(parts).items()}
    cpu["wrk"] = wrk_cpu_seconds() - wrk_before
    # Interrupts, the network's own work, and whatever else ran on the machine meanwhile.
    cpu["rest"] = max(0.0, busy - busy_before - sum(cpu.values()))
    cpu["idle"] = idle - idle_before
    return figures, cpu


def wrk_cpu_seconds() -> float:
    """CPU seconds of the processes we started and waited for; between two calls here only wrk is."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def by_short_name(values: Mapping[str, float], digits: int) -> dict[str, float]:
    """The same values rounded, under the parts' names without the prefix that all containers have."""
    return {name.removeprefix("benchmark-"): round(value, digits) for name, value in values.items()}
