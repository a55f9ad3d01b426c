"""A load test that is interrupted, from a clone whose path has a space."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from helpers.clone import clone
from helpers.load import await_notes, rate
from helpers.machine import podman_list

GONE_S = 20


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a load test printed in the middle of which somebody pressed Ctrl-C."""
    there = clone(tmp_path_factory.mktemp("clone") / "with a space")
    log = there / "log"
    command = [str(there / "bin/ansible-playbook"), "loadtest.yml", "--extra-vars", "users=40 duration=120s"]
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        await_notes(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) != 0
    return log.read_text()


def test_leaves_no_load_and_says_so(interrupted: str) -> None:
    assert "courseload: Interrupted. Stopped on localhost: load test." in interrupted
    deadline = time.monotonic() + GONE_S
    while left := [name for name in podman_list("pod") if name.startswith("locust-")]:
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.5)
    assert rate() < 1
