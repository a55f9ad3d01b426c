"""Removing the lab: without a trace, and as often as one likes."""

from __future__ import annotations

from lab import hosts, traces
from lab.paths import SSH
from lab.traces import Traces


def test_down_leaves_nothing_behind(before: Traces) -> None:
    hosts.down()
    assert traces.left(before) == {}
    assert list(SSH.glob("*")) == []


def test_down_again_has_nothing_to_do(before: Traces) -> None:
    hosts.down()
    assert traces.left(before) == {}
