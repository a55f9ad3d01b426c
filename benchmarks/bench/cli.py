"""The command line: measures courseload's two routes beside the exercise's design in Go and a Sanic floor."""

import argparse
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence

from . import peers, podman, product, report
from .contestants import Contestant, contestants, helper
from .measure import ContestantError, Load, Measurement, measure

NAMES = ("relay", "peer-relay", "direct", "peer-direct", "floor")
# What can go wrong without the benchmark being wrong: told in a sentence, without a traceback.
EXPECTED = (product.NotSetUp, podman.PodmanError, ContestantError, subprocess.CalledProcessError)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each contestant is measured (3)")
    parser.add_argument("--seconds", type=int, default=8, help="how long each measurement takes (8)")
    parser.add_argument("--warm-up", type=int, default=2, help="seconds of load before it, not counted (2)")
    parser.add_argument("--connections", type=int, default=64, help="connections wrk keeps open (64)")
    parser.add_argument("--keys", action="store_true", help="send a fresh Idempotency-Key with each request")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="measure only these")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser.parse_args()


def rotated(field: Sequence[Contestant], places: int) -> list[Contestant]:
    """The same contestants, each round starting with another."""
    places %= len(field)
    return [*field[places:], *field[:places]]


def play(field: Sequence[Contestant], load: Load, rounds: int) -> dict[str, list[Measurement]]:
    """Measure everyone once a round, telling how it goes on standard error."""
    measured: dict[str, list[Measurement]] = {contestant.name: [] for contestant in field}
    for number in range(rounds):
        for contestant in rotated(field, number):
            found = measure(contestant, load)
            measured[contestant.name].append(found)
            rate = f"{found.writes_per_s:10,.0f}/s  p99 {found.p99_ms:7.1f} ms"
            print(f"round {number + 1} of {rounds}  {contestant.name:<12}{rate}", file=sys.stderr)
    return measured


def benchmark(chosen: argparse.Namespace) -> dict[str, object]:
    """Measure, and leave no container and no data behind, whatever happens meanwhile."""
    relay, ledger, direct = (product.service(name) for name in ("relay", "ledger", "direct"))
    field = [c for c in contestants(relay, ledger, direct, peers.image()) if c.name in chosen.only]
    podman.remove_all()  # left by a run that was killed
    try:
        podman.start(helper(direct))
        load = Load(chosen.connections, chosen.seconds, chosen.warm_up, chosen.keys)
        rounds = play(field, load, chosen.rounds)
    finally:
        podman.remove_all()
    return report.as_json(rounds, vars(chosen))


def main() -> int:
    """0 when every target was reached, 1 when one was missed, 2 when nothing could be measured."""
    chosen = options()
    for stop in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, lambda number, _: sys.exit(128 + number))
    missing = [program for program in ("podman", "wrk") if not shutil.which(program)]
    if missing:
        print(f"install {' and '.join(missing)} first: apt-get install {' '.join(missing)}", file=sys.stderr)
        return 2
    try:
        result = benchmark(chosen)
    except EXPECTED as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; everything the benchmark started is removed", file=sys.stderr)
        return 130
    print(json.dumps(result, indent=2) if chosen.json else report.as_text(result))
    return 0 if result["pass"] else 1
