"""The action `follow`: runs jobs side by side on the target, and shows the progress of each from its log while it runs.

    - name: Build
      follow:
        directory: /var/lib/courseload/build
        jobs: "{{ ... a list of {name, command, stop} }}"
      environment: "{{ proxy_environment }}"

Each command is one for Bash. What it prints is in `<directory>/<name>.log`, of which `name | newest line` is shown
whenever there is a new one. The action fails with the end of the log of every job that failed.

Whoever interrupts it (Ctrl-C, SIGTERM, a terminal that is closed) ends the jobs, with all that they have started, and
gets a sentence that says so; `stop`, which a job may have, is a command that then removes what the job has left. Where
the host is out of reach by then, its jobs end by themselves: see the module `start_job`, which starts them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

# Seconds after which a job that says nothing new is mentioned again: a long step must not look like a hang.
REMINDER = 30
LAST_LINES = 30
# Seconds after which a job ends by itself that nobody follows.
LEASE = 90

# Where whoever runs Ansible reads. This file is loaded before Ansible forks, and its workers have no output of their
# own: what they show goes through a queue that nobody empties after an interruption.
TERMINAL = os.dup(2)

# One line a job: how it is, and the newest line of its log. The end of the log is enough; a program that
# redraws its line (carriage returns) counts as one that prints lines. Whether it is alive is asked before its result:
# one that ends in between has left it.
STATUS = """\
status() {
  touch -c "$1.lock"
  now=lost; kill -0 "$(cat "$1.lock")" 2>/dev/null && now=runs
  [ -s "$1.result" ] && now=$(cat "$1.result")
  printf '%s ' "$now"
  printf '%s\\n' "$(tail -c 4096 "$1.log" 2>/dev/null | tr '\\r' '\\n' | grep -v '^[[:space:]]*$' | tail -n 1)"
}
"""
# All are told before any is waited for.
END = """\
tell() { kill -TERM "$(cat "$1.lock")"; }
gone() {
  for _ in $(seq 300); do
    kill -0 "$(cat "$1.lock")" 2>/dev/null || return 0
    sleep 0.1
  done
  return 1
}
"""


WORDS = {
    "lost": "the process that watched over it is gone, as after a restart of the host",
    "stopped": "somebody stopped it",
    "abandoned": f"nobody followed it for {LEASE} s",
}


class Interrupted(BaseException):
    """Whoever waits wants no more of it. No `except Exception` on the way takes it for an error."""


class Interruption:
    """Makes an exception of what Ansible tells its workers when it is interrupted, and of its own end."""

    def __init__(self) -> None:
        self.parent = os.getppid()
        self.wanted = False
        self.deferred = False

    def __enter__(self) -> Interruption:
        self.before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        # Where an interruption was dealt with, another one adds nothing.
        for number, handler in self.before.items() if not self.wanted else ():
            signal.signal(number, handler)

    def _handle(self, _: int, __: FrameType | None) -> None:
        self.wanted = True
        if not self.deferred:
            self.check()

    def check(self) -> None:
        """Raises `Interrupted` if there was an interruption. Only the first counts."""
        if self.wanted or os.getppid() != self.parent:
            self.wanted = True
            for number in self.before:
                signal.signal(number, signal.SIG_IGN)
            raise Interrupted

    @contextlib.contextmanager
    def later(self) -> Iterator[None]:
        """What is done in here is done whole."""
        self.deferred = True
        try:
            yield
        finally:
            self.deferred = False
        self.check()


@dataclass
class Job:
    """A job under way. Times are seconds of the monotonic clock."""

    name: str
    command: str
    stop: str
    stem: str
    started: float = 0.0
    spoke: float = 0.0
    running: bool = False
    line: str = ""
    end: str = ""  # how it ended: its exit code, or a word

    @property
    def failed(self) -> bool:
        return self.end not in ("", "0")


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "directory": {"type": "str", "required": True},
                "jobs": {
                    "type": "list",
                    "elements": "dict",
                    "required": True,
                    "options": {
                        "name": {"type": "str", "required": True},
                        "command": {"type": "str", "required": True},
                        "stop": {"type": "str", "default": ""},
                    },
                },
                "every": {"type": "float", "default": 2},  # seconds between two questions
                "timeout": {"type": "float", "default": 3600},  # seconds after which it gives up waiting
            }
        )
        if self._task.check_mode:
            return result

        jobs = [Job(**job, stem=f"{arguments['directory']}/{job['name']}") for job in arguments["jobs"]]
        with Interruption() as self._interruption:
            try:
                self._start(jobs, arguments["every"], task_vars or {})
                self._wait(jobs, arguments["every"], time.monotonic() + arguments["timeout"])
            except Interrupted:
                raise AnsibleActionFail(self._interrupt([job for job in jobs if job.running])) from None
            failed = [job for job in jobs if job.failed]
            if failed:
                raise AnsibleActionFail("\n\n".join(self._obituary(job) for job in failed))
        result["changed"] = bool(jobs)
        return result

    def _start(self, jobs: list[Job], every: float, task_vars: dict[str, Any]) -> None:
        """Starts all jobs. One whose like runs already, for somebody else, is started when that has ended."""
        for job in jobs:
            waited = False
            while not self._started(job, task_vars):
                if not waited:
                    self._display.display(f"{job.name} | waiting for another run of it on this host")
                waited = True
                self._sleep(every, [other for other in jobs if other.running])

    def _started(self, job: Job, task_vars: dict[str, Any]) -> bool:
        arguments = {"stem": job.stem, "command": job.command, "stop": job.stop, "lease": LEASE}
        with self._interruption.later():
            answer = self._execute_module(module_name="start_job", module_args=arguments, task_vars=task_vars)
            job.running = bool(answer.get("started"))
            job.started = job.spoke = time.monotonic()
        if "started" not in answer:
            raise AnsibleActionFail(f"{job.name}: {answer.get('msg', 'cannot be started')}", result=answer)
        return job.running

    def _wait(self, jobs: list[Job], every: float, deadline: float) -> None:
        """Returns when every job has ended."""
        while running := [job for job in jobs if job.running]:
            if time.monotonic() > deadline:
                logs = ", ".join(f"{job.name} (its log: {job.stem}.log)" for job in running)
                raise AnsibleActionFail(f"gave up waiting for {logs}. {self._end(running)}")
            self._sleep(every, running)

    def _sleep(self, seconds: float, running: list[Job]) -> None:
        """Sleeps, then asks how the jobs are."""
        time.sleep(seconds)
        self._interruption.check()
        for job, (end, line) in zip(running, self._states(running), strict=True):
            self._tell(job, line)
            if end != "runs":
                job.running, job.end = False, end
                word = "failed" if job.failed else "done"
                self._display.display(f"{job.name} | {word} after {time.monotonic() - job.started:.0f} s")

    def _states(self, jobs: list[Job]) -> list[tuple[str, str]]:
        """Of each job how it is, and its log's newest line; asked in one command."""
        if not jobs:
            return []
        asked = [f"status {shlex.quote(job.stem)}" for job in jobs]
        # Split at line feeds only: a log may hold other characters that Python counts as ends of lines.
        lines = self._low_level_execute_command(STATUS + "\n".join(asked), sudoable=True)["stdout"].split("\n")
        seen = [line.rstrip("\r").partition(" ") for line in lines[: len(jobs)]]
        if len(seen) < len(jobs):
            raise AnsibleActionFail(f"the jobs on this host cannot be asked for: {' '.join(lines)}")
        return [(end, line) for end, _, line in seen]

    def _tell(self, job: Job, line: str) -> None:
        now = time.monotonic()
        line = printable(line)
        if line and line != job.line:
            self._display.display(f"{job.name} | {line}")
        elif now - job.spoke >= REMINDER:
            self._display.display(f"{job.name} | {job.line or 'at work'} (for {now - job.started:.0f} s)")
        else:
            return
        job.line, job.spoke = line or job.line, now

    def _interrupt(self, running: list[Job]) -> str:
        """Ends the jobs, and says so to whoever has interrupted them."""
        sentence = f"Interrupted. {self._end(running)}"
        # The terminal may be gone.
        with contextlib.suppress(OSError):
            os.write(TERMINAL, f"\ncourseload: {sentence}\n".encode())
        return sentence

    def _end(self, running: list[Job]) -> str:
        """Ends the jobs and all that they have started; returns a sentence on it."""
        if not running:
            return "Nothing was running."
        names = ", ".join(job.name for job in running)
        host = self._task.delegate_to or self._play_context.remote_addr
        stems = [shlex.quote(job.stem) for job in running]
        steps = [f"tell {stem}" for stem in stems] + [f"gone {stem} &&" for stem in stems]
        try:
            good = self._low_level_execute_command(END + "\n".join(steps) + " true", sudoable=True)["rc"] == 0
        except AnsibleError:
            good = False
        if good:
            return f"Stopped on {host}: {names}."
        return f"Could not stop {names} on {host}; what still runs there ends by itself within {LEASE} s."

    def _obituary(self, job: Job) -> str:
        command = f"tail -n {LAST_LINES} {shlex.quote(job.stem)}.log"
        said = self._low_level_execute_command(command, sudoable=True)["stdout"].strip()
        why = f"rc {job.end}" if re.fullmatch(r"-?\d+", job.end) else WORDS.get(job.end, job.end)
        return f"{job.name} failed: {why}. The end of {job.stem}.log:\n{said}"


def printable(line: str, width: int = 160) -> str:
    """A line of a log as it can be shown: without colours and control characters, and not longer than `width`."""
    line = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line)
    line = "".join(character for character in line if character.isprintable()).strip()
    return line if len(line) <= width else line[: width - 1] + "…"
