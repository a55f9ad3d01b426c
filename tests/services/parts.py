"""The services as processes, the databases behind a gate that a test can shut, and a look into both."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from bson import ObjectId
from bson.codec_options import CodecOptions
from pymongo import AsyncMongoClient
from redis.asyncio import Redis

from unit.services.helpers import BODY, Answer, Client, free_port, post

ROOT = Path(__file__).parents[2]
DATABASE = "courses_test"
REDIS_DATABASE = "15"
READY = b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n"


def mongodb_uri(netloc: str | None = None) -> str:
    """The test database's URI, of the server itself or of a gate in front of it (host:port)."""
    uri = urlsplit(os.environ["MONGODB_URI"])
    query = f"{uri.query}&directConnection=true" if uri.query else "authSource=admin&directConnection=true"
    return urlunsplit(uri._replace(netloc=_moved(uri.netloc, netloc), path=f"/{DATABASE}", query=query))


def redis_url(netloc: str | None = None) -> str:
    """The test database's URL, of the server itself or of a gate in front of it (host:port)."""
    url = urlsplit(os.environ["REDIS_URL"])
    return urlunsplit(url._replace(netloc=_moved(url.netloc, netloc), path=f"/{REDIS_DATABASE}"))


def _moved(netloc: str, to: str | None) -> str:
    credentials, at, _ = netloc.rpartition("@")
    return netloc if to is None else f"{credentials}{at}{to}"


