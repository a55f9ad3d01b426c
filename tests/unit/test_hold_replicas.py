"""Replicas that are held still, in real playbooks against an API that only remembers: they are always let go."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from courseload.autoscalers import held
from helpers.http_server import Exchange, serving
from helpers.plugins import load

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 60  # starting Ansible takes a second, and on a machine that is busy many
pytestmark = pytest.mark.timeout(180)

WORKLOADS: dict[str, Any] = {
    "relay": {"scale": {"min": 1, "max": 3, "cpu_percent": 50}},
    "direct": {"scale": {"min": 2, "max": 4, "cpu_percent": 50}},
    "ledger": {},
}
AUTOSCALERS = load("filter", "manifests").FilterModule().filters()["autoscalers"](WORKLOADS, "shop")
FREE, AT_MAX = {"relay": (1, 3), "direct": (2, 4)}, {"relay": (3, 3), "direct": (4, 4)}

PLAYBOOK = """\
- hosts: localhost
  gather_facts: false
  vars: {ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  tasks:
    - name: Search
      block:
        - name: Hold the replicas still
          hold_replicas: {kubeconfig: kubeconfig, autoscalers: "{{ autoscalers }}", at: max, timeout: "{{ patience }}"}

        - name: Search
          ansible.builtin.command: sleep {{ search }}
      always:
        - name: Put the autoscalers back
          hold_replicas: {kubeconfig: kubeconfig, autoscalers: "{{ autoscalers }}", at: scaling}
          when: put_back | bool
"""


class Api:
    """Remembers the bounds of autoscalers, and lets Deployments have as many replicas, if there is room for them."""

    def __init__(self, room: bool) -> None:
        self._room = room
        self._changed = threading.Condition()
        self.bounds: dict[str, tuple[int, int]] = {}
        self.asked: list[dict[str, list[str]]] = []
        self.bodies: list[dict[str, Any]] = []

    def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        with self._changed:
            self.asked.append(parse_qs(urlsplit(path).query))
            self.bodies.append(body)
            self.bounds[body["metadata"]["name"]] = (body["spec"]["minReplicas"], body["spec"]["maxReplicas"])
            self._changed.notify_all()
        return body

    def deployment(self, path: str) -> dict[str, Any]:
        low, _ = self.bounds[path.rpartition("/")[2]]
        there = low if self._room else low - 1
        counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), there)
        return {"metadata": {"generation": 1}, "spec": {"replicas": low}, "status": counts | {"observedGeneration": 1}}

    def await_patches(self, number: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.bodies) >= number, PATIENCE_S), self.bodies

    def await_bounds(self, bounds: dict[str, tuple[int, int]]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.bounds == bounds, PATIENCE_S), self.bounds


@pytest.fixture
def api(request, tmp_path: Path) -> Iterator[Api]:
    remembering = Api(room=getattr(request, "param", True))

    def answer(exchange: Exchange) -> None:
        if exchange.command == "PATCH":
            assert exchange.headers["Content-Type"] == "application/apply-patch+yaml"
            body = json.loads(exchange.rfile.read(int(exchange.headers["Content-Length"])))
            content = remembering.patch(exchange.path, body)
        else:
            content = remembering.deployment(exchange.path)
        exchange.reply(200, json.dumps(content).encode())

    with serving(answer) as port:
        cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}
        context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
        users = [{"name": "u", "user": {}}]
        config = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context], "users": users}
        (tmp_path / "kubeconfig").write_text(json.dumps(config | {"current-context": "c"}))
        yield remembering


def start(directory: Path, search: str = "0", patience: float = PATIENCE_S, *, put_back: bool = True) -> Any:
    """Starts the playbook, in a process group of its own, as a shell does it."""
    (directory / "play.yml").write_text(PLAYBOOK)
    settings = {"autoscalers": AUTOSCALERS, "search": search, "patience": patience, "put_back": put_back}
    # Whoever runs the tests with nohup, or in the background, has signals ignored, which would be inherited.
    command = ["env", "--default-signal=HUP,INT", f"{REPOSITORY}/bin/ansible-playbook", "-i", "localhost,", "play.yml"]
    return subprocess.Popen(
        [*command, "--connection=local", "-e", json.dumps(settings)],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_replicas_are_held_at_either_bound_or_left_to_scale() -> None:
    def bounds(at: str) -> dict[str, tuple[int, int]]:
        return {
            each["metadata"]["name"]: (each["spec"]["minReplicas"], each["spec"]["maxReplicas"])
            for each in held(AUTOSCALERS, at)
        }

    assert bounds("min") == {"relay": (1, 1), "direct": (2, 2)}
    assert bounds("max") == AT_MAX
    assert bounds("scaling") == FREE


def test_they_are_held_until_the_search_is_over_and_then_as_they_were(api: Api, tmp_path: Path) -> None:
    with start(tmp_path) as process:
        output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output
    api.await_patches(6)  # held, put back, and put back once more by the guard, which ends then
    seen = [(body["metadata"]["name"], body["spec"]["minReplicas"]) for body in api.bodies]
    assert seen[:4] == [("relay", 3), ("direct", 4), ("relay", 1), ("direct", 2)]
    assert api.bodies[2:] == [*AUTOSCALERS, *AUTOSCALERS]
    # Under the name of site.yml, which else would find changes of somebody else.
    assert all((asked["fieldManager"], asked["force"]) == (["courseload"], ["true"]) for asked in api.asked)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_they_are_let_go_where_ansible_is_interrupted_or_killed(api: Api, tmp_path: Path, number: int) -> None:
    with start(tmp_path, search="300") as process:
        api.await_bounds(AT_MAX)
        os.killpg(process.pid, number)
        api.await_bounds(FREE)


@pytest.mark.parametrize("api", [False], indirect=True)
def test_where_there_is_no_room_for_them_a_sentence_says_so_and_they_are_let_go(api: Api, tmp_path: Path) -> None:
    with start(tmp_path, patience=0.1, put_back=False) as process:
        output, _ = process.communicate(timeout=PATIENCE_S)
        api.await_bounds(FREE)
    assert process.returncode != 0
    said = " ".join(output.split())
    assert "relay, direct did not get as many replicas as asked for (capacity_replicas: max) within 0.1 s" in said
