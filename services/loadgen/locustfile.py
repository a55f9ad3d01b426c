"""The users of the load test: each posts notes at its own pace and counts how long each took from when it was due.

Plain Locust takes this file as well: `locust -f locustfile.py --host http://localhost:8080`.
"""

import os
import random
import time
from typing import Any

import gevent
import msgspec
from gevent.pool import Group
from locust import User, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import WorkerRunner

from loadgen.client import Access, Connection, note_request
from loadgen.keys import poster_name, user_name
from loadgen.pool import bodies, make_pool
from loadgen.poster import Poster
from loadgen.recorder import Recorder
from loadgen.settings import ARRIVALS, CLOSED, OPEN
from loadgen.targets import parse_targets

GOLDEN_RATIO = 0.618033988749895
SILVER_RATIO = 0.414213562373095  # between workers, whose users are numbered alike
PAUSE_PROBE_S = 0.02
MOST_UNANSWERED = 2000  # of a user whose notes come whether or not others are answered


class NoAnswer(Exception):
    """Why a request got no acknowledgement, in words that do not differ from one request to the next."""


class Plan:
    """What all users of this process share for one run: who they are, what they post, where it is counted."""

    def __init__(self, environment: Environment) -> None:
        options, runner = environment.parsed_options, environment.runner
        if options is None or runner is None:
            raise RuntimeError("Locust starts a test with options and a runner")
        self.runner = runner
        self.worker = getattr(runner, "worker_index", 0)
        self.run = options.run or f"by-hand-{time.time_ns()}"
        self.interval = 1 / options.rate if options.rate else 0.0
        self.open = options.arrivals == OPEN and self.interval > 0
        # In a thread: a large pool takes seconds, and the heartbeats must go on.
        pool = gevent.get_hub().threadpool.apply(make_pool, (options.pool, options.seed))
        self.requests = [note_request(body) for body in bodies(pool)]
        self.access = Access.read(os.environ)
        self.recorder = Recorder(self.run, getattr(runner, "client_id", "local"))
        self.users = 0
        self._begun = 0

    def next_user(self) -> int:
        """The number of a user that begins."""
        self.users += 1
        self._begun += 1
        return self._begun

    def leave(self) -> None:
        """A user leaves. When all leave, because the run ends, they still are those that the run had at its end."""
        if not self.recorder.stopped_at:
            self.users -= 1


