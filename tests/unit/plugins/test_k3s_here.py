"""What the module k3s_here gathers of k3s on a host."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from types import ModuleType

import pytest

from helpers.plugins import load

CONFIG = "# Written by the role k3s: set k3s_config instead\nnode-name: server1\n"
BINARY = "/usr/local/bin/k3s"


@pytest.fixture(scope="module")
def k3s_here() -> ModuleType:
    return load("modules", "k3s_here")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A server's files."""
    texts = {
        "etc/rancher/k3s/config.yaml": CONFIG,
        "etc/rancher/k3s/config.yaml.d/10-labels.yaml": "node-label: []\n",
        "etc/systemd/system/k3s.service": "[Unit]\n",
        "var/lib/rancher/k3s/server/token": "secret\n",
        "var/lib/rancher/k3s/server/db/state": "\n",
        "var/lib/rancher/k3s/agent/images/one.tar": "\n",
        "usr/local/bin/k3s": "\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "etc/rancher/k3s/config.yaml").chmod(0o600)
    # systemd's links lead nowhere, and the tokens of k3s may be links.
    (tmp_path / "run/systemd/units").mkdir(parents=True)
    (tmp_path / "run/systemd/units/invocation:k3s.service").symlink_to("0123456789abcdef")
    (tmp_path / "var/lib/rancher/k3s/server/agent-token").symlink_to("token")
    return tmp_path


def test_files_have_their_time_their_mode_and_some_their_checksum(k3s_here: ModuleType, root: Path) -> None:
    found = k3s_here.gather("v1", BINARY, root)
    assert found["files"].keys() == found["modes"].keys()
    assert found["files"].keys() == {
        BINARY,
        "/etc/rancher/k3s",
        "/etc/rancher/k3s/config.yaml",
        "/etc/rancher/k3s/config.yaml.d",
        "/etc/rancher/k3s/config.yaml.d/10-labels.yaml",
        "/etc/systemd/system/k3s.service",
        "/run/systemd/units/invocation:k3s.service",
        "/var/lib/rancher/k3s/agent/images",
        "/var/lib/rancher/k3s/agent/images/one.tar",
        "/var/lib/rancher/k3s/server/token",
    }
    assert found["modes"]["/etc/rancher/k3s/config.yaml"] == "0600"
    assert found["files"][BINARY] == (root / "usr/local/bin/k3s").stat().st_mtime
    token = sha256(b"secret\n").hexdigest()
    assert found["sums"] == {
        "/etc/rancher/k3s/config.yaml": sha256(CONFIG.encode()).hexdigest(),
        "/etc/systemd/system/k3s.service": sha256(b"[Unit]\n").hexdigest(),
        "/var/lib/rancher/k3s/server/token": token,
        "/var/lib/rancher/k3s/server/agent-token": token,
    }
    assert (found["version"], found["config"]) == ("v1", CONFIG)
    assert (found["initialized"], found["foreign"]) == (True, False)


def test_a_unit_without_our_configuration_is_somebody_elses(k3s_here: ModuleType, root: Path) -> None:
    (root / "etc/rancher/k3s/config.yaml").write_text("token: theirs\n")
    assert k3s_here.gather("v1", BINARY, root)["foreign"]


def test_on_a_bare_host_there_is_nothing(k3s_here: ModuleType, tmp_path: Path) -> None:
    found = k3s_here.gather("", BINARY, tmp_path)
    assert (found["files"], found["sums"], found["config"]) == ({}, {}, "")
    assert (found["initialized"], found["foreign"]) == (False, False)
