"""The commands in bin/, in surroundings that are not of their making."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from helpers.clone import clone

PLAYBOOK = """\
- hosts: ops
  tasks:
    # A module, and a job, whose Python is the one of .venv.
    - ansible.builtin.stat: {path: /}
    - follow:
        directory: "{{ lookup('ansible.builtin.env', 'SCRATCH') }}"
        every: 0.2
        jobs: [{name: job, command: "declare -F; set -o | grep noclobber"}]
    - ansible.builtin.copy:
        content: "{{ ansible_config_file }} {{ lookup('ansible.builtin.env', 'https_proxy') }}"
        dest: "{{ lookup('ansible.builtin.env', 'SCRATCH') }}/seen"
        mode: "0644"
"""
# What a profile may hold, for the worst.
PROFILE = {
    "LC_ALL": "C",
    "LANGUAGE": "de",
    "CDPATH": ".:..:/",
    "IFS": "/",
    "POSIXLY_CORRECT": "1",
    "GREP_OPTIONS": "--invert-match",
    "SHELLOPTS": "braceexpand:hashall:interactive-comments:noclobber:nounset:xtrace",
    "BASH_FUNC_cd%%": "() { echo where to; }",
    "BASH_FUNC_dirname%%": "() { echo /nowhere; }",
    "PYTHONHOME": "/nowhere",
    "PYTHONPATH": "/nowhere",
    "PYTHONSTARTUP": "/nowhere",
    "PYTHONOPTIMIZE": "2",
    "VIRTUAL_ENV": "/nowhere",
    "PIP_TARGET": "/nowhere",
    "UV_SYSTEM_PYTHON": "1",
    "K8S_AUTH_HOST": "https://192.0.2.1",
    "CONTAINER_HOST": "ssh://192.0.2.1/run/podman.sock",
    "ANSIBLE_CONFIG": "/nowhere/ansible.cfg",
    "ANSIBLE_INVENTORY": "/nowhere/hosts",
    "ANSIBLE_ROLES_PATH": "/nowhere",
    "ANSIBLE_LIBRARY": "/nowhere",
    "ANSIBLE_ACTION_PLUGINS": "/nowhere",
    "ANSIBLE_FILTER_PLUGINS": "/nowhere",
    "ANSIBLE_COLLECTIONS_PATH": "/nowhere",
    "ANSIBLE_STDOUT_CALLBACK": "nowhere",
    "ANSIBLE_INVENTORY_UNPARSED_FAILED": "false",
    "ANSIBLE_STRATEGY": "free",
}
KEPT = {"https_proxy": "http://proxy.test", "ANSIBLE_VERBOSITY": "1", "ANSIBLE_LOG_PATH": "log"}


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A copy of the repository in a path with a space, and with what else makes trouble."""
    return clone(tmp_path / 'it\'s a "clone" ü' / "100% (#1), a=b; c&d")


def run(
    program: Path | str, *arguments: str, within: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    plain = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(
        [program, *arguments],
        cwd=within,
        env={**plain, **(environment or {})},
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
    )


def test_works_from_any_path_whatever_a_profile_exports(there: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    broken = home / ".ansible/collections/ansible_collections/containers/podman"
    broken.mkdir(parents=True)
    (home / ".ansible.cfg").write_text("[defaults]\ninventory = /nowhere\nstdout_callback = nowhere\n")
    (home / "profile").write_text("exit 7\n")
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    places = {"HOME": home, "BASH_ENV": home / "profile", "SCRATCH": tmp_path}
    environment = PROFILE | KEPT | {name: str(path) for name, path in places.items()}
    done = run(there / "bin/ansible-playbook", "play.yml", within=tmp_path, environment=environment)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "seen").read_text() == f"{there}/ansible.cfg http://proxy.test"
    assert (tmp_path / "job.log").read_text().split() == ["noclobber", "off"]
    assert (tmp_path / "log").exists()
    # The collections are those that came with Ansible.
    done = run(there / "bin/ansible-playbook", "site.yml", "--syntax-check", within=tmp_path, environment=environment)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("character", [":", "\\", "$", "{", "[", "*", "?", "\n"])
def test_a_path_that_cannot_work_is_refused_with_a_sentence(tmp_path: Path, character: str) -> None:
    there = tmp_path / f"a{character}b"
    (there / "bin").mkdir(parents=True)
    for name in ("lib.sh", "ansible-playbook"):
        (there / "bin" / name).write_bytes((Path(__file__).parents[2] / "bin" / name).read_bytes())
    done = run("bash", "-p", str(there / "bin/ansible-playbook"), "--version")
    assert done.returncode == 1
    assert "courseload: cannot work in" in done.stdout
    assert "move the clone to one without it" in done.stdout


def test_the_environment_stays_when_it_is_reached_by_a_link_or_another_python_comes_first(there: Path) -> None:
    marker = there / ".venv/marker"
    marker.touch()
    link, other = there.parent / "link", there.parent / "other"
    link.symlink_to(there)
    other.mkdir()
    (other / "command").symlink_to(there / "bin/ansible-playbook")
    (other / "python3").write_text("#!/bin/sh\nexit 1\n")
    (other / "python3").chmod(0o755)
    environment = {"PATH": f"{other}:/usr/bin:/bin"}
    for program in (link / "bin/ansible-playbook", other / "command"):
        done = run(program, "--version", environment=environment)
        assert done.returncode == 0, done.stdout
        assert f"config file = {there}/ansible.cfg" in done.stdout
        assert marker.exists()


def test_the_environment_is_not_taken_from_a_command_that_uses_it(there: Path, tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text("- {hosts: ops, tasks: [{ansible.builtin.pause: {seconds: 60}}]}\n")
    user: list[str | Path] = [there / "bin/ansible-playbook", tmp_path / "play.yml"]
    with subprocess.Popen(user, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as using:
        assert using.stdout
        next(line for line in using.stdout if "PLAY" in line)
        with (there / "requirements/control.txt").open("a") as lock:
            lock.write("# Something else.\n")
        maker: list[str | Path] = [there / "bin/ansible-playbook", "--version"]
        with subprocess.Popen(maker, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as waiting:
            assert waiting.stdout
            said = waiting.stdout.readline()
            waiting.terminate()
        using.terminate()
    assert "waiting for another command that is using or making .venv" in said
    assert (there / ".venv/.identity").exists()


def test_a_command_that_another_one_runs_does_not_wait_for_it(there: Path) -> None:
    (there / "requirements/control.txt").write_text("# Something else.\n")
    done = run(there / "bin/ansible-playbook", "--version", environment={"COURSELOAD_VENV": str(there / ".venv")})
    assert done.returncode == 1
    assert "requirements/ was changed while a command is running" in done.stdout


@pytest.mark.parametrize("option", [["-i", "/nowhere"], ["--inventory=/nowhere"]], ids=str)
def test_an_inventory_that_is_not_there_is_an_error(there: Path, option: list[str]) -> None:
    done = run(there / "bin/ansible-playbook", *option, "loadtest.yml")
    assert done.returncode == 1
    assert "there is no inventory /nowhere" in done.stdout
