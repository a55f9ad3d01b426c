"""The shapes of a load test: whether one is possible, and as the load generator takes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

Points = Sequence[Sequence[Any]]


def name_of(shape: str | Points) -> str:
    """A shape's name; that of points is what they are, so that only the same ones have the same."""
    if isinstance(shape, str):
        return shape
    return " ".join(f"{float(point[0]):g}:{float(point[1]):g}" for point in shape)


def chosen(shape: str | Points, known: Mapping[str, Points]) -> dict[str, Any]:
    """The shape of this name, or of these points."""
    points = known[shape] if isinstance(shape, str) else shape
    return {"name": name_of(shape), "points": [[float(each) for each in point] for point in points]}


def refusals(shape: object, known: Mapping[str, Points]) -> Iterator[str]:
    """A sentence on why a shape, by its name or by its points, is not possible."""
    if isinstance(shape, str) and shape not in known:
        yield f"shape must be one of {', '.join(known)}, or a list of points, not '{shape}'."
    elif not isinstance(shape, str) and (must := _wrong(shape)):
        yield f"shape must be {must}, not '{shape}'."


def _wrong(points: object) -> str:
    """What the points of a shape must be, where they are not."""
    if not isinstance(points, Sequence) or not all(map(_is_point, points)):
        return "points, each the part of the duration and the part of the users, from 0 to 1"
    ats = [float(point[0]) for point in points]
    if not ats or ats != sorted(ats) or ats[0] != 0 or ats[-1] != 1:
        return "points from 0 to 1, which are the whole duration, in order"
    if not any(before == after == 1 and end > start for (start, before), (end, after) in pairwise(points)):
        return "points of which two have all users, which is 1, at work from one to the next"
    return ""


def _is_point(point: object) -> bool:
    if not isinstance(point, Sequence) or isinstance(point, str) or len(point) != 2:
        return False
    return all(isinstance(each, (int, float)) and 0 <= each <= 1 for each in point)
