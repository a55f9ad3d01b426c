"""Whoever runs the playbooks needs no right on the control machine: nothing there becomes root."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from helpers.machine import REPOSITORY
from helpers.playbook import link_variables, play

# What a task or a play may hold further tasks in.
BLOCKS = ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always")
CONTROL_MACHINE = "control_machine"
VARIABLES = f"host_vars/{CONTROL_MACHINE}.yml"
# What runs in Ansible itself, wherever it is delegated to.
WITHOUT_CONNECTION = {"ansible.builtin.set_fact"}


def files() -> list[Path]:
    return [
        path
        for folder in ("playbooks", "roles")
        for path in sorted((REPOSITORY / folder).rglob("*.yml"))
        if not {"group_vars", "host_vars", "meta", "defaults", "vars", "files", "templates"}
        & set(path.relative_to(REPOSITORY).parts)
    ]


def tasks(entry: Mapping[str, Any], inherited: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Each task with the host that it is delegated to, or that its play is for; empty where that is any."""
    known = {"place": entry.get("delegate_to", entry.get("hosts", inherited["place"]))}
    if VARIABLES in entry.get("vars_files", []):
        known["place"] = CONTROL_MACHINE
    inner = [task for block in BLOCKS for task in entry.get(block) or []]
    for task in inner:
        yield from tasks(task, known)
    if not inner:
        yield entry, known["place"]


def test_what_an_inventory_says_of_its_hosts_is_not_for_the_control_machine() -> None:
    places = [
        (f"{path.relative_to(REPOSITORY)}: {task.get('name')}", place, task)
        for path in files()
        for entry in yaml.safe_load(path.read_text()) or []
        if isinstance(entry, dict)
        for task, place in tasks(entry, {"place": ""})
    ]
    assert len([name for name, place, _ in places if place == CONTROL_MACHINE]) > 50, "else they were not found"
    # localhost may be one of the inventory's hosts, and what is said of these wins over the keyword `become`.
    assert [name for name, place, task in places if "localhost" in place and not WITHOUT_CONNECTION & task.keys()] == []
    variables = yaml.safe_load((REPOSITORY / "playbooks" / VARIABLES).read_text())
    assert variables["ansible_become"] is False
    assert variables["ansible_python_interpreter"] == "{{ ansible_playbook_python }}"


PLAYBOOK = """
- name: Ask who one is
  hosts: here
  gather_facts: false
  tasks:
    - name: Ask it on the control machine
      ansible.builtin.command: id -un
      delegate_to: control_machine
      changed_when: false
      register: answer

    - name: Tell it
      ansible.builtin.debug:
        msg: "it is {{ answer.stdout }}"
"""


def test_an_inventory_in_which_all_become_somebody_else_does_not_make_the_control_machine_do_so(
    tmp_path: Path,
) -> None:
    # Such a Python, such a user and such a way to become one are not there: whatever used one of them would fail.
    nobody = {
        "ansible_connection": "local",
        "ansible_become": True,
        "ansible_become_user": "nobody-has-this-name",
        "ansible_become_method": "ansible.builtin.su",
        "ansible_python_interpreter": "/nonexistent/python",
    }
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(yaml.safe_dump({"all": {"vars": nobody, "hosts": {"here": {}, "localhost": {}}}}))
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(PLAYBOOK)
    link_variables(tmp_path)
    run = play(str(playbook), inventory=str(inventory))
    assert run.ok, run.output
    assert f"it is {getpass.getuser()}" in run.output


def test_the_address_by_which_ssh_comes_in_is_asked_for_without_becoming_root() -> None:
    """sudo keeps it from what it runs."""
    tasks = yaml.safe_load((REPOSITORY / "roles/host/tasks/reach.yml").read_text())
    (asked,) = (task for task in tasks if "SSH_CONNECTION" in str(task.get("ansible.builtin.raw")))
    assert asked["vars"]["ansible_become"] is False
