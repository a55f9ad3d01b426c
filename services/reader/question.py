"""A question that costs a database something: put once at a time, and its answer kept for a while."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

from course.outcome import Failure, Unavailable

KEEP_S = 2.0  # an answer, and a failure too
SHARE = 10  # so many times as long as it takes to read is nothing read: a tenth of the time goes into it
WAIT_S = 10.0  # for an answer; then it is a 503
NEWER_S = 1.0  # for a newer one; then the older one has to do

Value = TypeVar("Value")


class TooLong(Unavailable):
    """The database is well, but has so much to read that it did not come to an end."""


log = logging.getLogger(__name__)


class Answer(NamedTuple, Generic[Value]):
    """What a database answered, and when it did."""

    value: Value
    at: datetime


class Budget:
    """What questions to one database may cost it together: it gets one at a time, and has most of its time for others.

    Nothing in MongoDB finds notes by their time or their texts, so each question reads all of them. An index on the
    time would make each note dearer, whoever looks.
    """

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self._cost_s: dict[str, float] = {}

    def keep_s(self, what: str, cost_s: float) -> float:
        """How long the answer to a question is kept that took so long."""
        self._cost_s[what] = cost_s
        return max(KEEP_S, SHARE * sum(self._cost_s.values()))


class Question(Generic[Value]):
    """However many ask, the database is asked once, and then not again for a while. Needs a running event loop."""

    def __init__(self, what: str, ask: Callable[[], Awaitable[Value]], budget: Budget) -> None:
        self._what = what
        self._ask = ask
        self._budget = budget
        self._known: Answer[Value] | Failure | None = None
        self._until = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def answer(self) -> Answer[Value] | Failure:
        """What is known, or is after a while; otherwise why it is not."""
        if self._asking is None and monotonic() >= self._until:
            self._asking = asyncio.create_task(self._put())
        if self._asking is not None:
            # Not cancelled with the one who asks: others wait for it as well.
            older = isinstance(self._known, Answer)
            await asyncio.wait([self._asking], timeout=NEWER_S if older else WAIT_S)
        if self._known is None:
            return Failure(503, f"{self._what}: this takes long, ask again in a while")
        return self._known

    async def close(self) -> None:
        """Ends a question that is being put."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _put(self) -> None:
        async with self._budget.lock:
            started, cost_s = monotonic(), 0.0
            try:
                self._known = Answer(await self._ask(), datetime.now(UTC))
                cost_s = monotonic() - started
            except TooLong as problem:
                self._known = Failure(503, str(problem))
                cost_s = monotonic() - started
            except Unavailable as problem:
                self._known = Failure(503, str(problem))
            except Exception:
                log.exception("a question failed in a way nobody foresaw: %s", self._what)
                self._known = Failure(503, f"{self._what}: this failed, and the log of the reader says why")
            finally:
                self._until = monotonic() + self._budget.keep_s(self._what, cost_s)
                self._asking = None
