"""The sum of bin/test: what it calls a success."""

import pytest

from helpers.stages import Result, sum_up


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([Result(passed=3)], 0),
        ([Result(passed=3), Result(skipped=["the whole stage: needs root"])], 0),
        ([Result(passed=3), Result(failed=["one"])], 1),
        ([Result(skipped=["the whole stage: needs root"])], 1),
    ],
    ids=["passed", "passed and skipped", "failed", "skipped"],
)
def test_only_what_passed_is_a_success(results: list[Result], code: int) -> None:
    assert sum_up({str(number): result for number, result in enumerate(results)}, 1.0) == code
