"""Metrics counted in plain integers on the hot path, and turned into Prometheus families only when scraped."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from course.cgroup import CpuLimitCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
NOTES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Histogram:
    """A histogram of fixed buckets (upper bounds, ascending) that costs one bisection an observation."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Counts one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Prometheus's cumulative buckets: upper bound and count."""
        total, found = 0, []
        for bound, count in zip((*map(float, self.bounds), float("inf")), self.counts, strict=True):
            total += count
            found.append(("+Inf" if bound == float("inf") else str(bound), float(total)))
        return found


class RequestMetrics:
    """How requests were answered: counts by status, and seconds from a request's last byte to its answer."""

    def __init__(self) -> None:
        self.by_status: Counter[str] = Counter()
        self.seconds = Histogram(SECONDS)

    def families(self) -> Iterator[Metric]:
        """The Prometheus families."""
        total = CounterMetricFamily("courseload_requests", "Requests answered, by status", labels=["status"])
        for status, count in sorted(self.by_status.items()):
            total.add_metric([status], count)
        yield total
        yield _histogram("courseload_request_seconds", "Time from a request's arrival to its answer", self.seconds)


class WriteMetrics:
    """How writes went: batch sizes, seconds a write, retries, notes not stored, and what waits right now."""

    def __init__(self) -> None:
        self.batch_size = Histogram(NOTES)
        self.write_seconds = Histogram(SECONDS)
        self.retries = 0
        self.write_errors = 0
        self._gauges: tuple[Callable[[], float], ...] = ()

    def watch(self, *gauges: Callable[[], float]) -> None:
        """Sets where the present queue length, writes in flight, and whether the breaker is open are read."""
        self._gauges = gauges

    def families(self) -> Iterator[Metric]:
        """The Prometheus families."""
        yield _histogram("courseload_batch_notes", "Notes written together", self.batch_size)
        yield _histogram("courseload_write_seconds", "Time a write took, its databases included", self.write_seconds)
        yield CounterMetricFamily("courseload_write_retries", "Writes that were tried again", value=self.retries)
        yield CounterMetricFamily("courseload_write_errors", "Notes not stored", value=self.write_errors)
        names = {
            "courseload_queue_notes": "Notes waiting for a write",
            "courseload_writes_in_flight": "Writes under way",
            "courseload_refusing": "1 while the database does not answer and notes are refused at once",
        }
        for (name, text), gauge in zip(names.items(), self._gauges, strict=False):
            yield GaugeMetricFamily(name, text, value=float(gauge()))


class DatabaseMetrics:
    """Seconds each database took to answer, by database."""

    def __init__(self, *databases: str) -> None:
        self.seconds = {name: Histogram(SECONDS) for name in databases}

    def families(self) -> Iterator[Metric]:
        """The Prometheus families."""
        family = HistogramMetricFamily(
            "courseload_database_seconds", "Time a database took to answer a write", labels=["database"]
        )
        for name, histogram in self.seconds.items():
            family.add_metric([name], histogram.buckets(), histogram.sum)
        yield family


class _Families(Collector):
    def __init__(self, *parts: RequestMetrics | WriteMetrics | DatabaseMetrics) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        for part in self._parts:
            yield from part.families()


class Exposition:
    """The page behind /metrics: the given parts and the process's own figures (memory, CPU, its limit, garbage)."""

    def __init__(self, *parts: RequestMetrics | WriteMetrics | DatabaseMetrics) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Families(*parts))
        self._registry.register(CpuLimitCollector())
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)

    def page(self) -> bytes:
        """The metrics in Prometheus's text format."""
        return generate_latest(self._registry)


def _histogram(name: str, text: str, histogram: Histogram) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, text, buckets=histogram.buckets(), sum_value=histogram.sum)
