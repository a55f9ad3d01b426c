"""The faults of chaos.yml: what there is one of, which are wanted, and what the module makes, proves and undoes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from courseload import faults
from helpers.machine import REPOSITORY
from helpers.playbook import play
from helpers.plugins import load

inject_faults = load("modules", "inject_faults")

KINDS = yaml.safe_load((REPOSITORY / "group_vars/all/faults.yml").read_text())["fault_kinds"]
FUNCTIONS = REPOSITORY / "roles/fault/files"
WORKLOADS: dict[str, dict[str, Any]] = {
    "redis": {"port": 6379, "volume": "/srv/redis", "sidecars": {"exporter": {}}},
    "direct": {"port": 8020, "calls": ["redis"]},
}
KNOWN = faults.known(KINDS, WORKLOADS, "pods", {})
OPTIONS = {"chaos_rate": 200, "chaos_recovery": "30s", "faults": "all", "seed": 1}


def names(wanted: object, seed: int = 1) -> list[str]:
    return [trial["name"] for trial in faults.trials(KNOWN, wanted, seed)]


def test_each_container_pod_and_call_has_its_faults() -> None:
    of = {fault["name"]: fault for fault in KNOWN}
    assert {"killed/redis", "killed/redis-exporter", "killed/direct", "pod-killed/redis", "all-killed/system"} <= {*of}
    assert {"refused/direct-redis", "nameless/direct", "full/redis", "disk-full/redis"} <= {*of}
    assert not {"refused/redis", "nameless/redis", "full/direct", "disk-full/direct"} & {*of}, "these make no sense"
    assert of["disk-full/redis"]["environment"]["VOLUME"] == "courseload-redis"
    assert of["refused/direct-redis"]["says"] == "direct cannot reach redis: its packets are refused"
    assert of["refused/direct-redis"]["environment"] == {"CALLER": "direct", "WORKLOAD": "redis", "PORT": "6379"}
    assert of["pod-killed/redis"]["environment"]["CONTAINERS"] == "redis-redis redis-exporter"


def test_what_is_wanted_is_all_or_some_or_a_drawn_schedule() -> None:
    assert names("all") == [fault["name"] for fault in KNOWN]
    assert names("killed/direct, full") == ["killed/direct", "full/redis"]
    assert names(["killed/direct+full/redis"]) == ["killed/direct+full/redis"]
    (timed,) = faults.trials(KNOWN, "full/redis+killed/direct@2.5", 1)
    assert [(fault["name"], fault["at"]) for fault in timed["faults"]] == [("full/redis", 0), ("killed/direct", 2.5)]
    assert (timed["name"], timed["seconds"]) == ("full/redis+killed/direct@2.5", 10)
    drawn = faults.trials(KNOWN, 20, 7)
    assert drawn == faults.trials(KNOWN, "20", 7), "the same each time"
    assert drawn != faults.trials(KNOWN, 20, 8)
    made = [fault for trial in drawn for fault in trial["faults"]]
    assert len(made) == 20
    assert 7 <= len(drawn) < 20, "some overlap"
    assert {0 <= fault["at"] <= 6 for fault in made} == {True}
    for trial in drawn:
        kinds = [fault["kind"] for fault in trial["faults"]]
        assert len(kinds) == 1 or "all-killed" not in kinds, "it would hide the others"
        workloads = [fault["environment"].get("WORKLOAD") for fault in trial["faults"]]
        assert len(set(workloads)) == len(workloads)
    assert names(",".join(trial["name"] for trial in drawn)) == [trial["name"] for trial in drawn], "can be repeated"


def test_what_fails_together_is_tried_with_fewer() -> None:
    failed = {"name": "a/x+b/y@1+c/z@2", "why": "lost"}
    pairs = ["a/x+c/z@2", "a/x+b/y@1", "b/y@1+c/z@2"]
    assert faults.smaller([failed, {"name": "d/x", "why": "lost"}, {"name": "e/x+f/y", "why": ""}]) == pairs
    tried = [failed, *({"name": name, "why": "lost" if name == pairs[0] else ""} for name in pairs)]
    assert faults.smaller(tried) == ["a/x", "c/z@2"]
    assert faults.smaller([*tried, *({"name": name, "why": ""} for name in ("a/x", "c/z@2"))]) == []


def test_what_cannot_be_made_at_all_is_not_tried() -> None:
    seen = [{"name": "killed/direct", "skipped": ""}, {"name": "full/redis", "skipped": "it has no limit"}]
    trials = faults.trials(KNOWN, "killed/direct+full/redis,full/redis,killed/direct", 1)
    (told,) = faults.impossible(trials, seen)
    assert (told["name"], told["why"]) == ("full/redis", "it has no limit")
    assert [fault["name"] for fault in faults.once(fault for trial in trials for fault in trial["faults"])] == [
        *("killed/direct", "full/redis"),
    ]


def pod(workload: str, number: int, *, ready: bool = True) -> dict[str, Any]:
    states = [{"name": name, "ready": ready} for name in (workload, "exporter")]
    status = {"hostIP": f"10.0.0.{number}", "podIP": f"10.42.{number}.7", "containerStatuses": states}
    metadata = {"name": f"{workload}-{number}", "namespace": "courseload", "labels": {"app": workload}}
    return {"metadata": metadata, "status": status}


CLUSTER: dict[str, Any] = {
    "pods": [pod("redis", 1), pod("direct", 1, ready=False), pod("direct", 2)],
    "services": [
        {"metadata": {"namespace": "courseload"}, "spec": {"selector": {"app": "redis"}, "clusterIP": "10.43.0.9"}},
        {"metadata": {"namespace": "courseload"}, "spec": {"selector": {"app": "redis"}, "clusterIP": "None"}},
    ],
    "hosts": {"10.0.0.1": "server1", "10.0.0.2": "agent1"},
    "pod_network": "10.42.0.0/16",
    "mesh": False,
}


def test_in_a_cluster_a_fault_is_made_on_the_node_of_its_pod() -> None:
    groups = {"servers": ["server1"], "agents": ["agent1"]}
    of = {fault["name"]: fault for fault in faults.known(KINDS, WORKLOADS, "k3s", groups)}
    assert not {"all-killed/system", "restarted/redis", "disk-full/redis"} & {*of}, "these are for one host"

    def made(name: str) -> tuple[str, dict[str, str], str]:
        (place,) = faults.located([of[name]], CLUSTER)
        (fault,) = place["faults"]
        return place["host"], fault["environment"], fault.get("needs", "")

    host, environment, _ = made("killed/redis-exporter")
    assert (host, environment["CONTAINER"]) == ("server1", "redis-1_courseload_exporter")
    assert made("pod-killed/direct")[1]["CONTAINERS"] == "direct-2_courseload_direct direct-2_courseload_exporter"
    host, environment, _ = made("refused/direct-redis")
    assert (host, environment["CALLER"]) == ("agent1", "direct-2_courseload_direct"), "the first one is not ready"
    assert environment["ADDRESSES"] == "10.43.0.9,10.42.1.7"
    host, environment, _ = made("nameless/direct")
    assert environment["WORKLOAD"] == "direct-2_courseload_direct"
    assert environment["CALLED"] == "redis.courseload.svc.cluster.local."
    host, environment, needs = made("cut-off/agent1")
    assert (host, environment["OTHERS"], needs) == ("agent1", "10.0.0.1", "")
    assert made("server-stopped/server1")[0] == "server1"
    nowhere = {**CLUSTER, "pods": []}
    assert (
        faults.located([of["killed/redis"]], nowhere)[0]["faults"][0]["needs"] == "echo 'no pod of redis runs'; false"
    )
    (meshed,) = faults.located([of["cut/direct-redis"]], {**CLUSTER, "mesh": True})
    assert meshed["faults"][0]["needs"] == "echo 'the proxies of the mesh have its connections'; false"
    alone = {**CLUSTER, "hosts": {"10.0.0.2": "agent1"}}
    assert "there is no other node" in faults.located([of["cut-off/agent1"]], alone)[0]["faults"][0]["needs"]
    both = [of["killed/redis"], of["cut-off/agent1"], of["cut/direct-redis"]]
    assert [
        (place["host"], [fault["name"] for fault in place["faults"]]) for place in faults.located(both, CLUSTER)
    ] == [("server1", ["killed/redis"]), ("agent1", ["cut-off/agent1", "cut/direct-redis"])]


def test_a_host_restarts_alone_and_only_where_nothing_else_is_on_it() -> None:
    groups = {"servers": ["server1"], "agents": ["agent1", "agent2"], "ops": ["ops"], "load": ["agent2"]}
    known = faults.known(KINDS, WORKLOADS, "k3s", groups, here=["server1"])
    needs = {fault["name"]: fault.get("needs") for fault in known}
    assert needs["rebooted/server1"] == needs["clock-ahead/server1"] == f"echo '{faults.HERE}'; false"
    assert needs["power-cut/agent2"] == f"echo '{faults.LOADED}'; false"
    assert needs["rebooted/agent1"] is None
    assert needs["clock-ahead/agent2"] == "can_set_clock"
    wanted = {**OPTIONS, "faults": "killed/redis+rebooted/agent1,power-cut"}
    assert faults.refusals(wanted, ["agent2"], known) == [faults.ALONE.format(name="rebooted/agent1")]
    drawn = faults.trials(known, 200, 1)
    assert not {fault["kind"] for trial in drawn for fault in trial["faults"]} & {"rebooted", "power-cut"}
    one_host = faults.known(KINDS, WORKLOADS, "pods", {"ops": ["here"]}, here=["here"])
    assert "rebooted/here" not in {fault["name"] for fault in one_host}
    assert "clock-behind/here" in {fault["name"] for fault in one_host}


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"faults": "kiled/redis"}, "kiled/redis is no fault. There are: all-killed/system, "),
        ({"faults": "kiled"}, "kiled is no fault. There are: all-killed, cut, "),
        ({"faults": "killed+full"}, "killed is no fault. There are: "),
        ({"faults": "killed/redis@soon"}, "killed/redis@soon is no fault. There are: "),
        ({"faults": 0}, "faults must be all, a number, or names of faults."),
        ({"chaos_rate": 0}, "chaos_rate must be a number of requests per second, at least 1, not '0'."),
        ({"chaos_recovery": "soon"}, "chaos_recovery must be at least 1 second, written like 30s or 1m, not 'soon'."),
    ],
)
def test_what_is_not_possible_is_told(option: dict[str, Any], told: str) -> None:
    assert faults.refusals(OPTIONS, ["here"], KNOWN) == []
    assert any(sentence.startswith(told) for sentence in faults.refusals({**OPTIONS, **option}, ["here"], KNOWN))


def test_every_kind_says_what_it_is_and_how_it_is_proven() -> None:
    for name, kind in KINDS.items():
        assert {"of", "says", "inject", "probe", "proof"} <= kind.keys(), name
        assert ("undo" in kind) == ("seconds" in kind), f"{name}: what is there for a time is undone"
        known = {"of", "only", "platforms", "says", "inject", "undo", "seconds", "recovery", "probe", "proof", "needs"}
        known |= {"elsewhere", "restarts"}
        assert kind.keys() <= known, name


def test_the_commands_are_bash_that_shellcheck_accepts(tmp_path: Path) -> None:
    """With the functions that they use."""
    script = tmp_path / "faults.sh"
    commands = [kind[key] for kind in KINDS.values() for key in ("inject", "undo", "probe", "needs") if key in kind]
    functions = [(FUNCTIONS / name).read_text() for name in ("faults.sh", "pods.sh", "k3s.sh")]
    script.write_text("\n".join(["#!/bin/bash", *functions, *commands, ""]))
    # Words that are split are lists here.
    subprocess.run(["shellcheck", "--severity=warning", "--exclude=SC2046,SC2154", str(script)], check=True)


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known["name"])
def test_a_probe_asks_podman_once_for_each_place(known: dict[str, Any], tmp_path: Path) -> None:
    """Each call takes seconds on a host whose core is busy: only who calls somebody is two places."""
    (tmp_path / "podman").write_text('#!/bin/sh\necho >>"$CALLS"\necho 4194305\n')  # more than a process can have
    (tmp_path / "podman").chmod(0o755)
    functions = "\n".join((FUNCTIONS / name).read_text() for name in ("faults.sh", "pods.sh"))
    calls = tmp_path / "calls"
    path = f"{tmp_path}:{os.environ['PATH']}"
    environment = {**os.environ, **known["environment"], "PATH": path, "CALLS": str(calls)}
    subprocess.run(["bash", "-c", f"{functions}\n{known['probe']}"], env=environment, check=False, capture_output=True)
    assert calls.read_text().count("\n") == (2 if known["kind"] in ("refused", "dropped") else 1)


def fault(base: Path, **changed: Any) -> Any:
    """A fault that makes a file, which lasts for a second."""
    file = base / "broken"
    described = {
        "name": "broken/file",
        "environment": {"FILE": str(file)},
        "inject": 'touch "$FILE"',
        "undo": 'rm -f "$FILE"',
        "probe": 'if [ -e "$FILE" ]; then echo broken; else echo whole; fi',
        "proof": "^broken$",
        "seconds": 0.5,
    }
    return inject_faults.Fault(**(described | changed))


def make(base: Path, **changed: Any) -> Any:
    return inject_faults.Injector("", base / "state").make(fault(base, **changed))


def test_a_fault_is_proven_and_undone(tmp_path: Path) -> None:
    told = make(tmp_path)
    assert (told.before, told.during, told.after) == ("whole", "broken", "whole")
    assert told.proven
    assert told.undone
    assert 0.5 <= told.ended - told.began < 3
    assert list((tmp_path / "state").iterdir()) == []


def test_looking_makes_nothing(tmp_path: Path) -> None:
    injector = inject_faults.Injector("", tmp_path / "state")
    told = injector.look(fault(tmp_path))
    assert (told.before, told.during, told.proven, told.skipped) == ("whole", "", False, "")
    assert list(tmp_path.iterdir()) == []


CLOCK = """
off_by=0
date() {  # sets no clock, and tells one that is wrong
  if [ "$1" = --set ]; then
    off_by=$(echo "${2#@} $(command date +%s.%N)" | awk '{ printf "%d", $1 - $2 }')
  else
    echo "$(command date +%s.%N) $off_by" | awk '{ printf "%.2f", $1 + $2 }'
  fi
}
clock
step_clock 3600; clock; restore_clock; clock
step_clock -3600; clock
off_by=5; restore_clock; clock
echo "off by $off_by"
"""


def test_the_clock_is_set_right_whatever_has_set_it_meanwhile(tmp_path: Path) -> None:
    script = f"{(FUNCTIONS / 'faults.sh').read_text()}{CLOCK}"
    environment = {"STATE": str(tmp_path), "PATH": os.environ["PATH"]}
    said = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True).stdout
    assert re.sub("36[0-9]{2}|35[0-9]{2}", "an hour", said.replace(" s ", " ")).splitlines() == [
        *("right", "an hour ahead", "right", "an hour behind", "right", "off by 0"),
    ]


def test_a_fault_that_nobody_sees_is_not_proven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inject_faults, "SHOWS_S", 0.3)
    told = make(tmp_path, inject="echo no >&2; false")
    assert not told.proven
    assert told.error == "no"
    there_before = tmp_path / "broken"
    there_before.touch()
    assert not make(tmp_path, undo="true").proven, "it was there before"


def test_of_a_probe_that_does_not_end_nothing_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither that something has changed, nor that it is gone."""
    monkeypatch.setattr(inject_faults, "SHOWS_S", 0.2)
    monkeypatch.setattr(inject_faults, "PROBE_S", 0.2)
    probe = 'if [ -e "$FILE" ]; then sleep 1; else echo whole; fi'
    told = make(tmp_path, probe=probe, proof="changed")
    assert (told.during, told.proven, told.undone) == ("no end within 0.2 s", False, True)
    told = make(tmp_path, probe=probe, proof="changed", undo="true")
    assert (told.after, told.undone) == ("no end within 0.2 s", False)


