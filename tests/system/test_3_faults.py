"""chaos.yml breaks things in the running system: each fault is seen from outside, is undone, and costs no note."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import courseload
from helpers.machine import REPOSITORY, podman_list, run
from helpers.playbook import play

# One of each kind, on different parts, all at once: what a kind does by itself is in docs/faults.md.
TOGETHER = (
    *("refused/ledger-mongodb", "dropped/direct-mongodb", "cut/relay-ledger", "nameless/relay", "starved/ledger@1"),
    *("hanging/mongodb-exporter", "out-of-memory/mongodb-reading@1", "full/redis@1", "killed/direct@3"),
    *("pod-killed/ingress@5", "slowed/direct", "disk-full/redis@14", "clock-ahead/localhost"),
)
ELSEWHERE = {"all-killed", "restarted", "clock-behind"}  # test_1_serving restarts every pod


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Redis's volume on a filesystem of its own, which can be full while the machine's has room."""
    volume = Path(run("podman", "volume", "inspect", "--format", "{{.Mountpoint}}", "courseload-redis").strip())
    kept = tmp_path_factory.mktemp("kept") / "volume"
    run("podman", "pod", "stop", "--time", "10", "redis")
    run("cp", "--archive", str(volume), str(kept))
    run("mount", "-t", "tmpfs", "-o", "size=128m", "courseload-test", str(volume))
    try:
        run("cp", "--archive", "--no-target-directory", str(kept), str(volume))
        run("podman", "pod", "start", "redis")
        yield
        run("podman", "pod", "stop", "--time", "10", "redis")
        shutil.rmtree(kept)
        run("cp", "--archive", str(volume), str(kept))
    finally:
        run("umount", str(volume))
    run("cp", "--archive", "--no-target-directory", str(kept), str(volume))
    run("podman", "pod", "start", "redis")
    courseload.wait_until_it_serves(30)


@pytest.fixture(scope="module")
def chaos(small_disk: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    reports = tmp_path_factory.mktemp("reports")
    done = play("chaos.yml", faults="+".join(TOGETHER), chaos_rate=60, locust_reports_dir=str(reports))
    assert done.ok, done.output[-6000:]
    (found,) = reports.glob("*-chaos/chaos.json")
    assert (found.parent / "chaos.html").exists()
    chaos: dict[str, Any] = json.loads(found.read_text())
    return chaos


def test_every_kind_of_fault_is_seen_and_undone(chaos: dict[str, Any]) -> None:
    (trial,) = chaos["trials"]
    for fault in trial["faults"]:
        assert fault["proven"] != bool(fault["skipped"]), fault
        assert fault["undone"], fault
        assert not fault["error"], fault
    skipped = {fault["name"]: fault["skipped"] for fault in trial["faults"] if fault["skipped"]}
    assert skipped.pop("slowed/direct", "") in ("", "the kernel of this host has no sch_netem")
    assert skipped == {"clock-ahead/localhost": "it is the machine that runs the play"}
    described = yaml.safe_load((REPOSITORY / "group_vars/all/faults.yml").read_text())["fault_kinds"]
    here = {kind for kind, spec in described.items() if "pods" in spec.get("platforms", ["pods"])}
    assert {name.partition("/")[0] for name in TOGETHER} == here - ELSEWHERE


def test_nothing_is_lost_for_it_and_the_clients_notice(chaos: dict[str, Any]) -> None:
    (trial,) = chaos["trials"]
    assert (trial["verdict"], trial["lost"], trial["doubled"]) == ("survived", 0, 0), trial["why"]
    assert trial["failures"] > 0, "both routes were without their database"
    assert trial["errors"].keys() & {"HTTP 503, with Retry-After"}


def test_nothing_is_left_of_it(chaos: dict[str, Any]) -> None:
    assert not Path("/var/lib/courseload/faults").exists()
    assert not [name for name in podman_list("pod") if name.startswith("locust-")]
    for pod in ("ledger", "direct", "relay"):
        infra = run("podman", "pod", "inspect", "--format", "{{.InfraContainerID}}", pod).strip()
        process = run("podman", "container", "inspect", "--format", "{{.State.Pid}}", infra).strip()
        assert "fault" not in run("nsenter", "--net", "--target", process, "nft", "list", "tables")
