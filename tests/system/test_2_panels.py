"""What the panels of Grafana's dashboards ask has answers.

Each question is taken out of the generated JSON and put to the real database, under an account that may only read.
Grafana itself, which is in no package registry, does not run here.
"""

import json
import shlex
import time
from collections.abc import Callable, Iterator
from typing import Any

import pymongo.errors
import pytest
import redis
from bson import json_util

import dashboards
from course.questions import TEXTS
from dashboards.model import MONGODB, PROMETHEUS, REDIS, Need
from helpers import courseload, reader
from helpers.load import load_test
from helpers.panels import (
    SHOWN_S,
    Panel,
    Target,
    assert_prometheus_answers,
    expression,
    panels,
    questions,
)
from helpers.prometheus import query, query_range

CASES = [
    pytest.param(name, need, id=f"{name} with {need.name}" if need else name)
    for name, described in dashboards.DASHBOARDS.items()
    for need in (None, *Need)
    if any(panel.needs is need for panel in described.panels().values())
]


@pytest.fixture(scope="module", autouse=True)
def load() -> None:
    """A load test within the time that is shown: the one before this, or else a short one."""
    seen = f"count(max_over_time(route:notes:rate30s[{SHOWN_S // 2}s]) > 0) and on () max_over_time(loadtest_users[5m])"
    if [row["value"][1] for row in query(seen)] == [str(len(courseload.ROUTES))]:
        return
    with load_test(users=20, duration="20s", slo_p99_ms=5000) as process:
        process.wait(timeout=180)


@pytest.fixture(scope="module")
def mongodb() -> Iterator[reader.Client]:
    with reader.mongodb_client() as client:
        yield client


@pytest.fixture(scope="module")
def counters() -> Iterator[redis.Redis]:
    with reader.redis_client() as client:
        yield client


@pytest.mark.parametrize(("name", "need"), CASES)
def test_every_question_has_an_answer_with_what_its_panel_shows(
    name: str, need: Need | None, mongodb: reader.Client, counters: redis.Redis
) -> None:
    if need in (Need.KUBERNETES, Need.MESH):
        pytest.skip(f"these panels need {need.value}")
    if need is Need.POSTGRESQL and not courseload.has_postgresql():
        pytest.skip(f"these panels need {need.value}")
    ask: dict[str | None, Callable[[Panel, Target], None]] = {
        PROMETHEUS.uid: ask_prometheus,
        MONGODB.uid: lambda panel, target: ask_mongodb(mongodb, name, panel, target),
        REDIS.uid: lambda panel, target: ask_redis(counters, panel, target),
    }
    faults = {}
    for panel in panels(name, need):
        for target in panel["targets"]:
            try:
                ask[target["datasource"]["uid"]](panel, target)
            except (AssertionError, OSError, pymongo.errors.PyMongoError, redis.RedisError) as fault:
                faults[f"{panel['title']} ({panel['id']}{target['refId']})"] = str(fault)
    assert faults == {}


def ask_prometheus(panel: Panel, target: Target) -> None:
    end = time.time()
    assert_prometheus_answers(panel, target, query_range(expression(target), end - SHOWN_S, end))


def ask_mongodb(client: reader.Client, name: str, panel: Panel, target: Target) -> None:
    """There are rows, and each has the columns that the panel shows, each of one type: the plugin takes no other.

    Where something can be chosen, another choice is answered as well; of that there may be no notes.
    """
    default, *others = questions(name, target["queryText"], **shown())
    notes = client["courses"][target["collection"]]
    assert_columns(panel, rows := list(notes.aggregate(json_util.loads(default))))
    assert rows, f"no rows: {default}"
    for text in others[:1]:
        assert_columns(panel, list(notes.aggregate(json_util.loads(text))))


def shown() -> dict[str, str]:
    """Grafana's own variables for the time that is shown."""
    now = int(time.time() * 1000)
    return {"__from": str(now - SHOWN_S * 1000), "__to": str(now)}


def assert_columns(panel: Panel, rows: list[dict[str, Any]]) -> None:
    for column in columns(panel):
        assert all(column in row for row in rows), f"a row without {column}: {rows[:3]}"
        assert len({type(row[column]) for row in rows}) <= 1, f"{column} is of several types"


def ask_redis(client: redis.Redis, panel: Panel, target: Target) -> None:
    """There is an answer that the plugin turns into figures, or into the columns that the panel shows."""
    words = shlex.split(target.get("query") or f"{target['command']} {target['keyName']}")
    answer: Any = client.execute_command(*words)
    assert answer, f"nothing: {words}"
    if words[0].lower() == "lrange":
        for text in answer:
            assert columns(panel) <= json.loads(text).keys(), text
    else:
        figures = answer.values() if isinstance(answer, dict) else [answer]
        assert all(float(figure) > 0 for figure in figures)


