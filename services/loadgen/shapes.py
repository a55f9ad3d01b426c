"""Shapes: how many of the users are at work over a run, as points with straight lines between them."""

from itertools import pairwise

import msgspec


class Shape(msgspec.Struct, frozen=True):
    """`points` are (part of the duration, part of the users), both 0 to 1, from the start to the end of a run.

    Of two points at the same part of the duration, the second one holds from there on.
    """

    name: str
    points: tuple[tuple[float, float], ...]

    def users_at(self, at: float) -> float:
        """The part of the users (0 to 1) that are to be at work at a part of the duration."""
        passed = [point for point in self.points if point[0] <= at]
        coming = [point for point in self.points if point[0] > at]
        if not passed or not coming:
            return (passed or coming)[-1][1]
        (start, before), (end, after) = passed[-1], coming[0]
        return before + (after - before) * (at - start) / (end - start)

    @property
    def starts(self) -> float:
        """How many users start in all, for each user: more than 1 where some leave and others come."""
        return self.points[0][1] + sum(max(0.0, after - before) for (_, before), (_, after) in pairwise(self.points))


CONSTANT = Shape("constant", ((0, 1), (1, 1)))
