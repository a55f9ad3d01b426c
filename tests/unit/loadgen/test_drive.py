"""A run against a fake of the system: a real master and worker process, from the first user to the last report."""

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

import loadgen
from course.ids import id_of
from loadgen.collector import Load
from loadgen.keys import key_of
from loadgen.settings import NO_ROUTE, Objective, write_json
from loadgen.shapes import Shape
from unit.loadgen.fake_prometheus import FakePrometheus

HERE = Path(__file__).parent
WORKER = ("-m", "loadgen", "work", "--master", "127.0.0.1")
HASTY_WORKER = ("-c", "from loadgen import drive; drive.REPORT_S = 0.005; drive.run_worker('127.0.0.1')")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(loadgen.__file__).parents[1])}


@pytest.fixture
def environment():
    """The environment of a master and its workers, with a port that nobody else uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return {**ENVIRONMENT, "LOCUST_PORT": str(free.getsockname()[1])}


@pytest.fixture
def start(environment):
    """A function that starts a Python process, which ends with the test at the latest."""
    processes = []

    def start_python(*arguments, **options):
        process = subprocess.Popen([sys.executable, *map(str, arguments)], env=environment, text=True, **options)
        processes.append(process)
        return process

    yield start_python
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def fake(start):
    """A function that starts a fake of the system and returns its base URL."""

    def start_fake(*options):
        process = start(HERE / "fake_courses.py", 0, *options, stdout=subprocess.PIPE)
        return f"http://127.0.0.1:{process.stdout.readline().strip()}"

    return start_fake


@pytest.fixture
def told():
    """The lines of progress."""
    return []


@pytest.fixture
def run(start, fake, settings, directory, told):
    """A function that drives the fake for some seconds, and returns the load and the worker that made it."""

    def run_load(*fake_options, worker=WORKER, others=(), users=20, duration_s=2, kill_worker_after=None, **further):
        target = ",".join([fake(*fake_options), *others])
        changes = {"target": target, "users": users, "rate": 5, "spawn_rate": 100, "duration_s": duration_s}
        write_json(directory.settings, msgspec.structs.replace(settings, **(changes | further)))
        worker = start(*worker)
        master = start("-m", "loadgen", "drive", "--directory", directory.path, stdout=subprocess.PIPE)
        for line in master.stdout:
            told.append(line.strip())
            if kill_worker_after and " left" in line:
                time.sleep(kill_worker_after)
                worker.send_signal(signal.SIGKILL)
                kill_worker_after = None
        assert master.wait() == 0
        return msgspec.json.decode(directory.load.read_bytes(), type=Load), worker

    return run_load


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
    load, _ = run(users=users, rate=rate, duration_s=4)
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


def test_open_arrivals_wait_for_no_answer(run, directory, settings):
    """One user, whose notes come a hundred times a second while the system answers nothing for 2 s."""
    load, _ = run("--stall", 1, 2, users=1, rate=100, duration_s=4, arrivals="open")
    assert load.requests + load.unsent == pytest.approx(100 * 4, rel=0.25)
    stored = b"".join(directory.acknowledged(route).read_bytes() for route in ("relay", "direct"))
    ids = {stored[at : at + 12] for at in range(0, len(stored), 12)}
    assert len(ids) == load.requests
    assert id_of(key_of(settings.run, "0-1-50", 0)) in ids, "fifty notes and more were under way at once"
    assert load.workers[0].complete


def test_open_arrivals_come_at_random_and_on_average_as_the_rate_says(run):
    load, _ = run(users=10, rate=20, duration_s=5, arrivals="open")
    # Of a thousand arrivals, the count differs by 32 for one run in three, and by 160 for none.
    assert load.requests + load.unsent == pytest.approx(1000, abs=160)
    assert len({row.requests for row in load.series[1:4]}) > 1


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


def test_users_come_and_go_as_the_shape_says(run):
    """A fifth of 20 users, all in the middle, a fifth again: 4, 20 and 4."""
    spike = Shape("spike", ((0, 0.2), (0.3, 0.2), (0.3, 1), (0.7, 1), (0.7, 0.2), (1, 0.2)))
    load, _ = run(duration_s=15, shape=spike)
    users = {row.second: row.users for row in load.series}
    assert (users[2], users[8], users[14]) == (4, 20, 4)
    assert load.users_reached == 20
    assert load.requests == pytest.approx(5 * 15 * 20 * (0.6 * 0.2 + 0.4), rel=0.2)
    assert load.failures == 0, "a user that leaves takes its last answer with it"
    assert sum(load.acknowledged.values()) == load.requests
    assert load.workers[0].complete


def test_a_ramp_begins_with_one_user(run):
    load, _ = run(duration_s=10, shape=Shape("ramp", ((0, 0), (0.6, 1), (1, 1))))
    users = [row.users for row in load.series[:-1]]
    assert users[0] <= 4
    assert users == sorted(users)
    assert load.users_reached == 20


def test_a_run_ends_early_once_an_objective_is_out_of_reach(run, told):
    never = Objective(of="total", what="failure_ratio", at_most=0.01)
    load, worker = run("--fail-every", 2, duration_s=20, objectives=(never,), abort=True)
    # 20 users with 5 requests a second have some 2,200 in 20 s; half of the first 100 failed.
    assert load.ended_at - load.started_at < 10
    assert load.failures > 22
    assert "requests of at most 2,220 have failed, the objective is at most 1 %" in load.ended_early
    assert f"the run ends here: {load.ended_early}" in told
    assert load.workers[0].complete
    assert worker.wait(timeout=10) == 0


def test_a_run_goes_on_although_an_objective_is_missed_unless_it_was_told_to_end(run):
    never = Objective(of="total", what="failure_ratio", at_most=0)
    load, _ = run("--fail-every", 2, duration_s=5, objectives=(never,))
    assert load.ended_at - load.started_at >= 5
    assert load.ended_early == ""


def test_the_progress_has_the_replicas_that_prometheus_knows(run, told):
    prometheus = FakePrometheus()
    for route, count in (("relay", 2), ("direct", 3)):
        prometheus.tell("workload:replicas:count", {"workload": route}, count)
    with prometheus.server() as address:
        run(duration_s=5, prometheus=address)
    assert len([line for line in told if " | replicas relay 2 direct 3 | " in line]) == 2


def test_a_prometheus_that_does_not_answer_slows_nothing(run, told):
    with switched_off() as silent:
        load, _ = run(duration_s=5, prometheus=silent)
    assert load.requests == pytest.approx(20 * 5 * 5, rel=0.15)
    assert [line.rpartition(" | ")[2] for line in told if " left" in line] == ["0:03 left", "0:01 left"]
    assert not [line for line in told if "replicas" in line]


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
