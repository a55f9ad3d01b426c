"""Two capacities beside each other: a difference is one only where the intervals do not overlap."""

from pathlib import Path

import msgspec

from loadgen.capacity.result import Capacity


class Comparison(msgspec.Struct):
    """Another capacity beside this one: when it was found, its rates in requests a second, and what that says."""

    started_at: str
    met: float
    missed: float | None
    sentence: str


def read_earlier(file: Path) -> Capacity | None:
    """The capacity to compare with; None where there is none, or one of another version."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Capacity)
    except (OSError, msgspec.DecodeError):
        return None


def compare(now: Capacity, earlier: Capacity) -> Comparison | None:
    """This capacity beside an earlier one; None where one of them has no answer."""
    if now.met is None or earlier.met is None or not (now.proven and earlier.proven):
        return None
    # Each lies between what was met and what was missed: two that overlap may be the same.
    if _above(now, earlier):
        sentence = f"More than before: at least {now.met / (earlier.missed or earlier.met):.2f} times."
    elif _above(earlier, now):
        sentence = f"Less than before: at most {(now.missed or now.met) / earlier.met:.2f} times."
    else:
        sentence = "No difference: the two intervals overlap."
    if (now.settings.objectives, now.settings.weights) != (earlier.settings.objectives, earlier.settings.weights):
        sentence += " Objectives or split were others, so this says little."
    if now.replicas != earlier.replicas:
        sentence += f" Replicas of the routes: {now.replicas or 'one'}, and {earlier.replicas or 'one'} before."
    return Comparison(earlier.started_at, earlier.met, earlier.missed, sentence)


def _above(one: Capacity, other: Capacity) -> bool:
    return one.met is not None and other.missed is not None and one.met >= other.missed
