"""How much load there is when: arrivals, shapes, early ends, and what is told meanwhile."""

import pytest

from course.ids import id_of
from loadgen.keys import key_of
from loadgen.settings import Objective
from loadgen.shapes import Shape
from unit.loadgen.fake_prometheus import FakePrometheus


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
    # All at once would be 20; how many there are in the first second depends on how quick the machine is.
    assert users[0] < 15
    assert users[-1] == load.users_reached == 20


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
