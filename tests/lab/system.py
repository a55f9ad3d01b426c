"""courseload on the lab's hosts: its playbooks, load tests that run while things happen, and what its cluster says."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from helpers.machine import REPOSITORY
from helpers.playbook import Play, play
from lab.cluster import Kubectl
from lab.cluster import run as remote
from lab.hosts import Host
from lab.paths import INVENTORY
from lab.release import Release

RESULTS = REPOSITORY / "tests/results"
NAMESPACE = "courseload"
START_S = 150  # within which a load test posts its first notes

PROGRESS = re.compile(r"\d+/\d+ users \| ([\d,]+) requests/s")


def run(playbook: str, *options: str, release: Release, inventory: Path = INVENTORY, **variables: Any) -> Play:
    """Runs a playbook against the lab, with a release of the stand-in where k3s is downloaded from."""
    return play(playbook, *options, inventory=str(inventory), **settings(release), **variables)


def settings(release: Release) -> dict[str, str]:
    return {"k3s_version": release.version, "k3s_release_url": release.directory.as_uri()}


@dataclass
class LoadTest:
    """A load test that runs in the background."""

    process: subprocess.Popen[bytes]
    log: Path
    reports: Path

    @property
    def rates(self) -> list[int]:
        """The requests a second of each line of progress so far."""
        return [int(rate.replace(",", "")) for rate in PROGRESS.findall(self.log.read_text(errors="replace"))]

    def await_notes(self) -> None:
        deadline = time.monotonic() + START_S
        while not any(self.rates):
            assert self.process.poll() is None, f"the load test ended before it posted anything:\n{self.end_of_log()}"
            assert time.monotonic() < deadline, f"the load test posts nothing:\n{self.end_of_log()}"
            time.sleep(0.5)

    def assert_under_way(self) -> None:
        assert self.process.poll() is None, f"the load test ended too early: make it longer\n{self.end_of_log()}"

    def summary(self, seconds: float = 240) -> dict[str, Any]:
        """What came of it, once it has ended."""
        self.process.wait(timeout=seconds)
        found = list(self.reports.glob("*/summary.json"))
        assert len(found) == 1, f"one report expected, found {found}\n{self.end_of_log()}"
        summary: dict[str, Any] = json.loads(found[0].read_text())
        return summary

    def data(self) -> dict[str, Any]:
        """Everything behind its report."""
        found: dict[str, Any] = json.loads(next(self.reports.glob("*/data.json")).read_text())
        return found

    def end_of_log(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]


@contextmanager
def load_test(release: Release, inventory: Path = INVENTORY, **variables: Any) -> Iterator[LoadTest]:
    """Starts a load test on the lab; begins when its first notes are answered."""
    RESULTS.mkdir(exist_ok=True)
    log = RESULTS / "lab-loadtest.log"
    with tempfile.TemporaryDirectory(prefix="courseload-reports-") as reports:
        extra = settings(release) | {"locust_reports_dir": reports} | variables
        command = ["bin/ansible-playbook", "-i", str(inventory), "loadtest.yml", "--extra-vars", json.dumps(extra)]
        with (
            log.open("w") as output,
            subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=output) as process,
        ):
            try:
                test = LoadTest(process, log, Path(reports))
                test.await_notes()
                yield test
            finally:
                process.terminate()


def assert_no_failure_later(data: dict[str, Any], moment: float, seconds: float) -> None:
    """No request failed more than so many seconds after a moment; `data` is everything behind a report."""
    load = data["load"]
    failing = [row["second"] + load["started_at"] - moment for row in load["series"] if row["failures"]]
    said = f"requests failed {min(failing, default=0):.0f} to {max(failing, default=0):.0f} s after: {load['errors']}"
    assert not failing or max(failing) < seconds, said


@dataclass(frozen=True)
class Workload:
    """What a test needs to know of a workload, as it was described to the cluster."""

    name: str
    namespace: str
    image: str
    port: int
    calls: frozenset[str]


def described() -> dict[str, Workload]:
    """The workloads of group_vars by name. What is templated there is known here."""
    data, mongodb = (
        yaml.safe_load((REPOSITORY / f"group_vars/all/{name}.yml").read_text()) for name in ("workloads", "mongodb")
    )
    variant = mongodb["mongodb_variants"]["packages"]["workload"]
    entries = data["workloads"] | {"mongodb": mongodb["mongodb_common"] | variant}
    return {
        name: Workload(
            name=name,
            namespace="ingress" if name == "ingress" else NAMESPACE,
            image=entry["image"],
            port=entry["port"],
            calls=frozenset(("relay", "direct") if name == "ingress" else entry.get("calls", [])),
        )
        for name, entry in entries.items()
    }


def prometheus(ops: Host, path: str, **asked: Any) -> Any:
    """What Prometheus on the ops host answers to a question at its API."""
    url = f"http://127.0.0.1:9090/api/v1/{path}?{urlencode(asked)}"
    return json.loads(remote(ops, f"curl --silent --show-error --fail-with-body {shlex.quote(url)}"))["data"]


def one_pod(kubectl: Kubectl, workload: str, namespace: str = NAMESPACE) -> str:
    """The name of a pod of a workload that is ready."""
    return next(iter(kubectl.nodes_of(f"app={workload}", namespace)))


def node_of(kubectl: Kubectl, workload: str) -> str:
    """The node of a workload's only pod."""
    return next(iter(kubectl.nodes_of(f"app={workload}", NAMESPACE).values()))


def replicas(kubectl: Kubectl, workload: str) -> int:
    """How many pods of a workload are ready."""
    return int(kubectl.get("deployment", workload, f"--namespace={NAMESPACE}")["status"].get("readyReplicas", 0))
