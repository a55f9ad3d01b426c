"""The stages of bin/test: runs them, says what it runs and skips and why, and ends with counts.

What needs the system on this machine runs in order, from the machine as it was found to where it is so again. What
needs none runs beside it, one stage after another: unit, which mostly waits, then playbooks while images are built, and
in the end lint, which has the lowest priority, since the others measure time. What needs of the system nothing but its
images runs beside the tests of the services.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

from helpers import machine
from helpers.machine import REPOSITORY
from lab import hosts, judges, release

RESULTS = REPOSITORY / "tests/results"

ABOUT = {
    "lint": "ansible-lint (profile production), yamllint, ruff, mypy, shellcheck",
    "unit": "parts by themselves",
    "playbooks": "syntax, what stops a run early, rendered manifests",
    "bare": "check mode on a machine on which nothing is installed",
    "apart": "the databases' volumes, and a build through a proxy: with the system's images, not in it",
    "services": "relay, ledger, direct and reader against the real databases",
    "system": "everything on this machine, end to end, with processes killed under load",
    "prover": "what is planted is found, defects and bottlenecks, and nothing else; only when it is named",
    "lab": "hosts with systemd and SSH on this machine, and the cluster on them; only when it is named",
    "outages": "the lab once more: an upgrade under load, and three servers of which one is off; only when it is named",
}
BESIDE = ("unit", "playbooks", "lint")
# Two workers share the tests of a stage, a file at a time: what a file's tests have in common is made once, and those
# that drive a load all listen on one port. In the order of their names, so that the long ones do not come last.
SHARED = ("--numprocesses=2", "--dist=loadfile", "--no-loadscope-reorder")
NEED_SYSTEM = ("apart", "services", "system", "prover")
LONG = "long"  # the marker of tests that CI has no time for
ONLY_WHEN_NAMED = ("prover", "lab", "outages")
PROGRESS_S = 15


@dataclass
class Result:
    """What came of a stage. `skipped` and `failed` hold a line for each, with its reason."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0


def main() -> int:
    arguments = parse_arguments()
    RESULTS.mkdir(exist_ok=True)
    stages: list[str] = arguments.stages or [stage for stage in ABOUT if stage not in ONLY_WHEN_NAMED]
    results = {stage: Result() for stage in ABOUT if stage in stages}
    started = time.monotonic()

    refusals = {stage: why for stage in results if (why := refusal(stage))}
    for stage, why in refusals.items():
        results[stage].skipped.append(f"the whole stage: {why}")
    for stage in results:
        print(f"{stage:<10}{'skipped: ' + refusals[stage] if stage in refusals else ABOUT[stage]}", flush=True)

    wanted = [stage for stage in results if stage not in refusals]
    system = System() if any(needs_system(stage) for stage in wanted) else None
    if system:
        system.announce("system" in wanted)
    with ThreadPoolExecutor(max_workers=1) as pool, ThreadPoolExecutor(max_workers=1) as second_pool:
        beside = {stage: pool.submit(run, stage, results) for stage in BESIDE if stage in wanted}
        for stage in wanted:
            if stage in BESIDE or not can_run(stage, results[stage], system, beside):
                continue
            if stage == "apart":
                beside[stage] = second_pool.submit(run, stage, results)
            else:
                run(stage, results)
        for running in beside.values():
            running.result()
    if system and "system" not in wanted:
        print("\ncourseload stays on this machine; `bin/ansible-playbook playbooks/reset.yml` removes it.")
    return sum_up(results, time.monotonic() - started)


def run(stage: str, results: dict[str, Result]) -> None:
    """Runs one stage, and prints its beginning and its end."""
    started = time.monotonic()
    print(f"\n=== {stage}", flush=True)
    RUN[stage](results[stage])
    results[stage].seconds = time.monotonic() - started
    print(f"=== {stage}: {results[stage].seconds:.0f} s", flush=True)


def can_run(stage: str, result: Result, system: System | None, beside: dict[str, Future[None]]) -> bool:
    """Provides what a stage needs: the system, if it does, and quiet on this machine, if it measures time."""
    good = system.ready(result) if system and needs_system(stage) else True
    if stage in NEED_SYSTEM + ONLY_WHEN_NAMED:
        for running in beside.keys() - {"lint", *(["apart"] if stage == "services" else [])}:
            beside[running].result()
    return good


