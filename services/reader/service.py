"""The reader: its settings, its questions and their answers over HTTP, and how the parts are put together."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
from sanic import HTTPResponse, Request

from course.app import App, closed, create_app, run
from course.handler import JSON, failure_body
from course.metrics import Exposition, RequestMetrics
from course.note import FIELDS
from course.outcome import Failure, Unavailable
from course.settings import DatabaseSettings, settings_or_exit
from reader.counts import Minutes, counts
from reader.databases import MOST_LATEST, Counters, MongoDB, Row, instant
from reader.parameters import Parameters
from reader.question import Answer, Budget, Question

GET = ("GET", "HEAD")
MOST_COUNTS = 1000  # in one answer
_PAGE = Path(__file__).parent / "page"
_STYLE = Path(__file__).parents[1] / "course/page.css"  # what the load test's pages have as well
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Settings(DatabaseSettings, frozen=True):
    """What the reader needs to know."""

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> "Settings":
        """The settings in environment variables; raises `BadSetting`."""
        return cls.read_as("READER", 8030, variables)


class Notes:
    """What can be asked about the notes. Needs a running event loop."""

    def __init__(self, mongodb: MongoDB, redis: Counters) -> None:
        self._mongodb = mongodb
        self._redis = redis
        self._minutes = Minutes()
        self._newest: datetime | None = None
        budget = Budget()
        self.latest = {
            "mongodb": Question("The latest notes in MongoDB", self._latest, budget),
            "redis": Question("The latest notes in Redis", redis.latest, Budget()),
        }
        self.rate = Question("Notes by minute", self._rate, budget)
        self.counts = {field: Question(f"Notes by {field}", self._counting(field), budget) for field in FIELDS}

    async def close(self) -> None:
        """Ends what is being asked, and closes the connections."""
        questions: list[Question[Any]] = [*self.latest.values(), self.rate, *self.counts.values()]
        for question in questions:
            await question.close()
        await closed(self._redis.close(), self._mongodb.close())

    async def _latest(self) -> list[Row]:
        found = await self._mongodb.latest(self._newest)
        if self._newest is not None and len(found) < MOST_LATEST:
            found = await self._mongodb.latest(None)  # some were removed
        # Of as many as there are to be; a note that is on its way has no older time than that.
        last = datetime.fromisoformat(found[-1]["at"]) if len(found) == MOST_LATEST else None
        self._newest = min(last, datetime.now(UTC) - Minutes.LATE) if last else None
        return found

    async def _rate(self) -> list[Row]:
        now = datetime.now(UTC)
        since = self._minutes.since(now)
        return self._minutes.learn(since, now, await self._mongodb.minutes(since))

    def _counting(self, field: str) -> Callable[[], Awaitable[Row]]:
        async def count() -> Row:
            """One after the other, and Redis as soon as MongoDB has answered: notes may come meanwhile."""
            problems: dict[str, str] = {}
            rows = counted = None
            try:
                rows = await self._mongodb.texts(field)
            except Unavailable as problem:
                problems["mongodb"] = str(problem)
            try:
                counted = await self._redis.counted()
            except Unavailable as problem:
                problems["redis"] = str(problem)
            if len(problems) == 2:
                raise Unavailable(". ".join(problems.values()))
            return {**counts(field, rows, counted), "problems": problems}

        return count


async def latest(request: Request) -> HTTPResponse:
    """`GET /notes`: those that came last."""
    parameters = Parameters(request.query_args)
    of = parameters.one_of("of", ("mongodb", "redis"))
    limit = parameters.number("limit", 20, MOST_LATEST)
    if (bad := parameters.failure()) is not None:
        return _failed(bad)
    answer = await request.app.ctx.notes.latest[of].answer()
    return _answered(answer, lambda notes: {"of": of, "notes": notes[:limit]})


async def count(request: Request) -> HTTPResponse:
    """`GET /notes/counts`: how many there are of what."""
    parameters = Parameters(request.query_args)
    by = parameters.one_of("by", FIELDS, needed=True)
    order = parameters.one_of("order", ("most", "least"))
    limit = parameters.number("limit", 100, MOST_COUNTS)
    if (bad := parameters.failure()) is not None:
        return _failed(bad)

    def shown(found: Row) -> Row:
        rows = found["counts"]
        part = rows[:limit] if order == "most" else rows[: -limit - 1 : -1]
        return {**found, "different": len(rows), "counts": part}

    return _answered(await request.app.ctx.notes.counts[by].answer(), shown)


async def rate(request: Request) -> HTTPResponse:
    """`GET /notes/rate`: how many came in each minute, by route."""
    parameters = Parameters(request.query_args)
    minutes = parameters.number("minutes", 30, Minutes.KEPT)
    if (bad := parameters.failure()) is not None:
        return _failed(bad)
    answer = await request.app.ctx.notes.rate.answer()
    return _answered(answer, lambda rows: {"minutes": rows[-minutes:]})


def _answered(answer: Answer[Any] | Failure, shown: Callable[[Any], Row]) -> HTTPResponse:
    if isinstance(answer, Failure):
        return _failed(answer)
    body = {"at": instant(answer.at), **shown(answer.value)}
    return HTTPResponse(msgspec.json.encode(body), content_type=JSON)


def _failed(failure: Failure) -> HTTPResponse:
    return HTTPResponse(failure_body(failure), failure.status, failure.headers(), JSON)


def create_reader(settings: Settings) -> App:
    """The reader's application; it connects when somebody asks."""
    requests = RequestMetrics()

    async def mongodb() -> None:
        await app.ctx.mongodb.ping()

    async def redis() -> None:
        await app.ctx.redis.ping()

    app = create_app("reader", Exposition(requests), {"mongodb": mongodb, "redis": redis})
    app.add_route(latest, "/notes", methods=GET)
    app.add_route(count, "/notes/counts", methods=GET)
    app.add_route(rate, "/notes/rate", methods=GET)
    for path, (name, kind) in {"/": ("index.html", "text/html"), "/page.js": ("page.js", "text/javascript")}.items():
        _serve(app, path, (_PAGE / name).read_bytes(), kind)
    _serve(app, "/page.css", _STYLE.read_bytes() + (_PAGE / "page.css").read_bytes(), "text/css")

    @app.before_server_start
    async def connect(app: App) -> None:
        app.ctx.mongodb, app.ctx.redis = MongoDB(settings.mongodb_uri), Counters(settings.redis_url)
        app.ctx.notes = Notes(app.ctx.mongodb, app.ctx.redis)

    @app.after_server_stop
    async def disconnect(app: App) -> None:
        await app.ctx.notes.close()

    async def begin(request: Request) -> None:
        request.ctx.started = monotonic()

    async def end(request: Request, response: HTTPResponse) -> None:
        response.headers.update(_HEADERS)
        requests.by_status[str(response.status)] += 1
        # A request that could not be read has had no beginning.
        requests.seconds.observe(monotonic() - getattr(request.ctx, "started", monotonic()))

    app.on_request(begin)
    app.on_response(end)
    return app


def _serve(app: App, path: str, content: bytes, kind: str) -> None:
    async def serve(_: Request) -> HTTPResponse:
        return HTTPResponse(content, content_type=f"{kind}; charset=utf-8")

    app.add_route(serve, path, methods=GET, name=path.strip("/").replace(".", "_") or "page")


def main() -> None:
    """Runs the reader."""
    settings = settings_or_exit(Settings.read)
    run(create_reader(settings), settings.host, settings.port)
