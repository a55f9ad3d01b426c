"""Check mode on a machine where nothing is installed: it goes through, and leaves no trace."""

import subprocess
from pathlib import Path

import pytest

from helpers import machine
from helpers.playbook import play

pytestmark = [
    pytest.mark.skipif(machine.obstacle() is not None, reason=f"courseload {machine.obstacle()}"),
    pytest.mark.skipif(machine.installed(), reason="courseload is installed here already: the machine is not bare"),
]


def traces() -> dict[str, object]:
    """What an installation would leave on this machine."""
    packages = subprocess.run(["dpkg-query", "--show"], check=True, capture_output=True, text=True).stdout
    paths = [
        *("/etc/courseload", "/var/lib/courseload", "/etc/containers/containers.conf.d/courseload.conf"),
        "/etc/systemd/system/libpod-.scope.d",
    ]
    return {
        "packages": packages,
        "paths": [path for path in paths if Path(path).exists()],
        **{kind: machine.podman_list(kind) for kind in ("image", "network", "pod", "volume")},
    }


def test_check_mode_goes_through_and_changes_nothing() -> None:
    before = traces()
    run = play("site.yml", "--check", "--diff")
    assert run.ok, run.output[-4000:]
    assert run.changes, "on a bare host there is something to do, and check mode says what"
    assert traces() == before
