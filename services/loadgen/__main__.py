"""The load test's commands: `run` is `baseline`, `drive`, `reconcile`, `figures`, `report` in turn, `capacity`
is one run after the other; `ab` is a run for one side of a comparison, `chaos` one with faults; `work` is a worker.

python3 -m loadgen run --directory DIR --target URL --users 100 ...
python3 -m loadgen reconcile --directory DIR
"""

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from course.settings import BadSetting, Environment
from loadgen.prometheus import parse_address
from loadgen.settings import (
    ARRIVALS,
    CLOSED,
    OPEN,
    SEARCH,
    STEP,
    Objective,
    RunDirectory,
    SearchDirectory,
    Settings,
    write_json,
)
from loadgen.shapes import CONSTANT, Shape
from loadgen.targets import parse_targets

PATIENCE_S = 60
"""For how long databases that do not answer are tried again: they may just be starting anew."""


FOLLOWER_S = 120


def main(arguments: Sequence[str]) -> None:
    """Runs one command; problems that a person can solve end it with a sentence."""
    # The first process of a container ignores SIGTERM unless told otherwise: stopping it would take its grace period.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = _parser().parse_args(arguments)
    try:
        COMMANDS[options.command](options)
    except BadSetting as problem:
        sys.exit(f"courseload: {problem}")


def run(options: argparse.Namespace) -> None:
    """A whole run, stage by stage.

    Each stage has a process of its own: Locust patches the standard library, and the databases' drivers want it whole.
    """
    directory = RunDirectory(options.directory)
    write_json(directory.settings, _settings(options))
    if options.await_follower:
        _await_follower(directory)
    sys.exit(_run_stages(directory))


def _run_stages(directory: RunDirectory, environment: Mapping[str, str] | None = None) -> int:
    """Runs the stages, until one fails; returns its exit code."""
    for stage in ("baseline", "drive", "reconcile", "figures", "report"):
        if code := _command(stage, f"--directory={directory.path}", environment=environment):
            return code
    return 0


def _command(*arguments: str, environment: Mapping[str, str] | None = None) -> int:
    """Runs a command of this program in a process of its own; returns its exit code."""
    command = [sys.executable, "-m", "loadgen", *arguments]
    with subprocess.Popen(command, env=os.environ | dict(environment or {})) as process:
        try:
            return process.wait()
        except SystemExit:
            # Told to end, and the command in its turn: a master has to tell its workers.
            process.terminate()
            raise


def _await_follower(directory: RunDirectory) -> None:
    """Waits until somebody follows the run, who ends it if need be. A load that nobody knows of does not begin."""
    deadline = time.monotonic() + FOLLOWER_S
    while not directory.followed.exists():
        if time.monotonic() > deadline:
            sys.exit(
                f"courseload: nobody has followed this run within {FOLLOWER_S} s, so it ends here: start another one."
            )
        time.sleep(0.1)


def capacity(options: argparse.Namespace) -> None:
    """Searches for the highest rate that meets the objectives, with a load test for each step."""
    from loadgen.capacity.certificate import write_certificate
    from loadgen.capacity.result import StepResult
    from loadgen.capacity.run import Plan, StepFailed, find_capacity, result_of, step_settings
    from loadgen.capacity.search import Limits, Step
    from loadgen.capacity.system import System

    search = SearchDirectory(options.directory)
    if options.await_follower:
        _await_follower(search)
    settings = _settings(options, users=options.workers, rate=1.0, spawn_rate=1.0, duration_s=1.0)
    limits = Limits(
        start_rate=options.start_rate, step_s=options.step_s, hold_s=options.hold_s, precision=options.precision
    )

    def try_step(number: int, step: Step) -> StepResult:
        name = f"step {number}, {step.rate:,g} a second"
        if _run_step(search, number, step_settings(settings, number, step), name):
            raise StepFailed(f"Step {number} ({step.rate:,g} a second) could not be run to its end: its lines say why.")
        return result_of(step, search.step(number))

    plan = Plan(limits, options.limit_s, msgspec.convert(options.system, System))
    try:
        if code := _command("baseline", f"--directory={search.path}"):
            sys.exit(code)
        write_certificate(search.path, find_capacity(settings, plan, try_step))
    finally:
        for ids in search.path.rglob("*.ids"):  # a step needs those of the steps before it
            ids.unlink()


