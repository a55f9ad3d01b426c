"""The whole system as pods on one host where systemd is the init system, from a bundle, through reboots."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from helpers.load import assert_nothing_lost
from helpers.playbook import Play
from lab import hosts
from lab.cluster import RemoteError, eventually, run
from lab.hosts import Host
from lab.paths import LAB
from lab.release import Release
from lab.system import load_test
from lab.system import run as playbook
from lab.traces import Traces

pytestmark = pytest.mark.timeout(1200)

INVENTORY = LAB / "one-host.yml"
COUNT = """podman exec ledger-ledger python3 -c '
import os, pathlib, pymongo
uri = pathlib.Path(os.environ["MONGODB_URI_FILE"]).read_text()
print(pymongo.MongoClient(uri).get_default_database()["notes"].count_documents({}))'"""
POST = (
    "curl -s -o /dev/null -w '%{http_code}' http://localhost:8080/course -H 'Content-Type: application/json' "
    """-d '{"curso":"SO1","facultad":"ingenieria","carrera":"sistemas","region":"NORTE"}'"""
)
ROUTES = f"for note in $(seq 40); do {POST.replace('-o /dev/null', '-D -')}; done | sed -n 's/^X-Route: //ip'"
# What systemd says of our services, and PostgreSQL of its end.
ENDS = re.compile(
    r"Stopped courseload-(\w+)\.service|(PANIC):"
    r"|LOG:  (received fast shutdown request|shutting down|database system is shut down)$",
    re.MULTILINE,
)
PROGRAMS = "dpkg-query --show --showformat '${Package}\\n' iptables nftables podman 2>/dev/null; true"
CONTAINER = "podman inspect --format '{{.Id}} {{.State.StartedAt}}' ingress-ingress"


@pytest.fixture(scope="module")
def single(before: Traces) -> Host:
    hosts.down()
    wanted = hosts.read(INVENTORY)
    hosts.up(wanted)
    return wanted[0]


@pytest.fixture(scope="module")
def site(single: Host, built: Release, bundle: Path) -> Play:
    """The system on the host, with nothing but the bundle: the host reaches no network, and lacks Podman."""
    assert run(single, PROGRAMS) == ""
    done = playbook("site.yml", release=built, inventory=INVENTORY, bundle_dir=str(bundle))
    assert done.ok, done.output[-8000:]
    return done


def count(host: Host) -> int:
    return int(run(host, COUNT))


def serves(host: Host) -> bool:
    """On both routes: they take turns."""
    return [run(host, POST).strip() for _ in range(10)] == ["201"] * 10


def test_packages_come_from_the_bundle_and_apt_is_as_it_was(site: Play, single: Host) -> None:
    assert "Install the packages that are missing" in site.changes
    assert run(single, PROGRAMS).split() == ["iptables", "nftables", "podman"]
    assert run(single, "ls -d /var/tmp/courseload.* 2>/dev/null; grep -rl file: /etc/apt; true") == ""


def test_a_comparison_has_the_settings_of_each_side_by_turns(
    site: Play, built: Release, bundle: Path, tmp_path: Path
) -> None:
    """The test after this one sees that the system has its own settings back."""
    settings: dict[str, Any] = {
        "release": built,
        "inventory": INVENTORY,
        "bundle_dir": str(bundle),
        "a": {"routes": {"relay": 0}},
        "b": {"routes": {"direct": 0}},
    }
    # A setting that -e wins for would be the same on both sides.
    refused = playbook("capacity.yml", **settings, routes={"relay": 50, "direct": 50})
    assert not refused.ok
    assert "routes is given with -e as well" in " ".join(refused.reasons)
    done = playbook(
        "capacity.yml", **settings, ab_rounds=2, ab_sample="5s", ab_rate=40, locust_reports_dir=str(tmp_path)
    )
    assert done.ok, done.output[-4000:]
    (page,) = tmp_path.glob("*-ab/ab.html")
    found = json.loads((page.parent / "ab.json").read_text())
    assert [(sample["round"], sample["side"]) for sample in found["samples"]] == [
        (1, "a"),
        (1, "b"),
        (2, "b"),
        (2, "a"),
    ]
    assert all(sample["result"]["lost"] == 0 and 20 < sample["result"]["rps"] < 60 for sample in found["samples"])
    assert set(re.findall(r"relay (\d+) % / direct", done.output)) == {"0", "100"}, "each side had its own routes"


def test_a_second_run_changes_nothing(site: Play, built: Release, bundle: Path) -> None:
    again = playbook("site.yml", release=built, inventory=INVENTORY, bundle_dir=str(bundle))
    assert again.ok, again.output[-4000:]
    assert again.changes == []


def test_systemd_keeps_every_pod(site: Play, single: Host) -> None:
    units = run(single, "systemctl list-units --plain --no-legend 'courseload-*' | cut -d ' ' -f 1").split()
    assert {unit.removeprefix("courseload-").removesuffix(".service") for unit in units} >= {
        *("mongodb", "redis", "ledger", "relay", "direct", "ingress")
    }


