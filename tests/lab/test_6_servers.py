"""Three servers: the system goes on when one of them is off, and takes it back."""

from __future__ import annotations

import pytest

from lab import hosts
from lab.cluster import Kubectl, eventually
from lab.hosts import Host
from lab.paths import LAB
from lab.release import Release
from lab.system import assert_nothing_lost, load_test, node_of
from lab.system import run as playbook
from lab.traces import Traces

pytestmark = pytest.mark.timeout(1200)

INVENTORY = LAB / "three-servers.yml"


@pytest.fixture(scope="module")
def trio(before: Traces, built: Release) -> dict[str, Host]:
    """Three servers, an agent and what drives them, with the whole system."""
    hosts.down()
    wanted = hosts.read(INVENTORY)
    hosts.up(wanted)
    done = playbook("site.yml", release=built, inventory=INVENTORY)
    assert done.ok, done.output[-8000:]
    return {host.name: host for host in wanted}


def test_the_routes_and_the_api_go_on_without_a_server_and_take_it_back(trio: dict[str, Host], built: Release) -> None:
    keepers = {node_of(Kubectl(trio["server1"]), workload) for workload in ("mongodb", "redis")}
    victim, *others = [host for name, host in trio.items() if "servers" in host.groups and name not in keepers]
    kubectl = Kubectl(others[0] if others else trio[next(iter(keepers))])
    with load_test(
        built, inventory=INVENTORY, users=40, duration="90s", slo_failure_ratio=1, slo_p99_ms=60_000
    ) as test:
        hosts.power_off(victim)
        try:
            eventually("the node is missed", lambda: victim.name not in kubectl.ready_nodes(), 90)
            kubectl("create", "configmap", "written-meanwhile")
            test.assert_under_way()
            summary, data = test.summary(), test.data()
        finally:
            hosts.power_on(victim)
    assert_nothing_lost(summary)
    assert not any(row["failures"] for row in data["load"]["series"][-15:]), "it serves again long before the end"
    eventually("it is back", lambda: victim.name in kubectl.ready_nodes(), 120)
    eventually("it knows what was written", lambda: bool(Kubectl(victim).get("configmap", "written-meanwhile")), 60)


def test_a_second_run_changes_nothing(trio: dict[str, Host], built: Release) -> None:
    again = playbook("site.yml", release=built, inventory=INVENTORY)
    assert again.ok, again.output[-4000:]
    assert again.changes == []
