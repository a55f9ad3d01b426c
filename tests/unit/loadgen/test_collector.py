"""The master's counting: merging, completeness, and what tells a worker that is lost, saturated or skewed."""

import msgspec
import pytest

from loadgen.collector import Collector, judged_from

START = 1000.25


@pytest.fixture
def collector(settings, directory):
    return Collector(settings, directory, START)


def finish(collector, now=1012.0):
    return collector.finish(ended_at=1010.0, now=now)


def test_seconds_of_two_workers_become_one_row(collector, make_report, make_second):
    for worker in ("one_1", "two_2"):
        seconds = {1003: make_second(relay=[10, 20], users=5)}
        collector.take(make_report(worker=worker, seconds=seconds, sent_at=1004.1), now=1004.1)
    row = finish(collector).series[-1]
    assert (row.second, row.users, row.requests) == (3, 10, 4)
    assert row.latency_ms.max == pytest.approx(20, rel=0.01)


def test_what_is_answered_during_the_warm_up_is_shown_and_not_judged(settings, directory, make_report, make_second):
    collector = Collector(msgspec.structs.replace(settings, warm_up_s=3), directory, START)
    early = {1002: make_second(relay=[900], failures={"relay": 1}), 1003: make_second(relay=[10, 20])}
    collector.take(make_report(seconds=early, sent_at=1004.1), now=1004.1)
    load = finish(collector)
    assert (load.requests, load.failures) == (2, 0)
    assert load.total.latency_ms.max == pytest.approx(20, rel=0.01)
    assert load.total.mean_ms == pytest.approx(15, rel=0.01)
    assert [row.requests for row in load.series] == [0, 0, 1, 2]
    assert judged_from(load, msgspec.structs.replace(settings, warm_up_s=3)) == 1003


def test_ids_are_written_by_route(collector, directory, make_report):
    collector.take(make_report(acknowledged={"relay": b"a" * 24, "direct": b"b" * 12}, unknown=b"c" * 12), now=1001.0)
    load = finish(collector)
    assert load.acknowledged == {"relay": 2, "direct": 1}
    assert directory.acknowledged("relay").read_bytes() == b"a" * 24
    assert directory.acknowledged("direct").read_bytes() == b"b" * 12
    assert directory.unknown.read_bytes() == b"c" * 12


def test_a_worker_is_complete_when_its_last_report_and_all_it_counted_are_in(collector, make_report, make_second):
    collector.take(make_report(0, seconds={1001: make_second(relay=[5])}, requests_so_far=1), now=1002.0)
    assert collector.unfinished() == ["host_1234"]
    collector.take(make_report(1, final=True, requests_so_far=1), now=1003.0)
    assert collector.unfinished() == []


@pytest.mark.parametrize(("number", "requests_so_far"), [(2, 0), (1, 5)], ids=["a lost report", "a lost request"])
def test_a_worker_with_a_gap_is_never_complete(collector, make_report, number, requests_so_far):
    collector.take(make_report(0), now=1001.0)
    collector.take(make_report(number, final=True, requests_so_far=requests_so_far), now=1002.0)
    assert collector.unfinished() == ["host_1234"]
    assert not finish(collector).workers[0].complete


def test_reports_of_another_run_are_passed_over(collector, make_report, make_second):
    collector.take(make_report(run="another", seconds={1001: make_second(relay=[5])}), now=1002.0)
    assert finish(collector).requests == 0


def test_an_expected_worker_that_never_reports_is_silent_and_incomplete(collector):
    collector.expect("host_1234", 1000.0)
    assert collector.silent(1004.0, seconds=5) == []
    assert collector.silent(1006.0, seconds=5) == ["host_1234"]
    (worker,) = finish(collector, now=1012.0).workers
    assert (worker.complete, worker.silent_s) == (False, 12.0)


def test_the_users_of_a_lost_worker_are_remembered_with_how_far_they_came(collector, make_report):
    collector.take(make_report(attempts={"1-1": 17}), now=1001.0)
    assert finish(collector).lost_attempts == {"1-1": 17}


