"""The worker's side of counting: what its users saw, packed once a second into a report for the master."""

import time
from collections import Counter, defaultdict
from pathlib import Path

import msgspec
from hdrh.histogram import HdrHistogram

from course.cgroup import Periods, cpu_limit, cpu_periods
from loadgen import clock
from loadgen.latency import count, new_histogram

SCHEDSTAT = Path("/proc/self/schedstat")


class Second(msgspec.Struct):
    """What was answered within one second of the worker's clock: encoded histograms and failures by request name."""

    users: int
    latencies: dict[str, bytes]
    failures: dict[str, int]


class WorkerReport(msgspec.Struct):
    """What happened on a worker since its last report; `number` counts the reports, so that a lost one shows.

    What ends in `so_far` counts from the run's beginning: it does not grow out of the ids, so that the two can be
    compared. `users` have begun their work. `cpu_s` is in seconds of a core, or of what a limit below one leaves of it.
    For `waited_s` the worker could have gone on, and no core was free; for `held_back_s` its CPU limit held it back.
    """

    run: str
    worker: str
    number: int
    final: bool
    sent_at: float
    users: int
    seconds: dict[int, Second]
    errors: dict[str, dict[str, int]]
    acknowledged: dict[str, bytes]
    unknown: bytes
    attempts: dict[str, int]
    unsent: int
    requests_so_far: int
    acknowledged_so_far: dict[str, int]
    unknown_so_far: int
    cpu_s: float
    waited_s: float
    held_back_s: float
    wall_s: float
    pause_s: float


def waited_for_a_core() -> float:
    """Seconds for which this process's first thread, which does the work, has waited; 0 if the kernel does not say."""
    try:
        return int(SCHEDSTAT.read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def _held_back(before: Periods | None, now: Periods | None) -> float:
    """The part of the time between two moments in which a CPU limit held this container back."""
    if before is None or now is None or now.all == before.all:
        return 0.0
    return (now.throttled - before.throttled) / (now.all - before.all)


class Recorder:
    """Counts the answers of one worker process, between one report and the next."""

    def __init__(self, run: str, worker: str) -> None:
        self.run = run
        self.worker = worker
        self.attempts: Counter[str] = Counter()
        self.unsent = 0
        self.final = False
        self.stopped_at: float | None = None
        self.pause_s = 0.0
        self._users = 0
        self._requests = 0
        self._acknowledged_so_far = Counter[str]()
        self._unknown_so_far = 0
        self._reports = 0
        self._latencies: dict[int, dict[str, HdrHistogram]] = {}
        self._failures: dict[int, Counter[str]] = defaultdict(Counter)
        self._errors: dict[str, Counter[str]] = defaultdict(Counter)
        self._acknowledged: dict[str, bytearray] = defaultdict(bytearray)
        self._unknown = bytearray()
        self._cpu = time.process_time()
        self._waited = waited_for_a_core()
        self._periods = cpu_periods()
        self._wall = time.perf_counter()

    def acknowledged(self, name: str, latency_s: float, note_id: bytes) -> None:
        """A note was acknowledged by the route `name`."""
        self._count(name, latency_s)
        self._acknowledged[name] += note_id
        self._acknowledged_so_far[name] += 1

    def failed(self, name: str, latency_s: float, note_id: bytes, kind: str) -> None:
        """A request failed: the note may be stored or not."""
        self._failures[self._count(name, latency_s)][name] += 1
        self._errors[name][kind] += 1
        self._unknown += note_id
        self._unknown_so_far += 1

    def report(self, users: int) -> WorkerReport:
        """Everything since the last report, except the second that is still under way; `users` have begun so far."""
        this_second = int(clock.time())
        self._users = users
        done = [second for second in self._latencies if self.final or second < this_second]
        cpu, waited, wall = time.process_time(), waited_for_a_core(), time.perf_counter()
        periods = cpu_periods()
        report = WorkerReport(
            run=self.run,
            worker=self.worker,
            number=self._reports,
            final=self.final,
            sent_at=clock.time(),
            users=users,
            seconds={second: self._pack(second) for second in done},
            errors={name: dict(kinds) for name, kinds in self._errors.items()},
            acknowledged={route: bytes(ids) for route, ids in self._acknowledged.items()},
            unknown=bytes(self._unknown),
            attempts=dict(self.attempts),
            unsent=self.unsent,
            requests_so_far=self._requests,
            acknowledged_so_far=dict(self._acknowledged_so_far),
            unknown_so_far=self._unknown_so_far,
            cpu_s=(cpu - self._cpu) / min(1.0, cpu_limit() or 1.0),
            waited_s=waited - self._waited,
            held_back_s=(wall - self._wall) * _held_back(self._periods, periods),
            wall_s=wall - self._wall,
            pause_s=self.pause_s,
        )
        self._cpu, self._waited, self._wall, self.pause_s = cpu, waited, wall, 0.0
        self._periods = periods
        self._reports += 1
        self._errors.clear()
        self._acknowledged.clear()
        self._unknown.clear()
        return report

    def _count(self, name: str, latency_s: float) -> int:
        second = int(clock.time())
        names = self._latencies.get(second)
        if names is None:
            names = self._latencies[second] = {}
        histogram = names.get(name)
        if histogram is None:
            histogram = names[name] = new_histogram()
        count(histogram, latency_s)
        self._requests += 1
        return second

    def _pack(self, second: int) -> Second:
        latencies = {name: histogram.encode() for name, histogram in self._latencies.pop(second).items()}
        return Second(self._users, latencies, dict(self._failures.pop(second, {})))
