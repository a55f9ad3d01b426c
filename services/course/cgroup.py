"""The limit that a control group puts on this container's CPU, and how often it held the container back.

Source: Linux, Documentation/admin-guide/cgroup-v2.rst (cpu.max, cpu.stat) and scheduler/sched-bwc.rst for version 1.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

ROOT = Path("/sys/fs/cgroup")


class Periods(NamedTuple):
    """Periods in which a container with a limit ran, and those in which it had to wait for the next one."""

    all: int
    throttled: int


def cpu_limit(root: Path = ROOT) -> float | None:
    """The cores that this container may use; None where nothing limits it, or nobody says."""
    quota, _, period = _read(root / "cpu.max").partition(" ")
    if not quota:
        quota, period = _read(root / "cpu/cpu.cfs_quota_us"), _read(root / "cpu/cpu.cfs_period_us")
    limited = quota.isdigit() and period.isdigit() and int(period) > 0
    return int(quota) / int(period) if limited else None


def cpu_periods(root: Path = ROOT) -> Periods | None:
    """Since the container began; None where nobody says."""
    lines = (_read(root / "cpu.stat") or _read(root / "cpu/cpu.stat")).splitlines()
    counts = {name: number for name, _, number in (line.partition(" ") for line in lines)}
    try:
        return Periods(int(counts["nr_periods"]), int(counts["nr_throttled"]))
    except (KeyError, ValueError):
        return None


class CpuLimitCollector(Collector):
    """How often the limit held the container back, as Prometheus's counters."""

    def collect(self) -> Iterator[Metric]:
        """The Prometheus families; none where nobody says."""
        if periods := cpu_periods():
            text = "Periods in which a CPU limit was in force"
            yield CounterMetricFamily("courseload_cpu_periods", text, value=periods.all)
            text = "Periods in which it held the container back"
            yield CounterMetricFamily("courseload_cpu_throttled_periods", text, value=periods.throttled)


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
