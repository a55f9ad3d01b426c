"""Why hosts cannot carry the system: each reason is a sentence that also says what to do.

`facts` are what Ansible gathered of a host, `found` what the module `host_info` found there.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_network
from typing import Any

Facts = Mapping[str, Any]

OLDEST = {"Debian": 12, "Ubuntu": 24}  # that have Podman 4.3 or later
CONTROLLERS = ("cpu", "cpuset", "memory", "pids")  # of control groups, which k3s needs
SWITCHES = {"ufw": "ufw disable", "firewalld": "systemctl disable --now firewalld"}


def system_refusals(facts: Facts) -> list[str]:
    """What every host must be, whatever will run on it."""
    name, version = facts["distribution"], facts["distribution_version"]
    refusals = []
    if name not in OLDEST:
        refusals.append(f"This host runs {name}: use a host with Debian 12 or Ubuntu 24.04, or later.")
    elif int(facts["distribution_major_version"]) < OLDEST[name]:
        refusals.append(f"{name} {version} is too old for what will run here: use Debian 12 or Ubuntu 24.04, or later.")
    if int(facts["user_uid"]) != 0:
        refusals.append("Run this as root (for example with sudo): it installs packages and runs system services.")
    return refusals


def _memory(found: Facts, needed: int, setting: str) -> list[str]:
    if found["memory_mb"] >= int(needed):
        return []
    return [
        f"This host has {found['memory_mb']} MiB of memory and {needed} are needed: "
        f"use a larger host, or set {setting} if you know better."
    ]


def pod_host_refusals(
    found: Facts,
    ports: Iterable[Mapping[str, Any]],
    published: Mapping[str, Sequence[int]],
    memory_mb: int,
    disk_mb: int,
) -> list[str]:
    """Why a host cannot run pods or build images.

    `ports` are the role's `host_ports`; our pods have those in `published`, by their names. Space counts while images
    are missing.
    """
    refusals = _memory(found, memory_mb, "host_memory_mb")
    held = [(taken["address"], int(taken["port"])) for taken in found["ports_taken"]]
    for port in ports:
        number = int(port["port"])
        if (port["address"], number) in held and number not in published.get(port["name"], ()):
            other = f", or choose another with -e {port['setting']}=..." if port.get("setting") else ""
            refusals.append(
                f"Port {number} on {port['address']} is in use and {port['name']} needs it: "
                f"stop what listens there (ss -ltnp 'sport = :{number}' names it){other}."
            )
    disk = found["disk"]
    if found["images_missing"] and disk["free_mb"] < int(disk_mb):
        refusals.append(
            f"{disk['free_mb']} MiB are free on {disk['mount']} and {disk_mb} are needed for images and data: "
            "free some space, or set host_disk_mb if you know better."
        )
    return refusals


@dataclass(frozen=True)
class Node:
    """What a node must be: `networks` are the cluster's, `ports` what k3s will listen on."""

    name: str
    memory_mb: int
    disk_mb: int
    networks: list[str]
    ports: list[int]


def node_refusals(found: Facts, facts: Facts, described: Mapping[str, Any]) -> list[str]:
    """Why a host cannot be the `Node` described. What k3s itself uses only counts where k3s is not there yet."""
    node = Node(**described)
    refusals = [
        *_memory(found, node.memory_mb, "host_node_memory_mb"),
        *(f"{node.name} {reason}" for reason in _kernel(found, facts)),
    ]
    if found["k3s"]:
        return refusals
    disk = found["disk"]
    if disk["free_mb"] < int(node.disk_mb):
        refusals.append(
            f"{node.name} has {disk['free_mb']} MiB free on {disk['mount']} and {node.disk_mb} are needed "
            "for images and data: free some space, or set host_node_disk_mb if you know better."
        )
    if overlaps := _overlaps(facts, node.networks):
        refusals.append(
            f"{node.name} is in the network {', '.join(overlaps)}, which overlaps the cluster's own "
            f"({', '.join(node.networks)}): choose others with cluster_pod_network and cluster_service_network."
        )
    if taken := _taken(found["listeners"], node.ports):
        refusals.append(
            f"On {node.name}, {' and '.join(taken)}, and k3s needs {'it' if len(taken) == 1 else 'them'}: "
            "stop what listens there."
        )
    return refusals


