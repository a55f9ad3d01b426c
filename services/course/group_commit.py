"""Group commit: what arrives while a write is on its way goes together as the next one, each with its own answer."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import Generic, TypeVar

import msgspec

from course.metrics import WriteMetrics
from course.outcome import DATABASE_DOWN, OVERLOADED, STOPPING, Failure, Unavailable

Item = TypeVar("Item")
Done = Callable[[Failure | None], None]
Write = Callable[[Sequence[Item]], Awaitable[Mapping[int, Failure]]]
Probe = Callable[[], Awaitable[None]]

_HEAD_START = 2  # turns of the event loop that a write needs until its bytes are sent

log = logging.getLogger(__name__)


class Limits(msgspec.Struct, frozen=True):
    """How much goes into a write, how many are under way at once, how much may wait, and how long it is tried.

    Where notes wait while others are written, a write of fewer than `worth` begins `spacing_s` after the one before.
    """

    batch: int = 512
    in_flight: int = 1
    worth: int = 16
    spacing_s: float = 0.004
    queue: int = 4096
    deadline_s: float = 1.5
    retry_pause_s: float = 0.05
    probe_pause_s: float = 0.25


class GroupCommit(Generic[Item]):
    """Gathers items while writes are under way, and answers each once its own write is acknowledged.

    With nothing under way an item is written at once. A small write costs the databases nearly as much as a large one:
    so where items come beside each other, small writes keep a distance. `write` gets a batch and returns the failures
    by index (an empty mapping: all stored), or raises `Unavailable`; then the same batch is tried again until
    `deadline_s`, which is safe because items carry their ids. A batch that runs out of time is refused, and from then
    on everything is, at once, until `probe` returns without an error.
    """

    def __init__(self, write: Write[Item], probe: Probe, limits: Limits, metrics: WriteMetrics) -> None:
        self._write = write
        self._probe = probe
        self._limits = limits
        self._metrics = metrics
        self._waiting: deque[tuple[Item, Done]] = deque()
        self._in_flight = 0
        self._last_size = 0
        self._last_start = float("-inf")
        self._later: asyncio.TimerHandle | None = None  # begins a write when the distance to the last is kept
        self._refusal: Failure | None = None
        self._writing: set[asyncio.Task[None]] = set()
        self._probing: asyncio.Task[None] | None = None
        metrics.watch(lambda: len(self._waiting), lambda: self._in_flight, lambda: self._refusal is DATABASE_DOWN)

    def submit(self, item: Item, done: Done) -> Failure | None:
        """Takes an item and calls `done` with its outcome later; or returns at once why it is not taken."""
        if self._refusal is not None:
            return self._refusal
        if len(self._waiting) >= self._limits.queue:
            return OVERLOADED
        self._waiting.append((item, done))
        busy = self._in_flight
        if not busy and self._later is None:
            self._start()
        # A further write beside one under way pays only if it is no smaller: many small writes cost more than few.
        elif not busy or (busy < self._limits.in_flight and len(self._waiting) >= self._last_size):
            self._start_in_time()
        return None

    async def store(self, item: Item) -> Failure | None:
        """Stores one item and returns its outcome: None, or why it failed."""
        outcome: asyncio.Future[Failure | None] = asyncio.get_running_loop().create_future()

        def done(failure: Failure | None) -> None:
            if not outcome.done():  # the caller may be gone
                outcome.set_result(failure)

        refused = self.submit(item, done)
        return refused if refused is not None else await outcome

    async def close(self) -> None:
        """Takes nothing more, and returns when everything taken has been answered."""
        self._refusal = STOPPING
        if self._probing is not None:
            self._probing.cancel()
        if self._later is not None:
            self._start()
        while self._writing:
            await asyncio.wait(self._writing)

    def _start_in_time(self) -> bool:
        """Starts a write once it is worth it or the last is long enough ago; returns whether that is now."""
        wait = self._last_start + self._limits.spacing_s - perf_counter()
        if wait <= 0 or len(self._waiting) >= self._limits.worth or self._refusal is STOPPING:
            self._start()
            return True
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(wait, self._start)
        return False

    def _start(self) -> None:
        self._forget_later()
        self._in_flight += 1
        self._last_start = perf_counter()
        task = asyncio.create_task(self._run())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    def _forget_later(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None

    async def _run(self) -> None:
        """Writes what waits as one batch, sees to it that the next is on its way, and answers."""
        self._last_size = size = min(len(self._waiting), self._limits.batch)
        batch = [self._waiting.popleft() for _ in range(size)]
        if not self._waiting:
            self._forget_later()  # whoever it was for is in this batch
        failures = await self._outcomes([item for item, _ in batch]) if batch else {}
        self._in_flight -= 1
        if self._waiting and self._start_in_time():
            # Answering takes as long as the database takes for a small batch: the next write goes out first.
            for _ in range(_HEAD_START):
                await asyncio.sleep(0)
        for index, (_, done) in enumerate(batch):
            done(failures.get(index) if failures else None)

    async def _outcomes(self, items: Sequence[Item]) -> Mapping[int, Failure]:
        """The failures of a batch by index, after as many attempts as the deadline allows. Never raises."""
        metrics, limits = self._metrics, self._limits
        metrics.batch_size.observe(len(items))
        give_up = perf_counter() + limits.deadline_s
        while True:
            started = perf_counter()
            try:
                async with asyncio.timeout(give_up - started):
                    failures = await self._write(items)
                metrics.write_seconds.observe(perf_counter() - started)
                metrics.write_errors += len(failures)
                return failures
            except (Unavailable, TimeoutError) as problem:
                reason = str(problem) or "no answer in time"
            except Exception as problem:  # an unknown outcome is never a success, whatever went wrong
                log.exception("a write failed in a way nobody foresaw")
                reason = repr(problem)
            if self._refusal is DATABASE_DOWN or perf_counter() + limits.retry_pause_s >= give_up:
                break
            metrics.retries += 1
            await asyncio.sleep(limits.retry_pause_s)
        metrics.write_errors += len(items)
        self._open(reason)
        return dict.fromkeys(range(len(items)), DATABASE_DOWN)

    def _open(self, reason: str) -> None:
        """Refuses what waits and what comes, until a probe gets through."""
        if self._refusal is None:
            log.error("refusing notes, the database does not answer: %s", reason)
            self._refusal = DATABASE_DOWN
            self._probing = asyncio.create_task(self._reopen())
        self._forget_later()
        waiting, self._waiting = self._waiting, deque()
        self._metrics.write_errors += len(waiting)
        for _, done in waiting:
            done(DATABASE_DOWN)

    async def _reopen(self) -> None:
        while True:
            await asyncio.sleep(self._limits.probe_pause_s)
            with contextlib.suppress(Exception):  # any error only means: not yet
                async with asyncio.timeout(self._limits.deadline_s):
                    await self._probe()
                break
        self._refusal = self._probing = None
        log.warning("the database answers again")
