#!/usr/bin/python
"""The module `pod_serves`: whether all containers of a pod run, and whether it answers at its own address."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: pod_serves
short_description: Check whether a pod serves
description:
  - It changes nothing. First it waits until all containers run, then until the pod answers.
  - A pod whose database died beside its front may still take connections, so all of its containers count.
options:
  pod: {description: The pod's name. A container of it that is called alike has its address., type: str, required: true}
  containers:
    description: The names of its containers, as Podman has them.
    type: list
    elements: str
    required: true
  network: {description: The network on which it is asked., type: str, required: true}
  readiness:
    description: The C(port), and the HTTP C(path) if there is one, that answer when it serves.
    type: dict
    required: true
  patience:
    description: Seconds for which it is waited for its containers, and then for its answer.
    type: int
    default: 1
"""

RETURN = """
serves: {description: 'Whether all of it runs, unpaused, and answers.', type: bool, returned: always}
paused: {description: Whether somebody has paused a container of it., type: bool, returned: always}
"""

PAUSE_S = 1.0
# What takes connections does so at once; an answer over HTTP may have to wait for a database.
CONNECT_S = 1.0
ANSWER_S = 3.0

T = TypeVar("T")
Run = Callable[[list[str]], tuple[int, str, str]]


@dataclass(frozen=True)
class State:
    """What Podman says of a pod's containers."""

    there: bool = False
    runs: bool = False
    paused: bool = False
    address: str = ""


def gather(run: Run, pod: str, containers: Sequence[str], network: str) -> State:
    """Asks Podman. A container that is not there is an error, and the others are described all the same."""
    try:
        found = json.loads(run(["podman", "container", "inspect", *containers])[1] or "[]") or []
    except ValueError:  # a Podman that cannot answer yet has no containers either
        return State()
    states = [container["State"] for container in found]
    networks = [container["NetworkSettings"]["Networks"] for container in found if container["Name"] == f"{pod}-{pod}"]
    address = str((networks[0] or {}).get(network, {}).get("IPAddress", "")) if networks else ""
    return State(
        there=bool(found),
        runs=len(found) == len(containers) and all(state["Running"] for state in states) and bool(address),
        paused=any(state["Paused"] for state in states),
        address=address,
    )


def answers(address: str, port: int, path: str | None) -> bool:
    """Whether something takes a connection there and, with a path, says over HTTP that it is ready."""
    try:
        if path is None:
            socket.create_connection((address, port), timeout=CONNECT_S).close()
            return True
        connection = http.client.HTTPConnection(address, port, timeout=ANSWER_S)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        finally:
            connection.close()
    except (OSError, http.client.HTTPException):
        return False


def eventually(find: Callable[[], T], good: Callable[[T], bool], patience: int, pause: float) -> T:
    """What is found once it is good, or after as many pauses as there is patience."""
    for _ in range(patience):
        if good(found := find()):
            return found
        time.sleep(pause)
    return find()


def ask(
    current: Callable[[], State], answer: Callable[[str], bool], patience: int, pause: float = PAUSE_S
) -> dict[str, bool]:
    """Whether a pod serves, and whether somebody has paused it, as the module returns it."""
    # Where there is nothing at all, waiting does not help; nor where somebody has paused it.
    state = eventually(current, lambda now: now.runs or now.paused or not now.there, patience, pause)
    serves = state.runs and not state.paused and eventually(lambda: answer(state.address), bool, patience, pause)
    return {"serves": serves, "paused": state.paused}


def main() -> None:
    """Runs the module."""
    module = AnsibleModule(
        argument_spec={
            "pod": {"type": "str", "required": True},
            "containers": {"type": "list", "elements": "str", "required": True},
            "network": {"type": "str", "required": True},
            "readiness": {"type": "dict", "required": True},
            "patience": {"type": "int", "default": 1},
        },
        supports_check_mode=True,
    )
    asked = module.params
    if not module.get_bin_path("podman"):
        module.exit_json(serves=False, paused=False)
    port, path = int(asked["readiness"]["port"]), asked["readiness"].get("path")

    def current() -> State:
        return gather(module.run_command, asked["pod"], asked["containers"], asked["network"])

    module.exit_json(**ask(current, lambda address: answers(address, port, path), asked["patience"]))


if __name__ == "__main__":
    main()