def _systemd(facts: Facts) -> str:
    return f"is run by {facts['service_mgr']}, and systemd has to keep what is here running: use a host with systemd."


def _kernel(found: Facts, facts: Facts) -> list[str]:
    refusals = [_systemd(facts)] if facts["service_mgr"] != "systemd" else []
    if missing := [name for name in CONTROLLERS if name not in found["controllers"]]:
        refusals.append(
            f"lacks the control groups of its kernel for {', '.join(missing)}, without which k3s cannot run pods: "
            "switch them on and reboot (on a Raspberry Pi, add cgroup_memory=1 cgroup_enable=memory to the line in "
            "/boot/firmware/cmdline.txt)."
        )
    if "nf_tables" in found["modules_missing"]:
        refusals.append(
            "has a kernel without nf_tables, and the firewall needs it: use the distribution's own "
            "(linux-image-amd64, linux-image-generic)."
        )
    return refusals


def _overlaps(facts: Facts, networks: Iterable[str]) -> list[str]:
    """The networks of a host's interfaces that overlap one of these."""
    links = [each.get("ipv4") for each in facts.values() if isinstance(each, Mapping)]
    own = [f"{link['network']}/{link['prefix']}" for link in links if isinstance(link, Mapping) and link.get("prefix")]
    others = [ip_network(network) for network in networks]
    return [each for each in dict.fromkeys(own) if any(IPv4Network(each).overlaps(other) for other in others)]


def _taken(listeners: Iterable[Mapping[str, Any]], ports: Sequence[int]) -> list[str]:
    wanted = {int(port) for port in ports}
    return list(
        dict.fromkeys(
            f"port {each['port']} is in use" + (f" by {each['name']} ({each['pid']})" if each["name"] else "")
            for each in listeners
            if each["port"] in wanted
        )
    )


@dataclass(frozen=True)
class Member:
    """A host of a cluster's inventory: a node, or `beside` the cluster, or one that only builds.

    `clock_s` is by how many seconds its clock is ahead of this machine's, at most `skew_s`; `firewalls` are those of
    others that are active there, `ports` our own in it (see `firewall.ports_here`); `control_address` is this machine's
    as a server sees it, and `ssh` the options that ssh takes (ssh -G), where neither must be known empty.
    """

    name: str
    node: bool
    beside: bool
    address: str
    clock_s: float
    skew_s: int
    architectures: list[str]
    firewalls: list[str]
    ports: list[dict[str, Any]]
    node_port: int
    networks: list[str]
    needs_way_in: bool
    control_address: str
    ssh: str


def member_refusals(facts: Facts, described: Mapping[str, Any]) -> list[str]:
    """Why the other hosts, or this machine, cannot rely on the `Member` described."""
    member = Member(**described)
    refusals = []
    if member.beside and facts["service_mgr"] != "systemd":
        refusals.append(f" {_systemd(facts)}")
    if abs(member.clock_s) > int(member.skew_s):
        refusals.append(
            f"'s clock is {abs(member.clock_s):.0f} s {'ahead of' if member.clock_s > 0 else 'behind'} this machine's, "
            f"and {member.skew_s} s is the most that certificates and measurements bear: set both by NTP "
            "(apt install systemd-timesyncd; timedatectl shows how it is)."
        )
    if facts["architecture"] not in member.architectures:
        refusals.append(f" is {facts['architecture']}: use hosts with amd64 (x86_64) or arm64 (aarch64).")
    if member.node or member.beside:
        refusals += _address(member.address)
    if member.node:
        refusals += _of_node(facts, member.address)
    refusals += _other_firewalls(member)
    if member.needs_way_in and (why := _way_in(member)):
        refusals.append(
            f"'s firewall would shut this machine out of the Kubernetes API, since SSH {why}: name the address by "
            f"which this machine comes to port 6443 of {member.address}, as the server sees it, with "
            """-e '{"firewall_allowed": ["ADDRESS"]}' or in the inventory's settings."""
        )
    return [f"{member.name}{refusal}" for refusal in refusals]


