"""Rounds: in each everyone is measured once, and the figures of all of them are told as a spread."""

from collections.abc import Sequence
from statistics import median
from typing import TypeVar

T = TypeVar("T")


def rotated(field: Sequence[T], places: int) -> list[T]:
    """The same contestants, each round starting with another."""
    places %= len(field)
    return [*field[places:], *field[:places]]


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median, the least and the most."""
    return {"median": round(median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}
