"""`store.py count|show|clear`: tells, as JSON, what is in the benchmark's own databases, or empties them."""

import json
import os
import sys
from typing import Any

import pymongo
import redis

from course.note import FIELDS
from course.stored import COLLECTION, COUNT, LATEST

FEW = 1000  # documents, for `show`


def main() -> None:
    """Do the one operation asked for."""
    name = os.environ["MONGODB_DATABASE"]
    mongodb: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(os.environ["MONGODB_URI"])
    cache = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
    notes = mongodb[name][COLLECTION]
    match sys.argv[1]:
        case "clear":
            mongodb.drop_database(name)
            cache.flushdb()
            told: dict[str, Any] = {}
        case "show":
            told = show(notes, cache)
        case _:
            told = {"stored": notes.count_documents({}), "counted": int(cache.get(COUNT) or 0)}
    print(json.dumps(told))


def show(notes: pymongo.collection.Collection[dict[str, Any]], cache: redis.Redis) -> dict[str, Any]:
    """Everything that is kept of a few notes."""
    return {
        "notes": {str(n["_id"]): {field: n.get(field) for field in FIELDS} for n in notes.find().limit(FEW)},
        "dated": notes.count_documents({"at": {"$type": "date"}}),
        "counted": int(cache.get(COUNT) or 0),
        "latest": sorted(json.loads(entry)["id"] for entry in cache.lrange(LATEST, 0, -1)),
        "counters": {
            field: {text: int(count) for text, count in cache.hgetall(f"{COUNT}:{field}").items()} for field in FIELDS
        },
    }


if __name__ == "__main__":
    try:
        main()
    except (pymongo.errors.PyMongoError, redis.RedisError) as error:
        sys.exit(f"the databases did not answer: {error}")
