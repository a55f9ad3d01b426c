"""A run against a fake of the system: a real master and worker process, from the first user to the last report."""

import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from course.ids import id_of
from loadgen.keys import key_of
from loadgen.settings import NO_ROUTE, write_json
from unit.loadgen.conftest import HASTY_WORKER, WORKER


@contextmanager
def switched_off() -> Iterator[str]:
    """A target that takes no connection and refuses none, like a host that is gone."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield address_of(server)
        for client in waiting:
            client.close()


@contextmanager
def refusing() -> Iterator[str]:
    """A target at which nothing listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield address_of(server)


@contextmanager
def resetting() -> Iterator[str]:
    """A target that resets each connection as soon as it is made."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=reset_all, args=[server], daemon=True).start()
        yield address_of(server)


def reset_all(server):
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()


def address_of(server):
    return f"http://127.0.0.1:{server.getsockname()[1]}"


def test_users_keep_their_pace_and_every_acknowledged_id_arrives(run, directory, settings):
    load, worker = run()
    assert load.failures == 0
    assert load.requests == pytest.approx(20 * 5 * 2, rel=0.15)
    assert load.workers[0].complete
    stored = b"".join(directory.acknowledged(route).read_bytes() for route in ("relay", "direct"))
    ids = {stored[at : at + 12] for at in range(0, len(stored), 12)}
    assert len(ids) == load.requests == sum(load.acknowledged.values())
    assert id_of(key_of(settings.run, "0-1", 0)) in ids
    assert abs(load.acknowledged["relay"] - load.acknowledged["direct"]) <= 1
    assert worker.wait(timeout=10) == 0


@pytest.mark.parametrize(("users", "rate"), [(1, 0.05), (3, 0.2)])
def test_users_are_counted_and_the_first_one_posts_at_once_however_low_the_rate(run, users, rate):
    load, _ = run(users=users, rate=rate)
    assert load.users_reached == users
    assert 1 <= load.requests <= users
    assert load.workers[0].complete


def test_a_report_from_before_the_first_user_counts_as_well(run):
    """A worker reports from when its notes are made, and the run's time begins with the first user that is seen."""
    load, _ = run(worker=HASTY_WORKER)
    assert load.workers[0].complete
    assert load.workers[0].requests == load.requests


def test_a_stall_counts_for_every_request_that_was_due_meanwhile(run):
    """Twenty users wait for one answer each; the 200 requests that were due in those 2 s were late as well."""
    load, _ = run("--stall", 1, 2, duration_s=4)
    slow = dict(load.total.distribution)[80.0]
    assert slow > 500


def test_a_user_without_a_pace_posts_as_fast_as_answers_come(run):
    load, _ = run(users=4, rate=0)
    assert load.requests > 2 * 200
    assert load.unsent == 0


def test_failures_without_a_route_have_a_name_and_a_kind_of_their_own(run, directory):
    load, _ = run("--fail-every", 10)
    assert load.errors == {NO_ROUTE: {"HTTP 503": load.failures}}
    assert load.failures == pytest.approx(load.requests / 10, abs=1)
    assert load.routes[NO_ROUTE].requests == load.failures
    assert len(directory.unknown.read_bytes()) == 12 * load.failures


def test_requests_on_their_way_at_the_end_are_waited_for_and_time_out(run):
    load, _ = run("--stall", 1, 60)
    assert load.errors == {NO_ROUTE: {"no answer within 10 s": 20}}
    assert load.workers[0].complete
    assert load.unsent > 0


def test_a_worker_that_is_killed_is_lost_and_the_run_still_ends(run):
    load, _ = run(duration_s=20, kill_worker_after=0.5)
    assert not load.workers[0].complete
    assert load.requests > 0
    assert set(load.lost_attempts) >= {"0-1", "0-20"}
    assert load.ended_early == "every worker is lost"
    assert load.ended_at - load.started_at < 15


def test_users_spread_over_all_targets_and_go_on_until_one_answers(run, directory):
    with switched_off() as first, refusing() as second, resetting() as third:
        load, _ = run(others=[first, second, third], duration_s=4)
    # Five of the users begin at each target. Who gets no answer loses that request and goes on with the next one.
    assert load.errors == {
        NO_ROUTE: {
            "no connection: the host is silent": 5,
            "connection refused": 5 + 5,
            "connection closed before the answer": 5 + 5 + 5,
        }
    }
    assert load.requests == pytest.approx(20 * 5 * 4, rel=0.15)
    unknown = directory.unknown.read_bytes()
    ids = unknown + b"".join(directory.acknowledged(route).read_bytes() for route in ("relay", "direct"))
    different = {ids[at : at + 12] for at in range(0, len(ids), 12)}
    assert len(different) == load.requests, "each note has a key of its own, whichever target it went to"


def test_a_master_that_is_stopped_ends_its_workers(start, fake, settings, directory):
    changes = {"target": fake(), "users": 5, "rate": 5, "spawn_rate": 100, "duration_s": 60}
    write_json(directory.settings, msgspec.structs.replace(settings, **changes))
    worker = start(*WORKER)
    master = start("-m", "loadgen", "drive", "--directory", directory.path, stdout=subprocess.PIPE)
    next(line for line in master.stdout if " left" in line)
    master.terminate()
    assert worker.wait(timeout=10) == 0
    assert master.wait(timeout=10) == 128 + signal.SIGTERM


def test_a_prometheus_that_does_not_answer_slows_nothing(run, told):
    with switched_off() as silent:
        load, _ = run(duration_s=5, prometheus=silent)
    assert load.requests == pytest.approx(20 * 5 * 5, rel=0.15)
    assert [line.rpartition(" | ")[2] for line in told if " left" in line] == ["0:03 left", "0:01 left"]
    assert not [line for line in told if "replicas" in line]