def parse_arguments() -> argparse.Namespace:
    stages = "\n".join(f"  {name:<10}{about}" for name, about in ABOUT.items())
    parser = argparse.ArgumentParser(
        prog="bin/test",
        description="Runs the tests: all stages but the lab, or the ones named.",
        epilog=f"stages:\n{stages}\n\nLogs and JUnit reports are left in tests/results/.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stages", nargs="*", choices=[*ABOUT, []], metavar="stage")
    return parser.parse_args()


def refusal(stage: str) -> str | None:
    """Why a stage cannot run on this machine, or None."""
    return machine.obstacle() if needs_system(stage) or stage in ONLY_WHEN_NAMED else None


def needs_system(stage: str) -> bool:
    """The services' tests run anywhere against databases that the environment names."""
    own_databases = stage in ("services", "prover") and {"MONGODB_URI", "REDIS_URL"} <= os.environ.keys()
    return stage in NEED_SYSTEM and not own_databases


class System:
    """courseload on this machine, set up by `site.yml`."""

    LOG = RESULTS / "site.log"

    def __init__(self) -> None:
        self.found = machine.installed()
        self.good: bool | None = None

    def announce(self, tested: bool) -> None:
        if self.found:
            print(
                "\ncourseload is installed here already: `site.yml` brings it up to date, and what is stored stays."
                + (" The system's tests add notes and restart its pods; they do not remove it." if tested else "")
            )
        elif tested:
            os.environ["COURSELOAD_MAY_RESET"] = "yes"
            print("\ncourseload is not installed here: it is set up for the tests and removed at their end.")

    def ready(self, result: Result) -> bool:
        """Sets the system up, the first time, and counts that as a test; False when it could not be."""
        if self.good is None:
            self.good = self._set_up()
        if self.good:
            result.passed += 1
        else:
            result.failed.append(
                f"site.yml failed, see {self.LOG.relative_to(REPOSITORY)}: nothing here could be tested"
            )
        return self.good

    def _set_up(self) -> bool:
        print(f"\nsetting up the system: site.yml, log in {self.LOG.relative_to(REPOSITORY)}", flush=True)
        started, told = time.monotonic(), 0.0
        with self.LOG.open("w") as log:
            process = subprocess.Popen(["bin/ansible-playbook", "site.yml"], stdout=log, stderr=subprocess.STDOUT)
        while process.poll() is None:
            time.sleep(0.5)
            seconds = time.monotonic() - started
            if seconds - told >= PROGRESS_S:
                told = seconds
                print(f"site.yml ({seconds:.0f} s): {self._newest_line()}", flush=True)
        print(f"site.yml took {time.monotonic() - started:.0f} s", flush=True)
        if process.returncode:
            print(redacted("".join(self.LOG.read_text().splitlines(keepends=True)[-40:])))
        return process.returncode == 0

    def _newest_line(self) -> str:
        lines = [line for line in self.LOG.read_text().splitlines() if line.startswith("TASK") or " | " in line]
        return redacted(lines[-1].strip(" *")) if lines else "starting"


