"""The action follow, in real playbooks with real jobs."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from helpers.plugins import load

REPOSITORY = Path(__file__).parents[2]
start_job = load("modules", "start_job")
PLAYBOOK = """\
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  tasks:
    - name: Follow
      follow:
        every: 0.2
        timeout: "{{ patience | default(90) }}"
        directory: "{{ playbook_dir }}"
        jobs: "{{ lookup('ansible.builtin.file', playbook_dir ~ '/jobs.json') | from_json }}"
      environment: {GREETING: "it's here"}
      register: followed

    - name: Report
      ansible.builtin.debug: {msg: "follow changed something: {{ followed.changed }}"}
"""

PATIENCE_S = 60  # starting Ansible takes a second, and on a machine that is busy many
pytestmark = pytest.mark.timeout(180)

SHOWN = re.compile(r"\w+ \| ([\w']+)")


def until_shown(word: str) -> str:
    """A command that waits until a line that begins with this word was shown."""
    return f'until test -e "{word}"; do sleep 0.1; done'


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


def start(directory: Path, *options: str, stop: str = "", **commands: str) -> subprocess.Popen[str]:
    """Starts a playbook that follows the commands, by name; in a process group of its own, as a shell does it."""
    jobs = [{"name": name, "command": f"cd {directory}; {command}", "stop": stop} for name, command in commands.items()]
    (directory / "jobs.json").write_text(json.dumps(jobs))
    (directory / "play.yml").write_text(PLAYBOOK)
    # Whoever runs the tests with nohup, or in the background, has signals ignored, which would be inherited.
    unignored = ["env", "--default-signal=HUP,INT"]
    command = [*unignored, f"{REPOSITORY}/bin/ansible-playbook", "-i", "localhost,", "play.yml", *options]
    return subprocess.Popen(
        command,
        cwd=directory,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def follow(tmp_path: Path) -> Callable[..., Outcome]:
    """Runs the commands, by name, as jobs; follows them."""

    def run(*options: str, **commands: str) -> Outcome:
        with start(tmp_path, *options, **commands) as process:
            return Outcome(process, tmp_path)

    return run


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the jobs run that end well."""
    return tmp_path_factory.mktemp("well")


@pytest.fixture(scope="module")
def outcome(directory: Path) -> Outcome:
    """What is printed of some jobs that end well, followed by somebody whose mask keeps files from others."""
    before = os.umask(0o077)
    try:
        process = start(
            directory,
            slow=f"echo first; {until_shown('first')}; echo second; {until_shown('second')}",
            quick=f"echo hello; {until_shown('hello')}",
            drawn=r"printf '\033[32m10 %%\033[0m\r\033[32m20 %%\033[0m\r'; " + until_shown("20"),
            greeting='echo "$GREETING"; ' + until_shown("it's"),
            made="touch made",
        )
    finally:
        os.umask(before)
    with process:
        done = Outcome(process, directory)
    assert done.ok, done.output
    return done


def test_shows_each_jobs_newest_line_while_it_runs(outcome: Outcome) -> None:
    # Through a pipe as well, and not all at once in the end: what comes second waits until the first was seen.
    assert outcome.times["slow | first"] < outcome.times["slow | second"]
    assert "quick | hello" in outcome.times
    assert outcome.output.splitlines().count("slow | first") == 1
    assert "follow changed something: True" in outcome.output


def test_shows_redrawn_and_coloured_lines_as_plain_text(outcome: Outcome) -> None:
    assert "drawn | 20 %" in outcome.output.splitlines()


def test_a_job_has_the_environment_of_the_task(outcome: Outcome) -> None:
    assert "greeting | it's here" in outcome.output


def test_what_a_job_makes_can_be_read_by_others_whatever_the_mask(outcome: Outcome, directory: Path) -> None:
    assert (directory / "made").stat().st_mode & 0o777 == 0o644


def test_fails_with_name_code_and_the_end_of_the_log(follow) -> None:
    outcome = follow(good="sleep 1; echo fine", bad="seq 1 100; exit 3")
    assert not outcome.ok
    assert "bad failed: rc 3" in outcome.output
    lines = [line.strip() for line in outcome.output.splitlines()]
    assert "71" in lines
    assert "100" in lines
    assert "70" not in lines
    assert "good | done" in outcome.output  # the failure of one does not cut short the others


def test_gives_up_after_its_timeout_and_stops_what_it_waited_for(follow, tmp_path: Path) -> None:
    outcome = follow("-e", "patience=1", endless="echo $$ > pid; exec sleep 20")
    assert not outcome.ok
    assert "gave up waiting for endless" in outcome.output
    assert "Stopped on localhost: endless" in outcome.output
    assert gone(tmp_path / "pid")


def test_does_nothing_in_check_mode(follow) -> None:
    outcome = follow("--check", never="echo no")
    assert outcome.ok, outcome.output
    assert " | " not in outcome.output


# A process that gets away from its group, its session and its parent, as those of containers do.
AWAY = "(setsid sh -c 'echo $$ > away; trap \"\" TERM; while :; do sleep 0.1; done' &)"


def gone(*files: Path) -> bool:
    """Whether the processes whose numbers are in the files are gone."""
    return not any(Path("/proc", file.read_text().strip()).exists() for file in files)


