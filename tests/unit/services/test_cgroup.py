"""The limit on a container's CPU, as both versions of control groups tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from course.cgroup import Periods, cpu_limit, cpu_periods

STAT = "usage_usec 100\nnr_periods 50\nnr_throttled 20\nthrottled_usec 7\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "20000 100000\n"}, 0.2),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
    ids=["version 2", "version 2, no limit", "version 1", "version 1, no limit", "nobody says"],
)
def test_the_limit_is_in_cores(tmp_path: Path, files: dict[str, str], cores: float | None) -> None:
    assert cpu_limit(write(tmp_path, files)) == cores


@pytest.mark.parametrize(
    ("files", "periods"),
    [
        ({"cpu.stat": STAT}, Periods(50, 20)),
        ({"cpu/cpu.stat": STAT}, Periods(50, 20)),
        ({"cpu.stat": "usage_usec 100\n"}, None),
        ({}, None),
    ],
    ids=["version 2", "version 1", "no controller", "nobody says"],
)
def test_periods_are_counted_where_somebody_says(
    tmp_path: Path, files: dict[str, str], periods: Periods | None
) -> None:
    assert cpu_periods(write(tmp_path, files)) == periods