class NotePoster(User):
    """Posts a note every `interval` seconds; when answers are late it catches up, and the delay counts as latency.

    With open arrivals its notes come at random times, on average as often, whether or not others were answered.
    """

    plan: Plan

    def on_start(self) -> None:
        number = self.plan.next_user()
        self.name = user_name(self.plan.worker, number)
        self.number = number
        self.random = random.Random(f"{self.plan.run}-{self.name}")  # noqa: S311 (times, not secrets)
        self.posters: list[Poster] = []
        self.free: list[Poster] = []
        self.under_way = Group()
        self.due = time.perf_counter()
        if not self.plan.open:
            # Spread the users' phases evenly, however many there are: steps of the golden ratio never bunch up. The
            # first user begins at once, so that in each run a note falls due.
            phase = ((number - 1) * GOLDEN_RATIO + self.plan.worker * SILVER_RATIO) % 1
            self.due += (phase - 1) * self.plan.interval
        self.last_due = self.due
        self.wait()  # type: ignore[no-untyped-call]

    def wait_time(self) -> float:
        """Seconds until the next note is due; 0 when it is already late."""
        interval = self.plan.interval
        self.due += self.random.expovariate(1 / interval) if self.plan.open else interval
        return max(0.0, self.due - time.perf_counter())

    @task
    def post_note(self) -> None:
        plan = self.plan
        if plan.recorder.stopped_at:  # woken in the very moment in which it was to be stopped
            raise StopUser
        if not plan.interval:
            self.due = time.perf_counter()
        self.last_due = self.due
        poster = self.free.pop() if self.free else self._new_poster()
        if poster is None:
            plan.recorder.unsent += 1
        elif plan.open:
            self.under_way.spawn(self._post, poster, self.due)
        else:
            self._post(poster, self.due)

    def _post(self, poster: Poster, due: float) -> None:
        poster.post(due)
        self.free.append(poster)

    def _new_poster(self) -> Poster | None:
        """Another one who posts a note at a time; None where too many wait for their answers."""
        plan, number = self.plan, len(self.posters)
        if number >= MOST_UNANSWERED:
            return None
        targets = parse_targets(self.host or "")
        first = (self.number + plan.worker + number) % len(targets)
        connections = [Connection(target, plan.access) for target in [*targets[first:], *targets[:first]]]
        name = poster_name(self.name, number) if plan.open else self.name
        poster = Poster(name, connections, plan.requests, plan.recorder, self._tell)
        self.posters.append(poster)
        return poster

    def _tell(self, note_id: bytes, route: str, latency_s: float, length: int, failure: str | None) -> None:
        self.environment.events.request.fire(
            request_type="POST",
            name=route,
            response_time=latency_s * 1000,
            response_length=length,
            exception=NoAnswer(failure) if failure else None,
            context={"note_id": note_id},
        )

    def on_stop(self) -> None:
        recorder = self.plan.recorder
        # Who leaves before the run ends need not have sent what was due just then.
        of_the_run = bool(recorder.stopped_at)
        left_at = recorder.stopped_at or time.perf_counter()
        try:
            self.under_way.join()
        finally:
            self.under_way.kill()
            self.plan.leave()
            for poster in self.posters:
                poster.close()
            next_due = max(self.due, self.last_due + self.plan.interval)
            late = left_at - next_due
            if self.plan.interval and late > 0:
                recorder.unsent += int(late / self.plan.interval) + of_the_run


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser) -> None:
    """The options of a run; the master passes them on to its workers."""
    add = parser.add_argument
    add("--rate", type=float, default=2.0, help="requests per second and user; 0 is as fast as answers come")
    add("--arrivals", choices=ARRIVALS, default=CLOSED, help="open: notes come whether or not others were answered")
    add("--pool", type=int, default=1000, help="how many different notes there are")
    add("--seed", type=int, default=1, help="the same seed gives the same notes")
    add("--run", default="", include_in_web_ui=False, help="the run's name, unique; made up when empty")


@events.test_start.add_listener
def prepare(environment: Environment, **_: Any) -> None:
    """Makes the plan where users will run: on each worker, or here when there is no master."""
    NotePoster.plan = Plan(environment)


@events.request.add_listener
def record(name: str, response_time: float, exception: Exception | None, context: dict[str, Any], **_: Any) -> None:
    """Files one request under its route."""
    recorder = NotePoster.plan.recorder
    if exception is None:
        recorder.acknowledged(name, response_time / 1000, context["note_id"])
    else:
        recorder.failed(name, response_time / 1000, context["note_id"], str(exception))


@events.report_to_master.add_listener
def add_report(data: dict[str, Any], **_: Any) -> None:
    """Puts this worker's counts into the report that Locust is about to send."""
    if plan := getattr(NotePoster, "plan", None):
        data["loadgen"] = msgspec.msgpack.encode(plan.recorder.report(plan.users))


@events.test_stopping.add_listener
def note_the_end(**_: Any) -> None:
    """From here on nothing more is due."""
    if plan := getattr(NotePoster, "plan", None):
        plan.recorder.stopped_at = time.perf_counter()


@events.test_stop.add_listener
def mark_final(**_: Any) -> None:
    """All users have ended: the report that Locust sends next is the last one."""
    if plan := getattr(NotePoster, "plan", None):
        plan.recorder.final = True


@events.init.add_listener
def watch_pauses(environment: Environment, **_: Any) -> None:
    """On a worker, measures how long it was kept from running: such a pause delays its users' requests."""
    if isinstance(environment.runner, WorkerRunner):
        gevent.spawn(_probe_pauses)


def _probe_pauses() -> None:
    while True:
        before = time.perf_counter()
        gevent.sleep(PAUSE_PROBE_S)
        if plan := getattr(NotePoster, "plan", None):
            pause = time.perf_counter() - before - PAUSE_PROBE_S
            plan.recorder.pause_s = max(plan.recorder.pause_s, pause)
