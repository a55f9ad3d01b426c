"""Direct: its settings, its batches to MongoDB and then Redis, and how the parts are put together."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from bson import ObjectId

from course.app import App, closed, create_app, run
from course.group_commit import GroupCommit, Limits
from course.intake import Intake
from course.metrics import DatabaseMetrics, Exposition, RequestMetrics, WriteMetrics
from course.note import FIELDS, Course, Note
from course.notes import Notes, document, now
from course.outcome import Failure
from course.settings import Environment, settings_or_exit
from direct.counters import Counters

_LIMITS = Limits(in_flight=2)  # while Redis counts one batch, MongoDB can take the next
_REMEMBERED = timedelta(hours=23)  # Redis knows the ids it counted for a day; an hour is left for clocks


class Settings(msgspec.Struct, frozen=True):
    """What direct needs to know."""

    host: str
    port: int
    mongodb_uri: str
    redis_url: str

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> "Settings":
        """The settings in environment variables; raises `BadSetting`."""
        env = Environment(variables)
        return cls(
            host=env.text("REST_SERVER_HOST", "0.0.0.0"),
            port=env.port("REST_SERVER_PORT", 8020),
            mongodb_uri=env.secret_url("MONGODB_URI", "mongodb", "mongodb+srv"),
            redis_url=env.secret_url("REDIS_URL", "redis", "rediss"),
        )


class Stores:
    """Both databases, in their order: a note is counted only once it is stored."""

    def __init__(self, notes: Notes, counters: Counters) -> None:
        self._notes = notes
        self._counters = counters

    async def put(self, notes: Sequence[Note]) -> Mapping[int, Failure]:
        """Stores and counts a batch; returns failures by index, raises `Unavailable` when the outcome is unknown."""
        at = now()
        stored = await self._notes.put([document(note.id, note.course, "direct", at) for note in notes])
        to_count: Sequence[Note] = notes
        if stored.known or stored.refused:
            to_count = await self._countable(notes, set(stored.known), stored.refused)
        if to_count:
            await self._counters.apply(to_count)
        return stored.refused

    async def ping(self) -> None:
        """Raises an error when one of the two does not answer."""
        await self._notes.ping()
        await self._counters.ping()

    async def _countable(self, notes: Sequence[Note], known: set[int], refused: Mapping[int, Failure]) -> list[Note]:
        """The notes to count. One that was stored before may be missing in Redis: it is offered again, as it is stored.

        Except when it is so old that Redis may have forgotten that it was counted.
        """
        documents = await self._notes.find(ObjectId(notes[index].id) for index in known)
        oldest = now().replace(tzinfo=None) - _REMEMBERED
        found = []
        for index, note in enumerate(notes):
            if index in known:
                document = documents.get(ObjectId(note.id))
                if document is not None and document["at"] > oldest:
                    found.append(_as_stored(note.id, document))
            elif index not in refused:
                found.append(note)
        return found


def _as_stored(note_id: bytes, document: Mapping[str, Any]) -> Note:
    return Note(note_id, Course(**{field: document[field] for field in FIELDS}))


def create_direct(settings: Settings) -> App:
    """Direct's application; it connects when the server starts."""
    requests, writes, databases = RequestMetrics(), WriteMetrics(), DatabaseMetrics("mongodb", "redis")
    intake = Intake("direct", requests)

    async def mongodb() -> None:
        await app.ctx.notes.ping()

    async def redis() -> None:
        await app.ctx.counters.ping()

    exposition = Exposition(requests, writes, databases)
    app = create_app("direct", exposition, {"mongodb": mongodb, "redis": redis}, intake)

    @app.before_server_start
    async def connect(app: App) -> None:
        app.ctx.notes = Notes(settings.mongodb_uri, databases.seconds["mongodb"])
        app.ctx.counters = Counters(settings.redis_url, databases.seconds["redis"])
        stores = Stores(app.ctx.notes, app.ctx.counters)
        intake.commit = GroupCommit(stores.put, stores.ping, _LIMITS, writes)

    @app.after_server_stop
    async def disconnect(app: App) -> None:
        await intake.commit.close()
        await closed(app.ctx.counters.close(), app.ctx.notes.close())

    return app


def main() -> None:
    """Runs direct."""
    settings = settings_or_exit(Settings.read)
    run(create_direct(settings), settings.host, settings.port)
