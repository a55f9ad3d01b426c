"""The certificate: capacity.json and what is drawn from it, on one page that needs nothing beside it."""

from pathlib import Path

from loadgen.capacity.result import Capacity
from loadgen.progress import say
from loadgen.settings import write_csv, write_json


def write_certificate(directory: Path, capacity: Capacity) -> None:
    """Writes all files into the directory, and says the answer."""
    write_json(directory / "capacity.json", capacity)
    header = ["step", "kind", "rate", "seconds", "met", "rps", "p50_ms", "p99_ms", "failure_ratio", "lost"]
    rows = (
        (
            number,
            result.step.kind,
            result.step.rate,
            result.step.seconds,
            result.met,
            result.rps,
            result.latency_ms.p50,
            result.latency_ms.p99,
            result.failure_ratio,
            "" if result.lost is None else result.lost,
        )
        for number, result in enumerate(capacity.steps, start=1)
    )
    write_csv(directory / "steps.csv", header, rows)
    for line in capacity.answer:
        say(line)
