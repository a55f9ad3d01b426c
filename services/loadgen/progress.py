"""The line that tells how a run is going, while it goes."""

import os
from collections.abc import Mapping

from loadgen import clock
from loadgen.collector import Collector
from loadgen.latency import latency_of
from loadgen.settings import STEP, Settings
from loadgen.words import share


def say(text: str) -> None:
    """One line of progress, at once."""
    print(f"{os.environ.get(STEP, '')}{text}", flush=True)


def line(
    collector: Collector, settings: Settings, users: int, left_s: float, replicas: Mapping[str, int] | None = None
) -> str:
    """Users, requests a second, p99, failures, the routes' shares since the last line, replicas, and the time left.

    Replicas are told where anything has another number of them than one.
    """
    now = clock.time()
    interval = collector.next_interval(now)
    requests = sum(interval.requests.values())
    rate = requests / max(now - interval.since, 0.001)
    parts = [
        f"{users}/{settings.users} users",
        f"{rate:,.0f} requests/s",
        f"p99 {latency_of(interval.histogram).p99:,.0f} ms" if requests else "p99 -",
        f"{collector.failures:,} failed",
        shares(interval.requests, list(settings.weights)),
    ]
    if replicas and set(replicas.values()) != {1}:
        known = [f"{route} {replicas[route]}" for route in settings.weights if route in replicas]
        if known:
            parts.append(f"replicas {' '.join(known)}")
    return " | ".join([*parts, f"{minutes(left_s)} left"])


def shares(requests: dict[str, int], routes: list[str]) -> str:
    """How the requests that took a route were split, in percent."""
    total = sum(requests.get(route, 0) for route in routes)
    if not total:
        return " / ".join(f"{route} -" for route in routes)
    return " / ".join(f"{route} {share(requests.get(route, 0) / total, 0)}" for route in routes)


def minutes(seconds: float) -> str:
    """A duration as m:ss."""
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"
