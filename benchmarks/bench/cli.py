"""The command line: measures courseload's routes beside the same contract in Go and Rust, and a Sanic floor."""

import argparse
import itertools
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

from . import ingress, peers, podman, product, report
from .contestants import Contestant, databases_of, floor, helper, ours, rivals
from .measure import PLACES, Cell, ContestantError, Ingress, Measurement, check_contract, measure
from .rounds import rotated
from .wrk import Load

# In the order of the table.
NAMES = (
    *("relay", "direct", "both"),
    *("go-relay", "go-direct", "rust-relay", "rust-direct", "plain-relay", "plain-direct"),
    "floor",
)
# What can go wrong without the benchmark being wrong: told in a sentence, without a traceback.
EXPECTED = (
    product.NotSetUp,
    podman.PodmanError,
    peers.CannotBuildError,
    ingress.NotRenderedError,
    ContestantError,
    subprocess.CalledProcessError,
)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each contestant is measured (3)")
    parser.add_argument("--seconds", type=int, default=4, help="how long each measurement takes (4)")
    parser.add_argument("--warm-up", type=int, default=1, help="seconds of load before it, not counted (1)")
    parser.add_argument(
        "--connections", type=int, nargs="+", default=[64, 256], help="connections wrk keeps open, one after the other"
    )
    parser.add_argument(
        "--rates", type=int, nargs="+", default=[0], help="requests a second, one after the other; 0: all it can (0)"
    )
    parser.add_argument("--places", nargs="+", choices=PLACES, default=PLACES, help="measure only there")
    parser.add_argument("--keys", action="store_true", help="send a fresh Idempotency-Key with each request")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="measure only these")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser.parse_args()


def contestants(wanted: Sequence[str], direct: product.Service) -> tuple[list[Contestant], list[str]]:
    """Those who are wanted, and for each who cannot be measured here, why."""
    databases = databases_of(direct)
    field = [*ours(product.service("relay"), product.service("ledger"), direct), floor(direct.image)]
    left_out = []
    kinds: list[tuple[str, str, str, Callable[[], str]]] = [
        ("go", "in Go with group commit", "", peers.go_image),
        ("rust", "in Rust with group commit", "", peers.rust_image),
        ("plain", "in Go, a write a request", "plain-", peers.go_image),
    ]
    for kind, what, prefix, image in kinds:
        if not any(name.startswith(f"{kind}-") for name in wanted):
            continue
        try:
            field += rivals(kind, what, image(), prefix, databases)
        except peers.CannotBuildError as problem:
            left_out.append(f"{kind}: {problem}")
            print(left_out[-1], file=sys.stderr)
    return sorted((c for c in field if c.name in wanted), key=lambda c: NAMES.index(c.name)), left_out


def play(
    field: Sequence[Contestant], ingresses: dict[str, Ingress], chosen: argparse.Namespace
) -> dict[Cell, list[Measurement]]:
    """Measure everyone once a round, telling how it goes on standard error."""
    load = Load(chosen.seconds, chosen.warm_up, chosen.keys)
    loads = list(itertools.product(chosen.places, chosen.connections, chosen.rates))
    cells = {c.name: [Cell(c.name, *kind) for kind in loads] for c in field}
    measured: dict[Cell, list[Measurement]] = {cell: [] for cell in itertools.chain(*cells.values())}
    for contestant in field:
        check_contract(contestant)
        print(f"{contestant.name:<12} keeps the contract", file=sys.stderr)
    for number in range(chosen.rounds):
        for contestant in rotated(field, number):
            found = measure(contestant, ingresses[contestant.name], cells[contestant.name], load)
            for cell, measurement in found.items():
                measured[cell].append(measurement)
                told(f"round {number + 1} of {chosen.rounds}", cell, measurement)
    return measured


def told(when: str, cell: Cell, found: Measurement) -> None:
    """One line on how it goes."""
    who = f"{cell.contestant:<12} {cell.place:<8}{cell.connections:>5}{report.asked_rate(cell.rate):>6}"
    rate = f"{found.writes_per_s:10,.0f}/s  p99 {found.p99_ms:7.1f} ms  {found.cpu_total_us:6,.0f} us of CPU a note"
    print(f"{when}  {who}{rate}", file=sys.stderr)


def benchmark(chosen: argparse.Namespace) -> dict[str, object]:
    """Measure, and leave no container and no data behind, whatever happens meanwhile."""
    direct = product.service("direct")
    field, left_out = contestants(chosen.only, direct)
    if not field:
        raise ContestantError("nobody is left to measure")
    ingresses = ingress.render(field)
    podman.remove_all()  # left by a run that was killed
    try:
        podman.start(helper(direct))
        rounds = play(field, ingresses, chosen)
    finally:
        podman.remove_all()
    return report.as_json(rounds, vars(chosen), left_out)


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