def lint(result: Result) -> None:
    commands = {
        "ruff check": ["ruff", "check", "--quiet", "."],
        "ruff format": ["ruff", "format", "--quiet", "--diff", "."],
        "mypy": ["mypy", "--no-error-summary"],
        "shellcheck": ["shellcheck", *map(str, shell_scripts())],
        "yamllint": ["yamllint", "--strict", "."],
        "ansible-lint": ["ansible-lint", "--nocolor", "-q"],
    }
    for name, command in commands.items():
        started = time.monotonic()
        nicely = ["nice", "-n", "19", *command]
        process = subprocess.run(nicely, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        good = process.returncode == 0
        seconds = time.monotonic() - started
        # One write, since others write lines of their own meanwhile.
        found = "ok" if good else "FAILED"
        sys.stdout.write(f"lint: {name:<14}{found} ({seconds:.0f} s)\n{'' if good else process.stdout}")
        sys.stdout.flush()
        if good:
            result.passed += 1
        else:
            result.failed.append(name)


def shell_scripts() -> Iterator[Path]:
    for directory in (".ci", "bin", "roles", "tests", "benchmarks"):
        for path in Path(directory).rglob("*"):
            if path.is_file() and ".cache" not in path.parts:
                with path.open("rb") as file:
                    first = file.readline(80)
                if first.startswith((b"#!/bin/sh", b"#!/usr/bin/env bash", b"#!/bin/bash", b"# shellcheck shell=")):
                    yield path


def unit(result: Result) -> None:
    pytest("unit", result, "--quiet", *SHARED, "--numprocesses=3")


def playbooks(result: Result) -> None:
    pytest("playbooks", result, *SHARED)


def bare(result: Result) -> None:
    pytest("bare", result)


def apart(result: Result) -> None:
    pytest("apart", result)


def services(result: Result) -> None:
    pytest("services", result, environment=databases_for("services"))


def prover(result: Result) -> None:
    pytest("prover", result, environment=databases_for("prover"))


def databases_for(stage: str) -> dict[str, str]:
    """What names the test databases of the system on this machine, unless the environment has others.

    The environment itself stays as it is: stages run beside each other, and one that starts a process while a variable
    is set fails with "Bad address".
    """
    if not needs_system(stage):
        return {}
    return {
        "MONGODB_URI": machine.mongodb_uri(machine.TEST_DATABASE),
        "REDIS_URL": machine.redis_url(machine.TEST_REDIS_DATABASE),
    }


def system(result: Result) -> None:
    pytest("system", result)


def lab(result: Result) -> None:
    build_for_lab()
    pytest("lab", result, "-m", f"not {LONG}")


def outages(result: Result) -> None:
    build_for_lab()
    release.build(release.EARLIER)
    pytest("lab", result, "-m", LONG)


def build_for_lab() -> None:
    """What is built once takes minutes, and pytest would keep its progress to itself."""
    judges.build()
    release.current()
    hosts.host_images()


RUN: dict[str, Callable[[Result], None]] = {
    "lint": lint,
    "unit": unit,
    "playbooks": playbooks,
    "bare": bare,
    "apart": apart,
    "services": services,
    "system": system,
    "prover": prover,
    "lab": lab,
    "outages": outages,
}


def pytest(stage: str, result: Result, *options: str, environment: Mapping[str, str] | None = None) -> None:
    """Runs tests/<stage>, printing a line for each test as it goes (--quiet: for each file), and adds up the counts."""
    report = RESULTS / f"{stage}.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", f"tests/{stage}", f"--junit-xml={report}"]
    plain = ["--verbose", "--no-header", "-p", "no:cacheprovider"]
    process = subprocess.Popen(
        [*command, *plain, *options],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if process.stdout:
        copy(process.stdout, sys.stdout)
    code = process.wait()
    if report.exists():
        report.write_text(redacted(report.read_text()))
        count(report, result)
    # 0 and 1 are in the report already; 5 is that no test was chosen, which must not pass for success.
    if code not in (0, 1):
        result.failed.append(f"pytest tests/{stage} {' '.join(options)} ended with code {code}")


def copy(source: IO[str], target: IO[str]) -> None:
    for line in source:
        target.write(redacted(line))
        target.flush()


def redacted(text: str) -> str:
    for secret in machine.secrets():
        text = text.replace(secret, "***")
    return text


def count(report: Path, result: Result) -> None:
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 (written by pytest a moment ago)
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            result.failed.append(name)
        elif (skipped := case.find("skipped")) is not None:
            result.skipped.append(f"{name}: {skipped.get('message')}")
        else:
            result.passed += 1


def sum_up(results: dict[str, Result], seconds: float) -> int:
    print(f"\n{'stage':<12}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for stage, result in results.items():
        counts = f"{result.passed:>8}{len(result.failed):>8}{len(result.skipped):>9}"
        print(f"{stage:<12}{counts}{result.seconds:>9.0f}")
    for stage, result in results.items():
        for line in result.skipped:
            print(f"skipped  {stage}: {line}")
    for stage, result in results.items():
        for line in result.failed:
            print(f"FAILED   {stage}: {line}")
    passed, failed, skipped = (
        sum(counts)
        for counts in zip(*((r.passed, len(r.failed), len(r.skipped)) for r in results.values()), strict=True)
    )
    minutes, rest = divmod(round(seconds), 60)
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped in {minutes} min {rest} s")
    if not passed and not failed:
        print("Nothing was tested, for the reasons above: that is no success.")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