def test_a_change_of_weights_costs_no_request(site: Play, single: Host, built: Release, bundle: Path) -> None:
    """The ingress reloads its configuration: its pod stays, and so do the connections of those who use it."""
    site_again = partial(playbook, "site.yml", release=built, inventory=INVENTORY, bundle_dir=str(bundle))
    container = run(single, CONTAINER)
    with load_test(
        built, inventory=INVENTORY, users=20, duration="60s", slo_p99_ms=10_000, bundle_dir=str(bundle)
    ) as test:
        changed = site_again(routes={"relay": 75, "direct": 25})
        test.assert_under_way()
        summary = test.summary()
    assert changed.ok, changed.output[-4000:]
    assert summary["failures"] == 0
    assert_nothing_lost(summary)
    assert 27 <= run(single, ROUTES).split().count("relay") <= 33
    back = site_again()
    assert back.changes == [
        "Write the pod ingress",
        "Write the configuration of ingress",
        "Reload the configuration of ingress",
    ]
    assert run(single, CONTAINER) == container


def test_a_search_for_the_capacity_leaves_what_it_found_and_nothing_else(
    site: Play, single: Host, built: Release, bundle: Path, tmp_path: Path
) -> None:
    """In half a minute it cannot prove anything, and says so."""
    search = {"start_rate": 20, "step": "5s", "hold": "5s", "limit": "25s"}
    done = playbook(
        "capacity.yml",
        release=built,
        inventory=INVENTORY,
        bundle_dir=str(bundle),
        locust_reports_dir=str(tmp_path),
        slo_p99_ms=10_000,
        **{f"capacity_{name}": value for name, value in search.items()},
    )
    assert "The time was over (25 s) before an answer was proven." in done.output
    assert not done.ok
    (certificate,) = tmp_path.glob("*-capacity/certificate.html")
    assert "NO ANSWER" in certificate.read_text()
    first, *further = json.loads((certificate.parent / "capacity.json").read_text())["steps"]
    assert (first["step"]["rate"], first["met"], first["lost"]) == (20, True, 0), first
    assert 5 < first["rps"] < 40
    assert all(step["lost"] == 0 for step in further)
    assert "locust" not in run(single, "podman pod ls --format '{{.Name}}'")


def test_a_shutdown_stops_callers_before_databases_and_no_process_before_its_service(site: Play, single: Host) -> None:
    """Otherwise each process is told by itself, and PostgreSQL's checkpointer ends before those that write."""
    assert serves(single)
    stored = count(single)
    said = "\n".join(line.rstrip() for line in hosts.shut_down(single))
    hosts.power_on(single)
    ends = ["".join(found) for found in re.findall(ENDS, said)]
    postgres = [end for end in ends if " " in end or end == "PANIC"]
    assert postgres == ["received fast shutdown request", "shutting down", "database system is shut down"], said
    order = [name for name in ends if name in ("ingress", "relay", "ledger")]
    assert order == ["ingress", "relay", "ledger"], said
    assert max(map(ends.index, ("ledger", "direct"))) < ends.index("received fast shutdown request"), said
    eventually("it serves again", lambda: serves(single), 180)
    assert "database system was shut down at" in run(single, "podman logs mongodb-postgres 2>&1")
    assert count(single) >= stored + 10


def test_after_a_power_cut_everything_is_back_by_itself_and_every_note_is_there(
    site: Play, single: Host, built: Release, bundle: Path
) -> None:
    with load_test(
        built, inventory=INVENTORY, users=20, duration="10s", slo_p99_ms=10_000, bundle_dir=str(bundle)
    ) as test:
        summary = test.summary()
    assert summary["verdict"] == "pass", summary["reasons"]
    assert_nothing_lost(summary)
    stored = count(single)
    hosts.power_off(single)
    hosts.power_on(single)
    eventually("it serves again", lambda: serves(single), 180)
    assert serves(single)
    assert count(single) >= stored + 20
    # And others do not reach its pods: see tests/system/test_1_neighbour.py for what that means.
    assert "chain pods" in run(single, "nft list table inet courseload")


def test_reset_leaves_nothing(site: Play, single: Host, built: Release) -> None:
    done = playbook("playbooks/reset.yml", release=built, inventory=INVENTORY, confirm="yes")
    assert done.ok, done.output[-4000:]
    with pytest.raises(RemoteError):
        run(single, "ls -d /etc/courseload /var/lib/courseload")
    assert run(single, "ls -d /etc/systemd/system/libpod-.scope.d || true") == ""
    left = run(
        single, "podman ps --all --quiet; podman volume ls --quiet; podman images --format '{{.Repository}}'"
    ).split()
    assert set(left) <= {"localhost/podman-pause"}, "Podman's own image may stay"
