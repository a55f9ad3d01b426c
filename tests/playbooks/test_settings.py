"""A setting can be set wherever Ansible lets people set one, and the nearer place wins over the farther."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from helpers.machine import REPOSITORY
from helpers.playbook import link_variables, play

# One setting of each kind, with two values that differ from its default and from each other.
SETTINGS: dict[str, tuple[Any, Any]] = {
    "ingress_port": (8181, 8282),  # the system
    "mesh": ("none", "another"),  # the mesh
    "k3s_version": ("v1.33.1+k3s1", "v1.33.2+k3s1"),  # the cluster
    "host_address": ("192.0.2.8", "192.0.2.9"),  # what differs from host to host
    "prometheus_retention": ("3d", "4d"),  # what watches
    "users": (7, 8),  # the load test
    "artifact_cache": ("/srv/one", "/srv/two"),  # the downloads
    "host_memory_mb": (1234, 2345),  # one role's own
}
FAR = {name: values[0] for name, values in SETTINGS.items()}
NEAR = {name: values[1] for name, values in SETTINGS.items()}

# What the settings are in a play, and that what follows from them follows.
PLAYBOOK = """\
- hosts: ops
  gather_facts: false
  roles: [settings]
  tasks:
    - name: Tell
      ansible.builtin.copy:
        content: "{{ {SETTINGS} | to_json }}"
        dest: "{{ told }}/{{ inventory_hostname }}"
        mode: "0600"
    - name: See what follows
      ansible.builtin.assert:
        that:
          - ([inventory_hostname] | addresses(hostvars) | first) == host_address
          - artifact_directory == artifact_cache
          - prometheus_retention in ops_workloads.prometheus.command | join
"""

# The hosts, by where the nearest setting of each stands; all have those of all.vars as well.
PLACES = ("all.vars", "a group's vars", "group_vars of a group", "its entry", "host_vars")


def told(directory: Path, extra: dict[str, Any], everywhere: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings of each host: FAR is set in one place and NEAR in the next; `everywhere` is group_vars/all."""
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    groups = {
        "plain": {"hosts": {"all.vars": {}}},
        "varied": {"hosts": {"a group's vars": {}}, "vars": NEAR},
        "filed": {"hosts": {"group_vars of a group": {}}, "vars": FAR},
        "entered": {"hosts": {"its entry": NEAR}, "vars": FAR},
        "hosted": {"hosts": {"host_vars": FAR}},
    }
    everything = {"vars": {"platform": "pods", **local, **FAR}, "children": {"ops": {"children": groups}}}
    places: dict[str, dict[str, Any]] = {
        "hosts.yml": {"all": everything},
        "group_vars/all.yml": everywhere,
        "group_vars/filed.yml": NEAR,
        "host_vars/host_vars.yml": NEAR,
    }
    for name, content in places.items():
        place = directory / "inventory" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(yaml.safe_dump(content))
    playbook, answers = directory / "playbook.yml", directory / "told"
    listed = "{" + ", ".join(f"'{name}': {name}" for name in SETTINGS) + "}"
    playbook.write_text(PLAYBOOK.replace("{SETTINGS}", listed))
    link_variables(directory)
    answers.mkdir()
    variables = {"told": str(answers), "repository_root": str(REPOSITORY)} | extra
    run = play(playbook, inventory=str(directory / "inventory/hosts.yml"), **variables)
    assert run.ok, run.output
    return {place: yaml.safe_load((answers / place).read_text()) for place in PLACES}


def test_a_setting_is_honoured_in_each_place_of_an_inventory(tmp_path: Path) -> None:
    assert told(tmp_path, {}, {}) == dict.fromkeys(PLACES, NEAR) | {"all.vars": FAR}


def test_the_files_beside_an_inventory_win_over_what_is_in_it(tmp_path: Path) -> None:
    other = dict(zip(SETTINGS, (8383, "third", "v1.33.3+k3s1", "192.0.2.7", "5d", 9, "/srv/three", 3456), strict=True))
    found = told(tmp_path, {}, other)
    # Ansible's own order: the files of all groups come after what is set for groups in the inventory itself.
    assert found == dict.fromkeys(PLACES, NEAR) | {"all.vars": other, "a group's vars": other}


def test_the_command_line_wins_over_all(tmp_path: Path) -> None:
    other = dict(zip(SETTINGS, (8383, "third", "v1.33.3+k3s1", "192.0.2.7", "5d", 9, "/srv/three", 3456), strict=True))
    assert told(tmp_path, other, {}) == dict.fromkeys(PLACES, other)


def test_every_play_has_the_settings() -> None:
    without = [
        f"{path.name}: {part['name']}"
        for path in sorted((REPOSITORY / "playbooks").glob("*.yml"))
        for part in yaml.safe_load(path.read_text())
        if "hosts" in part and "settings" not in part.get("roles", [])
    ]
    assert without == []


def test_a_typing_mistake_is_named(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    # The next check stops the run.
    wrong = {"platform": "neither", "ingres_port": 80}
    inventory.write_text(yaml.safe_dump({"all": {"vars": wrong, "children": {"ops": {"hosts": {"one": {}}}}}}))
    run = play("playbooks/hosts.yml", inventory=str(inventory))
    assert "ingres_port is set, and nothing here reads it. Is ingress_port meant?" in run.output.replace("\n", " ")
