"""`store.py count|clear`: tells, as JSON, what is in the benchmark's own databases, or empties them."""

import json
import os
import sys

import pymongo
import redis


def main() -> None:
    """Do the one operation asked for."""
    name = os.environ["MONGODB_DATABASE"]
    mongodb: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(os.environ["MONGODB_URI"])
    cache = redis.Redis.from_url(os.environ["REDIS_URL"])
    if sys.argv[1] == "clear":
        mongodb.drop_database(name)
        cache.flushdb()
        print("{}")
    else:
        stored = mongodb[name]["notes"].count_documents({})
        print(json.dumps({"stored": stored, "counted": int(cache.get("notes:count") or 0)}))


if __name__ == "__main__":
    try:
        main()
    except (pymongo.errors.PyMongoError, redis.RedisError) as error:
        sys.exit(f"the databases did not answer: {error}")
