"""The baseline of a load test: earlier runs of the same load, which say what is usual and how much it varies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .load_test import seconds
from .objectives import number
from .shapes import name_of

FEWEST = 3
"""Of two runs nobody can say how much they vary."""

_SAME_DURATION = 0.05


def runs(directory: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The summaries of the runs below a directory that passed under the load of these options, the oldest first."""
    files = sorted(Path(directory).expanduser().glob("*/summary.json"))
    return [summary for summary in map(_read, files) if summary.get("verdict") == "pass" and _alike(summary, options)]


def refusals(options: Mapping[str, Any]) -> Iterator[str]:
    """A sentence on why there is no baseline, where one is asked for."""
    directory = str(options["baseline"])
    if directory and (found := len(runs(directory, options))) < FEWEST:
        yield (
            f"baseline must be a directory with the reports of {FEWEST} runs or more that passed with the same users, "
            f"rate, shape, arrivals and duration, not '{directory}', which has {found}."
        )


def _read(path: Path) -> dict[str, Any]:
    """A summary; nothing where it is none."""
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return summary if isinstance(summary, dict) else {}


def _alike(summary: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """Whether a run had the load that is asked for; what it does not tell of is what it was before it could be set."""
    asked = (number(options["users"]), number(options["rate"]), name_of(options["shape"]), options["arrivals"])
    had = (*map(summary.get, ("users", "rate")), summary.get("shape", "constant"), summary.get("arrivals", "closed"))
    asked_s, had_s = seconds(options["duration"]), number(summary.get("duration_s"))
    return asked == had and had_s is not None and abs(had_s - asked_s) <= _SAME_DURATION * asked_s
