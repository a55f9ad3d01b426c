"""What Prometheus knows of a run: what becomes of its answers, and that a run is one without them."""

import argparse
import socket

import msgspec
import pytest

import loadgen.figures
from course.settings import BadSetting
from loadgen.__main__ import figures as figures_stage
from loadgen.charts import MOST_POINTS
from loadgen.collector import Collector
from loadgen.figures import QUESTIONS, read_figures, replica_ranges, replicas_now, take_figures
from loadgen.prometheus import parse_address
from loadgen.settings import write_json
from unit.loadgen.fake_prometheus import FakePrometheus

CPU = "workload:cpu_cores:rate30s"
REPLICAS = "workload:replicas:count"


@pytest.fixture
def prometheus():
    return FakePrometheus()


@pytest.fixture
def address(prometheus):
    with prometheus.server() as url:
        yield url


@pytest.fixture
def unavailable():
    """An address at which nothing listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def silent():
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def asking(settings):
    """A function that makes the settings of a run that asks a Prometheus."""
    workloads = ("mongodb", "direct", "ledger")
    return lambda prometheus: msgspec.structs.replace(settings, prometheus=prometheus, workloads=workloads)


@pytest.fixture
def take(asking, settings, directory):
    """A function that asks about a run of some seconds."""

    def ask(prometheus, seconds=20.0):
        return take_figures(asking(prometheus), Collector(settings, directory, 1000.3).finish(1000.3 + seconds, 0))

    return ask


def tell_all(prometheus):
    """A figure for each question."""
    for question in QUESTIONS:
        prometheus.tell(question.series, {"workload": "relay", "database": "mongodb"}, 1)


def test_figures_become_rows_every_five_seconds(prometheus, address, take):
    prometheus.tell(REPLICAS, {"workload": "relay"}, 1, 2, 3)
    prometheus.tell(CPU, {"workload": "relay"}, 0.25, 0.5, 0.123456789)
    prometheus.tell("workload:memory_bytes:sum", {"workload": "relay"}, 1048576, 2097152, 2097152)
    prometheus.tell("workload:batch_notes:mean30s", {"workload": "relay"}, 1, 1.5, 2)
    prometheus.tell("workload:write_seconds:p99_30s", {"workload": "relay"}, 0.004, 0.004, 0.005)
    rows = [msgspec.structs.astuple(row) for row in take(address).workloads["relay"]]
    assert rows == [
        (0, 1, 0.25, 1048576, 1, 0.004),
        (5, 2, 0.5, 2097152, 1.5, 0.004),
        (10, 3, 0.123457, 2097152, 2, 0.005),
    ]


def test_the_wait_for_a_database_is_that_of_who_waits(prometheus, address, take):
    for workload, database in (("ledger", "mongodb"), ("direct", "redis"), ("direct", "mongodb")):
        prometheus.tell("workload_database:seconds:p99_30s", {"workload": workload, "database": database}, 0.002)
    databases = take(address).databases
    assert list(databases) == ["direct to mongodb", "direct to redis", "ledger to mongodb"]
    assert [(row.second, row.p99_seconds) for row in databases["direct to redis"]] == [(0, 0.002)]


def test_the_routes_come_first_and_what_is_not_of_the_system_is_left_out(prometheus, address, take):
    for workload in ("host", "ledger", "loadtest", "direct", "mongodb", "relay", "prometheus"):
        prometheus.tell(CPU, {"workload": workload}, 0.1)
    assert list(take(address).workloads) == ["relay", "direct", "mongodb", "ledger"]


def test_a_second_without_a_figure_has_no_row_and_a_figure_that_is_none_is_left_out(prometheus, address, take):
    prometheus.tell(CPU, {"workload": "relay"}, 0.1, None, 0.3, "NaN", "+Inf")
    prometheus.tell("workload:batch_notes:mean30s", {"workload": "relay"}, None, None, "-Inf", 4)
    rows = take(address).workloads["relay"]
    assert [(row.second, row.cpu_cores, row.batch_notes) for row in rows] == [
        (0, 0.1, None),
        (10, 0.3, None),
        (15, None, 4),
    ]


def test_all_figures_are_of_the_run_and_none_is_old(prometheus, address, take):
    take(address)
    assert len(prometheus.asked) == len(QUESTIONS)
    assert {(asked["start"], asked["end"], asked["step"]) for asked in prometheus.asked} == {
        ("1000.300", "1020.300", "5")
    }
    assert prometheus.asked[0]["query"] == f"{REPLICAS} and time() - timestamp({REPLICAS}) < 12"


@pytest.mark.parametrize(("seconds", "step"), [(1190, 5), (1210, 6), (3600, 15), (86400, 360)])
def test_a_long_run_has_no_more_rows_than_a_chart_has_points(prometheus, address, take, seconds, step):
    prometheus.tell(CPU, {"workload": "relay"}, *[0.5] * 1000)
    found = take(address, seconds)
    assert found.step_s == step
    assert len(found.workloads["relay"]) <= MOST_POINTS + 1


def test_nothing_is_missing_where_everything_was_told(prometheus, address, take):
    tell_all(prometheus)
    assert take(address).missing == ""


def test_what_prometheus_does_not_know_is_named(prometheus, address, take):
    tell_all(prometheus)
    prometheus._series.pop(CPU)
    assert take(address).missing == "Not in this report: CPU by workload. Prometheus knows no such figures of this run."


def test_a_prometheus_that_is_unavailable_is_told_in_a_sentence(unavailable, take):
    found = take(unavailable)
    assert (found.workloads, found.databases) == ({}, {})
    assert found.missing.startswith("Not in this report: Replicas, CPU by workload, Memory by workload,")
    assert found.missing.endswith(f"Prometheus did not answer ({unavailable}: Connection refused).")


def test_a_prometheus_that_never_answers_is_not_waited_for_twice(silent, take, monkeypatch):
    monkeypatch.setattr(loadgen.figures, "PATIENCE_S", 0.2)
    assert take(silent).missing.endswith(f"Prometheus did not answer ({silent}: timed out).")


def test_an_error_of_prometheus_is_told(prometheus, address, take):
    prometheus.instead = 503, b'{"status":"error","errorType":"timeout","error":"query timed out"}'
    assert take(address).missing.endswith(f"({address}: 503 Service Unavailable).")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"status":"success"}',
        b'{"data":{"result":[{"metric":{},"value":[1,"1"]}]}}',
        b'{"data":{"result":[{"metric":{},"values":[[1,"many"]]}]}}',
        b'{"data":{"result":[{"metric":{},"values":[["now","1"]]}]}}',
    ],
)
def test_nonsense_is_no_answer(prometheus, address, take, body):
    prometheus.instead = 200, body
    assert f"({address} answers what Prometheus would not: " in take(address).missing


def test_what_was_told_before_it_went_away_is_kept(prometheus, address, take, monkeypatch):
    tell_all(prometheus)
    answer = prometheus.answer

    def fall_ill(path):
        prometheus.instead = (500, b"") if len(prometheus.asked) >= 2 else None
        return answer(path)

    monkeypatch.setattr(prometheus, "answer", fall_ill)
    found = take(address)
    assert [(row.replicas, row.cpu_cores, row.memory_bytes) for row in found.workloads["relay"]] == [(1, 1, None)]
    assert found.missing.startswith("Not in this report: Memory by workload,")


def test_without_an_address_nobody_is_asked_and_nothing_is_missing(take):
    found = take("")
    assert (found.workloads, found.databases, found.missing) == ({}, {}, "")


def test_the_stage_leaves_its_answers_to_the_report_and_says_what_is_missing(
    unavailable, asking, settings, directory, capsys
):
    write_json(directory.settings, asking(unavailable))
    write_json(directory.load, Collector(settings, directory, 1000.0).finish(1010.0, 0))
    assert read_figures(directory).missing == ""
    figures_stage(argparse.Namespace(directory=directory.path))
    assert read_figures(directory).missing.strip() == capsys.readouterr().out.strip() != ""


def test_the_replicas_of_this_moment_are_known(prometheus, address, asking):
    for workload, count in (("direct", 3), ("host", 1), ("relay", 2)):
        prometheus.tell(REPLICAS, {"workload": workload}, count)
    assert replicas_now(asking(address)) == {"relay": 2, "direct": 3}


def test_without_an_answer_no_replicas_are_known(unavailable, silent, asking, monkeypatch):
    monkeypatch.setattr(loadgen.figures, "PATIENCE_NOW_S", 0.2)
    assert [replicas_now(asking(place)) for place in (unavailable, silent, "")] == [{}, {}, {}]


def test_the_range_of_replicas_is_no_news_where_it_was_one_of_each(prometheus, address, take):
    prometheus.tell(REPLICAS, {"workload": "relay"}, 1, None, 1)
    prometheus.tell(CPU, {"workload": "direct"}, 0.5)
    assert replica_ranges(take(address).workloads) == {}
    prometheus.tell(REPLICAS, {"workload": "ledger"}, 1, 2, 2)
    assert replica_ranges(take(address).workloads) == {"relay": (1, 1), "ledger": (1, 2)}


def test_an_address_is_a_base_url():
    assert parse_address("http://prometheus:9090/") == "http://prometheus:9090"


@pytest.mark.parametrize(
    "text", ["prometheus:9090", "https://prometheus", "http://a:b", "http://a,http://b", "http://u@a"]
)
def test_what_is_no_address_is_refused_with_a_sentence(text):
    with pytest.raises(BadSetting, match="the address of Prometheus must be"):
        parse_address(text)
