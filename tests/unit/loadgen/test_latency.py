"""Latencies: three significant digits, mergeable, nothing dropped."""

import pytest

from loadgen.latency import count, decode, distribution, latency_of, mean_of, merged, new_histogram


def filled(latencies_s):
    histogram = new_histogram()
    for latency in latencies_s:
        count(histogram, latency)
    return histogram


def test_percentiles_keep_three_significant_digits():
    latency = latency_of(filled(number / 1000 for number in range(1, 1001)))
    assert (latency.p50, latency.p95, latency.p99) == pytest.approx((500, 950, 990), rel=0.002)
    assert latency.max == pytest.approx(1000, rel=0.002)


def test_the_mean_is_of_all_latencies_and_0_of_none():
    assert mean_of(filled([0.001] * 9 + [1.0])) == pytest.approx(100.9, rel=0.002)
    assert mean_of(new_histogram()) == 0


def test_merging_two_processes_gives_the_percentiles_of_all_their_requests():
    fast, slow = filled([0.001] * 98), filled([2.0] * 2)
    latency = latency_of(merged([decode(fast.encode()), decode(slow.encode())]))
    assert latency.p50 == pytest.approx(1, rel=0.01)
    assert latency.p99 == pytest.approx(2000, rel=0.01)


def test_latencies_out_of_range_count_as_the_nearest_end_of_it():
    histogram = filled([-1.0, 0.0, 1e9])
    assert histogram.get_total_count() == 3


def test_nothing_counted_is_all_zero():
    latency = latency_of(new_histogram())
    assert (latency.p50, latency.p95, latency.p99, latency.max) == (0, 0, 0, 0)
    assert distribution(new_histogram()) == []
