"""The users of the load test: each posts notes at its own pace and counts how long each took from when it was due.

Plain Locust takes this file as well: `locust -f locustfile.py --host http://localhost:8080`.
"""

import errno
import re
import time
from typing import Any

import gevent
import msgspec
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from locust import User, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import WorkerRunner

from course.ids import id_of
from loadgen.client import Answer, Connection, note_request
from loadgen.keys import key_of, user_name
from loadgen.pool import bodies, make_pool, place_in_pool
from loadgen.recorder import Recorder
from loadgen.settings import GONE_S, NO_ROUTE, REQUEST_TIMEOUT_S
from loadgen.targets import parse_targets

GOLDEN_RATIO = 0.618033988749895
SILVER_RATIO = 0.414213562373095  # between workers, whose users are numbered alike
PAUSE_PROBE_S = 0.02
ROUTE = re.compile(r"[a-z][a-z0-9-]{0,31}")


class Acknowledgement(msgspec.Struct):
    """The body of a 201."""

    id: str


read_acknowledgement = msgspec.json.Decoder(Acknowledgement).decode


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
        # In a thread: a large pool takes seconds, and the heartbeats must go on.
        pool = gevent.get_hub().threadpool.apply(make_pool, (options.pool, options.seed))
        self.requests = [note_request(body) for body in bodies(pool)]
        self.recorder = Recorder(self.run, getattr(runner, "client_id", "local"))
        self.users = 0

    def next_user(self) -> int:
        self.users += 1
        return self.users


class NotePoster(User):
    """Posts a note every `interval` seconds; when answers are late it catches up, and the delay counts as latency."""

    plan: Plan

    def on_start(self) -> None:
        number = self.plan.next_user()
        self.name = user_name(self.plan.worker, number)
        self.connections = [Connection(target) for target in parse_targets(self.host or "")]
        self.at = (number + self.plan.worker) % len(self.connections)
        self.asking: bytes | None = None
        # Spread the users' phases evenly, however many there are: steps of the golden ratio never bunch up. The first
        # user begins at once, so that in each run a note falls due.
        phase = ((number - 1) * GOLDEN_RATIO + self.plan.worker * SILVER_RATIO) % 1 * self.plan.interval
        self.due = time.perf_counter() + phase - self.plan.interval
        self.last_due = self.due
        self.wait()  # type: ignore[no-untyped-call]

    def wait_time(self) -> float:
        """Seconds until the next note is due; 0 when it is already late."""
        self.due += self.plan.interval
        return max(0.0, self.due - time.perf_counter())

    @task
    def post_note(self) -> None:
        plan, recorder = self.plan, self.plan.recorder
        if recorder.stopped_at:  # woken in the very moment in which it was to be stopped
            raise StopUser
        asked = time.perf_counter()
        if not plan.interval:
            self.due = asked
        self.last_due = self.due
        key = key_of(plan.run, self.name, recorder.attempts[self.name])
        recorder.attempts[self.name] += 1
        self.asking = note_id = id_of(key)
        request = plan.requests[place_in_pool(note_id, len(plan.requests))]
        try:
            answer = self.connections[self.at].post(key.encode(), request)
        except (OSError, HTTPParseError) as error:
            now = time.perf_counter()
            kind: str | None = _no_answer(error, now - asked)
            route, length = NO_ROUTE, 0
            self.at = (self.at + 1) % len(self.connections)  # the next note goes to the next target
        else:
            now = time.perf_counter()
            kind = failure_of(answer, note_id)
            route, length = route_of(answer), len(answer.body)
        self.asking = None
        self._tell(note_id, route, now - self.due, length, kind)

    def _tell(self, note_id: bytes, route: str, latency_s: float, length: int, kind: str | None) -> None:
        self.environment.events.request.fire(
            request_type="POST",
            name=route,
            response_time=latency_s * 1000,
            response_length=length,
            exception=NoAnswer(kind) if kind else None,
            context={"note_id": note_id},
        )

    def on_stop(self) -> None:
        recorder = self.plan.recorder
        if self.asking:  # cut off while it waited for its answer
            late_s = time.perf_counter() - self.due
            self._tell(self.asking, NO_ROUTE, late_s, 0, "still unanswered when the run ended")
        for connection in self.connections:
            connection.close()
        next_due = max(self.due, self.last_due + self.plan.interval)
        late = (recorder.stopped_at or time.perf_counter()) - next_due
        if self.plan.interval and late > 0:
            recorder.unsent += 1 + int(late / self.plan.interval)


def route_of(answer: Answer) -> str:
    """The route that answered, as X-Route names it."""
    return answer.route if ROUTE.fullmatch(answer.route) else NO_ROUTE


def failure_of(answer: Answer, note_id: bytes) -> str | None:
    """Why an answer is no acknowledgement of the note, or None when it is one."""
    if answer.status != 201:
        may_come_back = answer.status == 503 and answer.retry_after
        return f"HTTP {answer.status}{', with Retry-After' if may_come_back else ''}"
    if route_of(answer) == NO_ROUTE:
        return "201 without X-Route"
    try:
        acknowledged = bytes.fromhex(read_acknowledgement(answer.body).id)
    except ValueError:
        return "201 without an id"
    return None if acknowledged == note_id else "201 with another id than the Idempotency-Key's"


def _no_answer(error: Exception, waited_s: float) -> str:
    """Why there is no answer at all."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ETIMEDOUT:  # the kernel's; a timeout of ours has no number
        return f"connection lost: the host was silent for {GONE_S:.0f} s"
    if isinstance(error, TimeoutError):
        connected = waited_s >= REQUEST_TIMEOUT_S / 2  # waiting for an answer never ends sooner
        return f"no answer within {REQUEST_TIMEOUT_S:.0f} s" if connected else "no connection: the host is silent"
    if number in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return "no route to the host"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, (ConnectionResetError, BrokenPipeError, HTTPConnectionClosed)):
        return "connection closed before the answer"
    return f"{type(error).__name__}: {error}"


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser) -> None:
    """The options of a run; the master passes them on to its workers."""
    add = parser.add_argument
    add("--rate", type=float, default=2.0, help="requests per second and user; 0 is as fast as answers come")
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
