"""The reader by itself: its HTTP interface, how often it asks, and what it makes of the answers."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sanic import Sanic

from course.outcome import Failure, Unavailable
from course.stored import OTHER
from reader import question, service
from reader.counts import Minutes, counts
from reader.databases import MOST_TEXTS, Counted
from reader.question import Answer, Budget, Question, TooLong
from unit.services.helpers import Answer as HttpAnswer
from unit.services.helpers import Client

NOW = datetime(2026, 11, 30, 12, 0, 30, tzinfo=UTC)
NOTE = {"at": "2026-11-30T12:00:00.000Z", "route": "relay", "curso": "<b>SO1", "facultad": "f", "carrera": "c"}


def row(category: str, text: object, notes: int, *, counted: bool = False) -> dict[str, Any]:
    """A row of MongoDB's answer."""
    return {"_id": {"category": category, "text": text, "counted": counted}, "notes": notes}


ROWS = [
    *(row("route", "direct", 7, counted=True), row("route", "relay", 5)),
    *(row("region", "NORTE", 4, counted=True), row("region", "NORTE", 5), row("region", "SUR", 3, counted=True)),
]
BY_FIELD: dict[str, dict[str, int]] = {"curso": {}, "facultad": {}, "carrera": {}, "region": {"NORTE": 4, "SUR": 2}}


class Mongo:
    """A MongoDB that answers what a test wants."""

    def __init__(self, uri: str = "") -> None:
        self.asked: list[str] = []
        self.problem: Exception | None = None
        self.rows = ROWS
        self.open = asyncio.Event()
        self.open.set()

    async def _answer(self, what: str, answer: Any) -> Any:
        self.asked.append(what)
        await self.open.wait()
        if self.problem:
            raise self.problem
        return answer

    async def latest(self, since: datetime | None) -> Any:
        return await self._answer("latest", [NOTE] * 40)

    async def minutes(self, since: datetime) -> Any:
        minute = datetime.now(UTC).replace(second=0, microsecond=0)
        return await self._answer("minutes", [{"minute": minute, "route": "relay", "notes": 3}])

    async def texts(self, field: str) -> Any:
        return await self._answer(field, self.rows)

    async def ping(self) -> None:
        await self._answer("ping", None)

    async def close(self) -> None:
        pass


class Redis(Mongo):
    """A Redis likewise."""

    async def latest(self, since: datetime | None = None) -> Any:
        return await self._answer("latest", [{"curso": "SO1"}])

    async def counted(self) -> Counted:
        counted: Counted = await self._answer("counted", Counted(6, BY_FIELD))
        return counted


class Reader:
    """A running reader."""

    def __init__(self, port: int, mongodb: Mongo, redis: Redis) -> None:
        self.port, self.mongodb, self.redis = port, mongodb, redis

    async def ask(self, target: str, method: str = "GET") -> HttpAnswer:
        client = await Client.connect(self.port)
        try:
            await client.send(f"{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            return (await client.answers(1, no_body=method == "HEAD"))[0]
        finally:
            client.writer.close()


@asynccontextmanager
async def serving(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reader]:
    """A reader on a free port, with databases of its own."""
    Sanic.test_mode = True
    mongodb, redis = Mongo(), Redis()
    monkeypatch.setattr(service, "MongoDB", lambda _: mongodb)
    monkeypatch.setattr(service, "Counters", lambda _: redis)
    app = service.create_reader(service.Settings("127.0.0.1", 1, "mongodb://a", "redis://a"))
    listener = socket.create_server(("127.0.0.1", 0))
    server = await app.create_server(sock=listener, return_asyncio_server=True, access_log=False)
    assert server is not None
    await server.startup()
    await server.before_start()
    await server.start_serving()
    try:
        yield Reader(listener.getsockname()[1], mongodb, redis)
    finally:
        mongodb.open.set()
        server.close()
        for connection in list(server.connections):
            connection.abort()
        await server.wait_closed()
        await server.after_stop()
        Sanic._app_registry.pop("reader", None)


@pytest.fixture
async def reader(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reader]:
    async with serving(monkeypatch) as running:
        yield running


async def test_the_latest_notes_are_given_as_many_as_are_asked_for(reader: Reader) -> None:
    assert [note["curso"] for note in (await reader.ask("/notes?limit=3")).json["notes"]] == ["<b>SO1"] * 3
    assert len((await reader.ask("/notes")).json["notes"]) == 20
    assert (await reader.ask("/notes?of=redis")).json["notes"] == [{"curso": "SO1"}]


async def test_counts_are_those_of_both_databases_most_or_fewest_first(reader: Reader) -> None:
    found = (await reader.ask("/notes/counts?by=region&limit=1")).json
    assert found["mongodb"] == {"notes": 12, "by_route": {"direct": 7, "relay": 5}}
    assert found["direct"] == {"mongodb": 7, "redis": 6, "difference": 1}
    assert (found["different"], found["complete"], found["problems"]) == (2, True, {})
    (most,) = found["counts"]
    assert most == {"text": "NORTE", "notes": 9, "share": 0.75, "mongodb_direct": 4, "redis_direct": 4, "difference": 0}
    (least,) = (await reader.ask("/notes/counts?by=region&limit=1&order=least")).json["counts"]
    assert (least["text"], least["notes"], least["difference"]) == ("SUR", 3, 1)


async def test_the_rate_ends_with_the_minute_that_is_not_over(reader: Reader) -> None:
    minutes = (await reader.ask("/notes/rate?minutes=2")).json["minutes"]
    assert [row["routes"] for row in minutes] in ([{}, {"relay": 3}], [{"relay": 3}, {}])


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("/notes?limit=0", {"limit": "must be a whole number from 1 to 100"}),
        ("/notes?limit=101", {"limit": "must be a whole number from 1 to 100"}),
        ("/notes?limit=1&limit=2", {"limit": "must be a whole number from 1 to 100"}),
        ("/notes?of=oracle&x=1", {"of": "must be mongodb or redis", "x": "is no parameter of this"}),
        ("/notes/counts", {"by": "must be curso, facultad, carrera or region"}),
        ("/notes/counts?by=$where", {"by": "must be curso, facultad, carrera or region"}),
        ("/notes/rate?minutes=9999999999999", {"minutes": "must be a whole number from 1 to 60"}),
    ],
)
async def test_a_wrong_parameter_is_named_and_costs_nothing(reader: Reader, target: str, fields: Any) -> None:
    answer = await reader.ask(target)
    assert (answer.status, answer.json["fields"]) == (400, fields)
    assert reader.mongodb.asked == []


