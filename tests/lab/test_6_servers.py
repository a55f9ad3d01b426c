"""Three servers, set up from a bundle: the system goes on when one of them is off, and takes it back.

The hosts of the tests before are reset and set up again, as something else.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from helpers.load import assert_nothing_lost
from helpers.playbook import Play
from lab import hosts
from lab.cluster import Kubectl, eventually
from lab.hosts import Host
from lab.paths import LAB
from lab.release import Release
from lab.system import assert_no_failure_later, load_test, node_of
from lab.system import run as playbook
from lab.traces import Traces

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

INVENTORY = LAB / "three-servers.yml"


@pytest.fixture(scope="module")
def trio(before: Traces, built: Release) -> dict[str, Host]:
    """Three servers, an agent, and what drives them, with nothing on them."""
    wanted = hosts.read(INVENTORY)
    hosts.up(wanted)
    # The tests before may have been those of a reset, or not.
    done = playbook("playbooks/reset.yml", release=built, inventory=INVENTORY, confirm="yes")
    assert done.ok, done.output[-4000:]
    return {host.name: host for host in wanted}


def test_a_bundle_with_another_byte_is_refused(trio: dict[str, Host], built: Release, bundle: Path) -> None:
    archive = next((bundle / "images").glob("redis-*"))
    with archive.open("r+b") as file:
        file.seek(100)
        byte = file.read(1)
        file.seek(100)
        file.write(bytes([byte[0] ^ 1]))
    try:
        done = playbook("site.yml", release=built, inventory=INVENTORY, bundle_dir=str(bundle))
    finally:
        with archive.open("r+b") as file:
            file.seek(100)
            file.write(byte)
    assert not done.ok
    assert archive.name in " ".join(done.reasons)
    assert done.changes == []


@pytest.fixture(scope="module")
def site(trio: dict[str, Host], built: Release, bundle: Path) -> Play:
    """The whole system on three servers, with nothing but the bundle."""
    done = playbook("site.yml", release=built, inventory=INVENTORY, bundle_dir=str(bundle))
    assert done.ok, done.output[-8000:]
    return done


def test_a_second_run_changes_nothing(site: Play, built: Release, bundle: Path) -> None:
    again = playbook("site.yml", release=built, inventory=INVENTORY, bundle_dir=str(bundle))
    assert again.ok, again.output[-4000:]
    assert again.changes == []


def test_the_routes_and_the_api_go_on_without_a_server_and_take_it_back(
    site: Play, trio: dict[str, Host], built: Release, bundle: Path
) -> None:
    keepers = {node_of(Kubectl(trio["server1"]), workload) for workload in ("mongodb", "redis")}
    victim = next(host for name, host in trio.items() if "servers" in host.groups and name not in keepers)
    kubectl = Kubectl(next(host for host in trio.values() if "servers" in host.groups and host != victim))
    with load_test(
        built,
        inventory=INVENTORY,
        users=40,
        duration="120s",
        slo_failure_ratio=1,
        slo_p99_ms=60_000,
        bundle_dir=str(bundle),
    ) as test:
        hosts.power_off(victim)
        off = time.time()
        try:
            eventually("the node is missed", lambda: victim.name not in kubectl.ready_nodes(), 90)
            kubectl("create", "configmap", "written-meanwhile")
            test.assert_under_way()
            summary, data = test.summary(), test.data()
        finally:
            hosts.power_on(victim)
    assert_nothing_lost(summary)
    # The servers agree about who leads before they take the pods off the one that is gone.
    assert_no_failure_later(data, off, 90)
    eventually("it is back", lambda: victim.name in kubectl.ready_nodes(), 120)
    eventually("it knows what was written", lambda: bool(Kubectl(victim).get("configmap", "written-meanwhile")), 60)
