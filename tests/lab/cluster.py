"""k3s on the lab's hosts, set up over SSH by hand: what the tests of the lab itself stand on."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from lab.hosts import Host, ssh_command
from lab.release import Release

IMAGES = "/var/lib/rancher/k3s/agent/images"
MANIFESTS = "/var/lib/rancher/k3s/server/manifests"
CONFIG = "/etc/rancher/k3s/config.yaml"
EVIDENCE_LINES = 40
TOKEN = "/var/lib/rancher/k3s/server/token"

# As k3s's own installer writes them.
UNIT = """\
[Unit]
Wants=network-online.target
After=network-online.target
[Install]
WantedBy=multi-user.target
[Service]
Type=notify
EnvironmentFile=-/etc/systemd/system/{unit}.service.env
KillMode=process
Delegate=yes
LimitNOFILE=1048576
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStart=/usr/local/bin/k3s {command}
"""


class RemoteError(RuntimeError):
    """A command on a host failed; the message is what it said."""


def run(host: Host, command: str, *, content: bytes | None = None, seconds: float = 60) -> str:
    """Runs a shell command on a host, with `content` as its input, and returns what it prints; raises RemoteError."""
    done = subprocess.run(
        ssh_command(host, command), input=content or b"", capture_output=True, timeout=seconds, check=False
    )
    if done.returncode:
        raise RemoteError(f"{host.name}: {command}: {(done.stdout + done.stderr).decode(errors='replace').strip()}")
    return done.stdout.decode()


def write(host: Host, path: str, content: str | bytes, mode: str = "0600") -> None:
    """Writes a file in one step, also where it is a program that runs."""
    raw = content.encode() if isinstance(content, str) else content
    place, new = shlex.quote(path), shlex.quote(f"{path}.new")
    run(host, f"mkdir -p $(dirname {place}) && cat > {new} && chmod {mode} {new} && mv {new} {place}", content=raw)


def install(host: Host, release: Release) -> None:
    """Brings the binary and the images, as a playbook would."""
    write(host, "/usr/local/bin/k3s", release.binary.read_bytes(), "0755")
    for archive in (release.images, release.probe):
        write(host, f"{IMAGES}/{archive.name}", archive.read_bytes())


def begin(host: Host, command: str, options: dict[str, Any]) -> None:
    """Starts `k3s server` or `k3s agent` as a service, and waits until it says that it is ready."""
    unit = unit_of(command)
    write(host, CONFIG, yaml.safe_dump(options))
    write(host, f"/etc/systemd/system/{unit}.service", UNIT.format(unit=unit, command=command))
    begun = f"systemctl daemon-reload && systemctl enable --now {unit}"
    run(host, f"{begun} || {{ journalctl --no-pager --unit {unit} --lines 30; exit 1; }}", seconds=180)


def attempt(host: Host, command: str, options: dict[str, Any], seconds: int = 20) -> str:
    """What `k3s server` or `k3s agent` says before it gives up by itself; raises RemoteError where it does not."""
    write(host, "/tmp/attempt/config.yaml", yaml.safe_dump(options))  # noqa: S108 (on a host that nobody shares)
    moved = f"mkdir -p $(dirname {CONFIG}); cp /tmp/attempt/config.yaml {CONFIG}"
    said = run(
        host, f"{moved}; timeout {seconds} k3s {command} 2>&1; echo code $?; rm -f {CONFIG}", seconds=seconds + 20
    )
    text, _, code = said.rpartition("code ")
    if code.strip() in ("0", "124"):
        raise RemoteError(f"k3s {command} on {host.name} did not refuse: {text[-2000:]}")
    return text


def key_files(host: Host) -> dict[str, str]:
    """The sums of what k3s has on a host of certificates and keys, by their files."""
    places = "{agent,server/tls,server/tls/etcd}/*.{crt,key}"  # an agent has the first only
    listed = run(host, f"cd /var/lib/rancher/k3s && bash -c 'sha256sum {places} 2> /dev/null || true'")
    return {file: digest for digest, file in map(str.split, listed.splitlines())}


def assert_rotated(before: dict[str, str], after: dict[str, str]) -> None:
    """Every certificate and key is another one, but for those of the authorities and of ServiceAccounts."""
    assert before.keys() == after.keys()
    kept = {file for file in before if before[file] == after[file]}
    assert kept == {file for file in before if Path(file).stem.endswith(("ca", "service"))}
    assert kept != before.keys()


def unit_of(command: str) -> str:
    return "k3s" if command == "server" else "k3s-agent"


class Kubectl:
    """kubectl on a server."""

    def __init__(self, server: Host) -> None:
        self.server = server

    def __call__(self, *arguments: str, content: str | None = None, seconds: float = 60) -> str:
        command = f"k3s kubectl {shlex.join(arguments)}"
        return run(self.server, command, content=content.encode() if content else None, seconds=seconds)

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("get", *arguments, "--output=json"))
        return found

    def ready_nodes(self) -> set[str]:
        """The names of the nodes that are Ready."""
        return {
            node["metadata"]["name"]
            for node in self.get("nodes")["items"]
            for condition in node["status"]["conditions"]
            if (condition["type"], condition["status"]) == ("Ready", "True")
        }

    def nodes_of(self, label: str, namespace: str = "default") -> dict[str, str]:
        """The node of each pod with a label that is running and ready, by the pod's name."""
        return {
            pod["metadata"]["name"]: pod["spec"]["nodeName"]
            for pod in self.get("pods", f"--namespace={namespace}", f"--selector={label}")["items"]
            for condition in pod["status"].get("conditions", [])
            if (condition["type"], condition["status"]) == ("Ready", "True")
            and "deletionTimestamp" not in pod["metadata"]
        }

    def state(self) -> str:
        """Where every pod is, and the last warnings: what a failed test leaves for whoever asks why."""
        looks = (
            ("get", "pods", "--all-namespaces", "--output=wide"),
            ("get", "events", "--all-namespaces", "--field-selector=type=Warning", "--sort-by=.lastTimestamp"),
        )
        return "\n\n".join("\n".join(self(*look).splitlines()[-EVIDENCE_LINES:]) for look in looks)

    def execute(self, pod: str, *command: str) -> str:
        return self("exec", pod, "--", *command).strip()


def eventually(what: str, check: Callable[[], bool], seconds: float) -> float:
    """Waits until `check` holds; returns the seconds that it took, or fails with the last error."""
    started, last = time.monotonic(), ""
    while time.monotonic() - started < seconds:
        try:
            if check():
                return time.monotonic() - started
            last = ""
        except (RemoteError, subprocess.TimeoutExpired, KeyError) as error:
            last = f" ({error})"
        time.sleep(1)
    raise AssertionError(f"{what}: not within {seconds:.0f} s{last}")
