"""What Redis keeps of the notes: the latest ones, and counters by region, faculty, career and course."""

import time
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from course.metrics import Histogram
from course.note import FIELDS, Note, Texts
from course.outcome import Unavailable
from course.stored import BATCHES, COUNT, LATEST
from direct.batches import parts

_PROBE = "notes:probe"
_KEYS = (
    *(LATEST, COUNT, *(f"{COUNT}:{field}" for field in FIELDS)),
    *(BATCHES, f"{BATCHES}:used", f"{BATCHES}:except", f"{BATCHES}:forgotten"),
)
KEEP = 100  # latest notes
TEXTS = 1000  # of a field that are counted by themselves
PROCESSES = 1000  # of which Redis remembers what they counted: a start of direct is one
EXCEPTIONS = 10_000  # batches, or rows of batches, that were not counted
_SCRIPT = Path(__file__).with_name("apply.lua").read_text(encoding="utf-8")
_TIMEOUT_S = 1.0

# An earlier version kept the ids of the notes that it had counted, in a set a day. What an upgrade finds of them is
# asked for as long as somebody may still be trying again what he sent before it; then it is gone.
_EARLIER = "notes:applied:"
_DAY_S = 86_400
_EARLIER_S = 600

_encode = msgspec.json.encode
_pack = msgspec.msgpack.encode


class Counters:
    """The Redis side of route 2. Needs a running event loop; connects when first used and again when needed."""

    def __init__(self, url: str, seconds: Histogram) -> None:
        # One try a call: the group commit repeats the whole batch, as another one.
        self._redis: Redis = Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        )
        self._sha = ""
        self._seconds = seconds

    async def count(self, batch: str, notes: Sequence[Note]) -> None:
        """Counts a batch, once; raises `Unavailable` if that is not known, or if the batch was burnt."""
        courses = [note.course for note in notes]
        counts = [
            Counter([c.curso for c in courses]),
            Counter([c.facultad for c in courses]),
            Counter([c.carrera for c in courses]),
            Counter([c.region for c in courses]),
        ]
        recent = [latest(note.id, note.course) for note in notes[-KEEP:]]
        packed = _pack((*parts(batch), recent, len(notes), counts))
        started = perf_counter()
        counted = await self._ask("count", KEEP, TEXTS, packed)
        self._seconds.observe(perf_counter() - started)
        if not counted:
            raise Unavailable("redis: another batch has taken these notes over")

    async def uncounted(self, batches: Collection[str], *, burn: bool = False) -> set[str]:
        """Which of the batches were not counted, and with `burn` never will be; raises `Unavailable`."""
        if not batches:
            return set()
        packed = _pack([part for batch in batches for part in parts(batch)])
        counted = await self._ask("burn" if burn else "look", packed)
        return {batch for batch, was in zip(batches, counted, strict=True) if not was}

    async def counted_earlier(self, ids: Sequence[bytes]) -> set[bytes]:
        """Which of the notes the version before this one has counted; raises `Unavailable`."""
        if not ids:
            return set()
        found: set[bytes] = set()
        try:
            for key in _earlier():
                members = await self._redis.smismember(key, list(ids))
                found.update(note_id for note_id, there in zip(ids, members, strict=True) if there)
        except (RedisError, OSError) as problem:
            raise _unavailable(problem) from problem
        return found

    async def ping(self) -> None:
        """Writes, so that a Redis that is full counts as down; raises an error when it does not take it."""
        await self._prepare()
        await self._redis.set(_PROBE, "")

    async def close(self) -> None:
        """Closes the connections."""
        await self._redis.aclose()

    async def _ask(self, *arguments: Any) -> Any:
        """What the script answers."""
        try:
            await self._prepare()
            try:
                return await self._run(*arguments)
            except NoScriptError:  # Redis was restarted since
                self._sha = await self._redis.script_load(_SCRIPT)
                return await self._run(*arguments)
        except (RedisError, OSError) as problem:
            raise _unavailable(problem) from problem

    async def _run(self, *arguments: Any) -> Any:
        return await self._redis.evalsha(self._sha, len(_KEYS), *_KEYS, PROCESSES, EXCEPTIONS, *arguments)

    async def _prepare(self) -> None:
        if not self._sha:
            for key in _earlier():
                await self._redis.expire(key, _EARLIER_S, lt=True)
            self._sha = await self._redis.script_load(_SCRIPT)


def _earlier() -> list[str]:
    today = int(time.time()) // _DAY_S
    return [f"{_EARLIER}{day}" for day in range(today - 2, today + 1)]


def _unavailable(problem: Exception) -> Unavailable:
    return Unavailable(f"redis: {type(problem).__name__}: {problem}")


def latest(note_id: bytes, course: Texts) -> str:
    """A note as the list of the latest has it."""
    return _encode(
        {
            "id": note_id.hex(),
            "curso": course.curso,
            "facultad": course.facultad,
            "carrera": course.carrera,
            "region": course.region,
        }
    ).decode()
