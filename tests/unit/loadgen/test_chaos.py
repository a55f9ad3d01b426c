"""What survives: what a load test says of the faults that were made in it, and the page of all of them."""

import msgspec
import pytest

from loadgen.capacity.result import this_machine
from loadgen.chaos.page import read_chaos, write_chaos
from loadgen.chaos.result import Fault, Impossible, Wanted, chaos_of, trial_of
from loadgen.collector import REPORTED_S, Collector
from loadgen.reconcile import Reconciled, ReconciledDocuments, Reconciliation
from loadgen.report import Data, write_report
from loadgen.settings import SETTLED_S, write_json
from unit.loadgen.conftest import SETTINGS
from unit.loadgen.test_report import Page

WANTED = Wanted("refused/direct-redis", "direct cannot reach redis: its packets are refused", 4)
OF_FAULTS = msgspec.structs.replace(SETTINGS, faults=True, objectives=(), duration_s=60.0)


def fault(began=1006.4, ended=1010.4, **changed):
    """One that was refused for four seconds, from the seventh second of the load test on."""
    told = Fault(
        *("refused/direct-redis", "connected", "refused", "connected"),
        began,
        ended,
        proven=True,
        undone=True,
        skipped="",
        error="",
    )
    return msgspec.structs.replace(told, **changed)


@pytest.fixture
def trial(directory, make_report, make_second):
    """A function that makes a trial of 20 s, with failures in some of its seconds."""

    def make(*, failing=(), faults=None, seconds=20, missing=0, duplicated=0, known=True):  # noqa: PLR0913
        write_json(directory.settings, OF_FAULTS)
        collector = Collector(OF_FAULTS, directory, 1000.0)
        for at in range(seconds):
            bad = {"direct": 2} if at in failing else {}
            second = {1000 + at: make_second(bad, relay=[5, 10], direct=[6, 900 if bad else 12])}
            acknowledged = {"relay": bytes(24), "direct": b"" if bad else bytes(24)}
            collector.take(
                make_report(
                    at,
                    seconds=second,
                    sent_at=1001.0 + at,
                    final=at == seconds - 1,
                    requests_so_far=4 * (at + 1),
                    acknowledged=acknowledged,
                    errors={"direct": {"503": 2}} if bad else {},
                ),
                now=1001.0 + at,
            )
        write_json(directory.load, collector.finish(1000.0 + seconds, 1000.0 + seconds))
        found = ReconciledDocuments(80, 80 - missing, missing, duplicated, 0)
        reconciled = Reconciliation(found, Reconciled(40, 40, 0, 0, 0))
        write_json(directory.reconciliation, reconciled if known else "MongoDB does not answer")
        write_report(directory)
        data = msgspec.json.decode(directory.data.read_bytes(), type=Data)
        return trial_of(WANTED, [fault()] if faults is None else faults, data, limit_s=8)

    return make


def test_a_fault_is_told_with_what_it_cost(trial):
    found = trial(failing=range(7, 13))
    assert (found.verdict, found.why) == ("survived", "")
    assert (found.requests, found.failures, found.failed_before, found.errors) == (80, 12, 0, {"503": 12})
    # It began in second 6 and ended in second 10; the last failure was in second 12.
    assert (found.first_failure_s, found.last_failure_s, found.recovered_s) == (1, 7, 3)
    assert found.silent_s == 0, "the other route went on"
    assert found.p99_ms > 800
    assert 11 < found.usual_p99_ms < 13
    early = trial(failing=[2, 7])
    assert (early.failures, early.failed_before, early.first_failure_s) == (2, 2, 1), (
        "what failed before is not its own"
    )
    quiet = trial()
    assert (quiet.first_failure_s, quiet.last_failure_s, quiet.recovered_s) == (None, None, 0)


@pytest.mark.parametrize(
    ("trial_is", "verdict", "why"),
    [
        ({"missing": 3}, "lost", "3 acknowledged notes were lost."),
        ({"duplicated": 2}, "doubled", "2 notes were stored or counted twice."),
        ({"known": False}, "not known", "MongoDB does not answer"),
        ({"failing": range(7, 20)}, "not recovered", "the last failure came 10 s after its end"),
        ({"seconds": 60, "failing": range(7, 60)}, "not recovered", "within 8 s: requests failed to the last."),
        ({"faults": [fault(undone=False, after="refused")]}, "not undone", "refused/direct-redis: refused"),
        ({"faults": [fault(proven=False, during="connected")]}, "not proven", "Nobody saw it: refused/direct-redis"),
        ({"faults": []}, "not known", "is not known"),
        ({"faults": [fault(proven=False, skipped="the kernel has none")]}, "not possible here", ""),
    ],
)
def test_the_worst_that_can_be_said_is_the_verdict(trial, trial_is, verdict, why):
    found = trial(**trial_is)
    assert found.verdict == verdict
    assert why in found.why
    assert bool(found.why) == bool(why)


def test_the_page_has_the_worst_first_and_every_fault(trial, tmp_path):
    survived, lost = trial(failing=[7]), trial(missing=1)
    lost.name = "killed/ledger"
    lost.replicas = {"relay": (1, 3), "direct": (2, 2)}
    slowed = Impossible("slowed/relay", "every packet is late", "the kernel has none")
    write_chaos(tmp_path, chaos_of([survived, lost], [slowed], OF_FAULTS, this_machine(), 1e9))
    page = Page((tmp_path / "chaos.html").read_text())
    assert page.addresses == []
    assert page.text.index("killed/ledger") < page.text.index("refused/direct-redis")
    assert "connected → refused → connected" in page.text
    assert "replicas: relay 1 to 3, direct 2" in page.text
    assert "the kernel has none" in page.text
    assert "FAIL" in page.text
    found = read_chaos(tmp_path)
    assert found
    assert found.refusals == ["killed/ledger: 1 acknowledged notes were lost."]
    assert found.answer[1] == "refused/direct-redis: survived, 2 of 80 requests failed, served again 0 s after it"
    assert found.answer[2] == "slowed/relay: not possible here (the kernel has none)"
    assert '<failure message="1 acknowledged notes were lost."' in (tmp_path / "junit.xml").read_text()
    assert (tmp_path / "faults.csv").read_text().splitlines()[1].startswith("killed/ledger,lost,True,80,0,,,0")


def test_a_trial_ends_once_the_system_has_served_for_a_while(directory, make_report, make_second):
    collector = Collector(OF_FAULTS, directory, 1000.0)
    settled = {}
    for at in range(24):
        answers = {} if at == 12 else {1000 + at: make_second({"direct": 1} if at == 4 else {}, direct=[6])}
        collector.take(make_report(at, seconds=answers, sent_at=1001.0 + at), now=1001.0 + at)
        settled[at] = collector.settled(1001.5 + at, SETTLED_S)
    # Neither with a failure (second 4), nor without an answer (second 12), in any of the last seconds.
    first = [at for at, so in settled.items() if so]
    assert first == [*range(4 + SETTLED_S + REPORTED_S, 12 + REPORTED_S), *range(12 + SETTLED_S + REPORTED_S, 24)]
