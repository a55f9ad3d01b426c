"""A reset of a host with a cluster: another's stays as it is, and what courseload has made goes."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from helpers import machine
from helpers.playbook import Play, play

# A host of its own, as far as files and networks go; what is written there lies beside the test.
HOST = r"""
mount --make-rprivate /
for place in etc var/lib var/log usr/local; do
  mkdir -p $scratch/$place/new $scratch/$place/work
  mount -t overlay none -o lowerdir=/$place,upperdir=$scratch/$place/new,workdir=$scratch/$place/work /$place
done
mount -t tmpfs none /run
mkdir -p /run/lock
# This machine may have a courseload of its own.
rm -rf /etc/courseload /var/lib/courseload /etc/systemd/system/courseload-*
"""
# A cluster, on a host with files of somebody else's.
CLUSTER = r"""
mkdir -p /etc/rancher/k3s /etc/rancher/rke2 /etc/courseload
mkdir -p /var/lib/rancher/k3s/server /var/lib/kubelet/pods /var/log/pods/one
echo "$config" > /etc/rancher/k3s/config.yaml
echo theirs | tee /etc/rancher/rke2/config.yaml /etc/courseload/theirs > /var/lib/kubelet/pods/one
echo data > /var/lib/rancher/k3s/server/db
echo binary > /usr/local/bin/k3s
iptables -t nat -N KUBE-SERVICES
"""
LISTING = r"""
places='/etc/rancher /etc/courseload /var/lib/rancher /var/lib/kubelet /var/log/pods /usr/local/bin/k3s'
find $places -type f > $scratch/left 2>/dev/null
iptables-save -t nat | grep -o '^:KUBE[^ ]*' >> $scratch/left
"""
SHARED = {"/var/lib/kubelet/pods/one", ":KUBE-SERVICES"}
OWN = {"/etc/rancher/k3s/config.yaml", "/var/lib/rancher/k3s/server/db", "/usr/local/bin/k3s"}
THEIRS = {"/etc/rancher/rke2/config.yaml", "/etc/courseload/theirs"}


def reset(directory: Path, config: str, more: str = "", **variables: str) -> tuple[Play, set[str]]:
    """Runs a reset on such a host; returns what is left there."""
    if why := machine.obstacle():
        pytest.skip(f"a host of its own cannot be made here: it {why}")
    namespaces = ["unshare", "--mount", "--net"]
    if subprocess.run([*namespaces, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine has no namespaces for us")
    settings: Mapping[str, str] = {"scratch": str(directory), "config": config}
    begin = "".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items())
    script = f'{begin}{HOST}{CLUSTER}{more}"$@"\ncode=$?\n{LISTING}exit $code'
    here = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    inventory = directory / "cluster.yml"
    hosts = {"servers": {"hosts": {"one": here}}}
    inventory.write_text(yaml.safe_dump({"all": {"vars": {"platform": "k3s"}, "children": hosts}}))
    done = play(
        "playbooks/reset.yml",
        inventory=str(inventory),
        within=[*namespaces, "bash", "-c", script, "bash"],
        confirm="yes",
        cluster_kubeconfig=str(directory / "kubeconfig"),
        linkerd_certificates_dir=str(directory / "certificates"),
        **variables,
    )
    assert done.ok, done.output[-4000:]
    return done, set((directory / "left").read_text().split())


def test_a_cluster_that_courseload_has_not_made_stays(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text("contexts: [{name: courseload}, {name: another}]\n")
    (tmp_path / "certificates").mkdir()
    (tmp_path / "certificates/theirs.crt").touch()
    done, left = reset(tmp_path, "token: somebody's")
    assert left == OWN | THEIRS | SHARED
    assert done.changes == []
    assert "has a k3s that courseload has not set up: it was left as it is" in done.output
    assert (tmp_path / "kubeconfig").exists()
    assert (tmp_path / "certificates/theirs.crt").exists()


def test_a_cluster_of_ours_goes_and_what_is_beside_it_stays(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text("contexts: [{name: courseload}]\n")
    _, left = reset(tmp_path, "# Written by the role k3s: set k3s_config instead")
    assert left == THEIRS
    assert not (tmp_path / "kubeconfig").exists()


def test_beside_another_kubelet_what_both_may_have_made_stays(tmp_path: Path) -> None:
    unit = "mkdir -p /etc/systemd/system; touch /etc/systemd/system/rke2-server.service\n"
    done, left = reset(tmp_path, "# Written by the role k3s: set k3s_config instead", unit)
    assert left == THEIRS | SHARED
    assert "rke2-server.service" in done.output
