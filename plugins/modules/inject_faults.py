#!/usr/bin/python
"""The module `inject_faults`: makes faults on this host, proves that they are there, and undoes them."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: inject_faults
short_description: Make faults on this host, prove them, and undo them
description:
  - Each fault is there for its time. A line that somebody sees who looks from outside, its C(probe), is taken before
    it, while it is there, and after it.
  - What undoes a fault is started before the fault, in a process of its own that waits. So it is undone in time
    whatever becomes of this module, of the connection, or of the control machine.
  - Whatever an earlier call has not undone, because the host was switched off perhaps, is undone first.
  - In check mode it makes nothing, and says what can be made, and what the probes say.
options:
  faults:
    description: What to make; C(at) is the number of seconds after which a fault begins. See group_vars/all/faults.yml.
    type: list
    elements: dict
    default: []
  functions: {description: Functions of Bash for the commands of the faults., type: str, default: ""}
  state: {description: The directory for what has to be undone., type: path, required: true}
"""

RETURN = """
faults:
  description: >-
    What became of each: when it began and ended, in seconds since the epoch; what its probe said before it, while it
    was there, and after it; whether it was C(proven) and C(undone); why it was C(skipped), if it was; and the C(error)
    of its commands, if there was one.
  type: list
  returned: always
left: {description: Faults of an earlier call that were undone., type: list, returned: always}
"""

COMMAND_S = 40.0
PROBE_S = 8.0
# For how long what a fault did may take to show, and to be gone.
SHOWS_S = 10.0
PAUSE_S = 0.2
# So many seconds after its time a fault is undone by what was started before it.
LATE_S = 15.0
CHANGED = "changed"
NO_END = "no end within"


@dataclass(frozen=True)
class Fault:
    """A fault as group_vars/all/faults.yml describes it, of something that is there."""

    name: str
    inject: str
    probe: str
    proof: str
    environment: Mapping[str, str]
    undo: str = ""
    needs: str = ""
    seconds: float = 0.0
    at: float = 0.0

    @property
    def word(self) -> str:
        return re.sub(r"\W", "_", f"fault_{self.name}")

    def shown(self, before: str, now: str) -> bool:
        """Whether what the probe says now is the proof. Of a probe that did not end nothing follows."""
        if not answers(before) or not answers(now):
            return False
        return now != before if self.proof == CHANGED else re.search(self.proof, now) is not None

    def gone(self, before: str, now: str) -> bool:
        return answers(now) and not self.shown(before, now)


def answers(said: str) -> bool:
    """Whether a probe has said something: on a busy host it may not end in its time."""
    return not said.startswith(NO_END)


@dataclass
class Told:
    """What became of a fault."""

    name: str
    before: str = ""
    during: str = ""
    after: str = ""
    began: float = 0.0
    ended: float = 0.0
    proven: bool = False
    undone: bool = True
    skipped: str = ""
    error: str = ""


