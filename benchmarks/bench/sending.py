"""Sends notes to the direct route, a process of its own, as fast as it answers."""

import asyncio
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

SERVICES = Path(__file__).parents[2] / "services"
AT_ONCE = 25
"""Requests that a connection sends ahead of their answers."""

Chunk = tuple[list[bytes], Callable[[], object]]
"""So many requests, and what to do once all of them are acknowledged."""


def request(body: bytes, key: bytes) -> bytes:
    """A request with a note and its Idempotency-Key."""
    return (
        b"POST /course HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\nIdempotency-Key: %b\r\n\r\n%b" % (len(body), key, body)
    )


async def start(environment: dict[str, str]) -> tuple[asyncio.subprocess.Process, int]:
    """Direct as a process, and the port on which it listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    environment = {**os.environ, **environment, "REST_SERVER_HOST": "127.0.0.1", "REST_SERVER_PORT": str(port)}
    environment["PYTHONPATH"] = str(SERVICES)
    direct = await asyncio.create_subprocess_exec(sys.executable, "-m", "direct", env=environment)
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.2)
                continue
            writer.close()
            return direct, port


async def send(port: int, connections: int, chunks: Iterator[Chunk], answered: Counter[str]) -> float:
    """Sends all of it and counts the answers by status; returns how many seconds that took."""
    started = time.monotonic()
    await asyncio.gather(*(_client(port, chunks, answered) for _ in range(connections)))
    return time.monotonic() - started


async def _client(port: int, chunks: Iterator[Chunk], answered: Counter[str]) -> None:
    """One connection: takes what is next, until nothing is left. What is not acknowledged is sent again."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for requests, done in chunks:
        waiting = requests
        while waiting:
            writer.write(b"".join(waiting))
            again = []
            for sent in waiting:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
                answered[status := head[9:12].decode()] += 1
                if status != "201":
                    again.append(sent)
            if waiting := again:
                await asyncio.sleep(1)
        done()
    writer.close()