def _address(address: str) -> list[str]:
    try:
        IPv4Address(address)
    except ValueError:
        what = f"'s host_address {address} is no IPv4 address" if address else " has no address for the others to use"
        return [f"{what}: give it one as host_address in the inventory (or a default route, whose address is taken)."]
    return []


def _of_node(facts: Facts, address: str) -> list[str]:
    refusals = []
    if not facts["default_ipv4"].get("address"):
        refusals.append(
            " has no default route, and k3s does not start without one: add it (ip route add default via ADDRESS; "
            "for good in the network's configuration)."
        )
    if address not in facts["all_ipv4_addresses"]:
        refusals.append(
            f"'s host_address {address} is on none of its interfaces: set it to one of "
            f"{', '.join(facts['all_ipv4_addresses'])}, by which the other hosts reach it."
        )
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", facts["hostname"]):
        refusals.append(
            f"'s host name is {facts['hostname']}, and Kubernetes names a node by it: at most 63 small letters, "
            "digits and dashes (RFC 1123), without a dash at either end. Give it such a name "
            "(hostnamectl set-hostname NAME, and /etc/hosts)."
        )
    return refusals


def _other_firewalls(member: Member) -> list[str]:
    """What firewalls of others would block, written as ufw writes it."""
    named = [f"{str(port['port']).replace('-', ':')}/{port['protocol']}" for port in member.ports]
    named += [f"{member.node_port}/tcp"] if member.node else []
    if not member.firewalls or not named:
        return []
    networks = f", and all that comes from {' and '.join(member.networks)}" if member.node else ""
    return [
        f"'s {' and '.join(member.firewalls)} would block what the hosts of the cluster say to each other: let in "
        f"{', '.join(named)}{networks}, then say so with -e host_other_firewalls=true; or "
        f"switch it off ({'; '.join(SWITCHES[name] for name in member.firewalls)}), "
        "since courseload closes its own ports itself."
    ]


def _way_in(member: Member) -> str:
    """How SSH comes to a server, where that says nothing of the address by which this machine comes to the API."""
    detour = re.search(r"(?m)^proxy(?:jump|command) (?!none$).*", member.ssh)
    if not member.control_address:
        return "does not say from which address it comes"
    if ":" in member.control_address:
        return f"comes from {member.control_address}, and the API is at an IPv4 address"
    return f"comes by way of another host ({detour[0]})" if detour else ""


def cluster_refusals(
    hostvars: Mapping[str, Mapping[str, Any]],
    *,
    nodes: Iterable[str],
    addresses: Mapping[str, str],
    hosts: Iterable[str],
) -> list[str]:
    """What hosts have in common that must differ, or the other way round.

    Host names must differ between `nodes`, `addresses` (by host) between all that have one, and the architecture must
    be one for all `hosts`.
    """
    names = _shared({host: hostvars[host]["ansible_facts"]["hostname"].lower() for host in nodes})
    places = _shared(addresses)
    architectures: dict[str, list[str]] = defaultdict(list)
    for host in hosts:
        architectures[hostvars[host]["ansible_facts"]["architecture"]].append(host)
    refusals = []
    if names:
        same = ", and ".join(f"{' and '.join(group)} are both called {name}" for name, group in names.items())
        refusals.append(
            f"{same}: Kubernetes knows nodes by their host name, so give each its own "
            "(hostnamectl set-hostname NAME, and /etc/hosts)."
        )
    if places:
        same = ", and ".join(f"{' and '.join(group)} both have the address {place}" for place, group in places.items())
        refusals.append(
            f"{same}: set host_address for each in the inventory, to the address by which the other hosts reach it."
        )
    if len(architectures) > 1:
        kinds = "; ".join(f"{kind}: {', '.join(group)}" for kind, group in architectures.items())
        refusals.append(
            f"The hosts are of several architectures ({kinds}), and one set of images goes to all of them: "
            "use hosts of one architecture."
        )
    return refusals


def _shared(values: Mapping[str, str]) -> dict[str, list[str]]:
    """The values that several hosts have, with these hosts."""
    found: dict[str, list[str]] = defaultdict(list)
    for host, value in values.items():
        found[value].append(host)
    return {value: hosts for value, hosts in found.items() if len(hosts) > 1}
