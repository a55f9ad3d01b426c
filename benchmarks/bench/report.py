"""Turns the rounds into medians, ratios and verdicts, as JSON or as tables."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from .measure import Measurement
from .podman import podman

Rounds = Mapping[str, Sequence[Measurement]]

OURS = ("relay", "direct")
MEMORY_MIB = 150
DISTURBED = 0.1


@dataclass(frozen=True)
class Target:
    """A ratio to reach: a figure of one of ours over the same figure of another contestant."""

    ours: str
    other: str
    figure: str
    at_least: float = 0.0
    at_most: float = float("inf")

    def judge(self, rounds: Rounds) -> dict[str, Any]:
        """The ratio's spread; taken within each round, so that a slow minute hits both sides."""
        pairs = zip(rounds[self.ours], rounds[self.other], strict=True)
        ratios = spread([getattr(ours, self.figure) / getattr(other, self.figure) for ours, other in pairs])
        return {
            "what": f"{self.figure}: {self.ours} / {self.other}",
            **ratios,
            "target": f">= {self.at_least:g}" if self.at_least else f"<= {self.at_most:g}",
            "pass": self.at_least <= ratios["median"] <= self.at_most,
        }


TARGETS = (
    Target("relay", "peer-relay", "writes_per_s", at_least=3),
    Target("direct", "peer-direct", "writes_per_s", at_least=3),
    Target("relay", "peer-relay", "p99_ms", at_most=0.1),
    Target("direct", "peer-direct", "p99_ms", at_most=0.1),
    Target("relay", "floor", "writes_per_s", at_least=0.65),
    Target("direct", "floor", "writes_per_s", at_least=0.75),
)


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median, the least and the most."""
    return {"median": round(median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


def spreads(rounds: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """The spread of each part's figure."""
    return {part: spread([figures.get(part, 0.0) for figures in rounds]) for part in rounds[0]}


def judge_memory(service: str, peaks: Sequence[float]) -> dict[str, Any]:
    """A service's peak memory; its worst round decides."""
    return {
        "what": f"peak MiB: {service}",
        **spread(peaks),
        "target": f"< {MEMORY_MIB}",
        "pass": max(peaks) < MEMORY_MIB,
    }


def judge_agreement(name: str, measurements: Sequence[Measurement]) -> dict[str, Any]:
    """How many notes a contestant stored that it had not acknowledged: what was in flight, at most."""
    return {
        "what": f"stored - acknowledged: {name}",
        **spread([(m.stored or 0) - m.created for m in measurements]),
        "target": "0 to in flight",
        "pass": all(m.in_agreement for m in measurements),
    }


def judge(rounds: Rounds) -> list[dict[str, Any]]:
    """Every target whose contestants were measured."""
    found = [target.judge(rounds) for target in TARGETS if target.ours in rounds and target.other in rounds]
    for measurements in (rounds[name] for name in OURS if name in rounds):
        services = measurements[0].memory_mib
        found += [judge_memory(service, [m.memory_mib[service] for m in measurements]) for service in services]
    storing = {name: measurements for name, measurements in rounds.items() if measurements[0].stored is not None}
    return [*found, *(judge_agreement(name, measurements) for name, measurements in storing.items())]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    version = podman("version", "--format={{.Client.Version}}")
    return {"cores": os.cpu_count(), "kernel": platform.release(), "podman": version}


def disturbed(rounds: Rounds, seconds: int) -> list[str]:
    """The measurements during which other programs took more than a tenth of the machine."""
    capacity = seconds * (os.cpu_count() or 1)
    return [
        f"round {number}, {name}: {measurement.cpu_s['rest']:.1f} CPU seconds"
        for name, measurements in rounds.items()
        for number, measurement in enumerate(measurements, start=1)
        if measurement.cpu_s["rest"] > DISTURBED * capacity
    ]


def summary(measurements: Sequence[Measurement]) -> dict[str, Any]:
    """One contestant: the spread of each figure, and the rounds it comes from."""
    figures = ("writes_per_s", "p50_ms", "p99_ms", "max_ms", "errors")
    return {
        **{figure: spread([getattr(m, figure) for m in measurements]) for figure in figures},
        "cpu_s": spreads([m.cpu_s for m in measurements]),
        "memory_mib": spreads([m.memory_mib for m in measurements]),
        "rounds": [asdict(m) for m in measurements],
    }


def as_json(rounds: Rounds, options: Mapping[str, Any]) -> dict[str, Any]:
    """The whole run: the machine, the options, each contestant, each target, and whether all were reached."""
    targets = judge(rounds)
    return {
        "machine": machine(),
        "options": dict(options),
        "contestants": {name: summary(measurements) for name, measurements in rounds.items()},
        "targets": targets,
        "disturbed": disturbed(rounds, options["seconds"]),
        "pass": all(target["pass"] for target in targets),
    }


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def shown(values: Mapping[str, float], digits: int = 1) -> str:
    """A spread as `median (min-max)`."""
    return f"{values['median']:,.{digits}f} ({values['min']:,.{digits}f}-{values['max']:,.{digits}f})"


def reached(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The first table: what each contestant reached."""
    rows = [("contestant", "writes/s", "p50 ms", "p99 ms", "errors", "peak MiB")]
    for name, figures in found.items():
        speed = (shown(figures["writes_per_s"], 0), shown(figures["p50_ms"]), shown(figures["p99_ms"]))
        memory = ", ".join(f"{part} {peak['max']:.0f}" for part, peak in figures["memory_mib"].items())
        rows.append((name, *speed, f"{figures['errors']['max']:.0f}", memory))
    return columns(rows)


def spent(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The second table: where the CPU time went."""
    rows = [f"{'contestant':<12}  CPU seconds of the measured time, median"]
    for name, figures in found.items():
        used = ", ".join(f"{part} {seconds['median']:.1f}" for part, seconds in figures["cpu_s"].items())
        rows.append(f"{name:<12}  {used}")
    return "\n".join(rows)


def judged(targets: Sequence[Mapping[str, Any]]) -> str:
    """The third table: the targets, and whether they were reached."""
    rows = [("target", "median (min-max)", "asked", "")]
    rows += [(t["what"], shown(t, 2), t["target"], "pass" if t["pass"] else "MISS") for t in targets]
    return columns(rows)


def as_text(result: Mapping[str, Any]) -> str:
    """The run as three tables, with a word on what disturbed it."""
    tables = [reached(result["contestants"]), spent(result["contestants"]), judged(result["targets"])]
    if result["disturbed"]:
        lines = "\n".join(result["disturbed"])
        tables.append(f"Other programs were busy meanwhile; do not trust these, measure again:\n{lines}")
    return "\n\n".join(tables)
