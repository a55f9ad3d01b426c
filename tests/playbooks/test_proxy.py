"""The proxy's password: what needs the proxy gets its URL, and no command line shows it."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.machine import REPOSITORY
from helpers.playbook import link_variables, play
from helpers.processes import command_lines_with

# Programs that tasks start, by themselves and in the background, and long enough to be seen.
PLAYBOOK = """\
- name: Start what needs the proxy
  hosts: localhost
  gather_facts: false
  vars: {{repository_root: {repository}}}
  roles: [settings]
  tasks:
    - name: Leave the proxy's settings
      ansible.builtin.include_role: {{name: proxy}}
      vars: {{proxy_directory: "{{{{ proxy_environment_here.PYTHONPATH }}}}"}}
    - name: Start one
      ansible.builtin.shell: env > {directory}/direct; sleep 1
      environment: "{{{{ proxy_environment_here }}}}"
    - name: Start one in the background
      ansible.builtin.shell: env > {directory}/background; sleep 1
      environment: "{{{{ proxy_environment_here }}}}"
      async: 60
      poll: 1
"""
# What tasks may have as environment: nothing else in it can be a secret.
HARMLESS = re.compile(r"\{\{ proxy_environment(_here)?( \| default\(\{\}\))? \}\}")


def tasks_of(path: Path) -> list[dict[str, Any]]:
    """Every mapping in a file of tasks or plays, however deep."""
    found, rest = [], [yaml.safe_load(path.read_text())]
    while rest:
        part = rest.pop()
        if isinstance(part, dict):
            found.append(part)
            rest += part.values()
        elif isinstance(part, list):
            rest += part
    return found


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the control machine keeps what it downloads, and the proxy's settings."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/courseload"


def test_what_needs_the_proxy_gets_it_and_no_command_line_shows_its_password(tmp_path: Path, cache: Path) -> None:
    password = secrets.token_hex(16)
    url = f"http://user:{password}@127.0.0.1:9"
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(PLAYBOOK.format(repository=REPOSITORY, directory=tmp_path))
    link_variables(tmp_path)
    (tmp_path / "cache/courseload").mkdir(parents=True)
    with command_lines_with(password) as seen:
        run = play(playbook, inventory=str(REPOSITORY / "inventory/local.yml"), http_proxy=url, no_proxy="example.org")
    assert run.ok, run.output
    assert seen.found == set()
    assert password not in run.output
    for way in ("direct", "background"):
        environment = dict(line.partition("=")[::2] for line in (tmp_path / way).read_text().splitlines())
        assert environment["http_proxy"] == environment["https_proxy"] == url, way
        assert "example.org" in environment["no_proxy"].split(",")
        assert "PYTHONPATH" not in environment
    settings = cache / "proxy/sitecustomize.py"
    assert (settings.stat().st_mode & 0o777, settings.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_no_task_has_a_password_in_its_environment() -> None:
    files = [path for folder in ("roles", "playbooks") for path in (REPOSITORY / folder).rglob("*.yml")]
    given = {
        (path.relative_to(REPOSITORY).as_posix(), str(task["environment"]))
        for path in files
        if "meta" not in path.parts
        for task in tasks_of(path)
        if "environment" in task
    }
    assert len(given) >= 6
    unknown = {(path, value) for path, value in given if not HARMLESS.fullmatch(value)}
    # Names of a unit, and what its log says; where the code of a page is, and the settings of apt.
    assert {path for path, _ in unknown} == {
        "roles/k3s/tasks/wait_started.yml",
        "roles/locust/tasks/report.yml",
        "roles/host/tasks/packages_from_bundle.yml",
    }
