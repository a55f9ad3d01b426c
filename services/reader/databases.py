"""What the reader asks of MongoDB and Redis: it only reads, each question has a time limit, and answers are short."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect, ExecutionTimeout, NetworkTimeout, OperationFailure, PyMongoError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from course.note import FIELDS
from course.notes import LENIENT, is_note
from course.outcome import Unavailable
from course.questions import IS_COUNTED, Stage, notes_of_each_minute, notes_of_each_text
from course.stored import COLLECTION, COUNT, DATABASE, LATEST
from reader.question import TooLong

LIMIT_S = 20.0  # for an answer of MongoDB, which reads every note for it
MOST_LATEST = 100  # Redis keeps no more
MOST_TEXTS = 10_000  # each once for what Redis counts, and once for the rest
_CONNECT_MS = 1000
_LIMIT_MS = int(LIMIT_S * 1000)
_CLOCKS = timedelta(minutes=1)  # so far hosts' clocks may differ
_REFUSED = (13, 18)  # MongoDB's codes: Unauthorized, AuthenticationFailed

Row = dict[str, Any]


class MongoDB:
    """The collection `notes`. Needs a running event loop; connects when first used and again when needed."""

    def __init__(self, uri: str) -> None:
        self._client: AsyncMongoClient[Row] = AsyncMongoClient(
            uri,
            appname="courseload-reader",
            connectTimeoutMS=_CONNECT_MS,
            serverSelectionTimeoutMS=_CONNECT_MS,
            socketTimeoutMS=_LIMIT_MS + _CONNECT_MS,
            maxPoolSize=4,
            retryReads=False,
        )
        self._notes = self._client.get_default_database(DATABASE).get_collection(COLLECTION, codec_options=LENIENT)

    async def latest(self, since: datetime | None) -> list[Row]:
        """The notes that came last, the newest first; without what somebody else has put there.

        `since` is a time that so many are known to be after: then fewer have to be put in order.
        """
        until = datetime.now(UTC) + _CLOCKS
        at = {"$lte": until} | ({"$gte": since} if since else {})
        found = await self._answer([{"$match": {"at": at}}, {"$sort": {"at": -1}}, {"$limit": MOST_LATEST}])
        return [note(document) for document in found if is_note(document) and isinstance(document["at"], datetime)]

    async def minutes(self, since: datetime) -> list[Row]:
        """How many notes came in each minute by which route: `minute`, `route`, `notes`."""
        rows = await self._answer([{"$match": {"at": {"$gte": since}}}, *notes_of_each_minute("route")])
        return [row | {"minute": row["minute"].replace(tzinfo=UTC)} for row in rows]

    async def texts(self, field: str) -> list[Row]:
        """How many notes have which text of a field, how many came by each route, and how many of them Redis counts.

        `_id` is the `category`, the `text` and whether it is `counted`. Those with the most come first, `MOST_TEXTS`
        and one at most.
        """
        texts = notes_of_each_text([field, "route"], "counted")
        most: list[Stage] = [{"$sort": {"notes": -1}}, {"$limit": MOST_TEXTS + 1}]
        return await self._answer([{"$addFields": {"counted": IS_COUNTED}}, *texts, *most])

    async def ping(self) -> None:
        """Reads from the collection, so that wrong credentials count as down."""
        await self._answer([{"$limit": 1}, {"$project": {"_id": 1}}])

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def _answer(self, stages: Sequence[Stage]) -> list[Row]:
        try:
            # The database ends the question itself (maxTimeMS). Not pymongo.timeout: for so long it looks for a server.
            return await (await self._notes.aggregate(stages, maxTimeMS=_LIMIT_MS)).to_list()
        except PyMongoError as problem:
            raise _of_mongodb(problem) from problem


class Counters:
    """What Redis keeps of the direct route. Needs a running event loop; connects when needed."""

    def __init__(self, url: str) -> None:
        self._redis: Redis = Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=_CONNECT_MS / 1000,
            socket_connect_timeout=_CONNECT_MS / 1000,
            retry=Retry(NoBackoff(), 0),
        )

    async def latest(self) -> list[Row]:
        """The notes that were counted last, the newest first; Redis knows no times."""
        try:
            found = await self._redis.lrange(LATEST, 0, MOST_LATEST - 1)
        except (RedisError, OSError) as problem:
            raise _of_redis(problem) from problem
        return [dict(msgspec.json.decode(text)) for text in found]

    async def counted(self) -> "Counted":
        """How many notes there are in all, and of each text, by field."""
        try:
            asked = self._redis.pipeline(transaction=False)
            asked.get(COUNT)
            for field in FIELDS:
                asked.hgetall(f"{COUNT}:{field}")
            total, *texts = await asked.execute()
        except (RedisError, OSError) as problem:
            raise _of_redis(problem) from problem
        by_field = {
            field: {text: int(notes) for text, notes in found.items()}
            for field, found in zip(FIELDS, texts, strict=True)
        }
        return Counted(int(total or 0), by_field)

    async def ping(self) -> None:
        """Asks whether it answers."""
        await self._redis.ping()

    async def close(self) -> None:
        """Closes the connections."""
        await self._redis.aclose()


class Counted(msgspec.Struct, frozen=True):
    """What Redis has counted: all notes, and those of each text, by field."""

    total: int
    by_field: dict[str, dict[str, int]]


def note(document: Row) -> Row:
    """A note as the reader gives it: a text for its id, and for its time, to the millisecond."""
    at: datetime = document["at"].replace(tzinfo=UTC)
    texts = {field: document[field] for field in FIELDS}
    return {"at": instant(at), "route": document.get("route"), **texts, "id": str(document["_id"])}


def instant(at: datetime) -> str:
    """A moment as JavaScript and people read it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _of_mongodb(problem: PyMongoError) -> Unavailable:
    if isinstance(problem, OperationFailure) and problem.code in _REFUSED:
        return Unavailable("MongoDB does not let the reader in: its account is missing, or has another password")
    if isinstance(problem, ExecutionTimeout):
        return TooLong(f"MongoDB has more notes than it can read within {LIMIT_S:g} s")
    if isinstance(problem, NetworkTimeout):
        return Unavailable(f"MongoDB gave no answer within {LIMIT_S:g} s")
    if isinstance(problem, AutoReconnect):  # no server was found, or it went
        return Unavailable("MongoDB does not answer")
    return Unavailable(f"MongoDB does not answer as it should ({type(problem).__name__})")


def _of_redis(problem: Exception) -> Unavailable:
    if isinstance(problem, AuthenticationError | NoPermissionError):
        return Unavailable("Redis does not let the reader in: its account is missing, or has another password")
    return Unavailable("Redis does not answer")
