"""Group commit: who goes together, who gets which outcome, and what happens when the database does not answer."""

import asyncio
from collections.abc import Mapping, Sequence
from time import perf_counter

import pytest

from course.group_commit import GroupCommit, Limits
from course.metrics import WriteMetrics
from course.outcome import DATABASE_DOWN, OVERLOADED, STOPPING, Failure, Unavailable

LIMITS = Limits(batch=4, spacing_s=0.0, queue=8, deadline_s=0.2, retry_pause_s=0.01, probe_pause_s=0.02)


class Database:
    """Takes batches; `problems` are raised by the next writes, `held` cleared makes them wait."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.problems: list[Exception] = []
        self.refused: dict[int, Failure] = {}
        self.down = False
        self.held = asyncio.Event()
        self.held.set()
        self.under_way = self.most_under_way = 0

    async def write(self, items: Sequence[int]) -> Mapping[int, Failure]:
        self.batches.append(list(items))
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        try:
            await self.held.wait()
        finally:
            self.under_way -= 1
        if self.down:
            raise Unavailable("down")
        if self.problems:
            raise self.problems.pop(0)
        return self.refused

    async def probe(self) -> None:
        if self.down:
            raise Unavailable("down")


@pytest.fixture
async def database() -> Database:
    return Database()


@pytest.fixture
async def commit(database: Database) -> GroupCommit[int]:
    return GroupCommit(database.write, database.probe, LIMITS, WriteMetrics())


async def store(commit: GroupCommit[int], *items: int) -> list[Failure | None]:
    return await asyncio.gather(*(commit.store(item) for item in items))


async def test_an_idle_service_writes_at_once(commit: GroupCommit[int], database: Database) -> None:
    assert await commit.store(1) is None
    assert database.batches == [[1]]


async def test_what_arrives_during_a_write_goes_together_as_the_next(
    commit: GroupCommit[int], database: Database
) -> None:
    database.held.clear()
    first = asyncio.create_task(commit.store(1))
    await asyncio.sleep(0.01)
    others = [asyncio.create_task(commit.store(item)) for item in (2, 3, 4)]
    await asyncio.sleep(0.01)
    database.held.set()
    assert await asyncio.gather(first, *others) == [None] * 4
    assert database.batches == [[1], [2, 3, 4]]


def paced(database: Database, *, in_flight: int = 1, spacing_s: float = 60) -> GroupCommit[int]:
    """A group commit in which writes of fewer than four keep a distance, of which most tests do not see the end."""
    limits = Limits(in_flight=in_flight, worth=4, spacing_s=spacing_s)
    return GroupCommit(database.write, database.probe, limits, WriteMetrics())


async def one_written_and_one_waiting(
    commit: GroupCommit[int], database: Database
) -> list[asyncio.Task[Failure | None]]:
    """Stores 1, whose write is held, and 2 beside it, which waits."""
    database.held.clear()
    tasks = []
    for item in (1, 2):
        tasks.append(asyncio.create_task(commit.store(item)))
        await asyncio.sleep(0.01)
    return tasks


async def test_those_who_wait_for_their_answer_before_the_next_are_written_at_once(database: Database) -> None:
    commit = paced(database)
    async with asyncio.timeout(5):
        for item in (1, 2, 3):
            assert await commit.store(item) is None
    assert database.batches == [[1], [2], [3]]


@pytest.mark.parametrize("in_flight", [1, 2])
async def test_a_small_write_keeps_its_distance_and_takes_all_who_came_meanwhile(
    database: Database, in_flight: int
) -> None:
    commit = paced(database, in_flight=in_flight, spacing_s=1.0)
    started = perf_counter()
    first, second = await one_written_and_one_waiting(commit, database)
    database.held.set()
    assert await first is None
    assert database.batches == [[1]]
    third = asyncio.create_task(commit.store(3))
    assert [await second, await third] == [None, None]
    assert database.batches == [[1], [2, 3]]
    assert perf_counter() - started >= 1.0


async def test_a_write_that_is_worth_it_keeps_no_distance(database: Database) -> None:
    commit = paced(database)
    database.held.clear()
    first = asyncio.create_task(commit.store(1))
    await asyncio.sleep(0.01)
    others = [asyncio.create_task(commit.store(item)) for item in (2, 3)]
    await asyncio.sleep(0.01)
    database.held.set()
    assert await first is None
    async with asyncio.timeout(5):
        assert await asyncio.gather(*others, *(commit.store(item) for item in (4, 5))) == [None] * 4
    assert database.batches == [[1], [2, 3, 4, 5]]


async def test_closing_writes_at_once_what_keeps_its_distance(database: Database) -> None:
    commit = paced(database)
    tasks = await one_written_and_one_waiting(commit, database)
    database.held.set()
    await tasks[0]
    async with asyncio.timeout(5):
        await commit.close()
        assert await tasks[1] is None


async def test_closing_during_a_write_does_not_leave_the_next_behind(database: Database) -> None:
    commit = paced(database)
    tasks = await one_written_and_one_waiting(commit, database)
    closing = asyncio.create_task(commit.close())
    await asyncio.sleep(0.01)
    database.held.set()
    async with asyncio.timeout(5):
        await closing
        assert [await task for task in tasks] == [None, None]


async def test_a_batch_has_an_upper_limit(commit: GroupCommit[int], database: Database) -> None:
    assert await store(commit, *range(7)) == [None] * 7
    assert database.batches == [[0, 1, 2, 3], [4, 5, 6]]


async def test_only_so_many_writes_are_under_way(database: Database) -> None:
    for most in (1, 2):
        database.most_under_way = 0
        limits = Limits(batch=1, in_flight=most)
        commit: GroupCommit[int] = GroupCommit(database.write, database.probe, limits, WriteMetrics())
        await store(commit, *range(20))
        assert database.most_under_way <= most


async def test_each_item_gets_its_own_outcome(commit: GroupCommit[int], database: Database) -> None:
    database.refused = {1: (refused := Failure(503, "refused"))}
    assert await store(commit, 1, 2, 3) == [None, refused, None]


async def test_a_full_queue_refuses_at_once(commit: GroupCommit[int], database: Database) -> None:
    database.held.clear()
    tasks = [asyncio.create_task(commit.store(item)) for item in range(4)]
    await asyncio.sleep(0.01)
    tasks += [asyncio.create_task(commit.store(item)) for item in range(4, 12)]
    await asyncio.sleep(0.01)
    assert await commit.store(99) is OVERLOADED
    database.held.set()
    assert await asyncio.gather(*tasks) == [None] * 12


async def test_a_passing_failure_is_tried_again_with_the_same_items(
    commit: GroupCommit[int], database: Database
) -> None:
    database.problems = [Unavailable("once"), Unavailable("twice")]
    assert await store(commit, 1, 2) == [None, None]
    assert database.batches == [[1, 2]] * 3


async def test_an_unforeseen_error_is_never_taken_for_success(commit: GroupCommit[int], database: Database) -> None:
    database.problems = [KeyError("bug")] * 1000
    assert await commit.store(1) is DATABASE_DOWN


async def test_a_write_that_never_answers_is_given_up_at_the_deadline(
    commit: GroupCommit[int], database: Database
) -> None:
    database.held.clear()
    async with asyncio.timeout(LIMITS.deadline_s + 2):
        assert await commit.store(1) is DATABASE_DOWN


async def test_while_the_database_is_down_refusals_are_immediate_and_nothing_is_tried(
    commit: GroupCommit[int], database: Database
) -> None:
    database.down = True
    await store(commit, *range(6))
    tried = len(database.batches)
    assert commit.submit(7, lambda _: None) is DATABASE_DOWN
    assert len(database.batches) == tried


async def test_what_waits_behind_a_failed_write_is_refused_with_it(
    commit: GroupCommit[int], database: Database
) -> None:
    database.down = True
    async with asyncio.timeout(LIMITS.deadline_s + 2):
        assert await store(commit, *range(8)) == [DATABASE_DOWN] * 8


async def test_it_serves_again_once_a_probe_gets_through(commit: GroupCommit[int], database: Database) -> None:
    database.down = True
    assert await commit.store(1) is DATABASE_DOWN
    database.down = False
    async with asyncio.timeout(5):
        while True:
            await asyncio.sleep(LIMITS.probe_pause_s)
            if await commit.store(2) is None:
                break


async def test_closing_answers_what_was_taken_and_takes_nothing_more(
    commit: GroupCommit[int], database: Database
) -> None:
    database.held.clear()
    taken = asyncio.gather(*(commit.store(item) for item in range(6)))
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(commit.close())
    await asyncio.sleep(0.01)
    assert await commit.store(9) is STOPPING
    database.held.set()
    await closing
    assert await taken == [None] * 6


async def test_closing_ends_while_the_database_is_down(commit: GroupCommit[int], database: Database) -> None:
    database.down = True
    await commit.store(1)
    async with asyncio.timeout(1):
        await commit.close()


async def test_a_caller_that_is_gone_disturbs_nobody(commit: GroupCommit[int], database: Database) -> None:
    database.held.clear()
    gone, stays = asyncio.create_task(commit.store(1)), asyncio.create_task(commit.store(2))
    await asyncio.sleep(0.01)
    gone.cancel()
    database.held.set()
    assert await stays is None
