"""The worker's counting: what goes into which report."""

import pytest

from loadgen.latency import decode
from loadgen.recorder import Recorder

ID = bytes(range(12))


@pytest.fixture
def clock(monkeypatch):
    """The wall clock of the recorder, to be set by hand."""

    class Clock:
        now = 1000.5

    clock = Clock()
    monkeypatch.setattr("loadgen.recorder.time.time", lambda: clock.now)
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


def test_the_final_report_holds_the_second_under_way_and_the_users_that_there_were(clock):
    recorder = Recorder("run", "worker")
    recorder.report(users=7)
    recorder.acknowledged("relay", 0.010, ID)
    recorder.final = True
    report = recorder.report(users=0)
    assert report.final
    assert report.seconds[1000].users == 7
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
