"""Accounts on the databases that may only read, as Grafana's panels ask under them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from pymongo import MongoClient

from helpers import courseload, machine
from helpers.machine import podman

Client = MongoClient[dict[str, Any]]
READING_PORT = 27018
IN_POD = "mongodb-mongodb"  # a container of the pod, all of which have its address


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
    """Grafana's account on MongoDB; where that is FerretDB, the reader's, by the way that the reader takes."""
    if courseload.has_postgresql():
        networks = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        place = f"{podman('inspect', IN_POD, '--format', networks)}:{READING_PORT}", "reader"
    else:
        place = "127.0.0.1:27017", "grafana"
    with account(*place) as client:
        yield client


def account(address: str, name: str) -> Client:
    """MongoDB at an address, under an account of those who read."""
    uri = f"mongodb://{name}:{machine.credential('mongodb', name)}@{address}/courses?authSource=admin"
    return MongoClient(uri, serverSelectionTimeoutMS=10_000)
