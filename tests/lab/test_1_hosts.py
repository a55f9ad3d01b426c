"""The hosts: servers of their own as far as SSH, systemd and a playbook can tell, and closed in."""

from __future__ import annotations

import stat
import subprocess

import pytest

from lab import hosts
from lab.cluster import RemoteError, run
from lab.hosts import NOBODY, Host
from lab.paths import INVENTORY, SSH
from lab.podman import containers


def test_every_host_of_the_inventory_answers_over_ssh_by_its_own_name(lab: dict[str, Host]) -> None:
    assert {name: run(host, "hostname").strip() for name, host in lab.items()} == {name: name for name in lab}


def test_ansible_reaches_every_host_with_the_inventory_alone(lab: dict[str, Host]) -> None:
    command = ["ansible", "-i", str(INVENTORY), "servers:agents:ops:load", "-m", "ansible.builtin.ping"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.count('"ping": "pong"') + done.stdout.count("ping: pong") == len(lab), done.stdout + done.stderr


def test_systemd_runs_every_host_without_a_failed_unit(lab: dict[str, Host]) -> None:
    assert {host.name: hosts.system_state(host) for host in lab.values()} == dict.fromkeys(lab, "running")


def test_the_key_is_readable_by_nobody_else() -> None:
    assert stat.S_IMODE((SSH / "id_ed25519").stat().st_mode) == 0o600
    assert stat.S_IMODE(SSH.stat().st_mode) == 0o700


def test_hosts_have_keys_and_machine_ids_of_their_own(lab: dict[str, Host]) -> None:
    identities = {run(host, "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub") for host in lab.values()}
    assert len(identities) == len(lab)


def test_hosts_reach_each_other_and_nothing_else(server: Host, lab: dict[str, Host]) -> None:
    run(server, f"timeout 5 bash -c '</dev/tcp/{lab['load1'].address}/22'")
    assert str(NOBODY) in run(server, "ip route show default")
    with pytest.raises(RemoteError):
        # An address for documentation, which a packet would look for outside.
        run(server, "timeout 5 bash -c '</dev/tcp/192.0.2.1/443'")
    assert run(server, f"ip -o -4 neighbour show {NOBODY}").split()[-1] in ("FAILED", "INCOMPLETE")


def test_a_host_sees_no_process_and_no_cgroup_of_another(server: Host, lab: dict[str, Host]) -> None:
    run(lab["agent1"], "systemd-run --quiet --unit=lab-marker sleep 1000")
    look = "ps -e -o comm=; find /sys/fs/cgroup -type d"
    assert {"sleep", "lab-marker"} == {word for word in ("sleep", "lab-marker") if word in run(lab["agent1"], look)}
    assert "lab-marker" not in run(server, look)
    assert "sleep" not in run(server, look)


def test_up_again_changes_nothing(lab: dict[str, Host]) -> None:
    before = {entry["Id"]: entry["StartedAt"] for entry in containers()}
    hosts.up(list(lab.values()))
    assert {entry["Id"]: entry["StartedAt"] for entry in containers()} == before
