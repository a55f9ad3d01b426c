"""The firewall of a host: its own ports for its own hosts, and its pods for nobody who comes past what is published."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from courseload.firewall import ports_here, rules

PORTS: list[dict[str, Any]] = [
    {"name": "the API", "port": 6443, "protocol": "tcp", "at": ["servers"], "from": ["servers", "pods", "control"]},
    {"name": "Locust's master", "port": "5557", "protocol": "tcp", "at": ["ops"], "from": ["load"]},
]
SOURCES = {
    "servers": ["192.0.2.1", "192.0.2.2"],
    "pods": ["10.42.0.0/16"],
    "control": ["", "192.0.2.1", "2001:db8::7"],
    "load": [],
}
NETWORKS = [("podman1", "10.89.0.0/24"), ("podman1", "fd00::/64")]


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


def test_a_host_has_the_ports_of_its_groups_and_each_source_once() -> None:
    (api,) = ports_here(PORTS, ["servers", "build"], SOURCES)
    assert api["sources"] == ["192.0.2.1", "192.0.2.2", "10.42.0.0/16", "2001:db8::7"]
    assert ports_here(PORTS, ["agents"], SOURCES) == []


def test_a_port_is_open_to_its_sources_and_then_closed() -> None:
    text = lines(rules(ports_here(PORTS, ["servers", "ops"], SOURCES), []))
    assert text[text.index("ct state established,related accept") + 1 :] == [
        "ip saddr 10.42.0.0/16 tcp dport 6443 accept",
        "ip saddr { 192.0.2.1, 192.0.2.2 } tcp dport 6443 accept",
        "ip6 saddr { 2001:db8::7 } tcp dport 6443 accept",
        "tcp dport 6443 drop",
        "tcp dport 5557 drop",
        "}",
        "}",
    ]


def test_a_host_by_itself_closes_no_port_and_its_pods_networks() -> None:
    text = lines(rules(None, NETWORKS))
    assert "chain ports {" not in text
    assert text[text.index("chain loopback {") :] == [
        "chain loopback {",
        "type filter hook prerouting priority mangle; policy accept;",
        "iif lo accept",
        "ip daddr 127.0.0.0/8 drop",
        "}",
        "chain pods {",
        "type filter hook forward priority mangle; policy accept;",
        "ct state established,related accept",
        "ct status dnat accept",
        'iifname "podman1" accept',
        'oifname "podman1" drop',
        "}",
        "chain gateway {",
        "type filter hook input priority mangle; policy accept;",
        "iif lo accept",
        'iifname "podman1" accept',
        "ip daddr 10.89.0.0/24 drop",
        "ip6 daddr fd00::/64 drop",
        "}",
        "}",
    ]


def test_the_table_is_replaced_as_a_whole() -> None:
    assert lines(rules([], []))[:3] == [
        "table inet courseload",
        "delete table inet courseload",
        "table inet courseload {",
    ]


def test_nft_takes_the_rules(tmp_path: Path) -> None:
    nft = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin")
    if not nft or subprocess.run([nft, "list", "tables"], check=False, capture_output=True).returncode:
        pytest.skip("nft cannot judge rules on this machine")
    file = tmp_path / "firewall.nft"
    file.write_text(rules(ports_here(PORTS, ["servers", "ops"], SOURCES), NETWORKS))
    done = subprocess.run([nft, "--check", "--file", str(file)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
