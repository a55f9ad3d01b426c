"""The ratios to reach, and what the rounds say of each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from .measure import INGRESS, ITSELF, Cell, Measurement
from .rounds import spread

Rounds = Mapping[Cell, Sequence[Measurement]]

OURS = ("relay", "direct")
RIVALS = ("go", "rust")  # with the same contract and group commit
MEMORY_MIB = 150
ONE = range(1, 2)  # a request at a time
MANY = range(16, 1_000_000)  # connections with which batches come together
WRITES, P50, P99 = "writes_per_s", "p50_ms", "p99_ms"


@dataclass(frozen=True)
class Target:
    """A ratio to reach: a figure of a contestant in a place over the same figure of another, or of itself elsewhere."""

    one: str
    other: str
    figure: str
    at_least: float = 0.0
    at_most: float = float("inf")
    places: tuple[str, str] = (ITSELF, ITSELF)
    connections: range = MANY

    def judge(self, rounds: Rounds) -> Iterator[dict[str, Any]]:
        """The ratio's spread for each number of connections that was measured on both sides."""
        for number in sorted({cell.connections for cell in rounds if cell.connections in self.connections}):
            one = rounds.get(Cell(self.one, self.places[0], number))
            other = rounds.get(Cell(self.other, self.places[1], number))
            if one and other:
                yield self._judged(number, one, other)

    def _judged(self, number: int, one: Sequence[Measurement], other: Sequence[Measurement]) -> dict[str, Any]:
        # Taken within each round, so that a slow minute hits both sides.
        pairs = zip(one, other, strict=True)
        ratios = spread([getattr(a, self.figure) / getattr(b, self.figure) for a, b in pairs])
        asked = f">= {self.at_least:g}" if self.at_least else f"<= {self.at_most:g}"
        return {
            "what": f"{self.figure}: {self._sides()}",
            "connections": number,
            **ratios,
            "target": asked,
            "pass": self.at_least <= ratios["median"] <= self.at_most,
        }

    def _sides(self) -> str:
        one, other = self.places
        if one != other:
            return f"{self.one}, {one} / {other}"
        return f"{self.one} / {self.other}" + (", ingress" if one == INGRESS else "")


def targets() -> Iterator[Target]:
    """Everything that is asked."""
    through = (INGRESS, INGRESS)
    for ours in OURS:
        for rival, places in product(RIVALS, ((ITSELF, ITSELF), through)):
            yield Target(ours, f"{rival}-{ours}", WRITES, at_least=1.0, places=places)
            yield Target(ours, f"{rival}-{ours}", P99, at_most=1.0, places=places)
        yield Target(ours, f"plain-{ours}", WRITES, at_least=4.5)
        yield Target(ours, f"plain-{ours}", P99, at_most=0.1)
        yield Target(ours, f"plain-{ours}", P50, at_most=1.0, connections=ONE)
        yield Target(ours, "floor", WRITES, at_least=0.65 if ours == "relay" else 0.75)
    yield Target("both", "both", WRITES, at_least=0.85, places=(INGRESS, ITSELF))
    yield Target("both", "both", P99, at_most=1.5, places=(INGRESS, ITSELF))


def judge(rounds: Rounds) -> list[dict[str, Any]]:
    """Every target whose contestants were measured."""
    found = [judged for target in targets() for judged in target.judge(rounds)]
    return [*found, *memory(rounds), *agreement(rounds)]


def memory(rounds: Rounds) -> Iterator[dict[str, Any]]:
    """The peak memory of each of our services, in all that was measured of its route; its worst round decides."""
    for name in OURS:
        measurements = of(rounds, name)
        services = {service for m in measurements for service in m.memory_mib if service != "ingress"}
        for service in sorted(services):
            peaks = [m.memory_mib[service] for m in measurements]
            good = max(peaks) < MEMORY_MIB
            yield {"what": f"peak MiB: {service}", **spread(peaks), "target": f"< {MEMORY_MIB}", "pass": good}


def agreement(rounds: Rounds) -> Iterator[dict[str, Any]]:
    """How many notes a contestant stored that it had not acknowledged: what was in flight, at most."""
    for name in dict.fromkeys(cell.contestant for cell in rounds):
        measurements = [m for m in of(rounds, name) if m.stored is not None]
        if measurements:
            yield {
                "what": f"stored - acknowledged: {name}",
                **spread([(m.stored or 0) - m.created for m in measurements]),
                "target": "0 to in flight",
                "pass": all(m.in_agreement for m in measurements),
            }


def of(rounds: Rounds, contestant: str) -> list[Measurement]:
    """All measurements of a contestant."""
    return flat(measurements for cell, measurements in rounds.items() if cell.contestant == contestant)


def flat(rows: Iterable[Sequence[Measurement]]) -> list[Measurement]:
    """All of them in one list."""
    return [measurement for row in rows for measurement in row]
