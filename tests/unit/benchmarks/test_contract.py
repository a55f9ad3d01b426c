"""Who does less than the contract asks is found out before he is measured."""

import json
from collections import Counter
from collections.abc import Collection, Mapping
from itertools import count
from typing import Any

import pytest

from bench import contract
from bench.contract import Answer

FIELDS = tuple(contract.NOTE)
BOTH = ("stored", "counted")


class Route:
    """A route in memory that keeps the contract, but for its `fault`."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.notes: dict[str, dict[str, str]] = {}
        self.keys: dict[str, str] = {}
        self.counted: list[str] = []
        self.numbers = count(1)

    def post(self, body: object, key: str | None) -> Answer:
        note = self.read(body)
        if note is None or (key is not None and not key.isascii()):
            return Answer(400, {}, None if self.fault == "no error" else {"error": "bad"})
        known = self.keys.get(key or "")
        if known is not None and self.fault != "no keys":
            if self.notes[known] != note:
                return Answer(201, {"x-route": "r"}, {"id": known}) if self.fault == "takes others" else conflict()
            if self.fault == "counts twice":
                self.counted.append(known)
            return Answer(201, {"x-route": "r"}, {"id": known})
        note_id = f"{next(self.numbers):024x}"
        self.notes[note_id] = note
        self.counted.append(note_id)
        if key is not None:
            self.keys[key] = note_id
        return Answer(201, {} if self.fault == "no route" else {"x-route": "r"}, {"id": note_id})

    def read(self, body: object) -> dict[str, str] | None:
        try:
            note = json.loads(body) if isinstance(body, bytes) else body
        except ValueError:
            return None
        if not isinstance(note, dict) or set(note) != set(FIELDS):
            return note if self.fault == "any field" and isinstance(note, dict) else None
        texts = list(note.values())
        good = all(isinstance(t, str) and t and len(t) <= 128 for t in texts)
        blank = self.fault != "takes blanks" and any(isinstance(t, str) and t.isspace() for t in texts)
        return note if good and not blank else None

    def show(self) -> dict[str, Any]:
        counted = [] if self.fault == "counts nothing" else self.counted
        fields = FIELDS[:1] if self.fault == "one counter" else FIELDS
        counters = {field: dict(Counter(self.notes[i].get(field, "") for i in counted)) for field in fields}
        return {
            "notes": {} if self.fault == "stores nothing" else self.notes,
            "dated": 0 if self.fault == "no date" else len(self.notes),
            "counted": len(counted),
            "latest": [] if self.fault == "no list" else sorted(counted),
            "counters": {field: {} for field in FIELDS} | counters,
        }


def conflict() -> Answer:
    return Answer(422, {}, {"error": "another note"})


def found(fault: str, keeps: Collection[str] = BOTH) -> list[str]:
    route = Route(fault)
    return contract.problems(route.post, route.show, keeps)


def test_a_route_that_keeps_the_contract_has_no_problems():
    assert found("") == []


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("no error", "not 400 with an error"),
        ("no route", "not 201 with its id and X-Route"),
        ("takes blanks", "where a text is only white space"),
        ("any field", "where a field is none of a note's"),
        ("no keys", "twice under one key"),
        ("takes others", "another note under the same key"),
        ("counts twice", "Redis has counted 4 notes"),
        ("counts nothing", "Redis has counted 0 notes"),
        ("one counter", "Redis has counted 3 notes"),
        ("no list", "the latest notes in Redis are []"),
        ("stores nothing", "MongoDB has {}"),
        ("no date", "0 of them with a date"),
    ],
)
def test_a_route_that_does_less_is_found_out(fault: str, told: str):
    assert any(told in problem for problem in found(fault))


def test_redis_is_asked_only_of_those_who_count():
    assert found("counts nothing", ("stored",)) == []


def test_who_keeps_nothing_is_asked_only_what_it_answers():
    assert found("no keys", ()) == []
    assert found("no error", ()) != []


@pytest.mark.parametrize(
    ("status", "headers", "good"),
    [(503, {"retry-after": "1"}, True), (503, {}, False), (201, {}, False), (500, {"retry-after": "1"}, False)],
)
def test_without_a_database_only_503_with_retry_after_will_do(status: int, headers: Mapping[str, str], good: bool):
    problems = contract.without_database(Answer(status, headers, {"error": "away"}), "Redis")
    assert (problems == []) is good
