"""What keeps a database's port forwarded: a program of the image kubectl, run here with a kubectl that only says so."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[3] / "roles/image/files/kubectl/port-forward"

KUBECTL = """\
#!/bin/sh
echo "$@" >> "{log}"
{then}
"""
# The same program, in a hurry.
HURRY = "PAUSE_S = LOOK_EVERY_S = CONNECT_S = 0.1"


@pytest.fixture
def server():
    """A server that takes connections, and no more than that."""
    with socket.create_server(("127.0.0.1", 0)) as taking:
        yield taking


def url(taking):
    return f"https://127.0.0.1:{taking.getsockname()[1]}"


@pytest.fixture
def forward(tmp_path):
    """A function that starts the program with a kubectl that does something, and returns the log of its calls."""
    processes = []

    def start(servers, then):
        log, kubectl, kubeconfig = tmp_path / "log", tmp_path / "kubectl", tmp_path / "kubeconfig"
        log.touch()
        kubectl.write_text(KUBECTL.format(log=log, then=then))
        kubectl.chmod(0o755)
        clusters = [{"name": f"c{at}", "cluster": {"server": server}} for at, server in enumerate(servers)]
        contexts = [{"name": f"server{at}", "context": {"cluster": f"c{at}"}} for at in range(len(servers))]
        kubeconfig.write_text(json.dumps({"clusters": clusters, "contexts": contexts}))
        source = PROGRAM.read_text().replace('if __name__ == "__main__":', f'{HURRY}\nif __name__ == "__main__":')
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "KUBECONFIG": str(kubeconfig)}
        process = subprocess.Popen([sys.executable, "-c", source, "mongodb-0", "27017"], env=environment)
        processes.append(process)
        return process, log

    yield start
    for process in processes:
        process.kill()
        process.wait()


def calls(log, expected):
    """The calls of kubectl, once there are so many."""
    deadline = time.monotonic() + 30
    while len(lines := log.read_text().splitlines()) < expected:
        assert time.monotonic() < deadline, f"only {lines}"
        time.sleep(0.02)
    return lines[:expected]


def test_a_pod_is_forwarded_to_loopback_only(forward, server):
    _, log = forward([url(server)], "exit 1")
    (call,) = calls(log, 1)
    assert call.endswith("--context=server0 port-forward --address=127.0.0.1 pod/mongodb-0 27017:27017")


def test_whenever_kubectl_ends_the_next_server_has_its_turn(forward, server):
    _, log = forward([url(server), url(server)], "exit 1")
    assert [call.split("--context=")[1].split()[0] for call in calls(log, 4)] == ["server0", "server1"] * 2


def test_a_server_that_takes_no_connection_is_passed_over(forward, server):
    with socket.socket() as gone:
        gone.bind(("127.0.0.1", 0))
        _, log = forward([url(gone), url(server)], "exit 1")
        assert {call.split("--context=")[1].split()[0] for call in calls(log, 3)} == {"server1"}


def test_a_kubectl_whose_server_is_gone_is_not_waited_for(forward, server):
    with socket.create_server(("127.0.0.1", 0)) as first:
        _, log = forward([url(first), url(server)], "exec sleep 60")
        calls(log, 1)
    assert "--context=server1" in calls(log, 2)[1]


def test_it_ends_when_it_is_told_to_and_kubectl_with_it(forward, server, tmp_path):
    process, log = forward([url(server)], f'echo $$ > "{tmp_path}/pid"; exec sleep 60')
    calls(log, 1)
    time.sleep(0.2)
    process.terminate()
    assert process.wait(timeout=10) == 0
    kubectl = (tmp_path / "pid").read_text().strip()
    assert not Path("/proc", kubectl).exists()
