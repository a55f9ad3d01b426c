#!/usr/bin/python
"""The module `start_job`: starts a command that goes on by itself, is watched over, and never runs twice at once."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path
from types import FrameType

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: start_job
short_description: Start a command that goes on by itself
description:
  - The action C(follow) uses it. Its files are C(STEM.log) with what the command prints, C(STEM.lock) with the process
    that watches over it, and C(STEM.result), a word on how it ended, once it has.
  - Ansible's own C(async) has none of what is needed here. It does not start where the path of its Python has a space,
    and what it has started goes on when whoever waits for it was interrupted.
  - Whoever follows the job touches C(STEM.lock) now and again. One that nobody follows any more ends, and all that it
    has started with it; so does one whose watching process is told to end (SIGTERM).
  - While a job of this stem runs that somebody follows, none is started.
options:
  stem:
    description: The directory of the files, which must exist, and the beginning of their names.
    type: path
    required: true
  command: {description: What Bash is to run., type: str, required: true}
  stop:
    description: What Bash is to run when the job was ended early, to remove what the command has left.
    type: str
    default: ""
  lease: {description: Seconds after which a job ends that nobody follows., type: float, default: 90}
"""

RETURN = """
started:
  description: Whether it was started; false while another one is followed by somebody.
  type: bool
  returned: always
"""

# Who follows a job asks for it every few seconds.
FOLLOWED_S = 15.0
# What is told to end has so long before it is killed.
GRACE_S = 5.0
END_S = 30.0
POLL_S = 0.2
PR_SET_CHILD_SUBREAPER = 36

# How a job ended when it was not its own doing.
STOPPED = "stopped"
ABANDONED = "abandoned"


class Lock:
    """The lock on a stem. Who holds it is written in it; its time says when somebody last followed the job."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def take(self) -> bool:
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def touched(self) -> float:
        return os.fstat(self.file).st_mtime

    def holder(self) -> int:
        return int(os.pread(self.file, 32, 0) or 0)

    def sign(self) -> None:
        os.truncate(self.file, 0)
        os.pwrite(self.file, str(os.getpid()).encode(), 0)


class Job:
    """A command under way, in the process that watches over it."""

    def __init__(self, stem: str, command: str, stop: str, lease: float) -> None:
        self.command, self.stop, self.lease = command, stop, lease
        self.log, self.result = Path(f"{stem}.log"), Path(f"{stem}.result")
        self.code: int | None = None
        self.told_to_end = False

    def watch(self, lock: Lock) -> None:
        """Runs the command to its end, or ends it."""
        signal.signal(signal.SIGTERM, self._tell)
        # Whatever root's mask is on this host: what is made here is read by others than root.
        os.umask(0o022)
        # What outlives its parent becomes a child of this process, so nothing that the command has started gets away.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        with self.log.open("wb") as log:
            leader = self._start(self.command, log.fileno())
            lock.sign()
            seen, since = lock.touched(), time.monotonic()
            # By a clock that stands still while this machine sleeps: whoever follows slept as well, perhaps.
            while self.code is None and not self.told_to_end and time.monotonic() - since < self.lease:
                time.sleep(POLL_S)
                self._reap(leader)
                if lock.touched() != seen:
                    seen, since = lock.touched(), time.monotonic()
            if self.code is None:
                word = STOPPED if self.told_to_end else ABANDONED
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                self._end(leader)
                self._tidy(log.fileno())
            else:
                word = str(self.code)
        written = self.result.with_suffix(".new")
        written.write_text(word)
        written.replace(self.result)

    def _tell(self, _: int, __: FrameType | None) -> None:
        self.told_to_end = True

    def _start(self, command: str, log: int) -> int:
        arguments = ["/bin/bash", "-c", command]
        # Kept, since a Popen that is collected waits for its process by itself, and the result would be lost here.
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        return self.process.pid

    def _tidy(self, log: int) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(["/bin/bash", "-c", self.stop], stdout=log, stderr=log, check=False, timeout=END_S)

    def _reap(self, leader: int) -> None:
        with contextlib.suppress(ChildProcessError):
            while ended := os.waitpid(-1, os.WNOHANG):
                process, status = ended
                if process == 0:
                    return
                if process == leader:
                    self.code = os.waitstatus_to_exitcode(status)

    def _end(self, leader: int) -> None:
        """Ends the command and all that it has started.

        What has started nothing itself is told first, so that whoever waits for it can tidy up: a build whose step
        fails removes its container, and one that is ended leaves it. What does not go is killed.
        """
        started = time.monotonic()
        told: set[int] = set()
        while left := descendants(os.getpid()):
            late = time.monotonic() - started > GRACE_S
            leaves = left.keys() - left.values() - told
            for process in left if late else leaves:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL if late else signal.SIGTERM)
            told |= leaves
            if time.monotonic() - started > END_S:
                return
            time.sleep(POLL_S)
            self._reap(leader)


def descendants(root: int) -> dict[int, int]:
    """All processes that a process has started, and those that these have, each with its parent."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in parentheses, may hold anything.
            parents[int(path.parent.name)] = int(path.read_text(errors="replace").rpartition(")")[2].split()[1])
    found: dict[int, int] = {}
    while more := {
        one: parent for one, parent in parents.items() if (parent in found or parent == root) and one not in found
    }:
        found |= more
    return found


def take(path: Path) -> Lock | None:
    """The lock, once a job that nobody follows any more was ended; None while somebody follows one."""
    lock = Lock(path)
    if lock.take():
        return lock
    if time.time() - lock.touched() < FOLLOWED_S:
        return None
    deadline = time.monotonic() + END_S + GRACE_S
    with contextlib.suppress(ProcessLookupError):
        os.kill(lock.holder(), signal.SIGTERM)
    while not lock.take():
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {lock.holder()} holds {path} and does not end: end it, then run this again")
        time.sleep(POLL_S)
    return lock


def detach(job: Job, lock: Lock) -> None:
    """Leaves the job to a process of its own; returns once that watches over it."""
    started, tell = os.pipe()
    if os.fork():
        os.close(tell)
        os.read(started, 1)
        os.close(started)
        return
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for file in (0, 1, 2):
            os.dup2(nothing, file)
        os.close(started)
        os.utime(lock.path)
        lock.sign()
        os.close(tell)
        job.watch(lock)
    finally:
        os._exit(0)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stem": {"type": "path", "required": True},
            "command": {"type": "str", "required": True},
            "stop": {"type": "str", "default": ""},
            "lease": {"type": "float", "default": 90},
        }
    )
    job = Job(**module.params)
    lock = None
    try:
        lock = take(Path(f"{module.params['stem']}.lock"))
        if lock is not None:
            # What an earlier one has left says nothing about this one.
            job.result.unlink(missing_ok=True)
            job.log.write_bytes(b"")
            detach(job, lock)
    except OSError as error:
        module.fail_json(msg=f"cannot start the job {Path(module.params['stem']).name}: {error}")
    module.exit_json(changed=lock is not None, started=lock is not None)


if __name__ == "__main__":
    main()
