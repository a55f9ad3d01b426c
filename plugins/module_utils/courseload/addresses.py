"""The addresses of hosts: by which their peers reach them, which have none, and which share one.

What a play knows of another host is what the inventory says and what was gathered, not the defaults of roles: so the
default of the setting `host_address`, the address of a host's default route, stands here once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def addresses(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The addresses of hosts, in their order; one that has none, or whose facts were not gathered, is left out."""
    found = (_address(hostvars[host]) for host in hosts)
    return [address for address in found if address]


def without_address(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The hosts that `addresses` leaves out."""
    return [host for host in hosts if not _address(hostvars[host])]


def shared_addresses(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Hosts that the inventory gives the same address, like "agent1 and agent2 (10.0.0.21)".

    A port tells apart what is behind one address.
    """
    names: dict[str, list[str]] = {}
    for host in sorted(hosts):
        place = f"{hostvars[host].get('ansible_host', host)}:{hostvars[host].get('ansible_port', '')}"
        names.setdefault(place, []).append(host)
    return [f"{' and '.join(found)} ({place.rstrip(':')})" for place, found in names.items() if len(found) > 1]


def _address(host: Mapping[str, Any]) -> str:
    gathered = host.get("ansible_facts", {}).get("default_ipv4", {}).get("address", "")
    return str(host.get("host_address", gathered))
