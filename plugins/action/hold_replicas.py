"""The action `hold_replicas`: workloads that scale keep one number of replicas for a while.

- name: Hold the replicas still
  hold_replicas:
    kubeconfig: "{{ cluster_kubeconfig }}"
    autoscalers: "{{ workloads | autoscalers(cluster_namespace) }}"
    at: max

It waits until all of them are there. `at: scaling` puts the autoscalers back. Where Ansible does not come to that, for
it was interrupted or killed, a guard on the control machine does so as soon as Ansible has ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible hands module_utils to modules only; what runs on the control machine takes it from beside.
sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from courseload.autoscalers import CHOICES, SCALING, Guard, apply, as_text, held, not_yet

LIBRARY = str(Path(__file__).parents[1] / "module_utils")
EVERY_S = 2.0


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "kubeconfig": {"type": "path", "required": True},
                "autoscalers": {"type": "list", "elements": "dict", "required": True},
                "at": {"type": "str", "choices": list(CHOICES), "required": True},
                "timeout": {"type": "float", "default": 180},  # seconds until all replicas must be there
            }
        )
        if self._task.check_mode:
            return result
        kubeconfig, at = arguments["kubeconfig"], arguments["at"]
        wanted = held(arguments["autoscalers"], at)
        if at != SCALING:
            _start_guard(Guard(os.getppid(), kubeconfig, held(arguments["autoscalers"], SCALING)))
        try:
            apply(kubeconfig, wanted)
            waiting = [] if at == SCALING else _wait(kubeconfig, wanted, arguments["timeout"])
        except Exception as problem:
            raise AnsibleActionFail(
                f"The autoscalers cannot be set in the cluster: {problem}. "
                "See that the control machine reaches its API."
            ) from problem
        if waiting:
            raise AnsibleActionFail(
                f"{', '.join(waiting)} did not get as many replicas as asked for (capacity_replicas: {at}) within "
                f"{arguments['timeout']:g} s: see whether the nodes have room for them."
            )
        result["changed"] = True
        return result


def _start_guard(told: Guard) -> None:
    """Starts a guard that outlives Ansible; what interrupts Ansible at its terminal does not reach it."""
    guard = subprocess.Popen(
        [sys.executable, "-m", "courseload.autoscalers"],
        env=os.environ | {"PYTHONPATH": LIBRARY},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    if guard.stdin:
        with guard.stdin as sink:
            sink.write(as_text(told))


def _wait(kubeconfig: str, autoscalers: list[dict[str, Any]], timeout_s: float) -> list[str]:
    """Waits until all replicas are there; returns the names of those that are not in time."""
    deadline = time.monotonic() + timeout_s
    while (waiting := not_yet(kubeconfig, autoscalers)) and time.monotonic() < deadline:
        time.sleep(EVERY_S)
    return waiting
