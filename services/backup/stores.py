"""The databases as a backup reads and fills them."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, cast

import redis
from bson import ObjectId, decode
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.errors import BulkWriteError, PyMongoError

from backup.tally import Counters
from course.note import FIELDS
from course.notes import LENIENT
from course.settings import Environment
from course.stored import BATCHES, COLLECTION, COUNT, DATABASE, LATEST

PAGE = 5000  # documents that are read at once
_WAIT_S = 60.0  # for the databases, and for the way to them, to be there
_ANSWER_S = 20.0
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
_ACKNOWLEDGED = "majority"
_PROCESS_TIME_DIGITS = 8


class Unreachable(Exception):
    """A database does not answer; the message is a sentence."""


class Notes:
    """The documents in MongoDB."""

    def __init__(self, uri: str) -> None:
        self._client: MongoClient[dict[str, Any]] = MongoClient(
            uri, appname="courseload-backup", serverSelectionTimeoutMS=5000, retryWrites=False, w=_ACKNOWLEDGED
        )
        database = self._client.get_default_database(DATABASE)
        self._notes = database[COLLECTION]
        self._raw = database.get_collection(COLLECTION, codec_options=_RAW)

    def ping(self) -> None:
        """Raises an error when it does not answer."""
        self._notes.find_one({"_id": ObjectId(bytes(12))})

    def total(self) -> int:
        """How many documents there are, counted, not estimated."""
        return self._notes.count_documents({})

    def pages(self) -> Iterator[bytes]:
        """All documents as BSON, one after the other in each page.

        In the order of their ids, which never change, each page beginning after the last. Whoever went through the
        collection as it lies on the disk would miss a document that an update moves, or meet it twice. While a page is
        worked on, none is asked for: so the database has time for those who store notes.
        """
        wanted: Mapping[str, object] = {"$gte": ObjectId(bytes(12))}
        while page := next(self._find({"_id": wanted}, sort=[("_id", 1)], limit=PAGE), b""):
            yield page
            wanted = {"$gt": _last(page)["_id"]}
        # What somebody else has stored may have ids of other kinds, which no comparison with an ObjectId finds.
        yield from self._find({"_id": {"$not": {"$type": "objectId"}}})

    def clear(self) -> None:
        """Removes all documents."""
        self._notes.drop()

    def insert(self, documents: Sequence[RawBSONDocument]) -> None:
        """Stores documents."""
        try:
            self._raw.insert_many(documents, ordered=False)
        except BulkWriteError as problem:
            first = problem.details["writeErrors"][0] if problem.details and problem.details["writeErrors"] else {}
            raise Unreachable(
                f"MongoDB did not take all notes ({first.get('errmsg', problem)}): nobody else may write meanwhile."
            ) from problem

    def _find(self, wanted: Mapping[str, object], **options: Any) -> Iterator[bytes]:
        """Documents in batches: bytes are what comes, whatever the signature says."""
        return cast("Iterator[bytes]", self._notes.find_raw_batches(wanted, batch_size=PAGE, **options))


class Memory:
    """What Redis keeps of the notes."""

    def __init__(self, url: str) -> None:
        self._redis: redis.Redis = redis.Redis.from_url(
            url, socket_timeout=_ANSWER_S, socket_connect_timeout=5, decode_responses=True
        )

    def ping(self) -> None:
        """Raises an error when it does not answer."""
        self._redis.ping()

    def named(self) -> dict[str, Collection[str]]:
        """The texts of each field that it counts by themselves."""
        return {field: cast("list[str]", self._redis.hkeys(f"{COUNT}:{field}")) for field in FIELDS}

    def clear(self) -> None:
        """Forgets all notes, with what an earlier version kept of them."""
        keys = list(self._redis.scan_iter("notes:*", count=1000))
        if keys:
            self._redis.delete(*keys)

    def fill(self, counters: Counters) -> None:
        """Holds what it must for the notes, all of it or nothing."""
        with self._redis.pipeline(transaction=True) as pipeline:
            if counters.counted:
                pipeline.set(COUNT, counters.counted)
                pipeline.rpush(LATEST, *counters.latest)
            for field, counts in counters.by_field.items():
                if counts:
                    pipeline.hset(f"{COUNT}:{field}", items=_flat(counts))
            if counters.batches:
                pipeline.hset(BATCHES, items=_flat(counters.batches))
                # When each was last heard of is not known; it began with its name.
                begun = {process: int(process[:_PROCESS_TIME_DIGITS], 16) for process in counters.batches}
                pipeline.zadd(f"{BATCHES}:used", begun)
            if counters.forgotten:
                pipeline.set(f"{BATCHES}:forgotten", counters.forgotten)
            pipeline.execute()

    def counts(self) -> tuple[int, dict[str, dict[str, int]]]:
        """How many notes it has counted, and of each field how many of each text."""
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.get(COUNT)
            for field in FIELDS:
                pipeline.hgetall(f"{COUNT}:{field}")
            total, *hashes = pipeline.execute()
        by_field = zip(FIELDS, hashes, strict=True)
        return int(total or 0), {field: {text: int(n) for text, n in counts.items()} for field, counts in by_field}


def connect(variables: Mapping[str, str]) -> tuple[Notes, Memory]:
    """Both databases, once they answer; raises `course.settings.BadSetting` or `Unreachable`."""
    environment = Environment(variables)
    notes = Notes(environment.secret_url("MONGODB_URI", "mongodb", "mongodb+srv"))
    memory = Memory(environment.secret_url("REDIS_URL", "redis", "rediss"))
    _await("MongoDB", notes.ping)
    _await("Redis", memory.ping)
    return notes, memory


def _flat(numbers: Mapping[str, int]) -> list[str | int]:
    return [part for pair in numbers.items() for part in pair]


def _last(documents: bytes) -> Mapping[str, Any]:
    """The last of documents that lie one after the other, each beginning with its length."""
    at = end = 0
    while end < len(documents):
        at, end = end, end + int.from_bytes(documents[end : end + 4], "little")
    return decode(documents[at:], LENIENT)


def _await(name: str, ping: Callable[[], None]) -> None:
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            ping()
            return
        except (PyMongoError, redis.RedisError, OSError) as problem:
            if time.monotonic() > deadline:
                raise Unreachable(f"{name} did not answer for {_WAIT_S:.0f} s ({type(problem).__name__}).") from problem
            time.sleep(0.5)
