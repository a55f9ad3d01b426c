"""What Redis keeps of the notes: the latest ones, and counters by region, faculty, career and course."""

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from course.metrics import Histogram
from course.note import FIELDS, Note
from course.outcome import Unavailable

LATEST = "notes:latest"
COUNT = "notes:count"
APPLIED = "notes:applied:"
_PROBE = "notes:probe"
KEEP = 100
_KEYS = (LATEST, COUNT, *(f"{COUNT}:{field}" for field in FIELDS), APPLIED)
_SCRIPT = Path(__file__).with_name("apply.lua").read_text(encoding="utf-8")
_TIMEOUT_S = 1.0

_encode = msgspec.json.encode


class Counters:
    """The Redis side of route 2. Needs a running event loop; connects when first used and again when needed."""

    def __init__(self, url: str, seconds: Histogram) -> None:
        # One try a call: the group commit repeats the whole batch, and the script makes that safe.
        self._redis: Redis = Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        )
        self._sha = ""
        self._seconds = seconds

    async def apply(self, notes: Sequence[Note]) -> None:
        """Counts a batch, each note exactly once however often it comes; raises `Unavailable`."""
        ids = b"".join([note.id for note in notes])
        texts = [(c.curso, c.facultad, c.carrera, c.region) for c in [note.course for note in notes]]
        batch = msgspec.msgpack.encode(([_latest(note) for note in notes], texts))
        started = perf_counter()
        try:
            await self._run(ids, batch)
        except (RedisError, OSError) as problem:
            raise Unavailable(f"redis: {type(problem).__name__}") from problem
        self._seconds.observe(perf_counter() - started)

    async def _run(self, ids: bytes, batch: bytes) -> None:
        if not self._sha:
            self._sha = await self._redis.script_load(_SCRIPT)
        try:
            await self._redis.evalsha(self._sha, len(_KEYS), *_KEYS, KEEP, ids, batch)
        except NoScriptError:  # Redis was restarted since
            self._sha = await self._redis.script_load(_SCRIPT)
            await self._redis.evalsha(self._sha, len(_KEYS), *_KEYS, KEEP, ids, batch)

    async def ping(self) -> None:
        """Writes, so that a Redis that is full counts as down; raises an error when it does not take it."""
        await self._redis.set(_PROBE, "")

    async def close(self) -> None:
        """Closes the connections."""
        await self._redis.aclose()


def _latest(note: Note) -> str:
    course = note.course
    return _encode(
        {
            "id": note.id.hex(),
            "curso": course.curso,
            "facultad": course.facultad,
            "carrera": course.carrera,
            "region": course.region,
        }
    ).decode()