def test_cpu_is_judged_by_the_busiest_five_seconds(collector, make_report):
    busy = [0.1] * 5 + [0.95] * 5 + [0.1] * 5
    for number, cpu_s in enumerate(busy):
        collector.take(make_report(number, cpu_s=cpu_s), now=1001.0 + number)
    assert finish(collector).workers[0].busiest_cpu == pytest.approx(0.95)


def test_the_cpu_of_the_whole_run_is_known_beside_it(collector, make_report):
    for number, (cpu_s, waited_s) in enumerate([(0.2, 0.0)] * 6 + [(0.9, 0.1)] * 6):
        report = make_report(number, cpu_s=cpu_s, waited_s=waited_s, held_back_s=3 * waited_s)
        collector.take(report, now=1001.0 + number)
    (worker,) = finish(collector).workers
    assert (worker.cpu, worker.busiest_cpu, worker.waited, worker.held_back) == pytest.approx((0.55, 0.9, 0.05, 0.15))


def test_one_busy_second_is_no_saturation(collector, make_report):
    for number, cpu_s in enumerate([0.1] * 5 + [1.0] + [0.1] * 5):
        collector.take(make_report(number, cpu_s=cpu_s), now=1001.0 + number)
    assert finish(collector).workers[0].busiest_cpu < 0.5


def test_a_clock_is_measured_by_the_report_that_was_least_delayed(collector, make_report):
    collector.take(make_report(0, sent_at=1004.0), now=1002.0)
    collector.take(make_report(1, sent_at=1004.5), now=1003.5)
    assert finish(collector).workers[0].clock_ahead_s == pytest.approx(2.0)


def test_seconds_of_a_worker_whose_clock_is_off_fall_where_they_belong(collector, make_report, make_second):
    seconds = {4603: make_second(relay=[10])}
    collector.take(make_report(seconds=seconds, sent_at=4604.1), now=1004.1)
    assert finish(collector).series[-1].second == 3


def test_a_second_without_an_answer_has_a_row_as_well(collector, make_report, make_second):
    seconds = {1000: make_second(relay=[10]), 1003: make_second(relay=[10])}
    collector.take(make_report(seconds=seconds, sent_at=1004.1), now=1004.1)
    assert [(row.second, row.requests, row.users) for row in finish(collector).series] == [
        (0, 1, 10),
        (1, 0, 10),
        (2, 0, 10),
        (3, 1, 10),
    ]


def test_a_report_that_comes_after_its_second_was_closed_is_still_counted(collector, make_report, make_second):
    collector.take(make_report(0, worker="a_1", seconds={1001: make_second(relay=[5])}, sent_at=1002.0), now=1002.0)
    collector.take(make_report(1, worker="a_1", sent_at=1030.0), now=1030.0)
    late = make_report(0, worker="b_2", seconds={1001: make_second(relay=[5, 5])}, sent_at=1030.0)
    collector.take(late, now=1030.0)
    load = finish(collector)
    assert load.requests == 3
    assert sum(row.requests for row in load.series) == 3


def test_users_that_were_at_work_count_though_nothing_was_answered(collector, make_report):
    collector.take(make_report(worker="a_1", users=1), now=1002.0)
    collector.take(make_report(worker="b_2", users=2), now=1002.5)
    load = finish(collector)
    assert (load.requests, load.users_reached) == (0, 3)


def test_a_second_without_an_answer_has_the_users_that_there_were(collector, make_report, make_second):
    collector.take(make_report(0, users=1), now=1001.3)
    collector.take(make_report(1, users=2), now=1002.3)
    collector.take(make_report(2, users=2, seconds={1003: make_second(relay=[5], users=2)}, sent_at=1004.1), now=1004.1)
    assert [row.users for row in finish(collector).series] == [0, 1, 2, 2]


def test_notes_are_as_many_as_the_workers_say_whatever_ids_arrived(collector, make_report):
    collector.take(make_report(0, worker="a_1", acknowledged={"relay": bytes(24)}, unknown=bytes(12)), now=1001.0)
    collector.take(make_report(0, worker="b_2", acknowledged={"relay": bytes(12)}), now=1001.0)
    report = make_report(2, worker="b_2", acknowledged_so_far={"relay": 5, "direct": 1}, unknown_so_far=3)
    collector.take(report, now=1002.0)
    load = finish(collector)
    assert (load.acknowledged, load.unknown) == ({"relay": 7, "direct": 1}, 4)