def _run_step(search: SearchDirectory, number: int, settings: Settings, name: str) -> int:
    """Runs one of several load tests that know what was stored by those before; returns its exit code."""
    directory = search.step(number)
    directory.path.mkdir(parents=True)
    write_json(directory.settings, settings)
    return _run_stages(directory, {STEP: f"{name}: ", SEARCH: str(search.path)})


def ab(options: argparse.Namespace) -> None:
    """Runs a load test for one side of an A/B comparison, and compares what there is so far."""
    from loadgen.ab.page import read_comparison, write_comparison
    from loadgen.ab.result import compared
    from loadgen.ab.samples import Sample, sample_settings
    from loadgen.capacity.result import this_machine
    from loadgen.capacity.run import result_of
    from loadgen.capacity.search import Step
    from loadgen.progress import say

    search = SearchDirectory(options.directory)
    if options.await_follower:
        _await_follower(search)
        search.followed.unlink()  # the next side's is to be followed as well
    earlier = read_comparison(search.path)
    samples = earlier.samples if earlier else []
    step, number = Step("sample", options.sample_rate, options.sample_s), len(samples) + 1
    settings = sample_settings(_settings(options, rate=1.0, spawn_rate=1.0, duration_s=1.0), step, options.side)
    name = f"round {options.round}, {options.side.upper()}"
    say(f"{name}: {options.sample_s} s")
    if code := _run_step(search, number, settings, name):
        sys.exit(code)
    result = result_of(step, search.step(number))
    samples = [*samples, Sample(options.round, options.side, result)]
    write_comparison(search.path, compared(options.sides, samples, settings, this_machine(), time.time()))
    say(f"{name}: {result.rps:,g} a second answered, p99 {result.latency_ms.p99:g} ms")


def chaos(options: argparse.Namespace) -> None:
    """Runs a load test during which somebody else makes faults, and tells what all of them did so far."""
    from loadgen.capacity.result import this_machine
    from loadgen.chaos.page import read_chaos, write_chaos
    from loadgen.chaos.result import Fault, Impossible, Wanted, chaos_of, trial_of
    from loadgen.progress import say
    from loadgen.report import Data

    search = SearchDirectory(options.directory)
    if options.await_follower:
        _await_follower(search)
        search.followed.unlink()  # the next trial's is to be followed as well
    earlier, directory = read_chaos(search.path), search.step(options.number)
    wanted = msgspec.convert(options.trial, Wanted)
    load = {
        "users": options.workers,
        "spawn_rate": float(options.workers),
        "arrivals": OPEN,
        "faults": True,
        "objectives": (),
    }
    load |= {"rate": options.chaos_rate / options.workers, "duration_s": _longest_s(wanted.seconds, options.recovery_s)}
    settings = _settings(options, **load)
    if code := _run_step(search, options.number, settings, options.trial["name"]):
        sys.exit(code)
    faults = msgspec.json.decode(directory.faults.read_bytes(), type=list[Fault]) if directory.faults.exists() else []
    data = msgspec.json.decode(directory.data.read_bytes(), type=Data)
    trial = trial_of(wanted, faults, data, options.recovery_s)
    trials = [*(earlier.trials if earlier else []), trial]
    impossible = msgspec.convert(options.impossible, list[Impossible])
    write_chaos(search.path, chaos_of(trials, impossible, settings, this_machine(), time.time()))
    say(f"{trial.name}: {trial.verdict}, {trial.failures:,} of {trial.requests:,} requests failed")


def _longest_s(faults_s: float, recovery_s: float) -> float:
    """How long a trial may take: its load gets steady, the faults are made and looked at, and all is well again."""
    return faults_s + recovery_s + 60.0