def test_a_fault_that_does_not_go_away_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inject_faults, "SHOWS_S", 0.3)
    told = make(tmp_path, undo="true")
    assert told.proven
    assert not told.undone


def test_what_a_host_cannot_do_is_told_and_not_done(tmp_path: Path) -> None:
    told = make(tmp_path, needs="echo the kernel has none; false")
    assert told.skipped == "the kernel has none"
    assert not (tmp_path / "broken").exists()


def test_a_fault_is_undone_when_nobody_is_left_to_do_it(tmp_path: Path) -> None:
    """The process that makes it is killed in the middle; the connection is of no use either."""
    code = f"""
import sys
sys.path[:0] = {[str(REPOSITORY / "tests"), str(REPOSITORY / "plugins/module_utils")]!r}
from pathlib import Path
from unit.plugins import test_faults
test_faults.inject_faults.LATE_S = 0.5
test_faults.make(Path({str(tmp_path)!r}), seconds=1.5)
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 20
    while not (tmp_path / "broken").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    while (tmp_path / "broken").exists() or list((tmp_path / "state").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_second_run_undoes_what_is_left(tmp_path: Path) -> None:
    """As after a power cut, which ends the process that waits as well."""
    injector = inject_faults.Injector('undone() { rm -f "$FILE"; }', tmp_path / "state")
    left = fault(tmp_path, undo="undone", environment={"FILE": str(tmp_path / "it's broken")})
    own = tmp_path / "state" / left.word
    own.mkdir(parents=True)
    watch = injector._arm(left, own)
    watch.kill()
    watch.wait()
    (tmp_path / "it's broken").touch()
    assert injector.undo_left() == ["fault_broken_file"]
    assert not (tmp_path / "it's broken").exists()
    assert injector.undo_left() == []


def test_faults_of_a_trial_overlap(tmp_path: Path) -> None:
    playbook = tmp_path / "playbook.yml"
    both: list[dict[str, Any]] = [
        {"name": f"broken/{name}", "at": at, "seconds": 1, "inject": f"touch {tmp_path}/{name}"}
        | {
            "undo": f"rm {tmp_path}/{name}",
            "probe": f"ls {tmp_path} | grep -x {name} || echo none",
            "proof": f"^{name}$",
        }
        | {"environment": {}}
        for name, at in (("one", 0), ("two", 0.5))
    ]
    playbook.write_text(
        "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n"
        f"    - inject_faults: {{faults: {json.dumps(both)}, state: {tmp_path}/state}}\n      register: made\n"
        "    - ansible.builtin.copy: {content: '{{ made.faults | to_json }}', dest: " + f"{tmp_path}/made.json" + "}\n"
    )
    done = play(playbook)
    assert done.ok, done.output
    one, two = json.loads((tmp_path / "made.json").read_text())
    assert one["proven"]
    assert two["proven"]
    assert one["began"] < two["began"] < one["ended"] < two["ended"]