class Databases:
    """What is stored, read without the services."""

    def __init__(self) -> None:
        self._client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongodb_uri())
        options: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True)
        self.notes = self._client.get_default_database().get_collection("notes", codec_options=options)
        self.redis: Redis = Redis.from_url(redis_url(), decode_responses=True)

    async def clear(self) -> None:
        """Forgets what earlier tests stored."""
        await self.notes.delete_many({})
        await self.redis.flushdb()

    async def stored(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The stored documents among the given ids."""
        cursor = self.notes.find({"_id": {"$in": [ObjectId(note_id) for note_id in ids]}})
        return {str(document.pop("_id")): document async for document in cursor}

    async def counted(self, field: str, value: str) -> int:
        """How often Redis counted a value of a field."""
        return int(await self.redis.hget(f"notes:count:{field}", value) or 0)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()
        await self.redis.aclose()


class Gate:
    """A TCP relay in front of a database: open, shut (refuses and cuts), or stuck (takes everything, says nothing)."""

    def __init__(self, url: str) -> None:
        server = urlsplit(url)
        self._to = (server.hostname, server.port)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Lets everything through."""
        self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    def stick(self) -> None:
        """Keeps connections, and lets nothing through."""
        self._flowing.clear()

    def shut(self) -> None:
        """Cuts every connection and refuses new ones, as a killed server does."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._to)
        self._writers |= {writer, there_writer}
        await asyncio.gather(self._copy(reader, there_writer), self._copy(there_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()


class Process:
    """One service as a process."""

    def __init__(self, name: str, environment: dict[str, str], port: int) -> None:
        self.name = name
        self.port = port
        self.environment = environment
        self.program: tuple[str, ...] = ("-m", name)
        self._environment = os.environ | {"PYTHONPATH": str(ROOT / "services")} | environment
        for variable in ("MONGODB_URI", "REDIS_URL"):
            if variable not in environment:
                self._environment.pop(variable, None)
        self._log = TemporaryFile()  # noqa: SIM115  (it lives as long as the process)
        self.process: asyncio.subprocess.Process

    async def start(self, *, ready: bool = True) -> None:
        """Starts it and waits until it listens, and unless told otherwise until it is ready."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, *self.program, env=self._environment, stderr=self._log
        )
        async with asyncio.timeout(20):
            while not await self._answers(200 if ready else None):
                assert self.process.returncode is None, self._that("ended")
                await asyncio.sleep(0.1)

    async def _answers(self, status: int | None) -> bool:
        try:
            answer = await self.ask(READY)
        except (OSError, AssertionError):
            return False
        return status in (None, answer.status)

    async def ask(self, *pieces: bytes) -> Answer:
        """Sends one request on a connection of its own."""
        client = await Client.connect(self.port)
        try:
            return await client.ask(*pieces)
        finally:
            client.writer.close()

    async def post(self, body: bytes = BODY, *headers: str) -> Answer:
        """Posts one body."""
        return await self.ask(post(body, *headers))

    async def is_ready(self, wanted: bool, within_s: float) -> None:
        """Waits until it says that it is ready, or is not."""
        async with asyncio.timeout(within_s):
            while True:
                if ((await self.ask(READY)).status == 200) is wanted:
                    return
                await asyncio.sleep(0.1)

    async def end(self, how: int = signal.SIGTERM) -> int:
        """Sends a signal and returns the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(how)
        try:
            async with asyncio.timeout(15):
                return await self.process.wait()
        except TimeoutError:
            raise AssertionError(self._that("did not end within 15 s")) from None

    async def ends_well(self) -> None:
        """Sends SIGTERM and wants the exit code 0."""
        code = await self.end(signal.SIGTERM)
        assert code == 0, self._that(f"ended with {code}")

    def _that(self, what: str) -> str:
        """What it did, with its last words."""
        self._log.seek(0)
        return f"{self.name} {what}; its log:\n{self._log.read().decode(errors='replace')[-4000:]}"


class System:
    """Relay, ledger and direct, each database behind a gate."""

    def __init__(self) -> None:
        self.mongodb, self.redis = Gate(mongodb_uri()), Gate(redis_url())
        http, grpc, metrics, rest = (free_port() for _ in range(4))
        to_ledger = {"GRPC_SERVER_HOST": "127.0.0.1", "GRPC_SERVER_PORT": str(grpc)}
        to_mongodb = {"MONGODB_URI": mongodb_uri(self.mongodb.address)}
        self.relay = Process(
            "relay", to_ledger | {"GRPC_CLIENT_HOST": "127.0.0.1", "GRPC_CLIENT_PORT": str(http)}, http
        )
        self.ledger = Process("ledger", to_ledger | to_mongodb | {"METRICS_PORT": str(metrics)}, metrics)
        self.direct = Process(
            "direct",
            to_mongodb
            | {"REDIS_URL": redis_url(self.redis.address)}
            | {"REST_SERVER_HOST": "127.0.0.1", "REST_SERVER_PORT": str(rest)},
            rest,
        )

    @property
    def routes(self) -> dict[str, Process]:
        """The services that take notes."""
        return {"relay": self.relay, "direct": self.direct}

    @property
    def all(self) -> list[Process]:
        """Every service, the ledger first."""
        return [self.ledger, self.relay, self.direct]


@asynccontextmanager
async def running(*, databases: bool = True) -> AsyncIterator[System]:
    """The three services, ready unless their databases are to be out of reach at first."""
    system = System()
    async with AsyncExitStack() as stack:
        for gate in (system.mongodb, system.redis):
            if databases:
                await gate.open()
            stack.callback(gate.shut)
        for service in system.all:
            stack.push_async_callback(_kill, service)
        await asyncio.gather(*(service.start(ready=databases) for service in system.all))
        yield system


async def _kill(service: Process) -> None:
    if hasattr(service, "process"):
        await service.end(signal.SIGKILL)


class Load:
    """Clients that post notes, each with a key of its own, as fast as answers come, and try nothing twice."""

    def __init__(self, *services: Process, clients: int = 8) -> None:
        self.acknowledged: list[str] = []
        self.statuses: list[int] = []
        self.slowest = 0.0
        self._going = True
        self._tasks = [asyncio.create_task(self._post(service)) for service in services for _ in range(clients)]

    async def _post(self, service: Process) -> None:
        loop = asyncio.get_running_loop()
        client: Client | None = None
        while self._going:
            started = loop.time()
            try:
                client = client or await Client.connect(service.port)
                answer = await client.ask(post())
            except (OSError, AssertionError):
                client = None
                await asyncio.sleep(0.05)
                continue
            self.slowest = max(self.slowest, loop.time() - started)
            self.statuses.append(answer.status)
            if answer.status == 201:
                self.acknowledged.append(answer.json["id"])
            else:
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Lets every client finish its request."""
        self._going = False
        await asyncio.gather(*self._tasks)
