"""Metrics: what is counted comes out as Prometheus expects it."""

from prometheus_client.parser import text_string_to_metric_families

from course.metrics import DatabaseMetrics, Exposition, Histogram, RequestMetrics, WriteMetrics


def samples(page: bytes) -> dict[tuple[str, str], float]:
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_a_histogram_counts_a_value_in_every_bucket_that_holds_it() -> None:
    histogram = Histogram((1, 2, 4))
    for value in (1, 1.5, 4, 9):
        histogram.observe(value)
    assert histogram.buckets() == [("1.0", 1), ("2.0", 2), ("4.0", 3), ("+Inf", 4)]
    assert histogram.sum == 15.5


def test_the_page_shows_what_was_counted() -> None:
    requests, writes, databases = RequestMetrics(), WriteMetrics(), DatabaseMetrics("mongodb")
    requests.by_status["201"] += 3
    requests.seconds.observe(0.005)
    writes.retries = 2
    writes.watch(lambda: 5, lambda: 1, lambda: True)
    databases.seconds["mongodb"].observe(0.01)
    found = samples(Exposition(requests, writes, databases).page())
    assert found["courseload_requests_total", "201"] == 3
    assert found["courseload_request_seconds_count", ""] == 1
    assert found["courseload_write_retries_total", ""] == 2
    assert found["courseload_queue_notes", ""] == 5
    assert found["courseload_refusing", ""] == 1
    assert found["courseload_database_seconds_count", "mongodb"] == 1
    assert found["process_resident_memory_bytes", ""] > 0
