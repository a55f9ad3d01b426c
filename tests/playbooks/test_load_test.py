"""What a load test is told, as its settings and the inventory have it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from helpers.machine import REPOSITORY
from helpers.playbook import link_variables, play
from loadgen.__main__ import _parser, _settings
from loadgen.settings import Objective, Settings
from loadgen.shapes import CONSTANT

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

COMMAND = """
- name: Write the command
  hosts: ops
  gather_facts: false
  roles: [settings]
  tasks:
    - name: Include what the role has
      ansible.builtin.include_vars:
        file: "{repository}/roles/locust/{{{{ item }}}}/main.yml"
      loop: [defaults, vars]

    - name: Write it
      ansible.builtin.copy:
        content: "{{{{ __locust_run_command | to_json }}}}"
        dest: "{directory}/command.json"
        mode: "0600"
"""


def settings_of_a_run(directory: Path, **variables: Any) -> Settings:
    """What the load generator makes of the command that it is given with these variables."""
    playbook = directory / "playbook.yml"
    playbook.write_text(COMMAND.format(repository=REPOSITORY, directory=directory))
    link_variables(directory)
    told = play(playbook, repository_root=str(REPOSITORY), __locust_workers=[{}], **variables)
    assert told.ok, told.output
    python, option, module, *arguments = json.loads((directory / "command.json").read_text())
    assert (python, option, module) == ("python3", "-m", "loadgen")
    return _settings(_parser().parse_args(arguments))


def test_the_load_generator_takes_the_settings_as_they_are_by_default(tmp_path: Path) -> None:
    settings = settings_of_a_run(tmp_path)
    assert settings.objectives == (
        Objective(of="total", what="p99", at_most=500),
        Objective(of="total", what="failure_ratio", at_most=0.01),
    )
    assert (settings.shape, settings.arrivals, settings.abort) == (CONSTANT, "closed", False)


def test_the_load_generator_takes_objectives_and_shapes_as_data(tmp_path: Path) -> None:
    objectives = [{"of": "relay", "what": "p99.9", "at_most": "20"}]
    settings = settings_of_a_run(tmp_path, objectives=objectives, shape="spike", arrivals="open", abort="yes")
    assert settings.objectives == (Objective(of="relay", what="p99.9", at_most=20),)
    assert (settings.shape.name, settings.shape.users_at(0.5), settings.shape.users_at(0.7)) == ("spike", 1, 0.2)
    assert (settings.arrivals, settings.abort) == ("open", True)


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
