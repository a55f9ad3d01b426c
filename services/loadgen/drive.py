"""The master of a run and its workers: Locust as a library, so that a run ends when every last report is in."""

import argparse
import logging
import os
from typing import Any

import gevent
import locust.runners
import msgspec
from locust import LoadTestShape, events
from locust.env import Environment
from locust.runners import STATE_STOPPING, MasterRunner

from course.settings import Environment as EnvironmentVariables
from loadgen import clock
from loadgen.collector import REPORTED_S, Collector
from loadgen.figures import replicas_now
from loadgen.locustfile import NotePoster
from loadgen.metrics import Figures, serve
from loadgen.objectives import out_of_reach
from loadgen.progress import line, say
from loadgen.recorder import WorkerReport
from loadgen.settings import CONNECT_TIMEOUT_S, REQUEST_TIMEOUT_S, SETTLED_S, RunDirectory, Settings, write_json

PORT = EnvironmentVariables(os.environ).port("LOCUST_PORT", 5557)
STOP_TIMEOUT_S = int(CONNECT_TIMEOUT_S + REQUEST_TIMEOUT_S) + 2  # a request on its way may take all of its time to end
CONNECT_S = 60
SILENT_S = 5.0
SEND_S = 0.5
REPORT_S = 1.0
PROGRESS_S = 2.0
STEADY_S = 5.0  # of load before a fault is made

read_report = msgspec.msgpack.Decoder(WorkerReport).decode


class NoLoad(Exception):
    """The load could not be driven; the message says why."""


def run_worker(master: str) -> None:
    """Runs one worker until the master ends the run."""
    _quieten()
    environment = Environment(user_classes=[NotePoster], events=events)
    runner = environment.create_worker_runner(master, PORT)
    events.init.fire(environment=environment, runner=runner, web_ui=None)
    runner.greenlet.join()
    events.quitting.fire(environment=environment)
    # ZeroMQ sends in a thread of its own: a process that ends at once may take its last report with it.
    connection = runner.client.socket
    connection.close(linger=int(SILENT_S * 1000))
    connection.context.term()


def run_master(settings: Settings, directory: RunDirectory, metrics_port: int = 0) -> None:
    """Runs the load test that `settings` describes and writes what came of it into the run's directory.

    While it runs, its figures are told on the port for metrics, unless that is 0. Raises `NoLoad` when the workers do
    not come.
    """
    _quieten()
    environment = Environment(user_classes=[NotePoster], events=events, host=settings.target)
    environment.stop_timeout = STOP_TIMEOUT_S
    environment.parsed_options = _options(settings)
    environment.shape_class = UsersOverTime(settings)
    runner = environment.create_master_runner("*", PORT)
    _await_workers(runner, settings.workers)
    run = Drive(settings, directory, runner, environment.shape_class)
    if metrics_port:
        serve(metrics_port, Figures(run.collector, lambda: runner.user_count, settings.users, SILENT_S))
    try:
        run.run()
    except SystemExit:
        # Somebody stops the run. Workers that are not told would post for a minute more.
        runner.send_message("quit")
        gevent.sleep(SEND_S)
        raise
    runner.greenlet.kill(block=True)


