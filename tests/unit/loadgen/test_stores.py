"""The databases as read: the names are those that the services write."""

import pytest
from pymongo.errors import ServerSelectionTimeoutError
from redis.exceptions import ConnectionError as RedisConnectionError

from course.settings import BadSetting
from direct import batches
from loadgen import stores


@pytest.mark.parametrize(
    ("number", "highest", "exception", "counted"),
    [
        (5, b"7", None, True),
        (8, b"7", None, False),
        (5, b"7", (4, 6, "o"), False),
        (6, b"7", (6, 6, "b"), False),
        (7, b"7", (4, 6, "o"), True),
        (5, None, None, False),
    ],
)
def test_a_batch_was_counted_up_to_the_highest_number_but_for_the_exceptions(number, highest, exception, counted):
    process = "69" + "0" * 14
    named = [f"{process}{exception[0]:010x}{exception[1]:010x}{exception[2]}".encode()] if exception else []
    token = f"{process}{number:010x}".encode()
    known = {} if highest is None else {process.encode(): highest}
    assert stores.counted_batches([token], known, named, b"") == ({token} if counted else set())
    assert batches.parts(f"{process}{number:010x}") == (process, number)


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

    with pytest.raises(stores.DatabaseUnavailable, match=f"{database} did not answer for 0 s"):
        stores.patiently(ask, seconds=0)


FIRST, SECOND, THIRD = (b"6929000000000001", b"692a000000000002", b"692b000000000003")


def batch(process, number):
    return process + f"{number:010x}".encode()


def test_a_batch_was_counted_unless_its_number_never_came_or_is_an_exception():
    highest = {SECOND: b"300", THIRD: b"5"}
    exceptions = sorted(
        SECOND + f"{first:010x}{last:010x}{letter}".encode() for first, last, letter in [(7, 9, "o"), (17, 17, "b")]
    )
    expected = {6: True, 7: False, 8: False, 9: False, 10: True, 17: False, 18: True, 300: True, 301: False}
    tokens = [batch(SECOND, number) for number in expected]
    counted = stores.counted_batches(tokens, highest, exceptions, FIRST)
    assert {number: batch(SECOND, number) in counted for number in expected} == expected
    others = [batch(FIRST, 1), batch(THIRD, 5), batch(THIRD, 6), batch(b"692c000000000004", 1)]
    assert stores.counted_batches(others, highest, exceptions, FIRST) == {batch(FIRST, 1), batch(THIRD, 5)}
