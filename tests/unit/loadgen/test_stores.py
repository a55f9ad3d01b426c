"""The databases as read: the names are those that the services write."""

import pytest
from pymongo.errors import ServerSelectionTimeoutError
from redis.exceptions import ConnectionError as RedisConnectionError

from course import notes
from course.note import FIELDS
from course.settings import BadSetting
from direct import counters
from loadgen import stores


def test_the_collection_and_database_are_those_of_the_services():
    assert (stores.COLLECTION, stores.DEFAULT_DATABASE) == (notes.COLLECTION, notes.DEFAULT_DATABASE)


def test_the_keys_are_those_that_direct_writes():
    assert (stores.COUNT, stores.APPLIED) == (counters.COUNT, counters.APPLIED)
    assert [f"{stores.COUNT}:{field}" for field in FIELDS] == list(counters._KEYS[2:6])


def test_a_missing_address_is_named():
    with pytest.raises(BadSetting, match="MONGODB_URI is not set"):
        stores.connect({})


def test_databases_that_do_not_answer_are_asked_again(monkeypatch):
    monkeypatch.setattr(stores, "PAUSE_S", 0)
    answers = iter([RedisConnectionError("down"), OSError("down"), 42])

    def ask():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert stores.patiently(ask, seconds=5) == 42


@pytest.mark.parametrize(
    ("error", "database"), [(RedisConnectionError, "Redis"), (ServerSelectionTimeoutError, "MongoDB")]
)
def test_a_database_that_stays_down_is_named(monkeypatch, error, database):
    monkeypatch.setattr(stores, "PAUSE_S", 0)

    def ask():
        raise error("down")

    with pytest.raises(stores.Away, match=f"{database} did not answer for 0 s"):
        stores.patiently(ask, seconds=0)
