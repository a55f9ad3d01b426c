"""A change of configuration restarts a server only where etcd can do without it; k3s and systemd are stand-ins here."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import yaml

from helpers.machine import REPOSITORY
from helpers.playbook import Play, play, write_playbook

# A server is restarted, as a changed configuration does it.
TASKS = """\
- name: Bring the role's handlers in
  ansible.builtin.include_role: {name: k3s, tasks_from: gather}
- name: Change something
  ansible.builtin.command: "true"
  changed_when: true
  notify: Restart k3s
"""
# It says that k3s runs, and notes what else it is asked.
SYSTEMCTL = """\
#!/bin/sh
echo "$@" >> "{directory}/systemctl.log"
"""
K3S = """\
#!/bin/sh
cat "{directory}/nodes.json"
"""


def node(name: str, ready: str) -> dict[str, Any]:
    labels = {"node-role.kubernetes.io/etcd": "true"}
    return {
        "metadata": {"name": name, "labels": labels},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def stand_ins(directory: Path, *states: str, first: str = "server1") -> dict[str, Any]:
    """What a playbook is run with, so that it finds a cluster whose servers are in these states."""
    names = [first, *(f"server{number}" for number in range(2, len(states) + 1))]
    nodes = [node(name, state) for name, state in zip(names, states, strict=True)]
    (directory / "nodes.json").write_text(json.dumps({"items": nodes}))
    for name, content in {"systemctl": SYSTEMCTL, "k3s": K3S}.items():
        (directory / name).write_text(content.format(directory=directory))
        (directory / name).chmod(0o755)
    variables = {"__k3s_binary": str(directory / "k3s"), "__k3s_quorum_attempts": 0}
    return {"within": ["env", f"PATH={directory}:{os.environ['PATH']}"], **variables}


def restart(directory: Path, *states: str) -> tuple[Play, str]:
    """What comes of a restart of server1, with servers in these states; and what systemctl was asked."""
    done = play(
        write_playbook(directory, TASKS),
        inventory=str(REPOSITORY / "inventory/local.yml"),
        **stand_ins(directory, *states),
        k3s_kind="server",
        k3s_node_name="server1",
    )
    log = directory / "systemctl.log"
    return done, log.read_text() if log.exists() else done.output


def test_a_server_is_not_restarted_while_another_is_unavailable(tmp_path: Path) -> None:
    done, asked = restart(tmp_path, "True", "True", "Unknown")
    assert not done.ok
    assert "server1 cannot be restarted now: server3 is not Ready" in " ".join(done.reasons)
    assert set(asked.splitlines()) == {"is-active --quiet k3s"}


def test_a_server_is_restarted_while_all_are_there(tmp_path: Path) -> None:
    done, asked = restart(tmp_path, "True", "True", "True")
    assert "cannot be restarted" not in done.output
    assert asked.splitlines()[0] == "is-active --quiet k3s"
    # Whether this machine has a systemd to restart it with or not, it was asked for.
    assert any("k3s.service" in line for line in asked.splitlines()[1:]), asked + done.output


def reset_of_one(directory: Path, *states: str) -> Play:
    """What comes of a reset of this host alone, in check mode, where it is one of several servers."""
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    servers = dict.fromkeys([f"server{number}" for number, _ in enumerate(states, 1)], local)
    inventory = {"all": {"vars": {"platform": "k3s"}, "children": {"servers": {"hosts": servers}}}}
    (directory / "inventory.yml").write_text(yaml.safe_dump(inventory))
    options = ("--check", "--limit=server1")
    known = stand_ins(directory, *states, first=socket.gethostname().partition(".")[0].lower())
    places = {name: str(directory / name) for name in ("config_dir", "state_dir")}
    return play(
        "playbooks/reset.yml", *options, inventory=str(directory / "inventory.yml"), confirm="yes", **known, **places
    )


def test_a_server_is_not_reset_while_another_is_unavailable(tmp_path: Path) -> None:
    done = reset_of_one(tmp_path, "True", "True", "Unknown")
    assert not done.ok
    assert "server3 is not Ready" in " ".join(done.reasons), done.output


def test_a_server_is_reset_while_all_are_there(tmp_path: Path) -> None:
    done = reset_of_one(tmp_path, "True", "True", "True")
    assert done.ok, done.output
