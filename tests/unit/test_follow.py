"""The action follow, in real playbooks with real asynchronous jobs."""

import os
import re
import subprocess
import time
from pathlib import Path
from textwrap import dedent, indent

import pytest

REPOSITORY = Path(__file__).parents[2]
PLAYBOOK = """\
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
    commands: {}
  tasks:
    - name: Start
      ansible.builtin.shell: "({{ item.value }}) > {{ item.key }}.log 2>&1"
      args:
        chdir: "{{ playbook_dir }}"
        creates: "{{ '/' if item.key == 'idle' else omit }}"
      async: 60
      poll: 0
      loop: "{{ commands | dict2items }}"
      register: started
      when: not ansible_check_mode

    - name: Follow
      follow:
        every: 0.2
        timeout: "{{ patience | default(30) }}"
        jobs: "{{ started.results | map('combine', {}) | map('jobs_of', playbook_dir) }}"
      register: followed

    - name: Report
      ansible.builtin.debug: {msg: "follow changed something: {{ followed.changed }}"}
"""
# The shape of a job is built here, so that the playbook above stays readable.
JOBS_OF = """\
def jobs_of(result, directory):
    name = result["item"]["key"]
    return {"name": name, "jid": result.get("ansible_job_id", "none"), "log": f"{directory}/{name}.log"}


class FilterModule:
    def filters(self):
        return {"jobs_of": jobs_of}
"""


SHOWN = re.compile(r"\w+ \| (\w+)")


def until_shown(word: str) -> str:
    """A command that waits until a line that begins with this word was shown."""
    return f"until test -e {word}; do sleep 0.1; done"


class Outcome:
    """What a playbook printed, and when: seconds by line, for the first time each was printed.

    When a job's line is shown, a file with its first word for a name is made where the jobs run: they can wait for it.
    """

    def __init__(self, process: subprocess.Popen[str], directory: Path) -> None:
        self.times: dict[str, float] = {}
        self.output = ""
        assert process.stdout
        for line in process.stdout:
            self.times.setdefault(line.rstrip("\n"), time.monotonic())
            self.output += line
            if shown := SHOWN.match(line):
                (directory / shown[1]).touch()
        self.ok = process.wait() == 0


@pytest.fixture
def follow(tmp_path: Path):
    """Runs the commands, by name, as jobs that log what they print; follows them."""

    def run(*options: str, **commands: str) -> Outcome:
        (tmp_path / "filter_plugins").mkdir()
        (tmp_path / "filter_plugins/jobs_of.py").write_text(JOBS_OF)
        variables = "\n".join(f"{name}: {command!r}" for name, command in commands.items())
        playbook = PLAYBOOK.replace("commands: {}", "commands:\n" + indent(dedent(variables), " " * 6))
        (tmp_path / "play.yml").write_text(playbook)
        environment = os.environ | {
            "ANSIBLE_CONFIG": f"{REPOSITORY}/ansible.cfg",
            "ANSIBLE_ASYNC_DIR": f"{tmp_path}/async",
        }
        environment.pop("PYTHONUNBUFFERED", None)
        command = [f"{REPOSITORY}/bin/ansible-playbook", "-i", "localhost,", "play.yml", *options]
        with subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            return Outcome(process, tmp_path)

    return run


def test_shows_each_jobs_newest_line_while_it_runs(follow) -> None:
    outcome = follow(
        slow=f"echo first; {until_shown('first')}; sleep 3; echo second; {until_shown('second')}",
        quick=f"echo hello; {until_shown('hello')}",
    )
    assert outcome.ok, outcome.output
    # Through a pipe as well, and not all at once in the end.
    assert outcome.times["slow | first"] < outcome.times["slow | second"] - 2
    assert "quick | hello" in outcome.times
    assert outcome.output.splitlines().count("slow | first") == 1
    assert "follow changed something: True" in outcome.output


def test_changes_nothing_when_no_job_did(follow) -> None:
    outcome = follow(idle="true")
    assert outcome.ok, outcome.output
    assert "follow changed something: False" in outcome.output


def test_fails_with_name_code_and_the_end_of_the_log(follow) -> None:
    outcome = follow(good="sleep 1; echo fine", bad="seq 1 100; exit 3")
    assert not outcome.ok
    assert "bad failed: rc 3" in outcome.output
    lines = [line.strip() for line in outcome.output.splitlines()]
    assert "71" in lines
    assert "100" in lines
    assert "70" not in lines
    assert "good | done" in outcome.output  # the failure of one does not cut short the others


def test_shows_redrawn_and_coloured_lines_as_plain_text(follow) -> None:
    outcome = follow(drawn=r"printf '\033[32m10 %%\033[0m\r\033[32m20 %%\033[0m\r'; " + until_shown("20"))
    assert outcome.ok, outcome.output
    assert "drawn | 20 %" in outcome.output.splitlines()


def test_gives_up_after_its_timeout_and_says_on_whom(follow) -> None:
    outcome = follow("-e", "patience=1", endless="sleep 20")
    assert not outcome.ok
    assert "gave up waiting for endless" in outcome.output


def test_does_nothing_in_check_mode(follow) -> None:
    outcome = follow("--check", never="echo no")
    assert outcome.ok, outcome.output
    assert " | " not in outcome.output