def wait_for(*files: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not all(file.exists() and file.read_text().strip() for file in files):
        assert time.monotonic() < deadline, f"not there after {PATIENCE_S} s: {files}"
        time.sleep(0.05)


def interrupt(process: subprocess.Popen[str]) -> None:
    """Ctrl-C: a terminal sends it to the whole group."""
    os.killpg(process.pid, signal.SIGINT)


def terminate(process: subprocess.Popen[str]) -> None:
    process.terminate()


def hang_up(process: subprocess.Popen[str]) -> None:
    """The terminal is closed."""
    os.killpg(process.pid, signal.SIGHUP)


ENDS = (interrupt, terminate, hang_up)


@dataclass(frozen=True)
class Ended:
    """What is left of a run that somebody ended, and what it had printed."""

    code: int
    output: str
    gone: bool
    directory: Path


def ended(end: Callable[[subprocess.Popen[str]], None], directory: Path) -> Ended:
    """Ends a run whose job does not want to end."""
    pids = directory / "pid", directory / "away"
    endless = f"trap 'touch trapped' EXIT; {AWAY}; echo $$ > pid; sleep 60"
    with start(directory, endless=endless, stop=f"touch {directory}/tidied") as process:
        wait_for(*pids)
        end(process)
        # Whoever holds its output ends later than it does.
        output, _ = process.communicate(timeout=PATIENCE_S)
        return Ended(process.returncode, output, gone(*pids), directory)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """A run for each way to end one; all at once, for they wait some seconds before they kill what does not end."""
    with ThreadPoolExecutor() as pool:
        runs = {end.__name__: pool.submit(ended, end, tmp_path_factory.mktemp(end.__name__)) for end in ENDS}
    return {name: run.result() for name, run in runs.items()}


@pytest.mark.parametrize("end", [end.__name__ for end in ENDS])
def test_whoever_interrupts_it_stops_the_jobs_and_is_told_so(interrupted: dict[str, Ended], end: str) -> None:
    run = interrupted[end]
    assert run.code != 0
    assert run.gone
    # The command has had its chance to tidy up, and then what the job names for it.
    assert (run.directory / "trapped").exists()
    assert (run.directory / "tidied").exists()
    assert "courseload: Interrupted. Stopped on localhost: endless." in run.output
    assert (run.directory / "endless.result").read_text() == "stopped"


def test_a_job_whose_follower_was_killed_outright_ends_as_well(tmp_path: Path) -> None:
    with start(tmp_path, endless="echo $$ > pid; sleep 60") as process:
        wait_for(tmp_path / "pid")
        process.kill()
        process.communicate(timeout=PATIENCE_S)
    assert gone(tmp_path / "pid")


def left(directory: Path, lease: float, command: str) -> None:
    """Starts a job that nobody follows, as one whose follower's machine was switched off."""
    arguments = {"stem": str(directory / "job"), "command": command, "lease": lease}
    subprocess.run(
        [sys.executable, REPOSITORY / "plugins/modules/start_job.py"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        check=True,
        text=True,
        stdout=subprocess.DEVNULL,
    )


def test_a_job_that_nobody_follows_ends_by_itself(tmp_path: Path) -> None:
    left(tmp_path, 0.5, f"echo $$ > {tmp_path}/pid; sleep 60")
    wait_for(tmp_path / "job.result")
    assert (tmp_path / "job.result").read_text() == "abandoned"
    assert gone(tmp_path / "pid")


class Prompt(subprocess.Popen[bytes]):
    """A process that has ended by the time it is known to have begun."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)


def test_the_end_of_a_job_is_seen_however_soon_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", Prompt)
    job = start_job.Job(str(tmp_path / "job"), "exit 3", "", 5)
    with (tmp_path / "job.log").open("wb") as log:
        job._reap(job._start(job.command, log.fileno()))
    assert job.code == 3


def test_what_an_interrupted_run_left_is_ended_before_it_is_started_anew(follow, tmp_path: Path) -> None:
    left(tmp_path, 60, f"echo $$ > {tmp_path}/pid; sleep 60")
    wait_for(tmp_path / "pid")
    os.utime(tmp_path / "job.lock", (time.time() - 20, time.time() - 20))
    outcome = follow(job=f"test -e /proc/$(cat {tmp_path}/pid) && exit 9; true")
    assert outcome.ok, outcome.output


def test_waits_for_one_that_somebody_else_follows(follow, tmp_path: Path) -> None:
    left(tmp_path, 60, f"echo $$ > {tmp_path}/pid; until test -e {tmp_path}/waiting; do sleep 0.1; done; sleep 1")
    wait_for(tmp_path / "pid")
    outcome = follow(job=f"test -e /proc/$(cat {tmp_path}/pid) && exit 9; true")
    assert outcome.ok, outcome.output
    assert "job | waiting for another run of it on this host" in outcome.output


def test_says_so_when_what_watched_over_a_job_is_gone(follow) -> None:
    outcome = follow(job="kill -9 $PPID; sleep 1")
    assert not outcome.ok
    assert "job failed: the process that watched over it is gone" in outcome.output
