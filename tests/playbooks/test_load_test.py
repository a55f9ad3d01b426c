"""What a load test is told, as its settings and the inventory have it."""

from __future__ import annotations

from pathlib import Path

import yaml

from helpers.machine import REPOSITORY
from helpers.playbook import link_variables, play

PLAYBOOK = """
- name: Tell the target
  hosts: ops
  gather_facts: false
  roles: [settings]
  tasks:
    - name: Include the defaults of the role
      ansible.builtin.include_vars:
        file: "{repository}/roles/locust/defaults/main.yml"

    - name: Tell it
      ansible.builtin.debug:
        msg: "target={{{{ locust_target }}}}"
"""


def test_its_targets_are_all_nodes_of_a_cluster(tmp_path: Path) -> None:
    playbook, inventory = tmp_path / "playbook.yml", tmp_path / "inventory.yml"
    playbook.write_text(PLAYBOOK.format(repository=REPOSITORY))
    link_variables(tmp_path)
    groups = {
        "servers": {"hosts": {"one": {"host_address": "192.0.2.1"}}},
        "agents": {"hosts": {"two": {"host_address": "192.0.2.2"}}},
        "ops": {"hosts": {"three": {"host_address": "192.0.2.3"}}},
    }
    inventory.write_text(yaml.safe_dump({"all": {"vars": {"platform": "k3s"}, "children": groups}}))
    told = play(playbook, inventory=str(inventory), repository_root=str(REPOSITORY), ingress_node_port=30081)
    assert told.ok, told.output
    assert "target=http://192.0.2.1:30081,http://192.0.2.2:30081" in told.output
