"""Latencies in HdrHistograms: microseconds up to an hour, three significant digits, mergeable between processes."""

from collections.abc import Iterable, Iterator

import msgspec
from hdrh.histogram import HdrHistogram

LONGEST_US = 3_600_000_000


class Latency(msgspec.Struct, frozen=True):
    """Percentiles in milliseconds; all 0 when nothing was counted."""

    p50: float
    p95: float
    p99: float
    max: float


def new_histogram() -> HdrHistogram:
    return HdrHistogram(1, LONGEST_US, 3, b64_wrap=False)


def count(histogram: HdrHistogram, seconds: float) -> None:
    """Adds one latency. What is out of range counts as the nearest end of it, so that nothing is dropped."""
    histogram.record_value(min(max(int(seconds * 1e6), 1), LONGEST_US))


def decode(encoded: bytes) -> HdrHistogram:
    return HdrHistogram.decode(encoded, b64_wrap=False)


def merged(histograms: Iterable[HdrHistogram]) -> HdrHistogram:
    total = new_histogram()
    for histogram in histograms:
        total.add(histogram)
    return total


def latency_of(histogram: HdrHistogram) -> Latency:
    if not histogram.get_total_count():
        return Latency(0, 0, 0, 0)
    at = histogram.get_percentile_to_value_dict([50, 95, 99])
    return Latency(_ms(at[50]), _ms(at[95]), _ms(at[99]), _ms(histogram.get_max_value()))


def mean_of(histogram: HdrHistogram) -> float:
    """The mean in milliseconds, to three significant digits as all that is counted; 0 when nothing was."""
    total = histogram.get_total_count()
    return round(sum(1000 * seconds * count for seconds, count in recorded(histogram)) / total, 3) if total else 0.0


def at_percentiles(histogram: HdrHistogram, percentiles: Iterable[float]) -> dict[float, float]:
    """Milliseconds by percentile (0 to 100); nothing when nothing was counted."""
    if not histogram.get_total_count():
        return {}
    at = histogram.get_percentile_to_value_dict(list(percentiles))
    return {percentile: _ms(microseconds) for percentile, microseconds in at.items()}


def slower_than(histogram: HdrHistogram, milliseconds: float) -> int:
    """How many requests took longer for certain; up to a thousandth of the limit, the histogram cannot tell."""
    return sum(count for seconds, count in recorded(histogram) if seconds * 1000 > milliseconds)


def distribution(histogram: HdrHistogram) -> list[tuple[float, float]]:
    """(percentile, milliseconds) pairs from the median to the slowest request, finer towards the slow end."""
    points = [50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8, 99.9, 99.95, 99.98, 99.99, 100.0]
    if not histogram.get_total_count():
        return []
    at = histogram.get_percentile_to_value_dict(points)
    return [(point, _ms(at[point])) for point in points]


def recorded(histogram: HdrHistogram) -> Iterator[tuple[float, int]]:
    """(seconds, how many) of all that was counted, ascending; the library's own iterator takes ten times as long."""
    counts = enumerate(histogram.counts[:])
    return ((histogram.get_value_from_index(index) / 1e6, count) for index, count in counts if count)


def _ms(microseconds: int) -> float:
    return round(microseconds / 1000, 3)
