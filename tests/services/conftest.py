"""What every test of the services has: the real databases, and one running system for those that break nothing."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from services.parts import Databases, System, running


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop, by the name that a test's id shows."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def _named_databases() -> None:
    missing = {"MONGODB_URI", "REDIS_URL"} - os.environ.keys()
    if missing:
        pytest.skip(f"{' and '.join(sorted(missing))} must name the databases to test with; bin/test sets them")


@pytest.fixture
async def databases(_named_databases: None) -> AsyncIterator[Databases]:
    """The real databases, emptied."""
    databases = Databases()
    await databases.clear()
    yield databases
    await databases.close()


@pytest.fixture
async def system(databases: Databases) -> AsyncIterator[System]:
    """Relay, ledger and direct of the test's own, ready."""
    async with running() as system:
        yield system
