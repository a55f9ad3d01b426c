"""The universal scalability law: how throughput grows with the requests that are under way at a time.

With N requests at a time, X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1)) are answered a second. lambda is the
throughput of one at a time. sigma is contention, the part of the work for which requests queue. kappa is coherency,
what each request under way costs each other one.

Source: Neil J. Gunther, "Guerrilla Capacity Planning", Springer 2007.
"""

import random
from collections.abc import Sequence
from itertools import combinations
from math import sqrt
from typing import NamedTuple

from loadgen.capacity.result import Point

RESAMPLES = 1000
SEED = 1
LEAST_PIVOT = 1e-12  # of columns that reach up to 1: below it, equations do not determine what they are to


class Law(NamedTuple):
    """The law with its parameters; `one` is lambda, in requests a second."""

    one: float
    contention: float
    coherency: float

    def rps(self, concurrency: float) -> float:
        """Requests answered a second with so many at a time."""
        n = concurrency
        return self.one * n / (1 + self.contention * (n - 1) + self.coherency * n * (n - 1))

    @property
    def peak(self) -> float | None:
        """The requests at a time that give the highest throughput; None where more always give more, or never do."""
        if self.coherency <= 0 or self.contention >= 1:
            return None
        return sqrt((1 - self.contention) / self.coherency)


def fit(points: Sequence[Point]) -> Law | None:
    """The law with the least squares of relative residuals and no parameter below 0; None where lambda has no bound.

    In 1 / lambda, sigma / lambda and kappa / lambda the law is linear: N / X = a + b (N - 1) + c N (N - 1). N / X is
    the latency, which grows many times over, and so do its errors: that is why residuals are relative.
    """
    rows = [_row(each.concurrency, each.rps) for each in points]
    best, least = (0.0, 0.0, 0.0), float("inf")
    # The optimum that has none below 0 is that of some subset of the three, and that of all three where it has none.
    for chosen in (subset for size in (3, 2, 1) for subset in combinations(range(3), size)):
        solution = _least_squares([[row[at] for at in chosen] for row in rows])
        if solution is None or min(solution) < 0:
            continue
        a, b, c = (solution[chosen.index(at)] if at in chosen else 0.0 for at in range(3))
        squares = sum((a * row[0] + b * row[1] + c * row[2] - 1) ** 2 for row in rows)
        if squares < least:
            best, least = (a, b, c), squares
        if len(chosen) == len(best):
            break
    a, b, c = best
    return Law(1 / a, b / a, c / a) if a > 0 else None


def resampled(points: Sequence[Point]) -> list[Law | None]:
    """The laws of as many steps, drawn from them with replacement (bootstrap); the same ones each time."""
    draw = random.Random(SEED)  # noqa: S311 (draws, not secrets)
    return [fit(draw.choices(points, k=len(points))) for _ in range(RESAMPLES)]


def _row(n: float, rps: float) -> tuple[float, float, float]:
    """The equation of one step, divided by its latency, so that its right side is 1."""
    return rps / n, (n - 1) * rps / n, (n - 1) * rps


def _least_squares(rows: Sequence[Sequence[float]]) -> list[float] | None:
    """Solves rows times unknowns = 1 by the normal equations; None where those have more than one solution."""
    size = len(rows[0])
    scales = [max(abs(row[at]) for row in rows) or 1.0 for at in range(size)]
    scaled = [[value / scale for value, scale in zip(row, scales, strict=True)] for row in rows]
    normal = [
        [*(sum(row[i] * row[j] for row in scaled) for j in range(size)), sum(row[i] for row in scaled)]
        for i in range(size)
    ]
    for at in range(size):
        pivot = max(range(at, size), key=lambda i: abs(normal[i][at]))
        if abs(normal[pivot][at]) < LEAST_PIVOT:
            return None
        normal[at], normal[pivot] = normal[pivot], normal[at]
        for i in range(size):
            if i != at:
                factor = normal[i][at] / normal[at][at]
                normal[i] = [value - factor * other for value, other in zip(normal[i], normal[at], strict=True)]
    return [normal[at][size] / normal[at][at] / scales[at] for at in range(size)]
