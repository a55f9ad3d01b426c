"""Accounts on the databases that may only read, as Grafana's panels ask under them."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from pymongo import MongoClient

from helpers import courseload, machine
from helpers.machine import podman

Client = MongoClient[dict[str, Any]]
PREFIX = "test_reader_"  # of accounts that come and go
FERRETDB_PORT = 27018
FERRETDB_S = 120  # after which it ends by itself, should its test be killed


@contextmanager
def redis_client() -> Iterator[redis.Redis]:
    """Grafana's account on Redis."""
    password = machine.credential("grafana-reader", ".password")
    client: redis.Redis = redis.Redis(username="grafana", password=password, decode_responses=True)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def mongodb_client() -> Iterator[Client]:
    """Grafana's account on MongoDB; where that is FerretDB, which has none, a way to it that can only read."""
    if courseload.has_postgresql():
        with _ferretdb_for_reading() as client:
            yield client
    else:
        with connect("127.0.0.1:27017", "grafana", machine.credential("mongodb", "reader")) as client:
            yield client


@contextmanager
def ferretdb_account() -> Iterator[tuple[str, str]]:
    """The name and the password of an account with DocumentDB's role for reading, for as long as it is needed."""
    name, password = f"{PREFIX}{secrets.token_hex(4)}", secrets.token_hex(16)
    role = '{"role": "readAnyDatabase", "db": "admin"}'
    spec = f'{{"createUser": "{name}", "pwd": "{password}", "roles": [{role}]}}'
    courseload.psql("postgres", "postgres", f"SELECT documentdb_api.create_user('{spec}')")
    try:
        yield name, password
    finally:
        courseload.psql("postgres", "postgres", f'SELECT documentdb_api.drop_user(\'{{"dropUser": "{name}"}}\')')


@contextmanager
def _ferretdb_for_reading() -> Iterator[Client]:
    """A second FerretDB in the database's pod.

    The first asks PostgreSQL as its superuser whoever has logged in; this one asks as a role to which PostgreSQL itself
    denies all writing.
    """
    with ferretdb_account() as (name, password):
        options = [f"--listen-addr=:{FERRETDB_PORT}", "--debug-addr=", "--state-dir=/tmp", "--telemetry=disable"]
        url = f"--postgresql-url=postgres://{name}@/postgres?host=/run/postgresql"
        ferretdb = ["timeout", str(FERRETDB_S), "ferretdb", *options, url, "--log-level=error"]
        podman("exec", "--detach", "mongodb-mongodb", *ferretdb)
        networks = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        address = podman("inspect", "mongodb-mongodb", "--format", networks)
        try:
            with connect(f"{address}:{FERRETDB_PORT}", name, password) as client:
                yield client
        finally:
            for line in podman("top", "mongodb-mongodb", "hpid", "args").splitlines():
                if line.split()[1] == "timeout":
                    os.kill(int(line.split()[0]), signal.SIGTERM)


def connect(address: str, name: str, password: str) -> Client:
    uri = f"mongodb://{name}:{password}@{address}/courses?authSource=admin"
    return MongoClient(uri, serverSelectionTimeoutMS=10_000)
