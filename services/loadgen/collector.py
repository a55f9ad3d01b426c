"""The master's side of counting: merges the workers' reports second by second, and writes the ids to files."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from typing import BinaryIO

import msgspec
from hdrh.histogram import HdrHistogram

from loadgen.latency import Latency, at_percentiles, decode, distribution, latency_of, mean_of, merged, new_histogram
from loadgen.recorder import WorkerReport
from loadgen.settings import RunDirectory, Settings

STAYS_OPEN_S = 10
"""A second's percentiles are computed when it is this old: by then every worker that lives has reported it."""

REPORTED_S = 2
"""A second is reported by all workers that live when it is this old."""

CPU_WINDOW_S = 5.0


class SecondRow(msgspec.Struct):
    """One second of the run, over all workers; `second` counts seconds of the master's clock, from the start's."""

    second: int
    users: int
    requests: int
    failures: int
    requests_by_route: dict[str, int]
    latency_ms: Latency
    latency_ms_by_route: dict[str, Latency]


class WorkerRow(msgspec.Struct):
    """What the master knows of one worker process.

    CPU is the part of one core that it used: `cpu` over the whole run, `busiest_cpu` in its busiest 5 s. For the part
    `waited` of the run it could have gone on, and no core was free; for the part `held_back` its CPU limit stopped it.
    """

    name: str
    requests: int = 0
    complete: bool = False
    silent_s: float = 0.0
    cpu: float = 0.0
    busiest_cpu: float = 0.0
    waited: float = 0.0
    held_back: float = 0.0
    longest_pause_ms: float = 0.0
    clock_ahead_s: float | None = None


def judged_from(load: "Load", settings: Settings) -> float:
    """When the first second began that is judged, in seconds since the epoch: what is counted is whole seconds."""
    return int(load.started_at) + settings.warm_up_s


class LatencyDetail(msgspec.Struct):
    """A route's latency, whole run: the percentiles of the summary, and the curve to the slowest request.

    `asked_ms` has the percentiles that the objectives ask for.
    """

    requests: int
    latency_ms: Latency
    distribution: list[tuple[float, float]]
    asked_ms: dict[float, float] = {}
    mean_ms: float = 0.0


class Load(msgspec.Struct):
    """What the load test saw, as the later stages read it.

    Times are seconds since the epoch on the master's clock: from the first user to when the users were asked to stop.
    What was answered during the warm-up is in `series`, not in the counts of requests. `acknowledged` and `unknown`
    notes are as many as the workers say, whatever ids have arrived. `ended_early` is why the run ended before its time,
    empty where it did not.
    """

    started_at: float
    ended_at: float
    requests: int
    failures: int
    unsent: int
    acknowledged: dict[str, int]
    total: LatencyDetail
    routes: dict[str, LatencyDetail]
    series: list[SecondRow]
    errors: dict[str, dict[str, int]]
    workers: list[WorkerRow]
    lost_attempts: dict[str, int]
    users_reached: int
    unknown: int
    ended_early: str = ""
    failures_by_route: dict[str, int] = {}


class _Worker:
    """One worker's reports so far."""

    def __init__(self, name: str, now: float) -> None:
        self.row = WorkerRow(name)
        self.next_number = 0
        self.last_report = now
        self.cpu: deque[tuple[float, float]] = deque()
        self.cpu_s = self.waited_s = self.held_back_s = self.wall_s = 0.0
        self.attempts: dict[str, int] = {}
        self.users = 0
        self.acknowledged: dict[str, int] = {}
        self.unknown = 0

    def take(self, report: WorkerReport, requests: int, now: float) -> None:
        row = self.row
        row.requests += requests
        row.silent_s = max(row.silent_s, now - self.last_report)
        row.longest_pause_ms = round(max(row.longest_pause_ms, report.pause_s * 1000), 1)
        # A report takes some time to arrive, so the least delayed one tells most about the clocks.
        ahead = report.sent_at - now
        row.clock_ahead_s = round(ahead if row.clock_ahead_s is None else max(row.clock_ahead_s, ahead), 3)
        self.last_report = now
        self.next_number += 1
        self.attempts = report.attempts
        self.users = report.users
        self.acknowledged, self.unknown = report.acknowledged_so_far, report.unknown_so_far
        self._take_cpu(report.cpu_s, report.wall_s)
        self._take_whole(report)
        # Complete: it said that this is its last report, none before it was lost, and what it counted has all arrived.
        row.complete = report.final and report.number + 1 == self.next_number and report.requests_so_far == row.requests

    def _take_cpu(self, cpu_s: float, wall_s: float) -> None:
        self.cpu.append((cpu_s, wall_s))
        while sum(wall for _, wall in self.cpu) - self.cpu[0][1] >= CPU_WINDOW_S:
            self.cpu.popleft()
        wall = sum(wall for _, wall in self.cpu)
        if wall >= CPU_WINDOW_S:
            busy = sum(cpu for cpu, _ in self.cpu) / wall
            self.row.busiest_cpu = round(max(self.row.busiest_cpu, busy), 3)

    def _take_whole(self, report: WorkerReport) -> None:
        self.cpu_s += report.cpu_s
        self.waited_s += report.waited_s
        self.held_back_s += report.held_back_s
        self.wall_s += report.wall_s
        if self.wall_s:
            self.row.cpu = round(self.cpu_s / self.wall_s, 3)
            self.row.waited = round(self.waited_s / self.wall_s, 3)
            self.row.held_back = round(self.held_back_s / self.wall_s, 3)


