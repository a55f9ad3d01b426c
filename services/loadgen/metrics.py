"""What Prometheus is told of a load test while it runs: GET /metrics of the master."""

from bisect import bisect_left
from collections.abc import Callable, Iterator

from hdrh.histogram import HdrHistogram
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector as PrometheusCollector

from course.metrics import SECONDS
from loadgen import clock
from loadgen.collector import Collector
from loadgen.latency import recorded

BOUNDS = (*SECONDS, 5.0, 10.0)


class Figures(PrometheusCollector):
    """The figures of a run, read when they are asked for.

    `users` tells how many users there are, and `silent_s` is after how many seconds without a report a worker counts
    as silent.
    """

    def __init__(self, collector: Collector, users: Callable[[], int], wanted: int, silent_s: float) -> None:
        self._collector = collector
        self._users = users
        self._wanted = wanted
        self._silent_s = silent_s

    def collect(self) -> Iterator[Metric]:
        """The Prometheus families."""
        collector = self._collector
        yield GaugeMetricFamily("loadtest_users", "Users that post notes", value=self._users())
        yield GaugeMetricFamily("loadtest_users_wanted", "Users that were asked for", value=self._wanted)
        yield CounterMetricFamily("loadtest_failures", "Requests without an acknowledgement", value=collector.failures)
        seconds = HistogramMetricFamily(
            "loadtest_request_seconds", "Time from when a request should have started to its answer", labels=["route"]
        )
        for route, histogram in collector.so_far().items():
            seconds.add_metric([route], *_buckets(histogram))
        yield seconds
        rows = collector.worker_rows()
        silent = len(collector.silent(clock.time(), self._silent_s))
        workers = GaugeMetricFamily("loadtest_workers", "Processes that send the load", labels=["state"])
        workers.add_metric(["at work"], len(rows) - silent)
        workers.add_metric(["silent"], silent)
        yield workers
        busiest = GaugeMetricFamily(
            "loadtest_worker_busiest_cpu_ratio", "CPU of one core in a worker's busiest seconds", labels=["worker"]
        )
        for row in rows:
            busiest.add_metric([row.name], row.busiest_cpu)
        yield busiest


def serve(port: int, figures: Figures) -> None:
    """Tells the figures on a port of all addresses, beside what this process does, until it ends."""
    registry = CollectorRegistry()
    registry.register(figures)
    start_http_server(port, registry=registry)


def _buckets(histogram: HdrHistogram) -> tuple[list[tuple[str, float]], float]:
    """Prometheus's cumulative buckets, and the sum of all seconds."""
    counts, total_s = [0] * (len(BOUNDS) + 1), 0.0
    for seconds, count in recorded(histogram):
        counts[bisect_left(BOUNDS, seconds)] += count
        total_s += seconds * count
    buckets, below = [], 0
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), counts, strict=True):
        below += count
        buckets.append((bound, float(below)))
    return buckets, total_s
