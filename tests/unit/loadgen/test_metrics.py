"""What Prometheus gets of a load test: the figures that the workers have reported so far."""

import socket
import time
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from loadgen.collector import Collector
from loadgen.metrics import Figures, serve


@pytest.fixture
def page(settings, directory, make_report, make_second):
    """The samples of a run in which one worker has reported and another never did: values by name and labels."""
    now = time.time()
    collector = Collector(settings, directory, started_at=now - 2)
    collector.expect("silent_1", now - 10)
    seconds = {
        int(now) - 2: make_second(relay=[4, 60], direct=[400]),
        int(now) - 1: make_second(failures={"relay": 1}, relay=[20_000]),
    }
    collector.take(make_report(seconds=seconds, requests_so_far=4, sent_at=now), now)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    serve(port, Figures(collector, lambda: 7, wanted=10, silent_s=5.0))
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}


def test_users_are_those_that_there_are_and_those_asked_for(page):
    assert page["loadtest_users",] == 7
    assert page["loadtest_users_wanted",] == 10


def test_requests_and_failures_are_counted(page):
    assert page["loadtest_request_seconds_count", "relay"] == 3
    assert page["loadtest_request_seconds_count", "direct"] == 1
    assert page["loadtest_failures_total",] == 1


def test_latencies_are_in_cumulative_buckets_to_the_slowest(page):
    of_relay = {
        bound: page["loadtest_request_seconds_bucket", bound, "relay"] for bound in ("0.003", "0.1", "10.0", "+Inf")
    }
    assert of_relay == {"0.003": 0, "0.1": 2, "10.0": 2, "+Inf": 3}
    assert page["loadtest_request_seconds_sum", "relay"] == pytest.approx(20.064, rel=0.001)


def test_a_worker_that_says_nothing_is_told_apart(page):
    assert page["loadtest_workers", "at work"] == 1
    assert page["loadtest_workers", "silent"] == 1
    assert {key[1] for key in page if key[0] == "loadtest_worker_busiest_cpu_ratio"} == {"host_1234", "silent_1"}
