"""Watching the workloads: what becomes of the API's answers, and that a run goes on without them."""

import argparse
import socket
import time
from pathlib import Path

import msgspec
import pytest

import loadgen
from loadgen.__main__ import _watching
from loadgen.collector import Collector
from loadgen.settings import write_json
from loadgen.watch import Api, Watch, cores_of, read_servers
from loadgen.workloads import read_why_unwatched, read_workloads, replicas_now
from unit.loadgen.fake_cluster import Authority, Cluster, kubeconfig


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def cluster(authority):
    return Cluster(authority)


@pytest.fixture
def watching(directory, tmp_path, authority):
    """A function that makes what watches, from the ports of the API's servers."""

    def make(*ports, **options):
        file = tmp_path / "kubeconfig"
        file.write_text(kubeconfig(list(ports), authority, **options))
        return Watch(Api(read_servers(file)), directory)

    return make


@pytest.fixture
def finish(settings, directory):
    """A function that ends a run which began so long ago, and returns what was seen by workload."""

    def end(watch, began_s_ago=10.0):
        now = time.time()
        write_json(directory.load, Collector(settings, directory, now - began_s_ago).finish(now, now))
        watch.finish()
        return read_workloads(directory)

    return end


def figures(rows):
    return [(row.replicas, row.cpu_cores) for row in rows]


def test_replicas_that_are_ready_and_the_cpu_of_all_their_pods_are_seen(cluster, watching, finish, directory):
    with cluster.server() as port:
        watch = watching(port)
        watch.look()
        cluster.replicas["relay"] = 3
        watch.look()
    workloads = finish(watch)
    assert figures(workloads["relay"]) == [(1, 0.25), (3, 0.25)]
    assert figures(workloads["direct"]) == [(2, 0.25), (2, 0.25)]
    assert figures(workloads["ledger"]) == [(0, None), (0, None)]
    assert workloads["relay"][0].second in (9, 10)
    assert read_why_unwatched(directory) == ""


def test_what_is_no_deployment_has_as_many_replicas_as_were_measured(cluster, watching, finish):
    with cluster.server() as port:
        watch = watching(port)
        watch.look()
    assert figures(finish(watch)["mongodb"]) == [(1, 1.0)]


def test_the_routes_come_first(cluster, watching, finish):
    with cluster.server() as port:
        watch = watching(port)
        watch.look()
    assert list(finish(watch)) == ["relay", "direct", "ledger", "mongodb"]


def test_what_was_before_the_first_user_is_left_out(cluster, watching, finish):
    with cluster.server() as port:
        watch = watching(port)
        watch.look()
        assert finish(watch, began_s_ago=0.0) == {}


def test_a_server_that_is_away_makes_place_for_the_next(cluster, watching, finish):
    with socket.socket() as gone, cluster.server() as port:
        gone.bind(("127.0.0.1", 0))
        watch = watching(gone.getsockname()[1], port)
        watch.look()
        watch.look()
    assert len(finish(watch)["relay"]) == 2


def test_a_moment_without_an_answer_is_a_gap_and_no_more(cluster, watching, finish, directory):
    with cluster.server() as port:
        watch = watching(port)
        watch.look()
    watch.look()
    assert replicas_now(directory) == {}
    with cluster.server(port):
        watch.look()
    assert len(finish(watch)["relay"]) == 2
    assert read_why_unwatched(directory) == ""


def test_metrics_that_are_never_there_cost_the_cpu_only(cluster, watching, finish, directory):
    cluster.pods = None
    with cluster.server() as port:
        watch = watching(port)
        watch.look()
    assert figures(finish(watch)["relay"]) == [(1, None)]
    assert read_why_unwatched(directory).startswith("The workloads' CPU is missing: the cluster's metrics API never")


def test_an_api_that_refuses_the_token_is_told_in_a_sentence(cluster, watching, finish, directory):
    with cluster.server() as port:
        watch = watching(port, token="another")
        watch.look()
    assert finish(watch) == {}
    assert "never told them (https://127.0.0.1:" in read_why_unwatched(directory)
    assert "401 Unauthorized" in read_why_unwatched(directory)


def test_a_server_with_a_certificate_of_somebody_else_is_not_asked(cluster, finish, directory, tmp_path):
    (tmp_path / "else").mkdir()
    with cluster.server() as port:
        file = tmp_path / "kubeconfig"
        file.write_text(kubeconfig([port], Authority(tmp_path / "else")))
        watch = Watch(Api(read_servers(file)), directory)
        watch.look()
    assert finish(watch) == {}
    assert "certificate verify failed" in read_why_unwatched(directory)


@pytest.mark.parametrize(
    ("quantity", "cores"), [("0", 0), ("2", 2), ("250m", 0.25), ("1500u", 0.0015), ("1500000n", 0.0015), ("1k", 1000)]
)
def test_quantities_are_read_as_kubernetes_writes_them(quantity, cores):
    assert cores_of(quantity) == pytest.approx(cores)


@pytest.fixture
def watched(directory, monkeypatch):
    """A function that watches as a run does."""
    monkeypatch.setenv("PYTHONPATH", str(Path(loadgen.__file__).parents[1]))
    return lambda file: _watching(argparse.Namespace(directory=directory.path, kubeconfig=file), "drive")


def test_a_run_watches_while_it_drives_and_learns_at_its_end_what_was_seen(cluster, settings, directory, watched):
    with cluster.server() as port:
        file = directory.path / "kubeconfig"
        file.write_text(kubeconfig([port], cluster.authority))
        started = time.time()
        with watched(file):
            while replicas_now(directory) != cluster.replicas:
                assert time.time() < started + 30, "nothing is seen"
                time.sleep(0.05)
            now = time.time()
            write_json(directory.load, Collector(settings, directory, started).finish(now, now))
    assert read_workloads(directory)["direct"][0].replicas == 2


def test_a_run_goes_on_without_a_kubeconfig_that_can_be_used(directory, watched, tmp_path):
    file = tmp_path / "kubeconfig"
    file.write_text("apiVersion: v1\n")
    with watched(file):
        deadline = time.time() + 30
        while not read_why_unwatched(directory):
            assert time.time() < deadline, "no word of it"
            time.sleep(0.05)
    assert "is no use" in read_why_unwatched(directory)
    assert read_workloads(directory) == {}


def test_replicas_for_the_progress_can_be_read(directory):
    assert replicas_now(directory) == {}
    write_json(directory.replicas, {"relay": 2})
    assert replicas_now(directory) == {"relay": 2}
    assert msgspec.json.decode(directory.replicas.read_bytes()) == {"relay": 2}
