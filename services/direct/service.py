"""Direct: its settings, its batches to MongoDB and then Redis, and how the parts are put together."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from bson import ObjectId

from course.app import App, closed, create_app, run
from course.group_commit import GroupCommit, Limits
from course.handler import Handler
from course.metrics import DatabaseMetrics, Exposition, RequestMetrics, WriteMetrics
from course.note import Note
from course.notes import Document, Notes, document, is_note, now
from course.outcome import Failure, Unavailable
from course.settings import DatabaseSettings, settings_or_exit
from direct.batches import Batches
from direct.counters import Counters

_LIMITS = Limits(in_flight=2)  # while Redis counts one batch, MongoDB can take the next
_GRACE_S = 0.05  # a batch that is on its way gets so long to be counted before it is burnt
_ROUNDS = 5


class Settings(DatabaseSettings, frozen=True):
    """What direct needs to know."""

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> "Settings":
        """The settings in environment variables; raises `BadSetting`."""
        return cls.read_as("REST_SERVER", 8020, variables)


class Stores:
    """Both databases, in their order: a note is counted only once it is stored.

    Every attempt to store a batch has a name, which is written into its documents. Redis counts all of the batch or
    nothing, and remembers the name. So a document tells whether its note was counted: it was if Redis has counted the
    batch that is named there. Whoever finds a note stored but not counted, after whatever went wrong, burns that batch,
    so that Redis will never count it, however late it comes; takes the document over into a batch of its own, if it is
    still in the burnt one; and counts it with that. Whose batch was burnt meanwhile tries again under another name, and
    finds its notes as any others. Nothing is added to a batch once Redis may have been told of it.
    """

    def __init__(self, notes: Notes, counters: Counters) -> None:
        self._notes = notes
        self._counters = counters
        self._batches = Batches()

    async def put(self, notes: Sequence[Note]) -> Mapping[int, Failure]:
        """Stores and counts a batch; returns failures by index, raises `Unavailable` when the outcome is unknown."""
        at, batch = now(), self._batches.next()
        stored = await self._notes.put(
            [{**document(note.id, note.course, "direct", at), "batch": batch} for note in notes]
        )
        to_count = notes
        if stored.known or stored.refused:
            ours = await self._taken_over(stored.known.values(), batch)
            new = [n for index, n in enumerate(notes) if index not in stored.known and index not in stored.refused]
            again = {notes[index].id: notes[index] for index, there in stored.known.items() if there["_id"] in ours}
            to_count = list({**again, **{note.id: note for note in new}}.values())
        # Even if there is nothing to count: a batch that Redis never hears of is one that it has to remember.
        await self._counters.count(batch, to_count)
        return stored.refused

    async def ping(self) -> None:
        """Raises an error when one of the two does not answer."""
        await self._notes.ping()
        await self._counters.ping()

    async def _taken_over(self, documents: Iterable[Document], batch: str) -> set[ObjectId]:
        """Which of the documents, found to be stored already, are to be counted with this batch, and are in it now."""
        owners = await self._owners(documents)
        for _ in range(_ROUNDS):
            others = {owner for owner in owners.values() if owner is not None and owner != batch}
            uncounted = await self._counters.uncounted(others)
            if uncounted:
                await asyncio.sleep(_GRACE_S)
                uncounted = await self._counters.uncounted(uncounted, burn=True)
            free: dict[str | None, list[ObjectId]] = {}
            for note_id, owner in owners.items():
                if owner is None or owner in uncounted:
                    free.setdefault(owner, []).append(note_id)
            if not free:
                return {note_id for note_id, owner in owners.items() if owner == batch}
            await self._notes.claim(free, batch)
            claimed = [note_id for ids in free.values() for note_id in ids]
            found = await self._notes.find(claimed)
            owners |= {note_id: found[note_id]["batch"] for note_id in claimed if is_note(found.get(note_id, {}))}
        raise Unavailable("others keep taking the same notes over")

    async def _owners(self, documents: Iterable[Document]) -> dict[ObjectId, str | None]:
        """The batch each document is in, by id; without what an earlier version counted, which named no batches."""
        owners = {
            document["_id"]: document.get("batch")
            for document in documents
            if "batch" in document or document.get("route") != "direct"
        }
        nameless = [note_id.binary for note_id, owner in owners.items() if owner is None]
        earlier = await self._counters.counted_earlier(nameless)
        return {note_id: owner for note_id, owner in owners.items() if note_id.binary not in earlier}


def create_direct(settings: Settings) -> App:
    """Direct's application; it connects when the server starts."""
    requests, writes, databases = RequestMetrics(), WriteMetrics(), DatabaseMetrics("mongodb", "redis")
    handler = Handler("direct", requests)

    async def mongodb() -> None:
        await app.ctx.notes.ping()

    async def redis() -> None:
        await app.ctx.counters.ping()

    exposition = Exposition(requests, writes, databases)
    app = create_app("direct", exposition, {"mongodb": mongodb, "redis": redis}, handler)

    @app.before_server_start
    async def connect(app: App) -> None:
        app.ctx.notes = Notes(settings.mongodb_uri, databases.seconds["mongodb"])
        app.ctx.counters = Counters(settings.redis_url, databases.seconds["redis"])
        stores = Stores(app.ctx.notes, app.ctx.counters)
        handler.commit = GroupCommit(stores.put, stores.ping, _LIMITS, writes)

    @app.after_server_stop
    async def disconnect(app: App) -> None:
        await handler.commit.close()
        await closed(app.ctx.counters.close(), app.ctx.notes.close())

    return app


def main() -> None:
    """Runs direct."""
    settings = settings_or_exit(Settings.read)
    run(create_direct(settings), settings.host, settings.port)