async def test_it_can_only_be_read(reader: Reader) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = await reader.ask("/notes", method)
        assert (answer.status, answer.headers["content-type"]) == (405, "application/json")
        assert "error" in answer.json
    unknown = await reader.ask("/course")
    assert (unknown.status, unknown.headers["content-type"]) == (404, "application/json")
    assert (await reader.ask("/notes", "HEAD")).status == 200


async def test_every_answer_forbids_what_is_not_its_own(reader: Reader) -> None:
    for target in ("/", "/page.js", "/page.css", "/notes", "/nothing", "/notes?limit=x"):
        headers = (await reader.ask(target)).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


async def test_ten_who_look_cost_what_one_costs(reader: Reader) -> None:
    reader.mongodb.open.clear()
    asking = [asyncio.create_task(reader.ask("/notes/counts?by=curso")) for _ in range(10)]
    await asyncio.sleep(0.1)
    reader.mongodb.open.set()
    assert {(await answer).status for answer in asking} == {200}
    assert (await reader.ask("/notes/counts?by=curso")).status == 200
    assert (reader.mongodb.asked, reader.redis.asked) == (["curso"], ["counted"])


async def test_one_database_that_is_away_leaves_the_other(reader: Reader) -> None:
    reader.redis.problem = Unavailable("Redis does not answer")
    found = (await reader.ask("/notes/counts?by=region")).json
    assert found["problems"] == {"redis": "Redis does not answer"}
    assert found["direct"] == {"mongodb": 7, "redis": None, "difference": None}
    assert found["counts"][0]["redis_direct"] is None
    reader.mongodb.problem = Unavailable("MongoDB does not answer")
    answer = await reader.ask("/notes/counts?by=curso")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.json["error"] == "MongoDB does not answer. Redis does not answer"
    assert (await reader.ask("/notes")).status == 503
    assert ((await reader.ask("/readyz")).status, (await reader.ask("/healthz")).status) == (503, 200)


async def test_it_tells_how_it_answered(reader: Reader) -> None:
    await reader.ask("/notes?limit=x")
    assert 'courseload_requests_total{status="400"} 1.0' in (await reader.ask("/metrics")).body.decode()


# --- How often a database is asked


