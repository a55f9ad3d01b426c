"""The notes collection: a batch of notes into MongoDB with one acknowledged command."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, NamedTuple

from bson import DatetimeMS, ObjectId
from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from course.metrics import Histogram
from course.note import FIELDS, Texts
from course.outcome import Failure, Unavailable
from course.stored import COLLECTION, DATABASE

_DUPLICATE = 11000
_WAIT_MS = 1000  # for a server to be found, a connection, an answer: well under the group commit's patience
_ACKNOWLEDGED = {"w": "majority", "wtimeout": _WAIT_MS}
_BATCH = re.compile(r"[0-9a-f]{26}")  # as direct.batches makes them
# Of a document that somebody else has stored, only what a note has is read, and whatever it holds can be decoded.
_READ = dict.fromkeys((*FIELDS, "route", "at", "batch"), 1)
LENIENT: CodecOptions[dict[str, Any]] = CodecOptions(
    datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="replace"
)

Document = Mapping[str, Any]

OTHER_NOTE = Failure(422, "another note is stored under this Idempotency-Key: give each note a key of its own")
NO_NOTE = Failure(422, "what is stored under this Idempotency-Key is no course note: use another key")
_VANISHED = Failure(503, "the note was stored before, and was deleted just now")


class Stored(NamedTuple):
    """What became of a batch, by index: `refused` is not stored, `known` was stored before, as the document found."""

    refused: dict[int, Failure]
    known: dict[int, Document]


def document(note_id: bytes, course: Texts, route: str, at: datetime) -> dict[str, Any]:
    """A note as it is stored. Direct adds the `batch` that it is counted with."""
    return {
        "_id": ObjectId(note_id),
        "curso": course.curso,
        "facultad": course.facultad,
        "carrera": course.carrera,
        "region": course.region,
        "route": route,
        "at": at,
    }


class Notes:
    """The collection `notes`. Needs a running event loop; connects when first used and again when needed."""

    def __init__(self, uri: str, seconds: Histogram) -> None:
        self._client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            uri,
            appname="courseload",
            connectTimeoutMS=_WAIT_MS,
            serverSelectionTimeoutMS=_WAIT_MS,
            socketTimeoutMS=2 * _WAIT_MS,
            maxPoolSize=8,
            retryWrites=False,  # the group commit retries, and FerretDB has no transactions
        )
        self._database = self._client.get_default_database(DATABASE)
        self._lenient = self._database.get_collection(COLLECTION, codec_options=LENIENT)
        self._seconds = seconds

    async def put(self, documents: Sequence[dict[str, Any]]) -> Stored:
        """Stores documents that carry their `_id`; what is there already stays as it is.

        One whose `_id` is there already, with other texts, is refused. Raises `Unavailable` when the outcome of any of
        them is unknown.
        """
        command = {"insert": COLLECTION, "ordered": False, "writeConcern": _ACKNOWLEDGED, "documents": documents}
        started = perf_counter()
        try:
            answer = await self._database.command(command)
        except PyMongoError as problem:
            raise Unavailable(f"mongodb: {type(problem).__name__}") from problem
        self._seconds.observe(perf_counter() - started)
        if "writeConcernError" in answer:
            raise Unavailable("mongodb: not acknowledged by a majority")
        stored = Stored({}, {})
        duplicates: list[int] = []
        for error in answer.get("writeErrors", ()):
            if error["code"] == _DUPLICATE:
                duplicates.append(error["index"])
            else:
                stored.refused[error["index"]] = Failure(503, f"the database refused the note (code {error['code']})")
        if duplicates:
            await self._compare(documents, duplicates, stored)
        return stored

    async def _compare(self, documents: Sequence[Document], duplicates: Sequence[int], stored: Stored) -> None:
        """Tells the notes that are stored already from those under whose `_id` something else is."""
        found = await self.find(documents[index]["_id"] for index in duplicates)
        for index in duplicates:
            there = found.get(documents[index]["_id"])
            if there is None:
                stored.refused[index] = _VANISHED
            elif not is_note(there):
                stored.refused[index] = NO_NOTE
            elif any(there[field] != documents[index][field] for field in FIELDS):
                stored.refused[index] = OTHER_NOTE
            else:
                stored.known[index] = there

    async def find(self, ids: Iterable[ObjectId]) -> dict[ObjectId, Document]:
        """What is stored under the given ids, by id; raises `Unavailable`."""
        try:
            cursor = self._lenient.find({"_id": {"$in": list(ids)}}, _READ)
            return {found["_id"]: found async for found in cursor}
        except PyMongoError as problem:
            raise Unavailable(f"mongodb: {type(problem).__name__}") from problem

    async def claim(self, ids: Mapping[str | None, Sequence[ObjectId]], batch: str) -> None:
        """Moves documents to a batch, each only if it is still in the batch (None: in none) under which it is given.

        Raises `Unavailable` when the outcome of any of them is unknown.
        """
        updates = [
            {"q": {"_id": {"$in": list(claimed)}, "batch": owner}, "u": {"$set": {"batch": batch}}, "multi": True}
            for owner, claimed in ids.items()
        ]
        command = {"update": COLLECTION, "ordered": False, "writeConcern": _ACKNOWLEDGED, "updates": updates}
        try:
            answer = await self._database.command(command)
        except PyMongoError as problem:
            raise Unavailable(f"mongodb: {type(problem).__name__}") from problem
        if "writeConcernError" in answer or "writeErrors" in answer:
            raise Unavailable("mongodb: not all notes could be claimed")

    async def ping(self) -> None:
        """Reads from the collection, so that wrong credentials or a database behind the wire count as down."""
        await self._database.command({"find": COLLECTION, "filter": {"_id": ObjectId(bytes(12))}, "limit": 1})

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()


def is_note(document: Document) -> bool:
    """Whether a document is a note as the services store them: anybody may have stored it."""
    batch = document.get("batch")
    return (
        all(isinstance(document.get(field), str) for field in FIELDS)
        and isinstance(document.get("at"), datetime | DatetimeMS)
        and (batch is None or (isinstance(batch, str) and _BATCH.fullmatch(batch) is not None))
    )


def now() -> datetime:
    """The time a batch is stored at, in UTC and, as BSON keeps it, in whole milliseconds."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
