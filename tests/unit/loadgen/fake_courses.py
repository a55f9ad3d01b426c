"""A fake of the system under test: answers `POST /course` like relay and direct in turn, and stores nothing.

Only for tests and for measuring the generator: `python3 fake_courses.py PORT [--fail-every N] [--stall AT SECONDS]`.
"""

import argparse
import asyncio
import hashlib

ANSWER = (
    b"HTTP/1.1 201 Created\r\nX-Route: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    b'{"id":"%s","route":"%s"}'
)
# What an ingress says when no route is left: no X-Route.
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
BODY_LENGTH = len('{"id":"","route":""}') + 24


class FakeCourses:
    """Answers over all connections, so that the routes alternate; stalls once if it is told to."""

    def __init__(self, fail_every: int, stall: tuple[float, float]) -> None:
        self.fail_every = fail_every
        self.stall_at, self.stall_s = stall
        self.asked = 0
        self.first: float | None = None

    def delay(self, now: float) -> float:
        """Seconds that an answer waits: from `stall_at` after the first request on, nobody is answered for a while."""
        if self.first is None:
            self.first = now
        since = now - self.first - self.stall_at
        return self.stall_s - since if 0 <= since < self.stall_s else 0.0

    def answer(self, key: bytes) -> bytes:
        self.asked += 1
        if self.fail_every and self.asked % self.fail_every == 0:
            return UNAVAILABLE
        route = b"relay" if self.asked % 2 else b"direct"
        note_id = hashlib.sha256(key).digest()[:12].hex().encode()
        return ANSWER % (route, BODY_LENGTH + len(route), note_id, route)


class Connection(asyncio.Protocol):
    """One connection of a client that waits for each answer before it asks again."""

    def __init__(self, courses: FakeCourses) -> None:
        self.courses = courses
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found or len(body) < int(_header(head, b"content-length") or 0):
            return
        self.buffer = b""
        loop = asyncio.get_running_loop()
        answer = self.courses.answer(_header(head, b"idempotency-key"))
        if delay := self.courses.delay(loop.time()):
            loop.call_later(delay, self.transport.write, answer)
        else:
            self.transport.write(answer)


def _header(head: bytes, name: bytes) -> bytes:
    at = head.lower().find(b"\r\n" + name + b":")
    if at < 0:
        return b""
    start = at + len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else None].strip()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--fail-every", type=int, default=0)
    parser.add_argument("--stall", type=float, nargs=2, default=(0.0, 0.0))
    options = parser.parse_args()
    courses = FakeCourses(options.fail_every, tuple(options.stall))
    server = await asyncio.get_running_loop().create_server(lambda: Connection(courses), "127.0.0.1", options.port)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - whoever asked for port 0 learns which it is
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
