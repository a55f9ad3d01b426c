"""The action `follow`: waits for asynchronous jobs, and shows the progress of each from its log while it runs.

    - name: Start the builds
      ansible.builtin.shell: build {{ item }} > /var/tmp/{{ item }}.log 2>&1
      async: 1800
      poll: 0
      loop: [relay, ledger]
      register: builds

    - name: Follow the builds
      follow:
        jobs: "{{ ... a list of {name, jid: the job's ansible_job_id, log: a file on the target} }}"

It prints `name | newest line of the log` whenever there is a new one, fails with the end of the log of every job that
failed, and reports a change when any job changed something.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Seconds after which a job that says nothing new is mentioned again: a long step must not look like a hang.
REMINDER = 30
LAST_LINES = 30

# One line a job: the state of its result file, and the newest line of its log. The end of the log is enough to look at;
# a program that redraws its line (carriage returns) counts as one that prints lines.
PEEK = """\
peek() {
  printf '%s ' "$(stat -c %i:%s:%Y "$1" 2>/dev/null)"
  printf '%s\\n' "$(tail -c 4096 "$2" 2>/dev/null | tr '\\r' '\\n' | grep -v '^[[:space:]]*$' | tail -n 1)"
}
"""


@dataclass
class Job:
    """A job under way. Times are seconds of the monotonic clock."""

    name: str
    jid: str
    log: str
    started: float
    spoke: float
    results_file: str = ""
    state: str = ""  # of the result file when it was last read: a new one means that there is a new result
    line: str = ""
    result: Mapping[str, Any] | None = None  # once it has ended

    @property
    def failed(self) -> bool:
        return self.result is not None and bool(self.result.get("failed") or self.result.get("rc"))


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "jobs": {
                    "type": "list",
                    "elements": "dict",
                    "required": True,
                    "options": {key: {"type": "str", "required": True} for key in ("name", "jid", "log")},
                },
                "every": {"type": "float", "default": 2},  # seconds between two looks
                "timeout": {"type": "float", "default": 3600},  # seconds after which it gives up waiting
            }
        )
        if self._task.check_mode:
            return result

        now = time.monotonic()
        jobs = [Job(**job, started=now, spoke=now) for job in arguments["jobs"]]
        self._wait(jobs, arguments["every"], now + arguments["timeout"], task_vars or {})
        failed = [job for job in jobs if job.failed]
        if failed:
            raise AnsibleActionFail("\n\n".join(self._obituary(job) for job in failed))
        result["changed"] = any(job.result and job.result.get("changed") for job in jobs)
        return result

    def _wait(self, jobs: list[Job], every: float, deadline: float, task_vars: dict[str, Any]) -> None:
        """Returns when every job has its result."""
        for job in jobs:
            self._ask(job, task_vars)
        while running := [job for job in jobs if job.result is None]:
            if time.monotonic() > deadline:
                names = ", ".join(f"{job.name} (its log: {job.log})" for job in running)
                raise AnsibleActionFail(f"gave up waiting for {names}")
            time.sleep(every)
            for job, (state, line) in zip(running, self._peek(running), strict=True):
                self._tell(job, line)
                # Asking is dear (a module run), looking is cheap: so it asks when the result file has changed.
                if state != job.state:
                    job.state = state
                    self._ask(job, task_vars)

    def _peek(self, jobs: list[Job]) -> list[tuple[str, str]]:
        """Looks at all jobs in one command. Returns for each the state of its result file and its log's newest line."""
        looks = [f"peek {shlex.quote(job.results_file)} {shlex.quote(job.log)}" for job in jobs]
        # Split at line feeds only: a log may hold other characters that Python counts as ends of lines.
        lines = self._low_level_execute_command(PEEK + "\n".join(looks), sudoable=True)["stdout"].split("\n")
        seen = [line.rstrip("\r").partition(" ") for line in lines[: len(jobs)]]
        if len(seen) < len(jobs):
            raise AnsibleActionFail(f"cannot look at the jobs on this host: {' '.join(lines)}")
        return [(state, line) for state, _, line in seen]

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

    def _ask(self, job: Job, task_vars: dict[str, Any]) -> None:
        status = self._async_status(job, "status", task_vars)
        job.results_file = status.get("results_file", job.results_file)
        if not status.get("finished"):
            return
        job.result = status
        self._async_status(job, "cleanup", task_vars)
        end = "failed" if job.failed else "done"
        self._display.display(f"{job.name} | {end} after {time.monotonic() - job.started:.0f} s")

    def _async_status(self, job: Job, mode: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        task = self._task.copy()
        task.args = {"jid": job.jid, "mode": mode}
        action = self._shared_loader_obj.action_loader.get(
            "ansible.builtin.async_status",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        status: dict[str, Any] = action.run(task_vars=task_vars)
        return status

    def _obituary(self, job: Job) -> str:
        command = f"tail -n {LAST_LINES} {shlex.quote(job.log)}"
        lines = self._low_level_execute_command(command, sudoable=True)["stdout"].rstrip()
        result = job.result or {}
        why = f"rc {result['rc']}" if result.get("rc") else result.get("msg", "no reason given")
        said = lines or "\n".join(str(result.get(key, "")) for key in ("stdout", "stderr")).strip()
        return f"{job.name} failed: {why}. The end of {job.log}:\n{said}"


def printable(line: str, width: int = 160) -> str:
    """A line of a log as it can be shown: without colours and control characters, and not longer than `width`."""
    line = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line)
    line = "".join(character for character in line if character.isprintable()).strip()
    return line if len(line) <= width else line[: width - 1] + "…"
