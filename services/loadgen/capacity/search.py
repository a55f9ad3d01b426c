"""The search for the highest rate that meets the objectives: doubling, bisection, and proof at what was found.

A rate that was met once may have been lucky, and one that was missed once unlucky: so what bisection finds is held for
longer, and confirmed. Where it fails there, the search goes on with a lower rate.
"""

from math import sqrt

import msgspec

DOUBLING, BISECTION, HOLD, CONFIRMATION = "doubling", "bisection", "hold", "confirmation"
CONFIRMATIONS = 3
LEAST_RATE = 1.0  # requests a second: a system that cannot take this takes nothing


class Limits(msgspec.Struct, frozen=True):
    """How the search goes: from which rate, how long a step and the hold take, and how near its answer must be.

    Rates are requests a second. Bisection ends where what was missed is at most `precision` (0.1 is 10 %) above what
    was met.
    """

    start_rate: float = 200.0
    step_s: int = 10
    hold_s: int = 60
    precision: float = 0.05


class Step(msgspec.Struct, frozen=True):
    """What is to be tried next: a rate in requests a second, for how many seconds, and why."""

    kind: str
    rate: float
    seconds: int


class Search:
    """One search; `next_step` says what to try, `take` hears whether it met the objectives."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._met: set[float] = set()
        self._proof: list[Step] = []
        self.missed: float | None = None  # the lowest rate that did not meet them
        self.proven = False

    @property
    def met(self) -> float | None:
        """The highest rate that met the objectives, among those below every one that did not."""
        return max((rate for rate in self._met if self.missed is None or rate < self.missed), default=None)

    def next_step(self) -> Step | None:
        """What to try next; None once the answer is known, be it that even the lowest rate is too much."""
        if self.proven or (self.missed is not None and self.missed <= LEAST_RATE):
            return None
        if not self._proof:
            met, rate = self.met, self._next_rate()
            if rate is not None:
                kind = DOUBLING if met is None or self.missed is None else BISECTION
                return Step(kind, rate, self._limits.step_s)
            self.settle()
        return self._proof[0]

    def take(self, step: Step, *, met: bool) -> None:
        """Takes the outcome of a step."""
        if not met:
            self._proof = []
            self.missed = step.rate if self.missed is None else min(step.rate, self.missed)
            return
        self._met.add(step.rate)
        if self._proof:
            self._proof.pop(0)
            self.proven = not self._proof

    def settle(self) -> None:
        """No more bisection: what comes now is the proof of the highest rate that was met, if one was."""
        if self.met is not None and not self._proof:
            confirmations = [Step(CONFIRMATION, self.met, self._limits.step_s)] * CONFIRMATIONS
            self._proof = [Step(HOLD, self.met, self._limits.hold_s), *confirmations]

    def _next_rate(self) -> float | None:
        """The next rate to look at; None where the two ends are near enough."""
        met, missed = self.met, self.missed
        if met is None:
            return self._limits.start_rate if missed is None else max(LEAST_RATE, _round(missed / 2))
        if missed is None:
            return 2 * met
        between = _round(sqrt(met * missed))
        return between if missed > met * (1 + self._limits.precision) and met < between < missed else None


def _round(rate: float) -> float:
    """Three significant digits: more would say what nobody has measured."""
    return float(f"{rate:.3g}")