class Interval:
    """What arrived since the last progress line."""

    def __init__(self, now: float) -> None:
        self.since = now
        self.histogram = new_histogram()
        self.requests: Counter[str] = Counter()


class Collector:
    """Takes the workers' reports of one run. `now` is always seconds since the epoch, on the master's clock."""

    def __init__(self, settings: Settings, directory: RunDirectory, started_at: float) -> None:
        self._settings = settings
        self._directory = directory
        self.started_at = started_at
        self._workers: dict[str, _Worker] = {}
        self._files: dict[str, BinaryIO] = {}
        self._totals: dict[str, HdrHistogram] = defaultdict(new_histogram)
        self._open: dict[int, dict[str, HdrHistogram]] = defaultdict(lambda: defaultdict(new_histogram))
        self._rows: dict[int, SecondRow] = {}
        self._users: dict[int, dict[str, int]] = defaultdict(dict)
        self._users_seen: dict[int, int] = {}  # second -> users by the latest reports, answers or none
        self._failures: Counter[int] = Counter()
        self._errors: dict[str, Counter[str]] = defaultdict(Counter)
        self._users_reached = 0
        self._unsent: dict[str, int] = {}
        self.interval = Interval(started_at)
        self._failed: Counter[str] = Counter()  # by name, as far as they are judged
        self.failures = 0

    def begin(self, now: float) -> None:
        """The first user was seen: the run's time counts from now. What was reported before belongs to it."""
        self.started_at = self.interval.since = now

    def expect(self, worker: str, now: float) -> None:
        """A worker that takes part: it must report from now on, to the end."""
        self._workers.setdefault(worker, _Worker(worker, now))

    def take(self, report: WorkerReport, now: float) -> None:
        """Merges one report; one of an earlier run is passed over."""
        if report.run != self._settings.run:
            return
        self.expect(report.worker, now)
        requests = sum(self._take_second(second, report, now) for second in report.seconds)
        self._workers[report.worker].take(report, requests, now)
        self._take_users(now)
        self._unsent[report.worker] = report.unsent
        for name, kinds in report.errors.items():
            self._errors[name].update(kinds)
        for route, ids in report.acknowledged.items():
            self._append(self._directory.acknowledged(route).name, ids)
        self._append(self._directory.unknown.name, report.unknown)
        self._close_seconds(int(now - self.started_at) - STAYS_OPEN_S)

    def so_far(self) -> dict[str, HdrHistogram]:
        """The latencies that have arrived, by the route that answered."""
        return dict(self._totals)

    def failures_so_far(self) -> dict[str, int]:
        """The failures that have arrived, by the route that answered; without those during the warm-up."""
        return dict(self._failed)

    def worker_rows(self) -> list[WorkerRow]:
        """What is known of each worker."""
        return [worker.row for worker in self._workers.values()]

    def unfinished(self) -> list[str]:
        """The workers whose last report is not in."""
        return [name for name, worker in self._workers.items() if not worker.row.complete]

    def silent(self, now: float, seconds: float) -> list[str]:
        """The workers that are not done and have not reported for so long."""
        workers = self._workers.items()
        return [name for name, worker in workers if not worker.row.complete and now - worker.last_report > seconds]

    def settled(self, now: float, seconds: int) -> bool:
        """Whether in each of the last seconds that all workers have reported there were answers, and no failure."""
        last = int(now - self.started_at) - REPORTED_S
        return all(second in self._open and not self._failures[second] for second in range(last - seconds, last))

    def next_interval(self, now: float) -> Interval:
        """What arrived since the last call."""
        interval, self.interval = self.interval, Interval(now)
        return interval

    def finish(self, ended_at: float, now: float, ended_early: str = "") -> Load:
        """Everything, once no more reports are to come; the users were asked to stop at `ended_at`."""
        percentiles = (objective.percentile for objective in self._settings.objectives)
        asked = {percentile for percentile in percentiles if percentile is not None}
        self._close_seconds(max(self._open, default=0))
        for file in self._files.values():
            file.close()
        for worker in self._workers.values():
            if not worker.row.complete:
                worker.row.silent_s = max(worker.row.silent_s, now - worker.last_report)
        total = merged(self._totals.values())
        return Load(
            started_at=self.started_at,
            ended_at=ended_at,
            requests=total.get_total_count(),
            failures=self._failed.total(),
            failures_by_route=self.failures_so_far(),
            unsent=sum(self._unsent.values()),
            acknowledged=self._acknowledged(),
            total=_detail(total, asked),
            routes={name: _detail(histogram, asked) for name, histogram in sorted(self._totals.items())},
            series=self._series(),
            errors={name: dict(kinds.most_common()) for name, kinds in self._errors.items()},
            workers=self.worker_rows(),
            lost_attempts=self._lost_attempts(),
            users_reached=self._users_reached,
            unknown=sum(worker.unknown for worker in self._workers.values()),
            ended_early=ended_early,
        )

    def _series(self) -> list[SecondRow]:
        """A row for every second up to the last answer: one without any answer tells most."""
        series: list[SecondRow] = []
        for second in range(max(self._rows, default=-1) + 1):
            users = self._users_seen.get(second, series[-1].users if series else 0)
            series.append(self._rows.get(second) or SecondRow(second, users, 0, 0, {}, Latency(0, 0, 0, 0), {}))
        return series

    def _take_users(self, now: float) -> None:
        users = sum(worker.users for worker in self._workers.values())
        self._users_seen[max(0, int(now - self.started_at))] = users
        self._users_reached = max(self._users_reached, users)

    def _acknowledged(self) -> dict[str, int]:
        acknowledged = Counter[str]()
        for worker in self._workers.values():
            acknowledged.update(worker.acknowledged)
        return dict(acknowledged)

    def _take_second(self, epoch: int, report: WorkerReport, now: float) -> int:
        """Merges one second of a worker; returns how many requests it held."""
        second = self._place(epoch, report.sent_at, now)
        packed = report.seconds[epoch]
        judged = second >= self._settings.warm_up_s
        requests = 0
        for name, encoded in packed.latencies.items():
            histogram = decode(encoded)
            if judged:
                self._totals[name].add(histogram)
            self._open[second][name].add(histogram)
            self.interval.histogram.add(histogram)
            self.interval.requests[name] += histogram.get_total_count()
            requests += histogram.get_total_count()
        failures = sum(packed.failures.values())
        self._users[second][report.worker] = packed.users
        self._failures[second] += failures
        self.failures += failures
        if judged:
            self._failed.update(packed.failures)
        return requests

    def _place(self, epoch: int, sent_at: float, now: float) -> int:
        """A second of a worker's clock as a second of the run, with a clock that is seconds off put right."""
        ahead = round(sent_at - now)
        second = epoch - ahead - int(self.started_at)
        last_closed = max(self._rows, default=-1)
        return max(second, last_closed + 1, 0)

    def _close_seconds(self, until: int) -> None:
        for second in sorted(second for second in self._open if second <= until):
            names = self._open.pop(second)
            everything = merged(names.values())
            self._rows[second] = SecondRow(
                second=second,
                users=sum(self._users[second].values()),
                requests=everything.get_total_count(),
                failures=self._failures[second],
                requests_by_route={name: histogram.get_total_count() for name, histogram in names.items()},
                latency_ms=latency_of(everything),
                latency_ms_by_route={name: latency_of(histogram) for name, histogram in names.items()},
            )

    def _append(self, name: str, ids: bytes) -> None:
        if name not in self._files:
            self._files[name] = (self._directory.path / name).open("wb")
        self._files[name].write(ids)

    def _lost_attempts(self) -> dict[str, int]:
        """How far the users of lost workers had come: they may have posted more than was reported."""
        lost = [worker.attempts for worker in self._workers.values() if not worker.row.complete]
        return {user: attempts for users in lost for user, attempts in users.items()}


def _detail(histogram: HdrHistogram, asked: Iterable[float]) -> LatencyDetail:
    return LatencyDetail(
        requests=histogram.get_total_count(),
        latency_ms=latency_of(histogram),
        distribution=distribution(histogram),
        asked_ms=at_percentiles(histogram, asked),
        mean_ms=mean_of(histogram),
    )
