"""summary.json: the run in one small file, for people in a hurry and for scripts."""

from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import fmean

import msgspec

from loadgen.collector import Load, judged_from
from loadgen.latency import Latency
from loadgen.objectives import DIGITS, Outcome, outcomes
from loadgen.reconcile import Reconciliation
from loadgen.regression import Compared
from loadgen.settings import NO_ROUTE, Settings
from loadgen.shapes import CONSTANT
from loadgen.split import is_unlikely
from loadgen.verdict import Verdict, failure_ratio

MATTERS = 0.05
"""By how much a route's share may differ from what the weights ask for before anybody needs to know."""


class RouteSummary(msgspec.Struct):
    """One route: `share` is its part (0 to 1) of all that took a route; the weights ask for `expected_share`.

    The share is `off` where it differs by so much that it matters, and by more than chance explains. `replicas` are
    the fewest and the most that it had, where anything had another number of them than one.
    """

    requests: int
    share: float
    expected_share: float
    latency_ms: Latency
    replicas: tuple[int, int] | None = None
    off: bool = False


class Generator(msgspec.Struct):
    """How near its limit the load generator was: CPU is the part of one core (0 to 1) that a worker used.

    `cpu` is the mean over all workers and the whole run, `busiest_cpu` of the busiest worker in its busiest seconds.
    `waited` is the part of the run (0 to 1) for which workers could have gone on, and no core was free; `held_back` is
    that for which a CPU limit stopped the worker that it stopped most.
    """

    workers: int
    cpu: float
    busiest_cpu: float
    waited: float
    held_back: float = 0.0


class Summary(msgspec.Struct):
    """One run. Latencies are in milliseconds, from when a request was due.

    `unrouted` requests failed without an X-Route; `unsent` ones were due when the run ended, and not sent any more.
    `reconciliation` is None where a database could not be asked.
    """

    run: str
    verdict: str
    reasons: list[str]
    started_at: str
    users: int
    rate: float
    duration_s: float
    requests: int
    failures: int
    failure_ratio: float
    unsent: int
    rps: float
    latency_ms: Latency
    routes: dict[str, RouteSummary]
    unrouted: int
    reconciliation: Reconciliation | None
    objectives: list[Outcome] = []
    generator: Generator | None = None
    warnings: list[str] = []
    shape: str = CONSTANT.name
    arrivals: str = "closed"
    baseline: list[Compared] = []

    @property
    def asked(self) -> tuple[object, ...]:
        """The load that was asked for: only runs with the same one compare."""
        return self.users, self.rate, self.shape, self.arrivals

    @property
    def lost(self) -> int | None:
        """How many acknowledged notes are missing, in MongoDB or in Redis; None where that is not known."""
        found = self.reconciliation
        return found.mongodb.missing + found.redis.missing if found else None


def summarise(
    settings: Settings,
    load: Load,
    reconciliation: Reconciliation | None,
    verdict: Verdict,
    replicas: Mapping[str, tuple[int, int]] | None = None,
) -> Summary:
    """The summary of a run. `rps` is requests by the time for which they were judged."""
    ratio = failure_ratio(load)
    began = judged_from(load, settings) if settings.warm_up_s else load.started_at
    duration = max(0.0, load.ended_at - began)  # a run may end during its warm-up
    return Summary(
        run=settings.run,
        verdict=verdict.verdict,
        reasons=verdict.reasons,
        started_at=datetime.fromtimestamp(load.started_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        users=settings.users,
        rate=settings.rate,
        duration_s=round(duration, 1),
        requests=load.requests,
        failures=load.failures,
        failure_ratio=round(ratio, DIGITS),
        unsent=load.unsent,
        rps=round(load.requests / duration, 1) if duration else 0.0,
        latency_ms=load.total.latency_ms,
        routes=_routes(settings, load, replicas or {}),
        unrouted=load.routes[NO_ROUTE].requests if NO_ROUTE in load.routes else 0,
        objectives=outcomes(settings, load),
        reconciliation=reconciliation,
        generator=_generator(load),
        warnings=verdict.warnings,
        shape=settings.shape.name,
        arrivals=settings.arrivals,
        baseline=verdict.compared,
    )


def _generator(load: Load) -> Generator | None:
    """None where no worker is known."""
    if not load.workers:
        return None
    return Generator(
        workers=len(load.workers),
        cpu=round(fmean(worker.cpu for worker in load.workers), 3),
        # A run that ends within the window has no busiest seconds but itself.
        busiest_cpu=max(max(worker.busiest_cpu, worker.cpu) for worker in load.workers),
        waited=round(fmean(worker.waited for worker in load.workers), 3),
        held_back=max(worker.held_back for worker in load.workers),
    )


def _routes(settings: Settings, load: Load, replicas: Mapping[str, tuple[int, int]]) -> dict[str, RouteSummary]:
    nothing = Latency(0, 0, 0, 0)
    routed = {name: detail for name, detail in load.routes.items() if name != NO_ROUTE}
    total = sum(detail.requests for detail in routed.values())
    weights = sum(settings.weights.values())
    summaries = {}
    for name in [*settings.weights, *sorted(routed.keys() - settings.weights.keys())]:
        requests = routed[name].requests if name in routed else 0
        share = requests / total if total else 0.0
        expected = settings.weights.get(name, 0) / weights if weights else 0.0
        summaries[name] = RouteSummary(
            requests=requests,
            share=round(share, DIGITS),
            expected_share=round(expected, DIGITS),
            latency_ms=routed[name].latency_ms if name in routed else nothing,
            replicas=replicas.get(name),
            off=abs(share - expected) > MATTERS and is_unlikely(requests, total, expected),
        )
    return summaries