class UsersOverTime(LoadTestShape):
    """How many users Locust is to have at work, by the shape of the run; until that has begun, as many as at first."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._settings = settings
        self.began_at: float | None = None

    def tick(self) -> tuple[int, float]:
        """How many, and how many may start or stop in a second. It is one at least: without any, nothing begins."""
        settings = self._settings
        elapsed_s = 0.0 if self.began_at is None else clock.time() - self.began_at
        share = settings.shape.users_at(min(elapsed_s / settings.duration_s, 1.0))
        return max(1, round(settings.users * share)), settings.spawn_rate


class Drive:
    """One run, from the first user to the last report."""

    def __init__(self, settings: Settings, directory: RunDirectory, runner: MasterRunner, shape: UsersOverTime) -> None:
        self.shape = shape
        self.settings = settings
        self.directory = directory
        self.runner = runner
        self.collector = Collector(settings, directory, clock.time())
        self.replicas: dict[str, int] = {}

    def run(self) -> None:
        """Starts the users, watches for the time that was asked for, and ends the run."""
        events.worker_report.add_listener(self._take)
        workers = list(self.runner.clients)
        self.runner.start_shape()
        self._await_users()
        started_at = self.shape.began_at = clock.time()
        self.collector.begin(started_at)
        for worker in workers:
            self.collector.expect(worker, started_at)
        looking = gevent.spawn(self._look)
        ended_early = self._watch(started_at + self.settings.duration_s)
        looking.kill(block=False)
        ended_at = clock.time()
        self._end()
        write_json(self.directory.load, self.collector.finish(ended_at, clock.time(), ended_early))

    def _take(self, data: dict[str, Any], **_: Any) -> None:
        if packed := data.get("loadgen"):
            self.collector.take(read_report(packed), clock.time())

    def _await_users(self) -> None:
        """The run's time begins with its first user: before, the workers make their pools."""
        deadline = clock.time() + CONNECT_S
        while not self.runner.user_count:
            if clock.time() > deadline:
                self._keep_users()
                raise NoLoad(f"No user started within {CONNECT_S} s: look at the logs of the load test's workers.")
            gevent.sleep(0.02)

    def _keep_users(self) -> None:
        """Nobody starts or stops any more because of the shape."""
        if shaping := self.runner.shape_greenlet:
            shaping.kill()

    def _look(self) -> None:
        """Looks at the replicas now and again, beside all else: the load waits for no answer to this."""
        while True:
            self.replicas = replicas_now(self.settings)
            gevent.sleep(PROGRESS_S)

    def _watch(self, deadline: float) -> str:
        """Tells how it goes until the deadline, or until there is a reason to end before: returns it."""
        next_line = clock.time() + PROGRESS_S
        while (now := clock.time()) < deadline:
            gevent.sleep(max(0.0, min(next_line, deadline) - now))
            now = clock.time()
            if now < next_line:
                continue
            next_line += PROGRESS_S
            say(line(self.collector, self.settings, self.runner.user_count, deadline - now, self.replicas))
            if why := self._in_vain(now):
                say(f"the run ends here: {why}")
                return why
            if self.settings.faults and self._served_again(now):
                return ""
        return ""

    def _served_again(self, now: float) -> bool:
        """Tells whoever makes the faults when to begin; whether the system has served for a while after them."""
        if now - self.collector.started_at > STEADY_S:
            self.directory.steady.touch()
        if not self.directory.faults.exists():
            return False
        over = now - self.directory.faults.stat().st_mtime
        return over > SETTLED_S + REPORTED_S and self.collector.settled(now, SETTLED_S)

    def _in_vain(self, now: float) -> str:
        """Why it is no use to go on; empty while it is."""
        if len(self.collector.silent(now, SILENT_S)) == self.settings.workers:
            return "every worker is lost"
        if not self.settings.abort:
            return ""
        return out_of_reach(self.settings, self.collector.so_far(), self.collector.failures_so_far())

    def _end(self) -> None:
        """Asks the workers to stop and waits until each has sent its last report, or is taken for lost."""
        self._keep_users()
        # In this state Locust does not hand the users of a worker that leaves to the others.
        self.runner.update_state(STATE_STOPPING)
        self.runner.send_message("quit")
        deadline = clock.time() + STOP_TIMEOUT_S + SILENT_S
        while clock.time() < deadline and (waiting := self.collector.unfinished()):
            # A worker whose users still wait for answers goes on reporting.
            if set(waiting) <= set(self.collector.silent(clock.time(), SILENT_S)):
                break
            gevent.sleep(0.05)


def _await_workers(runner: MasterRunner, expected: int) -> None:
    deadline = clock.time() + CONNECT_S
    while (connected := len(runner.clients.ready)) < expected:
        if clock.time() > deadline:
            raise NoLoad(f"Only {connected} of {expected} workers connected within {CONNECT_S} s: look at their logs.")
        say(f"waiting for workers: {connected} of {expected}")
        gevent.sleep(1)


def _options(settings: Settings) -> argparse.Namespace:
    """What Locust hands from the master to its workers."""
    return argparse.Namespace(
        run=settings.run,
        rate=settings.rate,
        arrivals=settings.arrivals,
        pool=settings.pool,
        seed=settings.seed,
        enable_rebalancing=False,
        headless=True,
    )


def _quieten() -> None:
    """Locust's own reports to the master once a second, by the clock of the load test; only its warnings in the log."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    locust.runners.WORKER_REPORT_INTERVAL = REPORT_S
    # A worker would leave where the host's clock goes on by a minute at once.
    locust.runners.time = clock  # type: ignore[attr-defined]
