"""The baseline of a load test: the runs that had the same load, and a sentence where there are too few."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from courseload import baseline

OPTIONS: dict[str, Any] = {
    "users": "100",
    "rate": 2,
    "duration": "60s",
    "shape": "constant",
    "arrivals": "closed",
    "baseline": "",
}
SUMMARY = {
    "verdict": "pass",
    "users": 100,
    "rate": 2.0,
    "shape": "constant",
    "arrivals": "closed",
    "duration_s": 60.1,
}


@pytest.fixture
def leave(tmp_path: Path) -> Callable[..., None]:
    """A function that leaves a run with a summary."""

    def leave_run(name: str, text: str | None = None, **changes: Any) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(text or json.dumps(SUMMARY | changes))

    return leave_run


def test_the_runs_of_the_same_load_are_the_baseline_in_their_order(leave: Callable[..., None], tmp_path: Path) -> None:
    for number in (2, 1, 3):
        leave(f"2026112{number}T040000Z-100u", rps=float(number))
    assert [run["rps"] for run in baseline.runs(str(tmp_path), OPTIONS)] == [1.0, 2.0, 3.0]
    assert list(baseline.refusals(OPTIONS | {"baseline": str(tmp_path)})) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": "fail"},
        {"users": 200},
        {"rate": 0},
        {"shape": "spike"},
        {"arrivals": "open"},
        {"duration_s": 30.0},
        {"duration_s": None},
    ],
    ids=str,
)
def test_runs_that_failed_or_had_another_load_are_passed_over(
    leave: Callable[..., None], tmp_path: Path, changes: dict[str, Any]
) -> None:
    leave("one")
    leave("two", **changes)
    assert len(baseline.runs(str(tmp_path), OPTIONS)) == 1


def test_what_is_no_summary_is_passed_over(leave: Callable[..., None], tmp_path: Path) -> None:
    leave("one", text="{")
    leave("two", text="[]")
    (tmp_path / "three").mkdir()
    assert baseline.runs(str(tmp_path), OPTIONS) == []


def test_runs_with_points_of_their_own_need_the_same_points(leave: Callable[..., None], tmp_path: Path) -> None:
    leave("one", shape="0:0.5 1:1")
    assert len(baseline.runs(str(tmp_path), OPTIONS | {"shape": [[0, 0.5], [1, 1]]})) == 1
    assert baseline.runs(str(tmp_path), OPTIONS | {"shape": [[0, 0.6], [1, 1]]}) == []


def test_summaries_of_before_there_were_shapes_count_as_constant_and_open(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    old = {name: value for name, value in SUMMARY.items() if name not in ("shape", "arrivals")}
    (tmp_path / "one/summary.json").write_text(json.dumps(old))
    assert len(baseline.runs(str(tmp_path), OPTIONS)) == 1


def test_too_few_runs_are_no_baseline(leave: Callable[..., None], tmp_path: Path) -> None:
    leave("one")
    leave("two")
    (told,) = baseline.refusals(OPTIONS | {"baseline": str(tmp_path)})
    assert told.startswith("baseline must be a directory with the reports of 3 runs or more that passed with the same")
    assert told.endswith(f"not '{tmp_path}', which has 2.")
    assert list(baseline.refusals(OPTIONS)) == []
    (told,) = baseline.refusals(OPTIONS | {"baseline": str(tmp_path / "nowhere")})
    assert told.endswith("which has 0.")
