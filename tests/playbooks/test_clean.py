"""What a reset ends of k3s on a host, and what it leaves to others who have the like: clean.sh, in namespaces."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

import pytest

from helpers import machine
from helpers.machine import REPOSITORY

CLEAN = REPOSITORY / "roles/k3s/files/clean.sh"
NAMESPACES = ("unshare", "--mount", "--pid", "--net", "--fork", "--mount-proc", "--kill-child")

# A k3s that was stopped, with a pod that has a port; and, called alike, what is somebody else's: a k3s in a container,
# and a network namespace in which a process lives.
HOST = r"""
set -e
mount -t tmpfs none /run
mount -t tmpfs none /sys/fs/cgroup
mkdir /run/netns
nat() { iptables -t nat "$@"; }
for chain in KUBE-SERVICES CNI-HOSTPORT-DNAT CNI-DN-aaaa; do nat -N $chain; done
nat -A PREROUTING -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES
nat -A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
nat -A CNI-HOSTPORT-DNAT -p tcp -m comment --comment 'dnat name: "cbr0" id: "a"' -j CNI-DN-aaaa
nat -A CNI-DN-aaaa -p tcp --dport 80 -j DNAT --to-destination 10.42.0.5:80
ip link add cni0 type bridge
for name in ours theirs; do
  touch /run/netns/cni-$name
  unshare --net=/run/netns/cni-$name true
done
nsenter --net=/run/netns/cni-theirs sleep 100 &
program=/var/lib/rancher/k3s/data/x/bin/containerd-shim
bash -c "exec -a $program sleep 100" & ours=$!
unshare --mount bash -c "exec -a $program sleep 100" & theirs=$!
sleep 0.5
"""
# A Podman whose networks are made by CNI plugins.
PODMAN = r"""
for chain in CNI-bbbb CNI-DN-bbbb; do nat -N $chain; done
nat -A POSTROUTING -s 10.88.0.2 -m comment --comment 'name: "podman" id: "b"' -j CNI-bbbb
nat -A CNI-HOSTPORT-DNAT -p tcp -m comment --comment 'dnat name: "podman" id: "b"' -j CNI-DN-bbbb
"""
LISTING = r"""
! kill -0 $ours 2>/dev/null || echo process ours
! kill -0 $theirs 2>/dev/null || echo process theirs
ls /run/netns | sed 's/^/netns /'
iptables-save -t nat | grep -oE '^:(KUBE|CNI)[^ ]*' | sed 's/^:/chain /'
ip -o link show cni0 2>/dev/null | grep -o cni0 | sed 's/^/interface /'
true
"""
THEIRS = {"process theirs", "netns cni-theirs"}
PODMANS = {"chain CNI-HOSTPORT-DNAT", "chain CNI-bbbb", "chain CNI-DN-bbbb"}


@dataclass(frozen=True)
class Cleaned:
    left: set[str]
    said: list[str]


def clean(how: str, *, beside: str = "") -> Cleaned:
    """Runs clean.sh on such a host, twice; returns what is left, and what it says the second time."""
    if why := machine.obstacle():
        pytest.skip(f"a host of its own cannot be made here: it {why}")
    command = f"bash {CLEAN} 10.42.0.0/16 {how}"
    script = f"{HOST}{beside}{command} >/dev/null 2>&1\necho ---\n{command} 2>&1\necho ---{LISTING}"
    if subprocess.run([*NAMESPACES, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine has no namespaces for us")
    done = subprocess.run([*NAMESPACES, "bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    _, again, left = done.stdout.split("---\n")
    return Cleaned(left=set(left.splitlines()), said=again.splitlines())


def test_all_of_k3s_goes_and_nothing_of_others_who_have_the_like() -> None:
    cleaned = clean("alone")
    assert cleaned.left == THEIRS
    assert cleaned.said == []


def test_the_chains_of_a_podman_with_cni_plugins_stay() -> None:
    assert clean("alone", beside=PODMAN).left == THEIRS | PODMANS


def test_beside_another_kubelet_what_both_may_have_made_stays() -> None:
    both = {"chain KUBE-SERVICES", "chain CNI-DN-aaaa", "interface cni0"}
    assert clean("beside", beside=PODMAN).left == THEIRS | PODMANS | both
