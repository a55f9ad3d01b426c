"""Shapes: how many users are at work when."""

import pytest

from loadgen.shapes import CONSTANT, Shape

SPIKE = Shape("spike", ((0, 0.2), (0.4, 0.2), (0.4, 1), (0.6, 1), (0.6, 0.2), (1, 0.2)))
RAMP = Shape("ramp", ((0, 0), (0.8, 1), (1, 1)))


@pytest.mark.parametrize(
    ("shape", "at", "share"),
    [
        (CONSTANT, 0, 1),
        (CONSTANT, 1, 1),
        (RAMP, 0, 0),
        (RAMP, 0.4, 0.5),
        (RAMP, 0.9, 1),
        (SPIKE, 0.39, 0.2),
        (SPIKE, 0.4, 1),
        (SPIKE, 0.59, 1),
        (SPIKE, 0.6, 0.2),
        (SPIKE, 1, 0.2),
    ],
)
def test_between_two_points_lies_a_straight_line_and_a_step_takes_effect_at_once(shape, at, share):
    assert shape.users_at(at) == pytest.approx(share)


@pytest.mark.parametrize(
    ("shape", "starts"), [(CONSTANT, 1), (RAMP, 1), (SPIKE, 1), (Shape("two", ((0, 1), (0.5, 0), (0.5, 1), (1, 1))), 2)]
)
def test_users_who_come_after_others_have_left_are_started_as_well(shape, starts):
    assert shape.starts == pytest.approx(starts)
