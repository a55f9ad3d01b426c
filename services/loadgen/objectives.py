"""Objectives: how near a run came to what it must reach, and whether it can still get there."""

import math
from collections.abc import Mapping, Sequence

import msgspec
from hdrh.histogram import HdrHistogram

from loadgen.collector import Load
from loadgen.latency import slower_than
from loadgen.settings import OPEN, Objective, Settings
from loadgen.words import percent, significant

DIGITS = 9  # a single request of hundreds of millions still shows

BY_CHANCE = 6.0
"""How many standard deviations more notes than on average may come at random times."""

SLACK_S = 2.0
"""For how long, at most, users may post before the run's time begins and after it has ended."""


class Outcome(Objective, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """An objective and what was measured: None, and not met, where there was no request to measure."""

    measured: float | None
    met: bool

    @property
    def name(self) -> str:
        """What it is, such as `p99` or `failure ratio of relay`."""
        return self.what.replace("_", " ") + ("" if self.of_total else f" of {self.of}")

    @property
    def limit_text(self) -> str:
        return f"at {'most' if self.at_least is None else 'least'} {self._text(self.limit)}"

    @property
    def measured_text(self) -> str:
        return "–" if self.measured is None else self._text(self.measured)

    def _text(self, value: float) -> str:
        if self.what == "failure_ratio":
            return percent(value)
        return f"{significant(value)} {'notes/s' if self.what == 'throughput' else 'ms'}"


def outcomes(settings: Settings, load: Load) -> list[Outcome]:
    """How near the run came to each objective."""
    return [_outcome(objective, load) for objective in settings.objectives]


def requests_of(objective: Objective, load: Load) -> int:
    """How many requests an objective is about."""
    if objective.of_total:
        return load.requests
    return load.routes[objective.of].requests if objective.of in load.routes else 0


def tolerated_failures(settings: Settings) -> float:
    """The part (0 to 1) of all requests that may fail; all may where no objective is about that."""
    limits = [each.limit for each in settings.objectives if each.of_total and each.what == "failure_ratio"]
    return min(limits, default=1.0)


def out_of_reach(settings: Settings, latencies: Mapping[str, HdrHistogram], failures: Mapping[str, int]) -> str:
    """Why an objective cannot be met any more, whatever is still to come; empty while all can.

    `latencies` and `failures` are those so far, by the route that answered. Requests that have not arrived yet count as
    fast ones that are acknowledged, and as many are expected as the users can have due: without a rate nobody knows how
    many, so that only what must never happen is out of reach.
    """
    seconds = settings.duration_s + SLACK_S
    planned = settings.users * (settings.rate * seconds + settings.shape.starts) if settings.rate else math.inf
    if settings.arrivals == OPEN:
        planned += BY_CHANCE * math.sqrt(planned)
    arrived = sum(histogram.get_total_count() for histogram in latencies.values())
    for objective in settings.objectives:
        own = [each for name, each in latencies.items() if objective.is_about(name)]
        most = planned - (arrived - sum(histogram.get_total_count() for histogram in own))
        failed = sum(number for name, number in failures.items() if objective.is_about(name))
        if why := _lost(objective, own, failed, most, settings.duration_s):
            return why
    return ""


def _lost(objective: Objective, latencies: Sequence[HdrHistogram], failed: int, most: float, duration_s: float) -> str:
    """Why one objective cannot be met with at most so many requests; `latencies` and `failed` are its own."""
    of = "" if objective.of_total else f" of {objective.of}"
    known = "" if math.isinf(most) else f" of at most {most:,.0f}"
    if objective.what == "throughput":
        best = (most - failed) / duration_s
        if best >= objective.limit:
            return ""
        reached = f"with {failed:,} failed requests{of} no more than {significant(best)} notes/s can be acknowledged"
        return f"{reached}, the objective is at least {significant(objective.limit)}"
    if objective.percentile is None:
        failing = f"{failed:,} requests{of}{known} have failed, the objective is at most {percent(objective.limit)}"
        return failing if failed > _part(objective.limit, most) else ""
    slow = sum(slower_than(histogram, objective.limit) for histogram in latencies)
    # HdrHistogram rounds to the nearest request.
    late = slow > _part(1 - objective.percentile / 100, most) + 0.5
    limit = f"{significant(objective.limit)} ms"
    return f"{slow:,} requests{of}{known} took longer than {limit}, the limit of {objective.what}" if late else ""


def _part(share: float, of: float) -> float:
    """A part (0 to 1) of a number that may be infinite."""
    return share * of if share else 0.0


def _outcome(objective: Objective, load: Load) -> Outcome:
    measured = _measured(objective, load)
    return Outcome(
        **msgspec.structs.asdict(objective),
        measured=None if measured is None else round(measured, DIGITS),
        met=measured is not None and objective.allows(measured),
    )


def _measured(objective: Objective, load: Load) -> float | None:
    requests = requests_of(objective, load)
    if objective.what == "throughput":
        notes = load.acknowledged.get(objective.of, 0)
        duration_s = load.ended_at - load.started_at
        return (sum(load.acknowledged.values()) if objective.of_total else notes) / duration_s if duration_s else None
    if not requests:
        return None
    if objective.what == "failure_ratio":
        failures = load.failures if objective.of_total else load.failures_by_route.get(objective.of, 0)
        return failures / requests
    detail = load.total if objective.of_total else load.routes[objective.of]
    return detail.asked_ms[objective.percentile or 0.0]
