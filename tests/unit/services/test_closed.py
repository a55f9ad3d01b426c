"""What a service waits for when it ends."""

import asyncio
import logging

import pytest

from course import app


async def test_what_does_not_close_and_what_fails_is_said_and_holds_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app, "CLOSE_S", 0.1)
    good = asyncio.Event()

    async def closes() -> None:
        good.set()

    async def fails() -> None:
        raise OSError("gone")

    async def hangs() -> None:
        await asyncio.Event().wait()

    with caplog.at_level(logging.WARNING):
        async with asyncio.timeout(2):
            await app.closed(closes(), fails(), hangs())
    assert good.is_set()
    assert sorted(caplog.messages) == [
        "a connection was closed with an error: OSError('gone')",
        "a connection was not closed within 0.1 s",
    ]