def asker(outcomes: list[Any]) -> tuple[Callable[[], Any], list[int]]:
    """A question with these outcomes, one after the other, and how often it was put."""
    put: list[int] = []

    async def ask() -> Any:
        put.append(1)
        outcome = outcomes[min(len(put), len(outcomes)) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return ask, put


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that questions see."""
    now = [100.0]
    monkeypatch.setattr(question, "monotonic", lambda: now[0])
    return now


async def test_an_answer_is_kept_for_ten_times_what_all_questions_cost(clock: list[float]) -> None:
    budget, asked = Budget(), []

    def dear(cost_s: float) -> Callable[[], Any]:
        async def ask() -> float:
            asked.append(cost_s)
            clock[0] += cost_s
            return cost_s

        return ask

    first, second = Question("first", dear(1.0), budget), Question("second", dear(3.0), budget)
    await first.answer()
    await second.answer()
    clock[0] += 39.9
    await second.answer()
    assert asked == [1.0, 3.0]
    clock[0] += 0.2
    await second.answer()
    assert asked == [1.0, 3.0, 3.0]


async def test_what_cannot_be_answered_is_asked_again_soon_unless_it_was_dear(clock: list[float]) -> None:
    ask, put = asker([Unavailable("away"), TooLong("too much"), 5])

    async def dear() -> Any:
        clock[0] += 20
        return await ask()

    one = Question("one", dear, Budget())
    assert await one.answer() == Failure(503, "away")
    assert await one.answer() == Failure(503, "away")
    assert len(put) == 1
    clock[0] += question.KEEP_S
    assert await one.answer() == Failure(503, "too much")
    clock[0] += question.SHARE * 20 - 0.1
    assert await one.answer() == Failure(503, "too much")
    clock[0] += 0.2
    found = await one.answer()
    assert isinstance(found, Answer)
    assert found.value == 5


async def test_while_a_newer_answer_takes_long_the_older_one_is_given(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(question, "NEWER_S", 0.01)
    opened, put = asyncio.Event(), list[int]()
    opened.set()

    async def ask() -> int:
        put.append(1)
        await opened.wait()
        return len(put)

    one = Question("Counting", ask, Budget())
    first = await one.answer()
    opened.clear()
    clock[0] += question.KEEP_S
    assert await one.answer() == await one.answer() == first
    opened.set()
    second = await one.answer()
    assert isinstance(second, Answer)
    assert (second.value, len(put)) == (2, 2)


async def test_a_question_that_takes_long_is_told_so_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question, "WAIT_S", 0.01)
    opened = asyncio.Event()

    async def ask() -> int:
        await opened.wait()
        return 1

    one = Question("Counting", ask, Budget())
    assert await one.answer() == Failure(503, "Counting: this takes long, ask again in a while")
    opened.set()
    await asyncio.sleep(0.01)
    assert isinstance(await one.answer(), Answer)
    await one.close()


# --- What it makes of the answers


def test_texts_that_redis_has_no_place_for_are_compared_as_other() -> None:
    rows = [row("region", text, notes, counted=True) for text, notes in (("A", 5), ("B", 3), ("C", 2), (OTHER, 1))]
    found = counts("region", rows, Counted(11, BY_FIELD | {"region": {"A": 5, OTHER: 6}}))
    assert {one["text"]: (one["redis_direct"], one["difference"]) for one in found["counts"]} == {
        "A": (5, 0),
        "B": (None, None),
        "C": (None, None),
        OTHER: (6, 0),
    }


def test_what_somebody_else_has_stored_is_no_text() -> None:
    strange = [row("region", text, 1, counted=True) for text in (None, 5, {"$gt": 1})] + [{"_id": {}, "notes": 1}]
    assert [one["text"] for one in counts("region", [*ROWS, *strange], None)["counts"]] == ["NORTE", "SUR"]


def test_what_was_not_told_because_there_is_too_much_is_no_difference() -> None:
    rows = [row("region", f"{number:05}", 2, counted=True) for number in range(MOST_TEXTS + 1)]
    found = counts("region", rows, Counted(9, BY_FIELD | {"region": {"rare": 1}}))
    assert found["complete"] is False
    (rare,) = (one for one in found["counts"] if one["text"] == "rare")
    assert (rare["notes"], rare["difference"]) == (None, None)


def test_a_minute_that_is_over_is_asked_for_once() -> None:
    minutes, minute = Minutes(), NOW.replace(second=0)
    before = minute - timedelta(minutes=5)
    since = minutes.since(NOW)
    assert since == minute - timedelta(minutes=59)
    rows = [{"minute": at, "route": "relay", "notes": 2} for at in (before, minute)]
    assert minutes.learn(since, NOW, rows)[-6:] == minutes.learn(since, NOW, rows)[-6:]
    # Notes of the minute before may still be on their way.
    since = minutes.since(NOW + timedelta(seconds=5))
    assert since == minute - timedelta(minutes=1)
    shown = minutes.learn(since, NOW, [{"minute": minute, "route": "relay", "notes": 4}])
    assert [one["routes"] for one in shown[-6:]] == [{"relay": 2}, {}, {}, {}, {}, {"relay": 4}]
    assert minutes.since(NOW + timedelta(hours=2)) == minute + timedelta(hours=2, minutes=-59)
