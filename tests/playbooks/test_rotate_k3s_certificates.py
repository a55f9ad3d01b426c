"""The certificates of k3s are rotated where one ends soon, while k3s is stopped; it and systemd are stand-ins here."""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.machine import REPOSITORY
from helpers.playbook import Play, play, write_playbook

NODE = socket.gethostname().partition(".")[0].lower()
VERSION = "v1.35.8+k3s1"

# It notes when it is to rotate its certificates, which end when a file says.
K3S = """\
#!/bin/sh
case "$*" in
  --version) echo "k3s version {version} (stand-in)" ;;
  "certificate check --output=json")
    ends=$(cat "{directory}/ends")
    left=$(($(date --date "$ends" +%s) - $(date +%s)))
    echo "INFO[0000] Agent detected, checking agent certificates" >&2
    printf '{{"Certificates": [{{"Usages": ["ClientAuth"], "ExpiryTime": "%s", "ResidualTime": %s000000000}}]}}' \
      "$ends" "$left" ;;
  "certificate rotate")
    echo "k3s $*" >> "{directory}/log"
    {rotate} ;;
  kubectl*) cat "{directory}/node.json" ;;
esac
"""
SYSTEMCTL = """\
#!/bin/sh
[ "$1" != --no-block ] || shift
case "$1" in
  show) echo ActiveState=$(cat "{directory}/active"); echo LoadState=loaded ;;
  stop) echo inactive > "{directory}/active"; echo "systemctl stop" >> "{directory}/log" ;;
  start) echo active > "{directory}/active"; echo "systemctl start" >> "{directory}/log" ;;
esac
"""
ROTATE = """\
- name: Gather what is there, rotate
  ansible.builtin.include_role: {name: k3s, tasks_from: "{{ item }}"}
  loop: [gather, certificates, rotate]
"""


def in_days(days: int) -> str:
    """A time so many days ahead, as k3s tells it."""
    return f"{datetime.now(UTC) + timedelta(days=days, minutes=1):%Y-%m-%dT%H:%M:%SZ}"


def stand_ins(directory: Path, days: int, rotate: str = "") -> dict[str, Any]:
    """What a playbook is run with, so that it finds a k3s whose certificates end after so many days."""
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": VERSION}}
    (directory / "node.json").write_text(json.dumps({"metadata": {"name": NODE}, "status": ready}))
    (directory / "ends").write_text(in_days(days))
    (directory / "active").write_text("active")
    rotate = rotate or f'echo {in_days(365)} > "{directory}/ends"'
    for name, content in {"k3s": K3S, "systemctl": SYSTEMCTL}.items():
        (directory / name).write_text(content.format(directory=directory, version=VERSION, rotate=rotate))
        (directory / name).chmod(0o755)
    within = ["env", f"PATH={directory}:{os.environ['PATH']}"]
    return {"within": within, "__k3s_binary": str(directory / "k3s"), "__k3s_workload_namespaces": []}


def rotated(directory: Path, rotate: str = "") -> tuple[Play, list[str]]:
    """What comes of a rotation; and what was done for it, in this order."""
    done = play(
        write_playbook(directory, ROTATE),
        inventory=str(REPOSITORY / "inventory/local.yml"),
        **stand_ins(directory, 20, rotate),
        k3s_kind="agent",
        k3s_servers=["localhost"],
        k3s_node_name=NODE,
        k3s_timeout=3,
    )
    return done, (directory / "log").read_text().splitlines()


def test_k3s_is_stopped_while_its_certificates_are_rotated(tmp_path: Path) -> None:
    done, log = rotated(tmp_path)
    assert done.ok, done.output
    assert log == ["systemctl stop", "k3s certificate rotate", "systemctl start"]


def test_k3s_is_started_again_where_it_cannot_rotate_them(tmp_path: Path) -> None:
    done, log = rotated(tmp_path, "echo no space left >&2; exit 1")
    assert not done.ok
    assert log[-1] == "systemctl start"
    said = done.reasons[-1]
    assert f"The certificates of {NODE} could not be rotated" in said
    assert "Remove the certificates and their keys" in said


def test_a_k3s_that_keeps_its_certificates_is_no_success(tmp_path: Path) -> None:
    done, _ = rotated(tmp_path, "true")
    assert not done.ok
    assert "k3s has made no others" in done.reasons[-1]


def checked(directory: Path, days: int) -> Play:
    """The playbook in check mode, for a cluster of this host alone."""
    # Nothing answers at this host's port 6443, so no kubeconfig is fetched.
    local = {
        "ansible_connection": "local",
        "ansible_host": "127.0.0.1",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    inventory = {"all": {"vars": {"platform": "k3s"}, "children": {"servers": {"hosts": {"server1": local}}}}}
    (directory / "inventory.yml").write_text(yaml.safe_dump(inventory))
    known = stand_ins(directory, days) | {"cluster_kubeconfig": str(directory / "kubeconfig")}
    return play("playbooks/rotate_k3s_certificates.yml", "--check", inventory=str(directory / "inventory.yml"), **known)


@pytest.mark.parametrize(("days", "told"), [(200, "200 days more: left as they are."), (100, "they would be rotated.")])
def test_a_check_says_which_would_be_rotated(tmp_path: Path, days: int, told: str) -> None:
    done = checked(tmp_path, days)
    assert done.ok, done.output
    assert told in done.output
    assert done.changes == []
    assert not (tmp_path / "log").exists()
