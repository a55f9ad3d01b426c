"""The search for the highest rate that meets the objectives: doubling, bisection, and proof at what was found.

A rate that was met once may have been lucky, and one that was missed once unlucky. So what bisection finds is held for
longer, and confirmed; and the lowest rate that was missed is tried for longer as well. Where one of them turns out the
other way, the search goes on.
"""

from math import sqrt

import msgspec

DOUBLING, BISECTION, HOLD, CONFIRMATION, OVERLOAD = "doubling", "bisection", "hold", "confirmation", "overload"
CONFIRMATIONS = 3
LEAST_RATE = 1.0  # requests a second: a system that cannot take this takes nothing


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How the search goes: from which rate, how long its steps take, and how near its answer must be.

    Rates are requests a second. Bisection ends where what was missed is at most `precision` (0.1 is 10 %) above what
    was met.
    """

    start_rate: float = 200.0
    step_s: int = 10
    hold_s: int = 60
    overload_s: int = 35  # Prometheus's figures are of 30 s
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
        self._missed: set[float] = set()
        self._to_prove: list[Step] = []
        self._hurried = False
        self._overloaded: float | None = None
        self.proven: float | None = None  # the rate that was held and confirmed

    @property
    def missed(self) -> float | None:
        """The lowest rate that did not meet the objectives, and was not met later on."""
        return min(self._missed, default=None)

    @property
    def met(self) -> float | None:
        """The highest rate that met the objectives, among those below every one that did not."""
        return max((rate for rate in self._met if self.missed is None or rate < self.missed), default=None)

    def next_step(self) -> Step | None:
        """What to try next; None once the answer is known, be it that even the lowest rate is too much."""
        if self.missed is not None and self.missed <= LEAST_RATE:
            return None
        if not self._to_prove:
            met, rate = self.met, self._next_rate()
            if rate is not None:
                kind = DOUBLING if met is None or self.missed is None else BISECTION
                return Step(kind, rate, self._limits.step_s)
            self._prove()
        if self._to_prove:
            return self._to_prove[0]
        if self.proven is None or self.missed is None or self.missed == self._overloaded:
            return None
        return Step(OVERLOAD, self.missed, self._limits.overload_s)

    def take(self, step: Step, *, met: bool) -> None:
        """Takes the outcome of a step."""
        if not met:
            self._to_prove = []
            self._missed.add(step.rate)
            if step.kind == OVERLOAD:
                self._overloaded = step.rate
            return
        self._met.add(step.rate)
        # What a lower rate missed was bad luck.
        self._missed = {rate for rate in self._missed if rate > step.rate}
        if self._to_prove:
            self._to_prove.pop(0)
            if not self._to_prove:
                self.proven = step.rate

    def hurry(self) -> None:
        """No more doubling and bisection: what comes now is the proof of the highest rate that was met, if one was."""
        self._hurried = self.met is not None

    def _prove(self) -> None:
        if self.met is not None and self.met != self.proven:
            confirmations = [Step(CONFIRMATION, self.met, self._limits.step_s)] * CONFIRMATIONS
            self._to_prove = [Step(HOLD, self.met, self._limits.hold_s), *confirmations]

    def _next_rate(self) -> float | None:
        """The next rate to look at; None where the two ends are near enough."""
        met, missed = self.met, self.missed
        if self._hurried:
            return None
        if met is None:
            return self._limits.start_rate if missed is None else max(LEAST_RATE, _round(missed / 2))
        if missed is None:
            return 2 * met
        between = _round(sqrt(met * missed))
        return between if missed > met * (1 + self._limits.precision) and met < between < missed else None


def _round(rate: float) -> float:
    """Three significant digits: more would say what nobody has measured."""
    return float(f"{rate:.3g}")
