"""The shapes of a load test: those of the settings are possible, and what is not is refused in a sentence."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from courseload import shapes
from helpers.options import REPOSITORY

SHAPES = yaml.safe_load((REPOSITORY / "roles/locust/vars/main.yml").read_text())["__locust_shapes"]


@pytest.mark.parametrize("name", SHAPES)
def test_each_shape_with_a_name_is_possible(name: str) -> None:
    assert list(shapes.refusals(name, SHAPES)) == []
    assert list(shapes.refusals(SHAPES[name], {})) == []


def test_there_are_the_usual_ones() -> None:
    assert list(SHAPES) == ["constant", "ramp", "steps", "spike", "soak"]


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (None, "points, each the part of the duration and the part of the users, from 0 to 1"),
        ([0, 1], "points, each the part of the duration"),
        ([[0, 1], [1, 1.5]], "points, each the part of the duration"),
        ([[0, "1"], [1, 1]], "points, each the part of the duration"),
        ([], "points from 0 to 1"),
        ([[0, 1], [0.9, 1]], "points from 0 to 1"),
        ([[0, 1], [0.6, 1], [0.5, 1], [1, 1]], "points from 0 to 1"),
        ([[0, 0], [1, 1]], "points of which two have all users"),
        ([[0, 0], [0.5, 1], [0.5, 1], [1, 0]], "points of which two have all users"),
    ],
    ids=str,
)
def test_what_is_not_possible_is_refused(points: Any, said: str) -> None:
    (told,) = shapes.refusals(points, SHAPES)
    assert told.startswith(f"shape must be {said}")
    assert told.endswith(f", not '{points}'.")


def test_a_shape_that_is_not_there_is_refused_with_those_that_are() -> None:
    (told,) = shapes.refusals("wave", SHAPES)
    assert told == "shape must be one of constant, ramp, steps, spike, soak, or a list of points, not 'wave'."


def test_the_load_generator_gets_the_points_as_numbers() -> None:
    points = [[0.0, 0.0], [0.8, 1.0], [1.0, 1.0]]
    assert shapes.chosen("ramp", SHAPES) == {"name": "ramp", "points": points}
    assert shapes.chosen([[0, 0], [0.8, 1], [1, 1]], SHAPES) == {"name": "0:0 0.8:1 1:1", "points": points}
