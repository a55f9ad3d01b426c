"""The objectives of a load test: whether they are possible, and as the load generator takes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TOTAL = "total"
EXAMPLE = "{of: total, what: p99, at_most: 500}"
_LIMITS = ("at_most", "at_least")


def normal(objectives: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The objectives with limits that are numbers, also where -e made texts of them."""
    return [
        {name: float(value) if name in _LIMITS else str(value) for name, value in objective.items()}
        for objective in objectives
    ]


def number(value: object) -> float | None:
    """A number that is not negative; None for anything else."""
    return float(str(value)) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", str(value)) else None


def refusals(objectives: object, routes: Sequence[str], asked: float | None) -> Iterator[str]:
    """A sentence for each objective that is not possible; `asked` is the requests per second, where known."""
    if not isinstance(objectives, Sequence) or isinstance(objectives, str):
        yield f"objectives must be a list of such as {EXAMPLE}, not '{objectives}'."
        return
    for at, objective in enumerate(objectives, start=1):
        for name, value, must in _wrong(objective, routes, asked):
            yield f"objectives, number {at}: {name} must be {must}, not '{value}'."


def _wrong(objective: object, routes: Sequence[str], asked: float | None) -> Iterator[tuple[str, object, str]]:
    """What is not possible of an objective, its value, and what it must be."""
    if not isinstance(objective, Mapping):
        yield "it", objective, f"such as {EXAMPLE}"
        return
    of, what = objective.get("of"), str(objective.get("what"))
    if of not in (TOTAL, *routes):
        yield "of", of, f"{TOTAL} or one of the routes ({', '.join(routes)})"
        return
    if what not in ("failure_ratio", "throughput") and not _is_percentile(what):
        yield "what", what, "a percentile such as p99 or p99.9, failure_ratio or throughput"
        return
    limit = "at_least" if what == "throughput" else "at_most"
    if set(objective) != {"of", "what", limit}:
        yield "its keys", ", ".join(map(str, objective)), f"of, what and, for {what}, {limit}"
        return
    value, must = objective[limit], _limit(what, asked)
    if not _is_limit(what, number(value), asked):
        yield limit, value, must


def _is_percentile(what: str) -> bool:
    return re.fullmatch(r"p([0-9]{1,2}(\.[0-9]{1,3})?|100)", what) is not None and float(what[1:]) > 0


def _is_limit(what: str, value: float | None, asked: float | None) -> bool:
    if value is None:
        return False
    if what == "failure_ratio":
        return value <= 1
    return value > 0 and (what != "throughput" or asked is None or value <= asked)


def _limit(what: str, asked: float | None) -> str:
    if what == "failure_ratio":
        return "a number from 0 to 1"
    if what == "throughput":
        most = "" if asked is None else f", up to the {asked:g} that are asked for (users times rate)"
        return f"a number of notes per second above 0{most}"
    return "a number of milliseconds above 0"
