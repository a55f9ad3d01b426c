"""The databases as the reconciliation reads them: counts, and which of some ids are there."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec
import redis
from bson import ObjectId
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from course.note import FIELDS
from course.settings import Environment
from loadgen.progress import say

# Where the services keep what is counted here; tests/unit/loadgen holds them to it.
COLLECTION = "notes"
DEFAULT_DATABASE = "courses"
COUNT = "notes:count"
APPLIED = "notes:applied:"

PAUSE_S = 2.0
_PATIENCE_MS = 5000

T = TypeVar("T")


class Away(Exception):
    """The databases cannot be asked; the message says why."""


class Counters(msgspec.Struct):
    """Redis's counters: all notes, and notes by field and text."""

    total: int
    by_field: dict[str, dict[str, int]]


class Documents(Protocol):
    """What the reconciliation asks MongoDB."""

    def count(self) -> int: ...
    def present(self, ids: Sequence[bytes]) -> set[bytes]: ...


class Applied(Protocol):
    """What the reconciliation asks Redis."""

    def counters(self) -> Counters: ...
    def present(self, ids: Sequence[bytes]) -> set[bytes]: ...


class MongoNotes:
    """The notes in MongoDB."""

    def __init__(self, uri: str) -> None:
        client: MongoClient[dict[str, object]] = MongoClient(uri, serverSelectionTimeoutMS=_PATIENCE_MS)
        self._notes = client.get_default_database(DEFAULT_DATABASE)[COLLECTION]

    def count(self) -> int:
        """How many documents there are, counted, not estimated."""
        return self._notes.count_documents({})

    def present(self, ids: Sequence[bytes]) -> set[bytes]:
        """Which of the ids are stored."""
        wanted = {"_id": {"$in": [ObjectId(note) for note in ids]}}
        found = self._notes.find(wanted, {"_id": 1}, batch_size=len(ids) + 1)
        return {document["_id"].binary for document in found}  # type: ignore[attr-defined]


class RedisNotes:
    """The counters in Redis, and the ids that were counted within the last day."""

    def __init__(self, url: str) -> None:
        self._redis: redis.Redis = redis.Redis.from_url(
            url, socket_timeout=_PATIENCE_MS / 1000, socket_connect_timeout=_PATIENCE_MS / 1000
        )

    def counters(self) -> Counters:
        """The counters as they stand, all read at one moment."""
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.get(COUNT)
            for field in FIELDS:
                pipeline.hgetall(f"{COUNT}:{field}")
            total, *hashes = pipeline.execute()
        by_field = {field: _numbers(counts) for field, counts in zip(FIELDS, hashes, strict=True)}
        return Counters(int(total or 0), by_field)

    def present(self, ids: Sequence[bytes]) -> set[bytes]:
        """Which of the ids were counted."""
        found: set[bytes] = set()
        for window in self._redis.scan_iter(match=f"{APPLIED}*"):
            member = self._redis.smismember(window, list(ids))
            found.update(note for note, there in zip(ids, member, strict=True) if there)
        return found


def connect(environment: Mapping[str, str]) -> tuple[MongoNotes, RedisNotes]:
    """Both databases, from MONGODB_URI and REDIS_URL or the files that MONGODB_URI_FILE and REDIS_URL_FILE name.

    Raises `course.settings.BadSetting` for a variable that is missing or wrong.
    """
    variables = Environment(environment)
    uri = variables.secret_url("MONGODB_URI", "mongodb", "mongodb+srv")
    return MongoNotes(uri), RedisNotes(variables.secret_url("REDIS_URL", "redis", "rediss"))


def patiently(ask: Callable[[], T], seconds: float) -> T:
    """What the databases answer, asked again for so long while they do not: a run may have just seen one restart.

    Raises `Away` when they do not answer at all.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except (PyMongoError, redis.RedisError, OSError) as problem:
            database = "Redis" if isinstance(problem, redis.RedisError) else "MongoDB"
            if time.monotonic() > deadline:
                raise Away(f"{database} did not answer for {seconds:.0f} s ({type(problem).__name__})") from problem
            say(f"waiting for {database}: {type(problem).__name__}")
            time.sleep(PAUSE_S)


def _numbers(counts: Mapping[bytes, bytes]) -> dict[str, int]:
    return {text.decode(): int(count) for text, count in counts.items()}
