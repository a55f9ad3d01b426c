"""What a neighbour reaches who routes the pods' network to this host: what is published for others, no more."""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers import courseload
from helpers.machine import podman, run
from helpers.playbook import play

NAME = "cl-neighbour"
LINK = "cl-host"
HERE, THERE = "198.51.100.1", "198.51.100.2"  # addresses for documentation
RULES = "/etc/courseload/firewall.nft"
PUBLISHED = 18099
Target = tuple[str, int]

# Prints which of the addresses and ports that it is given take a connection, all asked at once.
PROBE = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def answers(target):
    with socket.socket() as client:
        client.settimeout(2)
        return client.connect_ex(tuple(target)) == 0
targets = json.loads(sys.argv[1])
with ThreadPoolExecutor(len(targets)) as pool:
    print(json.dumps([target for target, good in zip(targets, pool.map(answers, targets)) if good]))
"""


@pytest.fixture(scope="module", autouse=True)
def neighbour() -> Iterator[None]:
    """A machine beside this one: a network namespace, with a route to the pods' network by way of this host."""
    if subprocess.run(["ip", "netns", "add", NAME], check=False, capture_output=True).returncode:
        pytest.skip("network namespaces are not possible on this machine")
    try:
        run("ip", "link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", NAME)
        run("ip", "address", "add", f"{HERE}/30", "dev", LINK)
        run("ip", "link", "set", LINK, "up")
        within("ip", "address", "add", f"{THERE}/30", "dev", "eth0")
        within("ip", "link", "set", "eth0", "up")
        within("ip", "route", "add", "default", "via", HERE)
        yield
    finally:
        run("ip", "netns", "delete", NAME)


def within(*command: str, name: str = NAME) -> str:
    """Runs a command on the neighbour."""
    return run("ip", "netns", "exec", name, *command)


def reached(targets: set[Target], name: str = NAME) -> set[Target]:
    """Those of the addresses and ports that answer the neighbour."""
    answers = within(sys.executable, "-c", PROBE, json.dumps(sorted(targets)), name=name)
    return {(address, port) for address, port in json.loads(answers)}


@contextmanager
def without_firewall() -> Iterator[None]:
    run("nft", "delete", "table", "inet", "courseload")
    try:
        yield
    finally:
        run("nft", "--file", RULES)


def listening() -> set[Target]:
    """The addresses of the pods, and each port on which something in them listens to others."""
    found = set()
    for container in courseload.containers():
        networks = json.loads(podman("inspect", "--format", "{{json .NetworkSettings.Networks}}", container))
        process = courseload.main_process(container)
        lines = run("nsenter", f"--target={process}", "--net", "ss", "--no-header", "--listening", "--tcp", "--numeric")
        for address, _, port in (line.split()[3].rpartition(":") for line in lines.splitlines()):
            if not address.startswith(("127.", "[::1")):
                found |= {(network["IPAddress"], int(port)) for network in networks.values()}
    return found


def test_a_neighbour_reaches_no_pod() -> None:
    targets = listening()
    assert {port for _, port in targets} >= {27017, 6379, 8000, 8010, 8020, 8080, 9090}
    with without_firewall():
        assert reached(targets) == targets, "else it would prove nothing that nobody answers"
    assert reached(targets) == set()


def test_a_neighbour_reaches_nothing_that_is_published_on_loopback() -> None:
    # As something else on this host may have set it; and the neighbour sends what is for loopback to this host.
    Path(f"/proc/sys/net/ipv4/conf/{LINK}/route_localnet").write_text("1")
    within("sysctl", "--quiet", "--write", "net.ipv4.conf.all.route_localnet=1")
    within("ip", "route", "flush", "table", "local", "127.0.0.0/8")
    within("ip", "route", "add", "127.0.0.0/8", "via", HERE)
    targets = {("127.0.0.1", port) for port in (27017, 6379, 8080, 9090)}
    with without_firewall():
        assert reached(targets) == targets, "else it would prove nothing that nobody answers"
    assert reached(targets | {(HERE, port) for _, port in targets}) == set()


BRIDGED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