def baseline(options: argparse.Namespace) -> None:
    """Notes what is in the databases before the run."""
    from loadgen.progress import say
    from loadgen.reconcile import take_baseline
    from loadgen.spool import NoRoom
    from loadgen.stores import DatabaseUnavailable, connect, patiently

    directory, search = RunDirectory(options.directory), _search()
    documents, applied = connect(os.environ)
    try:
        counts = patiently(lambda: take_baseline(directory, documents, applied, say, search), PATIENCE_S)
    except DatabaseUnavailable as problem:
        sys.exit(f"courseload: {problem}, and a run begins with a look at what is stored: run site.yml, and again.")
    except NoRoom as problem:
        sys.exit(f"courseload: {problem}: make room, and run it again.")
    write_json(directory.baseline, counts)


def _search() -> SearchDirectory | None:
    """The search that this run is a step of, if it is one."""
    return SearchDirectory(Path(os.environ[SEARCH])) if SEARCH in os.environ else None


def drive(options: argparse.Namespace) -> None:
    """The master: drives the workers and collects what they saw."""
    from loadgen.drive import NoLoad, run_master

    directory = RunDirectory(options.directory)
    port = Environment(os.environ).number("METRICS_PORT", 0, low=0, high=65535)
    try:
        run_master(msgspec.json.decode(directory.settings.read_bytes(), type=Settings), directory, port)
    except NoLoad as problem:
        sys.exit(f"courseload: {problem}")


def work(options: argparse.Namespace) -> None:
    """A worker, until the master ends the run; with --again for one run after the other."""
    if options.again:
        # One that was killed is replaced; one that has waited for minutes for a master, and gives up, is not.
        while (code := _command("work", f"--master={options.master}")) <= 0:
            time.sleep(1 if code else 0)
        sys.exit(code)
    from loadgen.drive import run_worker

    run_worker(options.master)


def reconcile(options: argparse.Namespace) -> None:
    """Compares the databases with what was acknowledged."""
    from loadgen.progress import say
    from loadgen.reconcile import compare, leave_unreconciled
    from loadgen.spool import NoRoom
    from loadgen.stores import DatabaseUnavailable, connect, patiently

    directory, search = RunDirectory(options.directory), _search()
    documents, applied = connect(os.environ)
    try:
        found = patiently(lambda: compare(directory, documents, applied, say, search), PATIENCE_S)
    except (DatabaseUnavailable, NoRoom) as problem:
        # A run that took a database down is one whose report is wanted most.
        leave_unreconciled(directory, str(problem), search)
        say(f"not reconciled: {problem}")
        return
    write_json(directory.reconciliation, found)
    for name, database in (("MongoDB", found.mongodb), ("Redis", found.redis)):
        counts = msgspec.structs.asdict(database).items()
        say(f"{name}: {', '.join(f'{number:,} {what}' for what, number in counts)}")


def figures(options: argparse.Namespace) -> None:
    """Asks Prometheus what it knows of the run."""
    from loadgen.collector import Load
    from loadgen.figures import take_figures
    from loadgen.progress import say

    directory = RunDirectory(options.directory)
    settings = msgspec.json.decode(directory.settings.read_bytes(), type=Settings)
    taken = take_figures(settings, msgspec.json.decode(directory.load.read_bytes(), type=Load))
    write_json(directory.figures, taken)
    if taken.missing:
        say(taken.missing)


def report(options: argparse.Namespace) -> None:
    """Judges the run and writes the report."""
    from loadgen.progress import say
    from loadgen.report import write_report

    summary = write_report(RunDirectory(options.directory))
    say(f"verdict: {summary.verdict}")
    for reason in summary.reasons:
        say(f"- {reason}")
    for warning in summary.warnings:
        say(f"warning: {warning}")


COMMANDS = {
    "run": run,
    "capacity": capacity,
    "ab": ab,
    "chaos": chaos,
    "baseline": baseline,
    "drive": drive,
    "work": work,
    "reconcile": reconcile,
    "figures": figures,
    "report": report,
}


def _settings(options: argparse.Namespace, **further: Any) -> Settings:
    """The settings of a run: what was asked for, and what is said here."""
    parse_targets(options.target)
    if options.prometheus:
        options.prometheus = parse_address(options.prometheus)
    asked = {name: value for name, value in vars(options).items() if name in Settings.__struct_fields__} | further
    name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return Settings(run=f"{name}-{asked['users']}u-{secrets.token_hex(2)}", **asked)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="loadgen", description="The load test of courseload.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=(command.__doc__ or "").splitlines()[0])
        if name == "work":
            sub.add_argument("--master", required=True, help="host name or address of the master")
            sub.add_argument("--again", action="store_true", help="wait for another master after each")
            continue
        sub.add_argument("--directory", type=Path, required=True, help="where the run's files are")
        if name in ("run", "capacity", "ab", "chaos"):
            _add_settings(sub)
        if name == "run":
            _add_load(sub)
        if name == "capacity":
            _add_search(sub)
        if name == "ab":
            _add_sample(sub)
        if name == "chaos":
            _add_trial(sub)
    return parser


