"""Option RELAY_FORWARD_URL: posts each stored note to direct as well, as the original exercise does.

The client's answer speaks for the ledger only and does not wait for this: a failing direct must not take the relay's
route down. A note is sent with its own Idempotency-Key, so direct gives it the same id and nothing is stored twice;
it is tried a few times, and then counted as failed and logged. What waits is bounded: beyond that, notes are dropped,
counted as well.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

import aiohttp
import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from course.note import Note
from course.outcome import Failure

Put = Callable[[Sequence[Note]], Awaitable[Mapping[int, Failure]]]

_WORKERS = 16
_QUEUE = 10_000
_ATTEMPTS = 5
_PAUSE_S = 0.2  # before the second attempt; doubles each time
_TIMEOUT = aiohttp.ClientTimeout(total=3)
_CLOSE_S = 5.0

log = logging.getLogger(__name__)


class Forward:
    """Posts notes to a URL in the background."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._queue: asyncio.Queue[Note] = asyncio.Queue(_QUEUE)
        self._workers: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession
        self._sent = 0
        self._failed = 0

    async def start(self) -> None:
        """Starts the workers; needs a running event loop."""
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        self._workers = [asyncio.create_task(self._work()) for _ in range(_WORKERS)]

    def after(self, put: Put) -> Put:
        """The given write, with every note it stored forwarded afterwards."""

        async def put_and_forward(notes: Sequence[Note]) -> Mapping[int, Failure]:
            failures = await put(notes)
            for index, note in enumerate(notes):
                if index not in failures:
                    self._add(note)
            return failures

        return put_and_forward

    async def close(self) -> None:
        """Sends what waits, for a few seconds at most, and stops."""
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._queue.join()
        except TimeoutError:
            log.warning("stopping with %d notes not forwarded", self._queue.qsize())
        for worker in self._workers:
            worker.cancel()
        await self._session.close()

    def families(self) -> Iterator[Metric]:
        """The Prometheus families."""
        yield CounterMetricFamily("courseload_forwarded", "Notes posted to direct", value=self._sent)
        yield CounterMetricFamily("courseload_forward_errors", "Notes direct did not take", value=self._failed)
        yield GaugeMetricFamily("courseload_forward_waiting", "Notes waiting to be posted", value=self._queue.qsize())

    def _add(self, note: Note) -> None:
        try:
            self._queue.put_nowait(note)
        except asyncio.QueueFull:
            self._failed += 1

    async def _work(self) -> None:
        while True:
            note = await self._queue.get()
            try:
                if await self._send(note):
                    self._sent += 1
                else:
                    self._failed += 1
                    log.error("note %s could not be forwarded", note.id.hex())
            finally:
                self._queue.task_done()

    async def _send(self, note: Note) -> bool:
        headers = {"Content-Type": "application/json", "Idempotency-Key": note.key or ""}
        body = msgspec.json.encode(note.course)
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(_PAUSE_S * 2 ** (attempt - 1))
            try:
                async with self._session.post(self._url, data=body, headers=headers) as answer:
                    if answer.status < 500:
                        return answer.status == 201
            except (aiohttp.ClientError, TimeoutError):
                continue
        return False
