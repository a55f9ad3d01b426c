"""What a load test is told, as its settings and the inventory have it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import msgspec
import yaml

from helpers.machine import REPOSITORY
from helpers.playbook import link_variables, play
from loadgen.__main__ import _parser, _settings
from loadgen.capacity.system import System
from loadgen.settings import Objective, Settings
from loadgen.shapes import CONSTANT

WORKERS = [{"host": "localhost", "name": "locust-worker-1"}]

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
        content: "{{{{ {command} | to_json }}}}"
        dest: "{directory}/command.json"
        mode: "0600"
"""


def options_of(command: str, directory: Path, **variables: Any) -> argparse.Namespace:
    """What the load generator makes of a command of the role, with these variables."""
    playbook = directory / "playbook.yml"
    playbook.write_text(COMMAND.format(repository=REPOSITORY, directory=directory, command=command))
    link_variables(directory)
    told = play(playbook, repository_root=str(REPOSITORY), __locust_workers=WORKERS, **variables)
    assert told.ok, told.output
    python, option, module, *arguments = json.loads((directory / "command.json").read_text())
    assert (python, option, module) == ("python3", "-m", "loadgen")
    return _parser().parse_args(arguments)


def settings_of_a_run(directory: Path, **variables: Any) -> Settings:
    """The settings of a load test with these variables."""
    return _settings(options_of("__locust_run_command", directory, **variables))


def system_of_a_search(directory: Path, **variables: Any) -> System:
    """What a search for the capacity is told of the system, with these variables."""
    return msgspec.convert(options_of("__locust_capacity_command", directory, **variables).system, System)


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


def test_a_search_is_told_what_the_system_is_made_of(tmp_path: Path) -> None:
    system = system_of_a_search(tmp_path)
    assert system.pods == {"mongodb": 1, "redis": 1, "ledger": 1, "relay": 3, "direct": 3, "ingress": 2}
    assert set(system.single_threaded) <= system.pods.keys()
    assert (system.beside, system.workers, system.replicas) == ((), 1, "")


def test_in_a_cluster_the_ops_host_and_the_workers_are_beside_the_system(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.yml"
    here = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    groups = {
        "servers": {"hosts": {"one": {"host_address": "192.0.2.1"}}},
        "ops": {"hosts": {"localhost": {"host_address": "192.0.2.3", **here}}},
    }
    inventory.write_text(yaml.safe_dump({"all": {"vars": {"platform": "k3s"}, "children": groups}}))
    system = system_of_a_search(tmp_path, inventory=str(inventory), capacity_replicas="max")
    assert (system.beside, system.workers, system.replicas) == (("localhost",), 0, "max")


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