class Injector:
    """Makes faults with the functions and the state of one call."""

    def __init__(self, functions: str, state: Path) -> None:
        self.functions = functions
        self.state = state

    def undo_left(self) -> list[str]:
        """Undoes what earlier calls have left; returns what that was."""
        left = sorted(self.state.glob("*/undo"))
        for script in left:
            subprocess.run(["/bin/bash", str(script)], check=False, timeout=COMMAND_S, capture_output=True)
            shutil.rmtree(script.parent, ignore_errors=True)
        return [script.parent.name for script in left]

    def look(self, fault: Fault) -> Told:
        """Says whether a fault can be made, and what its probe says, and makes nothing."""
        told = Told(fault.name, skipped=self._refusal(fault))
        if not told.skipped:
            told.before = self._probe(fault)
        return told

    def make(self, fault: Fault) -> Told:
        """Makes a fault, and returns once it is undone."""
        told = Told(fault.name, skipped=self._refusal(fault))
        if told.skipped:
            return told
        time.sleep(fault.at)
        own = self.state / fault.word
        own.mkdir(parents=True, exist_ok=True)
        told.before = self._until(fault, answers, _in_seconds(SHOWS_S))
        watch = self._arm(fault, own)
        told.began = time.time()
        deadline = time.monotonic() + fault.seconds
        try:
            done = self._run(fault, fault.inject)
            told.ended = time.time()
            told.error = done.stderr.strip() if done.returncode else ""
            told.during = self._until(fault, partial(fault.shown, told.before), max(deadline, _in_seconds(SHOWS_S)))
            told.proven = fault.shown(told.before, told.during) and not fault.shown(told.before, told.before)
            time.sleep(max(0.0, deadline - time.monotonic()))
        finally:
            self._undo(fault, told)
            if watch:
                os.killpg(watch.pid, signal.SIGKILL)
                watch.wait()
            shutil.rmtree(own, ignore_errors=True)
        return told

    def _refusal(self, fault: Fault) -> str:
        """Why this host cannot make a fault; empty where it can."""
        if not fault.needs or not (why := self._run(fault, fault.needs)).returncode:
            return ""
        return why.stdout.strip() or "this host cannot do it"

    def _undo(self, fault: Fault, told: Told) -> None:
        """Undoes a fault, where that has to be done, and looks whether it is gone."""
        if not fault.undo:
            told.after = self._until(fault, answers, _in_seconds(SHOWS_S))
            return
        self._run(fault, fault.undo)
        told.ended = time.time()
        told.after = self._until(fault, partial(fault.gone, told.before), _in_seconds(SHOWS_S))
        told.undone = fault.gone(told.before, told.after)

    def _arm(self, fault: Fault, own: Path) -> subprocess.Popen[bytes] | None:
        """Starts what undoes a fault if nobody else does; returns its process."""
        if not fault.undo:
            return None
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in self._variables(fault).items())
        (own / "undo").write_text(f"{exports}{self.functions}\n{fault.undo}\n")
        waiting = (
            f"sleep {fault.seconds + LATE_S}; bash {shlex.quote(str(own / 'undo'))}; rm -r {shlex.quote(str(own))}"
        )
        return subprocess.Popen(
            ["/bin/bash", "-c", waiting],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _until(self, fault: Fault, good: Callable[[str], bool], deadline: float) -> str:
        """What the probe says once it is good, or at last."""
        while not good(now := self._probe(fault)) and time.monotonic() < deadline:
            time.sleep(PAUSE_S)
        return now

    def _probe(self, fault: Fault) -> str:
        said = self._run(fault, fault.probe, PROBE_S)
        return " ".join((said.stdout or said.stderr).split())

    def _run(self, fault: Fault, command: str, seconds: float = COMMAND_S) -> subprocess.CompletedProcess[str]:
        arguments = ["/bin/bash", "-c", f"{self.functions}\n{command}"]
        try:
            return subprocess.run(
                arguments,
                env={**os.environ, **self._variables(fault)},
                check=False,
                capture_output=True,
                text=True,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(arguments, 124, "", f"{NO_END} {seconds:g} s")

    def _variables(self, fault: Fault) -> dict[str, str]:
        return {**fault.environment, "FAULT": fault.word, "STATE": str(self.state / fault.word)}


def _in_seconds(seconds: float) -> float:
    return time.monotonic() + seconds


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(
        argument_spec={
            "faults": {"type": "list", "elements": "dict", "default": []},
            "functions": {"type": "str", "default": ""},
            "state": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    asked: list[dict[str, Any]] = module.params["faults"]
    injector = Injector(module.params["functions"], Path(module.params["state"]))
    faults = [Fault(**{key: fault[key] for key in Fault.__dataclass_fields__ if key in fault}) for fault in asked]
    if module.check_mode:
        module.exit_json(changed=False, faults=[asdict(injector.look(fault)) for fault in faults], left=[])
    left = injector.undo_left()
    with ThreadPoolExecutor(max_workers=max(1, len(faults))) as pool:
        told = list(pool.map(injector.make, faults))
    # A fault of a run beside this one may still be there.
    with contextlib.suppress(OSError):
        injector.state.rmdir()
    module.exit_json(changed=bool(left or told), faults=[asdict(each) for each in told], left=left)


if __name__ == "__main__":
    main()
