"""What a load test is told, as its settings and the inventory have it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from helpers.machine import REPOSITORY
from helpers.playbook import link_variables, play
from loadgen.__main__ import _parser, _settings
from loadgen.capacity.system import System
from loadgen.settings import Objective
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

COMMANDS = """
- name: Write the commands
  hosts: ops
  gather_facts: false
  roles: [settings]
  tasks:
    - name: Include what the role has
      ansible.builtin.include_vars:
        file: "{repository}/roles/locust/{{{{ item }}}}/main.yml"
      loop: [defaults, vars]

    - name: Write them
      ansible.builtin.copy:
        content: "{{{{ {{'run': __locust_run_command, 'capacity': __locust_capacity_command}} | to_json }}}}"
        dest: "{directory}/{{{{ inventory_hostname }}}}.json"
        mode: "0600"
"""

HERE = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
OTHERS = {
    "objectives": [{"of": "relay", "what": "p99.9", "at_most": "20"}],
    "shape": "spike",
    "arrivals": "open",
    "abort": "yes",
}


def commands(directory: Path, inventory: dict[str, Any]) -> dict[str, dict[str, argparse.Namespace]]:
    """What the load generator makes of the commands of the role, by the host and what the command is for."""
    playbook, hosts = directory / "playbook.yml", directory / "inventory.yml"
    playbook.write_text(COMMANDS.format(repository=REPOSITORY, directory=directory))
    hosts.write_text(yaml.safe_dump({"all": inventory}))
    link_variables(directory)
    told = play(playbook, inventory=str(hosts), repository_root=str(REPOSITORY), __locust_workers=WORKERS)
    assert told.ok, told.output
    return {
        path.stem: {name: parsed(command) for name, command in json.loads(path.read_text()).items()}
        for path in directory.glob("*.json")
    }


def parsed(command: list[str]) -> argparse.Namespace:
    python, option, module, *arguments = command
    assert (python, option, module) == ("python3", "-m", "loadgen")
    return _parser().parse_args(arguments)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, argparse.Namespace]]:
    """The commands on this machine: with the settings as they are by default, and with others."""
    hosts = {"localhost": HERE, "other": HERE | OTHERS}
    variables = {"platform": "pods"}
    return commands(tmp_path_factory.mktemp("here"), {"vars": variables, "children": {"ops": {"hosts": hosts}}})


def system_of(options: argparse.Namespace) -> System:
    """What a search for the capacity is told of the system."""
    return msgspec.convert(options.system, System)


def test_the_load_generator_takes_the_settings_as_they_are_by_default(here: Any) -> None:
    settings = _settings(here["localhost"]["run"])
    assert settings.objectives == (
        Objective(of="total", what="p99", at_most=500),
        Objective(of="total", what="failure_ratio", at_most=0.01),
    )
    assert (settings.shape, settings.arrivals, settings.abort) == (CONSTANT, "closed", False)


def test_the_load_generator_takes_objectives_and_shapes_as_data(here: Any) -> None:
    settings = _settings(here["other"]["run"])
    assert settings.objectives == (Objective(of="relay", what="p99.9", at_most=20),)
    assert (settings.shape.name, settings.shape.users_at(0.5), settings.shape.users_at(0.7)) == ("spike", 1, 0.2)
    assert (settings.arrivals, settings.abort) == ("open", True)


def test_a_search_is_told_what_the_system_is_made_of(here: Any) -> None:
    system = system_of(here["localhost"]["capacity"])
    assert system.pods == {"mongodb": 1, "redis": 1, "ledger": 1, "relay": 3, "direct": 3, "ingress": 2}
    assert set(system.single_threaded) <= system.pods.keys()
    assert (system.beside, system.workers, system.replicas) == ((), 1, "")


def test_in_a_cluster_the_ops_host_and_the_workers_are_beside_the_system(tmp_path: Path) -> None:
    groups = {
        "servers": {"hosts": {"one": {"host_address": "192.0.2.1"}}},
        "ops": {"hosts": {"localhost": {"host_address": "192.0.2.3", **HERE}}},
    }
    variables = {"platform": "k3s", "capacity_replicas": "max"}
    system = system_of(commands(tmp_path, {"vars": variables, "children": groups})["localhost"]["capacity"])
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
