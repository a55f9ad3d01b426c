"""Objectives as people write them: what is not possible is refused by its place and name."""

from __future__ import annotations

from typing import Any

import pytest

from courseload import objectives

ROUTES = ["relay", "direct"]
POSSIBLE = [
    {"of": "total", "what": "p99", "at_most": 500},
    {"of": "relay", "what": "p99.9", "at_most": "0.5"},
    {"of": "direct", "what": "p100", "at_most": 1000},
    {"of": "total", "what": "failure_ratio", "at_most": 0},
    {"of": "total", "what": "failure_ratio", "at_most": "1"},
    {"of": "direct", "what": "throughput", "at_least": 200},
]
IMPOSSIBLE: list[tuple[Any, str]] = [
    ("p99", "it must be such as {of: total, what: p99, at_most: 500}, not 'p99'."),
    (
        {"of": "redis", "what": "p99", "at_most": 1},
        "of must be total or one of the routes (relay, direct), not 'redis'.",
    ),
    ({"what": "p99", "at_most": 1}, "of must be total or one of the routes (relay, direct), not 'None'."),
    (
        {"of": "total", "what": "p101", "at_most": 1},
        "what must be a percentile such as p99 or p99.9, failure_ratio or ",
    ),
    ({"of": "total", "what": "p0", "at_most": 1}, "what must be a percentile such as p99"),
    ({"of": "total", "what": "median", "at_most": 1}, "what must be a percentile such as p99"),
    ({"of": "total", "what": "p99"}, "its keys must be of, what and, for p99, at_most, not 'of, what'."),
    ({"of": "total", "what": "p99", "at_least": 1}, "its keys must be of, what and, for p99, at_most, not"),
    (
        {"of": "total", "what": "throughput", "at_most": 1},
        "its keys must be of, what and, for throughput, at_least, not",
    ),
    (
        {"of": "total", "what": "p99", "at_most": 1, "at_last": 2},
        "its keys must be of, what and, for p99, at_most, not",
    ),
    ({"of": "total", "what": "p99", "at_most": 0}, "at_most must be a number of milliseconds above 0, not '0'."),
    (
        {"of": "total", "what": "p99", "at_most": "fast"},
        "at_most must be a number of milliseconds above 0, not 'fast'.",
    ),
    ({"of": "total", "what": "failure_ratio", "at_most": 1.1}, "at_most must be a number from 0 to 1, not '1.1'."),
    ({"of": "total", "what": "throughput", "at_least": 0}, "at_least must be a number of notes per second above 0"),
    (
        {"of": "relay", "what": "throughput", "at_least": 201},
        "at_least must be a number of notes per second above 0, up",
    ),
]


@pytest.mark.parametrize("objective", POSSIBLE, ids=str)
def test_what_is_possible_is_not_refused(objective: dict[str, Any]) -> None:
    assert list(objectives.refusals([objective], ROUTES, 200.0)) == []


@pytest.mark.parametrize(("objective", "said"), IMPOSSIBLE, ids=str)
def test_what_is_not_possible_is_refused_in_one_sentence(objective: Any, said: str) -> None:
    (told,) = objectives.refusals([POSSIBLE[0], objective], ROUTES, 200.0)
    assert told.startswith(f"objectives, number 2: {said}")


@pytest.mark.parametrize("value", ["p99", {"of": "total"}, None, 3])
def test_what_is_no_list_is_refused(value: object) -> None:
    (told,) = objectives.refusals(value, ROUTES, None)
    assert told.startswith("objectives must be a list")


def test_there_may_be_no_objective_at_all() -> None:
    assert list(objectives.refusals([], ROUTES, None)) == []


def test_limits_are_numbers_for_the_load_generator_also_where_the_command_line_made_texts_of_them() -> None:
    asked: list[dict[str, Any]] = [
        {"of": "total", "what": "p99", "at_most": "5000"},
        {"of": "relay", "what": "throughput", "at_least": 7},
    ]
    assert objectives.normal(asked) == [
        {"of": "total", "what": "p99", "at_most": 5000.0},
        {"of": "relay", "what": "throughput", "at_least": 7.0},
    ]
