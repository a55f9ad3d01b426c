"""The databases of a benchmark of one part: its own, on the servers that the environment names."""

import os
import sys
from typing import Any

import pymongo
import redis

from .product import MONGODB_DATABASE, REDIS_DATABASE, with_database


def named() -> tuple[str, str] | None:
    """The URLs of MongoDB and Redis; None, and a sentence on standard error, where the environment names none."""
    missing = {"MONGODB_URI", "REDIS_URL"} - os.environ.keys()
    if missing:
        print(f"{' and '.join(sorted(missing))} must name the databases to measure with", file=sys.stderr)
        return None
    mongodb = with_database(os.environ["MONGODB_URI"], MONGODB_DATABASE)
    return mongodb, with_database(os.environ["REDIS_URL"], REDIS_DATABASE)


def clear(mongodb: str, cache: str) -> None:
    """Empties both."""
    with pymongo.MongoClient[dict[str, Any]](mongodb) as client:
        client.drop_database(MONGODB_DATABASE)
    with redis.Redis.from_url(cache) as connection:
        connection.flushdb()
