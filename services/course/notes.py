"""The notes collection: a batch of notes into MongoDB with one acknowledged command."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, NamedTuple, Protocol

from bson import ObjectId
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from course.metrics import Histogram
from course.outcome import Failure, Unavailable

COLLECTION = "notes"
DEFAULT_DATABASE = "courses"
_DUPLICATE = 11000
_WAIT_MS = 1000  # for a server to be found, a connection, an answer: well under the group commit's patience
_ACKNOWLEDGED = {"w": "majority", "wtimeout": _WAIT_MS}


class Stored(NamedTuple):
    """What became of a batch, by index: `refused` is not stored, `known` was stored before."""

    refused: dict[int, Failure]
    known: list[int]


class Texts(Protocol):
    """The four texts of a note, as a `Course` has them and as the proto's message has them."""

    @property
    def curso(self) -> str: ...
    @property
    def facultad(self) -> str: ...
    @property
    def carrera(self) -> str: ...
    @property
    def region(self) -> str: ...


def document(note_id: bytes, course: Texts, route: str, at: datetime) -> dict[str, Any]:
    """A note as it is stored."""
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
        self._database = self._client.get_default_database(DEFAULT_DATABASE)
        self._seconds = seconds

    async def put(self, documents: Sequence[dict[str, Any]]) -> Stored:
        """Stores documents that carry their `_id`; what is there already stays as it is.

        Raises `Unavailable` when the outcome of any of them is unknown.
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
        refused: dict[int, Failure] = {}
        known: list[int] = []
        for error in answer.get("writeErrors", ()):
            if error["code"] == _DUPLICATE:
                known.append(error["index"])
            else:
                refused[error["index"]] = Failure(503, f"the database refused the note (code {error['code']})")
        return Stored(refused, known)

    async def find(self, ids: Iterable[Any]) -> dict[Any, dict[str, Any]]:
        """The stored documents with the given ids, by id; raises `Unavailable`."""
        try:
            cursor = self._database[COLLECTION].find({"_id": {"$in": list(ids)}})
            return {found["_id"]: found async for found in cursor}
        except PyMongoError as problem:
            raise Unavailable(f"mongodb: {type(problem).__name__}") from problem

    async def ping(self) -> None:
        """Reads from the collection, so that wrong credentials or a database behind the wire count as down."""
        await self._database.command({"find": COLLECTION, "filter": {"_id": ObjectId(bytes(12))}, "limit": 1})

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()


def now() -> datetime:
    """The time a batch is stored at, in UTC and, as BSON keeps it, in whole milliseconds."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
