"""The command line: measures how many requests courseload's load generator makes of a core, beside k6 and wrk."""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from bench.report import columns, shown
from bench.rounds import rotated, spread

from .contestants import contestants
from .measure import Measurement, NoLoad, measure
from .programs import build

ASKED = 8000


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each generator is measured (3)")
    parser.add_argument("--seconds", type=int, default=10, help="how long each measurement takes (10)")
    parser.add_argument("--warm-up", type=int, default=3, help="seconds of load before it, not counted (3)")
    parser.add_argument("--connections", type=int, default=64, help="connections kept open (64)")
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME", help="measure only these generators")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def play(chosen: argparse.Namespace) -> dict[str, list[Measurement]]:
    """Measures every generator once a round, each round starting with another, and tells how it goes."""
    programs = build()
    field = {name: start for name, start in contestants(programs).items() if not chosen.only or name in chosen.only}
    measured: dict[str, list[Measurement]] = {name: [] for name in field}
    for number in range(chosen.rounds):
        for name in rotated(list(field), number):
            found = measure(field[name], programs, chosen.connections, chosen.seconds, chosen.warm_up)
            measured[name].append(found)
            figures = f"{found.per_core:10,.0f}/s a core {found.per_second:10,.0f}/s"
            print(f"round {number + 1} of {chosen.rounds}  {name:<12}{figures}", file=sys.stderr)
    return measured


def as_json(rounds: Mapping[str, Sequence[Measurement]]) -> dict[str, Any]:
    """The spread of each generator's figures, and whether ours makes what was asked."""
    found = {
        name: {
            "per_core": spread([m.per_core for m in measurements]),
            "per_second": spread([m.per_second for m in measurements]),
            "cpu_us": spread([1e6 / m.per_core for m in measurements]),
        }
        for name, measurements in rounds.items()
    }
    ours = found.get("courseload")
    return {"generators": found, "asked": ASKED, "pass": not ours or ours["per_core"]["median"] >= ASKED}


def as_text(result: Mapping[str, Any]) -> str:
    """The same as a table."""
    rows = [("generator", "requests/s a core", "requests/s", "CPU µs a request")]
    rows += [
        (name, shown(figures["per_core"], 0), shown(figures["per_second"], 0), shown(figures["cpu_us"], 1))
        for name, figures in result["generators"].items()
    ]
    verdict = "pass" if result["pass"] else "MISS"
    return f"{columns(rows)}\n\ncourseload's, asked: {result['asked']:,} a core: {verdict}"


def main() -> int:
    """0 when ours makes what was asked of a core, 1 when it does not, 2 when nothing could be measured."""
    chosen = options()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        result = as_json(play(chosen))
    except (NoLoad, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(json.dumps(result, indent=2) if chosen.json else as_text(result))
    return 0 if result["pass"] else 1