@contextmanager
def bridge_with(*names: str) -> Iterator[None]:
    """A bridge of somebody else on this host, with a network namespace for each name: 203.0.113.1 and so on."""
    run("ip", "link", "add", "cl-bridge", "type", "bridge")
    try:
        run("ip", "link", "set", "cl-bridge", "up")
        for number, name in enumerate(names, 1):
            run("ip", "netns", "add", name)
            run("ip", "link", "add", f"cl-port{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "link", "set", f"cl-port{number}", "master", "cl-bridge", "up")
            run("ip", "netns", "exec", name, "ip", "address", "add", f"203.0.113.{number}/24", "dev", "eth0")
            run("ip", "netns", "exec", name, "ip", "link", "set", "eth0", "up")
            run("ip", "netns", "exec", name, "ip", "link", "set", "lo", "up")
        yield
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False)
        run("ip", "link", "delete", "cl-bridge")


def test_what_another_bridge_passes_on_is_none_of_ours() -> None:
    if loader := shutil.which("modprobe"):
        subprocess.run([loader, "br_netfilter"], check=False, capture_output=True)
    if not BRIDGED.exists():
        pytest.skip("this kernel has no br_netfilter, so no rule of the host sees what a bridge passes on")
    subnet = run("podman", "network", "inspect", "courseload", "--format", "{{(index .Subnets 0).Subnet}}").strip()
    address = str(ipaddress.ip_network(subnet)[-2])  # theirs as well
    before = BRIDGED.read_text()
    with bridge_with("cl-left", "cl-right"):
        BRIDGED.write_text("1")
        try:
            run("ip", "netns", "exec", "cl-right", "ip", "address", "add", f"{address}/32", "dev", "lo")
            run("ip", "netns", "exec", "cl-left", "ip", "route", "add", address, "via", "203.0.113.2")
            server = [sys.executable, "-m", "http.server", "8000", "--directory", "/proc/self/task"]
            with subprocess.Popen(["ip", "netns", "exec", "cl-right", *server]) as process:
                try:
                    deadline = time.monotonic() + 10
                    while not reached({(address, 8000)}, "cl-left"):
                        assert time.monotonic() < deadline, "a rule of this host drops what is on its way elsewhere"
                finally:
                    process.terminate()
        finally:
            BRIDGED.write_text(before)


@pytest.fixture
def public_pod() -> Iterator[str]:
    """A container on the pods' network that is published for others."""
    image = podman("inspect", "--format", "{{.ImageName}}", "relay-relay")
    server = ("python3", "-m", "http.server", "8000", "--directory", "/app")
    name = "cl-public"
    podman(
        "run",
        "--detach",
        "--rm",
        f"--name={name}",
        "--network=courseload",
        f"--publish={HERE}:{PUBLISHED}:8000",
        image,
        *server,
    )
    try:
        yield name
    finally:
        podman("rm", "--force", "--time=0", name)


def test_what_is_published_for_others_answers_and_pods_reach_others(public_pod: str) -> None:
    deadline = time.monotonic() + 15
    while not reached({(HERE, PUBLISHED)}):
        assert time.monotonic() < deadline, "what is published does not answer"
    with subprocess.Popen(
        ["ip", "netns", "exec", NAME, sys.executable, "-m", "http.server", "8000", "--directory", "/proc/self/task"]
    ) as server:
        try:
            program = (
                "import time, urllib.request\n"
                "for attempt in range(50):\n"
                "    try: print(urllib.request.urlopen('http://198.51.100.2:8000/', timeout=2).status); break\n"
                "    except OSError: time.sleep(0.2)\n"
            )
            assert podman("exec", public_pod, "python3", "-c", program) == "200"
        finally:
            server.terminate()


def test_site_puts_back_what_was_flushed() -> None:
    run("nft", "flush", "table", "inet", "courseload")  # the table itself stays
    done = play("playbooks/hosts.yml", "--diff")
    assert done.ok, done.output[-4000:]
    assert done.changes == ["Configure the host"]
    assert re.findall(r"^\+(?!\+)(.*)", done.output, re.MULTILINE) == ["table inet courseload: in place"]
    assert reached(listening()) == set()