def _add_load(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--users", type=int, required=True)
    add("--rate", type=float, required=True, help="requests per second and user; 0: as fast as answers come")
    add("--arrivals", choices=ARRIVALS, default=CLOSED, help="open: notes come whether or not others were answered")
    add("--spawn-rate", type=float, required=True, help="how many users start in a second")
    add("--duration", dest="duration_s", type=float, required=True, help="seconds, with the start of the users")
    add("--shape", type=_shape, default=CONSTANT, help='JSON: {"name": "ramp", "points": [[0, 0], [0.9, 1], [1, 1]]}')


def _add_search(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--start-rate", type=float, required=True, help="requests a second of the first step")
    add("--step", dest="step_s", type=int, required=True, help="seconds for which a rate is tried")
    add("--hold", dest="hold_s", type=int, required=True, help="seconds for which the answer is held")
    add("--precision", type=float, required=True, help="by how much, of 1, what was missed may be above the answer")
    add("--limit", dest="limit_s", type=float, required=True, help="seconds that the search may take")
    add("--system", type=json.loads, required=True, help='JSON: {"pods": {"relay": 3}, "single_threaded": ["relay"]}')


def _add_sample(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--sides", type=json.loads, required=True, help='JSON: {"a": {}, "b": {"route_cpu": "500m"}}, what was set')
    add("--side", choices=("a", "b"), required=True, help="which of the two the system has now")
    add("--round", type=int, required=True, help="from 1 up")
    add("--users", type=int, required=True, help="who post as fast as they get answers, where there is no rate")
    add("--sample-rate", type=float, required=True, help="requests a second, open arrivals; 0: as fast as users can")
    add("--sample", dest="sample_s", type=int, required=True, help="seconds, beside the warm-up")


def _add_trial(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--number", type=int, required=True, help="from 1 up")
    add("--trial", type=json.loads, required=True, help='JSON: {"name": "killed/redis", "says": "...", "seconds": 0}')
    add(
        "--impossible",
        type=json.loads,
        required=True,
        help='JSON: [{"name": "slowed/relay", "says": "...", "why": "..."}]',
    )
    add("--chaos-rate", type=float, required=True, help="requests a second, open arrivals")
    add("--recovery", dest="recovery_s", type=float, required=True, help="seconds within which it has to serve again")


def _add_settings(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--target", required=True, help="what the notes are posted to, without /course; several with commas")
    add("--pool", type=int, required=True, help="how many different notes there are")
    add("--seed", type=int, required=True)
    add("--await-follower", action="store_true", help="begin when there is a file `followed` in the directory")
    add("--workers", type=int, required=True, help="how many worker processes to wait for")
    add("--objectives", type=_objectives, required=True, help='JSON: [{"of": "total", "what": "p99", "at_most": 500}]')
    add("--abort", type=json.loads, default=False, help="true: end as soon as an objective cannot be met any more")
    add("--weights", type=_weights, required=True, metavar="ROUTE=WEIGHT,...", help="how the ingress shares requests")
    add("--prometheus", default="", help="a URL such as http://prometheus:9090: what it knows goes into the report")
    add(
        "--workloads",
        type=_names,
        default=(),
        metavar="NAME,...",
        help="what Prometheus is asked about beside the routes",
    )


def _objectives(text: str) -> tuple[Objective, ...]:
    return msgspec.json.decode(text, type=tuple[Objective, ...])


def _shape(text: str) -> Shape:
    return msgspec.json.decode(text, type=Shape)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _weights(text: str) -> dict[str, int]:
    return {route: int(weight) for route, _, weight in (part.partition("=") for part in text.split(","))}


if __name__ == "__main__":
    main(sys.argv[1:])
