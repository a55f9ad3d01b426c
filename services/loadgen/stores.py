"""The databases as the reconciliation reads them: ids, documents, counters, and what was counted."""

import re
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar, cast

import msgspec
import redis
from bson import ObjectId
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from course.note import FIELDS
from course.settings import Environment
from course.stored import BATCHES, COLLECTION, COUNT, DATABASE
from loadgen.content import id_in
from loadgen.ids import MOST
from loadgen.progress import say

PAUSE_S = 2.0
_PATIENCE_MS = 5000
_BATCH = re.compile(rb"[0-9a-f]{26}")  # a process (16 digits), and the number of a batch of its own

T = TypeVar("T")


class DatabaseUnavailable(Exception):
    """The databases cannot be asked; the message says why."""


class Counters(msgspec.Struct):
    """Redis's counters: all notes, and notes by field and text."""

    total: int
    by_field: dict[str, dict[str, int]]


class Documents(Protocol):
    """What the reconciliation asks MongoDB. Documents are the bytes of their BSON, in no order."""

    def total(self) -> int: ...
    def ids(self) -> Iterator[bytes]: ...
    def read(self) -> Iterator[bytes]: ...
    def fetch(self, ids: Sequence[bytes]) -> Iterator[bytes]: ...
    def present(self, ids: Sequence[bytes]) -> set[bytes]: ...


class Applied(Protocol):
    """What the reconciliation asks Redis."""

    def counters(self) -> Counters: ...
    def present(self, marks: Sequence[bytes]) -> set[bytes]: ...


class MongoNotes:
    """The notes in MongoDB."""

    def __init__(self, uri: str) -> None:
        client: MongoClient[dict[str, object]] = MongoClient(uri, serverSelectionTimeoutMS=_PATIENCE_MS)
        self._notes = client.get_default_database(DATABASE)[COLLECTION]

    def total(self) -> int:
        """How many documents there are, counted, not estimated."""
        return self._notes.count_documents({})

    def ids(self) -> Iterator[bytes]:
        """All documents, with nothing but their `_id`."""
        return _documents(_ahead(self._find({}, {"_id": 1})))

    def read(self) -> Iterator[bytes]:
        """All documents, whole."""
        return _documents(_ahead(self._find({})))

    def fetch(self, ids: Sequence[bytes]) -> Iterator[bytes]:
        """The documents with these ids, whole."""
        return _documents(self._find(_among(ids)))

    def present(self, ids: Sequence[bytes]) -> set[bytes]:
        """Which of the ids are stored."""
        return set(map(id_in, _documents(self._find(_among(ids), {"_id": 1}))))

    def _find(self, wanted: Mapping[str, object], fields: Mapping[str, object] | None = None) -> Iterator[bytes]:
        """The documents in batches: bytes are what comes, whatever the signature says."""
        return cast("Iterator[bytes]", self._notes.find_raw_batches(wanted, fields, batch_size=MOST))


class RedisNotes:
    """The counters in Redis, and which batches were counted."""

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

    def present(self, marks: Sequence[bytes]) -> set[bytes]:
        """Which of the tokens of batches were counted; an id, which stands for a document without one, never is."""
        return self._counted([mark for mark in marks if _BATCH.fullmatch(mark)])

    def _counted(self, tokens: Sequence[bytes]) -> set[bytes]:
        if not tokens:
            return set()
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hgetall(BATCHES)
            pipeline.zrange(f"{BATCHES}:except", 0, -1)
            pipeline.get(f"{BATCHES}:forgotten")
            highest, exceptions, forgotten = pipeline.execute()
        return counted_batches(tokens, highest, sorted(exceptions), forgotten or b"")


def counted_batches(
    tokens: Sequence[bytes], highest: Mapping[bytes, bytes], exceptions: Sequence[bytes], forgotten: bytes
) -> set[bytes]:
    """Which batches Redis has counted, by what direct's script keeps: see services/direct/apply.lua.

    That is, for each process, the highest number that came; the exceptions below it, sorted, each a process, the first
    and the last of its numbers that were not counted, and a letter; and the greatest process that was forgotten, whose
    batches pass for counted.
    """
    counted = set()
    for token in tokens:
        process, number = token[:16], token[16:]
        if process not in highest:
            known = process <= forgotten
        else:
            at = bisect_right(exceptions, token + b"~") - 1
            exception = exceptions[at] if at >= 0 else b""
            excepted = exception[:16] == process and exception[16:26] <= number <= exception[26:36]
            known = int(number, 16) <= int(highest[process]) and not excepted
        if known:
            counted.add(token)
    return counted


def connect(environment: Mapping[str, str]) -> tuple[MongoNotes, RedisNotes]:
    """Both databases, from MONGODB_URI and REDIS_URL or the files that MONGODB_URI_FILE and REDIS_URL_FILE name.

    Raises `course.settings.BadSetting` for a variable that is missing or wrong.
    """
    variables = Environment(environment)
    uri = variables.secret_url("MONGODB_URI", "mongodb", "mongodb+srv")
    return MongoNotes(uri), RedisNotes(variables.secret_url("REDIS_URL", "redis", "rediss"))


def patiently(ask: Callable[[], T], seconds: float) -> T:
    """What the databases answer, asked again for so long while they do not: a run may have just seen one restart.

    Raises `DatabaseUnavailable` when they do not answer at all.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except (PyMongoError, redis.RedisError, OSError) as problem:
            database = "Redis" if isinstance(problem, redis.RedisError) else "MongoDB"
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(
                    f"{database} did not answer for {seconds:.0f} s ({type(problem).__name__})"
                ) from problem
            say(f"waiting for {database}: {type(problem).__name__}")
            time.sleep(PAUSE_S)


def _among(ids: Sequence[bytes]) -> dict[str, object]:
    return {"_id": {"$in": [ObjectId(note) for note in ids]}}


def _ahead(batches: Iterator[bytes]) -> Iterator[bytes]:
    """Batches, each asked for while the one before it is worked on."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch


def _documents(batches: Iterator[bytes]) -> Iterator[bytes]:
    """The documents of batches, in which they lie one after the other, each beginning with its length."""
    for batch in batches:
        at = 0
        while at < len(batch):
            length = int.from_bytes(batch[at : at + 4], "little")
            yield batch[at : at + length]
            at += length


def _numbers(counts: Mapping[bytes, bytes]) -> dict[str, int]:
    return {text.decode(errors="backslashreplace"): int(count) for text, count in counts.items()}
