"""A store that does what a test tells it, and an HTTP client that sends exactly the bytes a test wants to send."""

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from httptools import HttpResponseParser
from sanic import Sanic
from sanic.server.protocols.http_protocol import HttpProtocol

from course.app import App, create_app
from course.fast_path import FastPath
from course.group_commit import GroupCommit, Limits
from course.handler import Handler
from course.metrics import Exposition, RequestMetrics, WriteMetrics
from course.note import Note
from course.outcome import Failure

GOOD = {"curso": "SO1", "facultad": "ingenieria", "carrera": "sistemas", "region": "NORTE"}
BODY = json.dumps(GOOD).encode()
BELOW_EPHEMERAL = 20_000, 32_000


class Store:
    """Keeps notes in a dict; `open` cleared makes writes wait, `fail` makes them raise, `refuse` answers for them."""

    def __init__(self) -> None:
        self.notes: dict[bytes, Note] = {}
        self.batches: list[list[Note]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.fail: Exception | None = None
        self.refuse: dict[int, Failure] = {}

    async def put(self, notes: Sequence[Note]) -> Mapping[int, Failure]:
        """The `write` of a group commit."""
        self.batches.append(list(notes))
        await self.open.wait()
        if self.fail is not None:
            raise self.fail
        self.notes |= {note.id: note for index, note in enumerate(notes) if index not in self.refuse}
        return self.refuse

    async def ping(self) -> None:
        """The `probe` of a group commit."""
        if self.fail is not None:
            raise self.fail


class Answer:
    """One HTTP answer as it came."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.complete = False

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._answers: list[Answer] = []
        self._parser = HttpResponseParser(self)

    @classmethod
    async def connect(cls, port: int) -> "Client":
        """Opens a connection to this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, *pieces: bytes) -> None:
        """Sends each piece in a TCP segment of its own."""
        for index, piece in enumerate(pieces):
            if index:
                await asyncio.sleep(0.02)
            self.writer.write(piece)
            await self.writer.drain()

    async def answers(self, count: int, *, no_body: bool = False) -> list[Answer]:
        """The next answers, in the order they came."""
        async with asyncio.timeout(5):
            while sum(answer.complete for answer in self._answers) < count:
                data = await self.reader.read(65536)
                assert data, "the connection was closed before every answer had come"
                if no_body:
                    data = data.replace(b"content-length", b"x-length")[:-2] + b"content-length: 0\r\n\r\n"
                self._parser.feed_data(data)
        found, self._answers = self._answers[:count], self._answers[count:]
        return found

    async def ask(self, *pieces: bytes) -> Answer:
        """Sends the pieces of one request and returns its answer."""
        await self.send(*pieces)
        return (await self.answers(1))[0]

    async def is_closed(self) -> bool:
        """Whether the server closes the connection soon, without another word."""
        try:
            async with asyncio.timeout(2):
                return await self.reader.read(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._answers.append(Answer())

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answers[-1].headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._answers[-1].body += body

    def on_message_complete(self) -> None:
        self._answers[-1].complete = True
        self._answers[-1].status = self._parser.get_status_code()


class Service:
    """A running service: its port, its store, its connections, and what it is made of."""

    def __init__(self, app: App, handler: Handler, store: Store, port: int, connections: Iterable[Any]) -> None:
        self.app = app
        self.handler = handler
        self.store = store
        self.port = port
        self.connections = connections


@asynccontextmanager
async def serving(limits: Limits, protocol: type[HttpProtocol] = FastPath, **config: Any) -> AsyncIterator[Service]:
    """A service on a free port of this machine, with a store of its own."""
    Sanic.test_mode = True
    store, requests, writes = Store(), RequestMetrics(), WriteMetrics()
    handler = Handler("relay", requests)
    app = create_app("test", Exposition(requests, writes), {"store": store.ping}, handler)
    app.config.update(config)
    handler.commit = GroupCommit(store.put, store.ping, limits, writes)
    listener = socket.create_server(("127.0.0.1", 0))
    server = await app.create_server(sock=listener, return_asyncio_server=True, protocol=protocol, access_log=False)
    assert server is not None
    await server.startup()
    await server.start_serving()
    try:
        yield Service(app, handler, store, listener.getsockname()[1], server.connections)
    finally:
        store.open.set()
        await handler.commit.close()
        server.close()
        for connection in list(server.connections):
            connection.abort()
        await server.wait_closed()
        Sanic._app_registry.pop("test", None)


def post(
    body: bytes = BODY, *headers: str, path: str = "/course", content_type: str | None = "application/json"
) -> bytes:
    """A whole, plain request."""
    lines = [f"POST {path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}", *headers]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def free_port() -> int:
    """A port of this machine that nothing listens on, and that the kernel gives to no connection meanwhile."""
    while True:
        port = random.randrange(*BELOW_EPHEMERAL)  # noqa: S311 (a port, not a secret)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