def columns(panel: Panel) -> set[str]:
    """The columns that a panel puts into an order."""
    ordered = [step["options"]["indexByName"] for step in panel["transformations"] if step["id"] == "organize"]
    assert len(ordered) == 1, f"{panel['title']} leaves the order of its columns to chance"
    return set(ordered[0])


def test_most_and_least_and_the_shares_are_those_of_all_notes(mongodb: reader.Client) -> None:
    asked = {panel["title"]: panel["targets"][0].get("queryText") for panel in panels("course-notes", None)}
    notes = mongodb["courses"]["notes"]
    (text,) = questions("course-notes", asked["Most and least"])
    shares = asked["Notes and share, by ${by:text}"]
    found = {row["category"]: row for row in notes.aggregate(json_util.loads(text))}
    for (field, name), text in zip(TEXTS.items(), questions("course-notes", shares), strict=True):
        rows = notes.aggregate([{"$group": {"_id": f"${field}", "notes": {"$sum": 1}}}])
        counted = {row["_id"]: row["notes"] for row in rows}
        total, of = sum(counted.values()), found[name]
        for end, wanted in (("most", max(counted.values())), ("least", min(counted.values()))):
            assert counted[of[end]] == of[f"{end}_notes"] == wanted
            assert of[f"{end}_share"] == pytest.approx(wanted / total)
        assert of["different"] == len(counted)
        answer = list(notes.aggregate(json_util.loads(text)))
        assert {row["text"]: row["notes"] for row in answer} == counted
        assert [row["notes"] for row in answer] == sorted(counted.values(), reverse=True)
        assert sum(row["share"] for row in answer) == pytest.approx(1)


def test_the_account_on_redis_may_ask_that_and_nothing_else(counters: redis.Redis) -> None:
    for forbidden in (
        *("SET notes:count 1", "DEL notes:latest", "LPUSH notes:latest x", "HSET notes:count:region NORTE 1"),
        *("KEYS *", "SCAN 0", "GET notes:probe", "HGETALL notes:batches", "EVAL return 0", "INFO", "MONITOR"),
        *("CONFIG GET *", "ACL LIST", "CLIENT LIST", "SCRIPT FLUSH", "FLUSHALL", "SHUTDOWN"),
    ):
        with pytest.raises(redis.exceptions.NoPermissionError):
            counters.execute_command(*forbidden.split())


@pytest.fixture
def scratch() -> Iterator[str]:
    """A collection that a test may lose, with one document."""
    name = "panels_test"
    with courseload.notes() as notes:
        notes.database[name].insert_one({"_id": 1})
        yield name
        notes.database.drop_collection(name)


def test_the_account_on_mongodb_reads_and_cannot_write(mongodb: reader.Client, scratch: str) -> None:
    courses = mongodb["courses"]
    assert courses[scratch].find_one() == {"_id": 1}
    attempts: dict[str, Callable[[], object]] = {
        "insert": lambda: courses["notes"].insert_one({"_id": "panels test"}),
        "update": lambda: courses[scratch].update_one({"_id": 1}, {"$set": {"changed": True}}),
        "delete": lambda: courses[scratch].delete_one({"_id": 1}),
        "drop": courses[scratch].drop,
        "create a collection": lambda: courses.create_collection("panels_test_2"),
        "create an index": lambda: courses[scratch].create_index("changed"),
        "write with a pipeline": lambda: courses[scratch].aggregate([{"$out": "panels_test_2"}]),
        "create a user": lambda: mongodb["admin"].command("createUser", "panels_test", pwd="0" * 32, roles=[]),
    }
    allowed = []
    for name, attempt in attempts.items():
        try:
            attempt()
        except pymongo.errors.PyMongoError:
            continue
        allowed.append(name)
    assert allowed == []
    with courseload.notes() as notes:
        assert list(notes.database[scratch].find()) == [{"_id": 1}]
        assert notes.find_one({"_id": "panels test"}) is None


def test_ferretdb_keeps_no_account_from_writing_so_the_reader_comes_by_another_way(scratch: str) -> None:
    if not courseload.has_postgresql():
        pytest.skip("MongoDB itself runs here, which keeps accounts to their roles")
    with courseload.notes() as notes:
        names = {user["user"] for user in notes.database.client["admin"].command("usersInfo")["users"]}
        # PostgreSQL's role of the exporter is listed as well; it has no password, so it cannot log in.
        assert names == {"courseload", "statistics", "reader"}
    with reader.account("127.0.0.1:27017", "reader") as client:
        client["courses"][scratch].insert_one({"_id": 2})
