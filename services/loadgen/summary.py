"""summary.json: the run in one small file, for people in a hurry and for scripts."""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from loadgen.collector import Load
from loadgen.latency import Latency
from loadgen.reconcile import Reconciliation
from loadgen.settings import NO_ROUTE, Settings
from loadgen.verdict import Verdict, failure_ratio


class RouteSummary(msgspec.Struct):
    """One route: `share` is its part (0 to 1) of all that took a route; the weights ask for `expected_share`.

    `replicas` are the fewest and the most that it had, where anything had another number of them than one.
    """

    requests: int
    share: float
    expected_share: float
    latency_ms: Latency
    replicas: tuple[int, int] | None = None


class Slo(msgspec.Struct):
    """One objective: the measured value must not be above the limit."""

    name: str
    unit: str
    limit: float
    measured: float
    met: bool


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
    slos: list[Slo]
    reconciliation: Reconciliation | None


def summarise(
    settings: Settings,
    load: Load,
    reconciliation: Reconciliation | None,
    verdict: Verdict,
    replicas: Mapping[str, tuple[int, int]] | None = None,
) -> Summary:
    """The summary of a run. `rps` is requests by the time from the first user to the last answer."""
    ratio = failure_ratio(load)
    p99 = load.total.latency_ms.p99
    duration = load.ended_at - load.started_at
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
        failure_ratio=round(ratio, 6),
        unsent=load.unsent,
        rps=round(load.requests / duration, 1) if duration else 0.0,
        latency_ms=load.total.latency_ms,
        routes=_routes(settings, load, replicas or {}),
        unrouted=load.routes[NO_ROUTE].requests if NO_ROUTE in load.routes else 0,
        slos=[
            Slo("p99 latency", "ms", settings.slo_p99_ms, p99, p99 <= settings.slo_p99_ms),
            Slo("failure ratio", "", settings.slo_failure_ratio, round(ratio, 6), ratio <= settings.slo_failure_ratio),
        ],
        reconciliation=reconciliation,
    )


def _routes(settings: Settings, load: Load, replicas: Mapping[str, tuple[int, int]]) -> dict[str, RouteSummary]:
    nothing = Latency(0, 0, 0, 0)
    routed = {name: detail for name, detail in load.routes.items() if name != NO_ROUTE}
    total = sum(detail.requests for detail in routed.values())
    weights = sum(settings.weights.values())
    summaries = {}
    for name in [*settings.weights, *sorted(routed.keys() - settings.weights.keys())]:
        requests = routed[name].requests if name in routed else 0
        summaries[name] = RouteSummary(
            requests=requests,
            share=round(requests / total, 4) if total else 0.0,
            expected_share=round(settings.weights.get(name, 0) / weights, 4) if weights else 0.0,
            latency_ms=routed[name].latency_ms if name in routed else nothing,
            replicas=replicas.get(name),
        )
    return summaries
