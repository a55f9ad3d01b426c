"""The worker's counting: what goes into which report."""

import os
import time

import pytest

from course.cgroup import Periods
from loadgen.latency import decode
from loadgen.recorder import Recorder, waited_for_a_core

ID = bytes(range(12))


@pytest.fixture
def clock(monkeypatch):
    """The wall clock of the recorder, to be set by hand."""

    class Clock:
        now = 1000.5

    clock = Clock()
    monkeypatch.setattr("loadgen.recorder.clock.time", lambda: clock.now)
    return clock


def test_a_second_is_reported_once_it_is_over(clock):
    recorder = Recorder("run", "worker")
    recorder.acknowledged("relay", 0.010, ID)
    assert recorder.report(users=1).seconds == {}
    clock.now = 1001.1
    second = recorder.report(users=1).seconds[1000]
    assert decode(second.latencies["relay"]).get_total_count() == 1
    assert recorder.report(users=1).seconds == {}


def test_acknowledged_ids_are_reported_at_once_and_once(clock):
    recorder = Recorder("run", "worker")
    recorder.acknowledged("direct", 0.010, ID)
    assert recorder.report(users=1).acknowledged == {"direct": ID}
    assert recorder.report(users=1).acknowledged == {}


def test_the_final_report_holds_the_second_under_way(clock):
    recorder = Recorder("run", "worker")
    recorder.acknowledged("relay", 0.010, ID)
    recorder.final = True
    report = recorder.report(users=7)
    assert report.final
    assert (report.users, report.seconds[1000].users) == (7, 7)
    assert report.requests_so_far == 1


def test_a_failure_is_counted_by_kind_and_its_note_is_of_unknown_outcome(clock):
    recorder = Recorder("run", "worker")
    recorder.failed("no route", 10.0, ID, "no answer within 10 s")
    clock.now = 1001.1
    report = recorder.report(users=1)
    assert report.errors == {"no route": {"no answer within 10 s": 1}}
    assert report.seconds[1000].failures == {"no route": 1}
    assert report.unknown == ID
    assert report.acknowledged == {}


def test_what_was_counted_so_far_does_not_depend_on_the_ids_that_were_sent(clock):
    recorder = Recorder("run", "worker")
    for _ in range(3):
        recorder.acknowledged("relay", 0.010, ID)
        recorder.report(users=1)
    recorder.failed("no route", 10.0, ID, "no answer within 10 s")
    report = recorder.report(users=1)
    assert report.acknowledged == {}
    assert (report.acknowledged_so_far, report.unknown_so_far) == ({"relay": 3}, 1)


def test_a_report_says_what_was_used_of_a_core_and_for_how_long_none_was_free(monkeypatch):
    """Of the time since the last report, and not of the one before."""
    waited = iter([1.0, 1.25, 1.5, 1.5])
    monkeypatch.setattr("loadgen.recorder.waited_for_a_core", lambda: next(waited))
    recorder = Recorder("run", "worker")
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    first, second = recorder.report(users=1), recorder.report(users=1)
    assert 0.05 <= first.cpu_s <= first.wall_s + 0.01
    assert second.cpu_s < 0.05

    assert (first.waited_s, second.waited_s) == (0.25, 0.25)
    assert recorder.report(users=1).waited_s == 0


def test_where_a_limit_is_less_than_a_core_cpu_is_of_what_it_leaves(monkeypatch):
    monkeypatch.setattr("loadgen.recorder.cpu_limit", lambda: 0.1)
    recorder = Recorder("run", "worker")
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    assert recorder.report(users=1).cpu_s >= 0.5


def test_a_report_says_for_how_long_a_limit_held_the_worker_back(monkeypatch):
    periods = iter([Periods(100, 10), Periods(120, 25), Periods(120, 25), None])
    monkeypatch.setattr("loadgen.recorder.cpu_periods", lambda: next(periods))
    recorder = Recorder("run", "worker")
    report = recorder.report(users=1)
    assert report.held_back_s == pytest.approx(0.75 * report.wall_s)
    assert recorder.report(users=1).held_back_s == 0
    assert recorder.report(users=1).held_back_s == 0


def test_the_kernel_says_how_long_this_process_waited_for_a_core(tmp_path, monkeypatch):
    os.sched_yield()
    assert waited_for_a_core() > 0
    monkeypatch.setattr("loadgen.recorder.SCHEDSTAT", tmp_path / "none")
    assert waited_for_a_core() == 0
