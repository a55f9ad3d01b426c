"""The services' tests run on the event loop that Sanic runs the services on."""

import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop, by the name that a test's id shows."""
    return {"uvloop": uvloop.new_event_loop}
