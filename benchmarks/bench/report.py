"""Turns the rounds into medians, ratios and verdicts, as JSON or as tables."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .measure import Measurement
from .podman import podman
from .rounds import spread
from .targets import Rounds, judge

DISTURBED = 0.1
FIGURES = ("writes_per_s", "p50_ms", "p99_ms", "max_ms", "errors", "cpu_total_us", "idle")
GROUPS = ("route", "ledger", "MongoDB", "Redis", "ingress")


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    version = podman("version", "--format={{.Client.Version}}")
    return {"cores": os.cpu_count(), "kernel": platform.release(), "podman": version}


def disturbed(rounds: Rounds, seconds: int) -> list[str]:
    """The measurements during which other programs took more than a tenth of the machine."""
    capacity = seconds * (os.cpu_count() or 1)
    return [
        f"round {number}, {cell.contestant}, {cell.place}, {cell.connections} at {asked_rate(cell.rate)}:"
        f" {measurement.rest_s:.1f} CPU seconds"
        for cell, measurements in rounds.items()
        for number, measurement in enumerate(measurements, start=1)
        if measurement.rest_s > DISTURBED * capacity
    ]


def asked_rate(rate: int) -> str:
    """The requests a second that a cell was asked to answer."""
    return f"{rate:,}" if rate else "all"


def spreads(rounds: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """The spread of each part's figure."""
    return {part: spread([figures.get(part, 0.0) for figures in rounds]) for part in rounds[0]}


def summary(measurements: Sequence[Measurement]) -> dict[str, Any]:
    """One cell: the spread of each figure, and the rounds it comes from."""
    return {
        **{figure: spread([getattr(m, figure) for m in measurements]) for figure in FIGURES},
        "cpu_us": spreads([m.cpu_us for m in measurements]),
        "memory_mib": spreads([m.memory_mib for m in measurements]),
        "rounds": [asdict(m) for m in measurements],
    }


def as_json(rounds: Rounds, options: Mapping[str, Any], left_out: Sequence[str]) -> dict[str, Any]:
    """The whole run: the machine, the options, each cell, each target, and whether all were reached."""
    found = judge(rounds)
    return {
        "machine": machine(),
        "options": dict(options),
        "left_out": list(left_out),
        "cells": [{**asdict(cell), **summary(measurements)} for cell, measurements in rounds.items()],
        "targets": found,
        "disturbed": disturbed(rounds, options["seconds"]),
        "pass": all(target["pass"] for target in found),
    }


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def shown(values: Mapping[str, float], digits: int = 1) -> str:
    """A spread as `median (min-max)`."""
    return f"{values['median']:,.{digits}f} ({values['min']:,.{digits}f}-{values['max']:,.{digits}f})"


def reached(cells: Sequence[Mapping[str, Any]]) -> str:
    """The first table: what each contestant reached, and the CPU time that a note took in microseconds, by whom."""
    rows = [
        (
            "contestant",
            "by",
            "conns",
            "asked/s",
            "writes/s",
            "p50 ms",
            "p99 ms",
            "errors",
            "us CPU/note",
            *GROUPS,
            "idle %",
        )
    ]
    for cell in cells:
        taken = cell["cpu_us"]
        groups = [f"{taken[group]['median']:.0f}" if group in taken else "" for group in GROUPS]
        speed = (shown(cell["writes_per_s"], 0), f"{cell['p50_ms']['median']:.1f}", shown(cell["p99_ms"]))
        errors, idle = f"{cell['errors']['max']:.0f}", f"{100 * cell['idle']['median']:.0f}"
        who = (cell["contestant"], cell["place"], str(cell["connections"]), asked_rate(cell["rate"]))
        rows.append((*who, *speed, errors, shown(cell["cpu_total_us"], 0), *groups, idle))
    return columns(rows)


def judged(found: Sequence[Mapping[str, Any]]) -> str:
    """The second table: the targets, and whether they were reached."""
    rows = [("target", "conns", "median (min-max)", "asked", "")]
    for target in found:
        verdict = "pass" if target["pass"] else "MISS"
        rows.append((target["what"], str(target.get("connections", "")), shown(target, 2), target["target"], verdict))
    return columns(rows)


def as_text(result: Mapping[str, Any]) -> str:
    """The run as two tables, with a word on who is missing and on what disturbed it."""
    tables = [reached(result["cells"]), judged(result["targets"])]
    if result["left_out"]:
        tables.append("Not measured:\n" + "\n".join(result["left_out"]))
    if result["disturbed"]:
        lines = "\n".join(result["disturbed"])
        tables.append(f"Other programs were busy meanwhile; do not trust these, measure again:\n{lines}")
    return "\n\n".join(tables)
