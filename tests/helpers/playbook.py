"""Runs playbooks of this repository through ansible-runner, and tells what they did."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ansible_runner

from helpers.machine import REPOSITORY

Events = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Play:
    """What a run of ansible-playbook did, over all hosts."""

    ok: bool
    output: str
    seconds: float
    changes: list[str]  # the names of the tasks that changed something
    reasons: list[str]  # the messages of the tasks that failed


def play(
    playbook: str | Path, *options: str, inventory: str | None = None, within: Sequence[str] = (), **variables: Any
) -> Play:
    """Runs a playbook with options and extra variables; `within` is a command to run ansible-playbook in."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="courseload-test-") as directory:
        path = [_program(Path(directory), within), os.environ["PATH"]]
        run = ansible_runner.run(
            private_data_dir=directory,
            project_dir=str(REPOSITORY),
            playbook=str(REPOSITORY / playbook),
            inventory=inventory,
            cmdline=shlex.join(options) or None,
            extravars=variables or None,
            envvars={
                "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
                "ANSIBLE_NOCOLOR": "true",
                # Not in the home directory: whoever runs the tests may have none.
                "ANSIBLE_REMOTE_TEMP": f"{directory}/remote",
                "PATH": os.pathsep.join(path),
            },
            quiet=True,
        )
        events = list(run.events)
        return Play(
            ok=run.rc == 0,
            output=run.stdout.read(),
            seconds=time.monotonic() - started,
            changes=[_task(event) for event in events if _result(event, "runner_on_ok").get("changed")],
            reasons=[_message(event) for event in events if _failed(event)],
        )


def link_variables(directory: Path) -> None:
    """Gives a playbook in this directory the variables that those of the repository have."""
    for name in ("group_vars", "host_vars"):
        if not (directory / name).exists():
            (directory / name).symlink_to(REPOSITORY / "playbooks" / name)


HEAD = f"""\
- hosts: localhost
  gather_facts: false
  vars: {{repository_root: {REPOSITORY}}}
  roles: [settings]
  tasks:
"""


def write_playbook(directory: Path, tasks: str) -> Path:
    """Writes a playbook that has these tasks, a list in YAML, run here with the settings of the repository."""
    playbook = directory / "playbook.yml"
    playbook.write_text(HEAD + textwrap.indent(tasks, "    "))
    link_variables(directory)
    return playbook


def _program(directory: Path, within: Sequence[str]) -> str:
    """Makes the ansible-playbook that the runner finds first; returns its directory."""
    program = directory / "bin/ansible-playbook"
    program.parent.mkdir()
    real = Path(sys.executable).with_name("ansible-playbook")
    program.write_text(f'#!/bin/sh\nexec {shlex.join([*within, str(real)])} "$@"\n')
    program.chmod(0o755)
    return str(program.parent)


def _result(event: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """What the task of an event returned, if the event is of that kind."""
    result: Mapping[str, Any] = event["event_data"].get("res", {}) if event["event"] == kind else {}
    return result


def _task(event: Mapping[str, Any]) -> str:
    return str(event["event_data"].get("task", ""))


def _failed(event: Mapping[str, Any]) -> bool:
    kinds = ("runner_on_failed", "runner_item_on_failed", "runner_on_unreachable")
    return event["event"] in kinds and not event["event_data"].get("ignore_errors")


def _message(event: Mapping[str, Any]) -> str:
    return f"{_task(event)}: {event['event_data'].get('res', {}).get('msg', '')}"
