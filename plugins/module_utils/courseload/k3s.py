"""k3s on the hosts of a cluster: whom a host joins, what is to be written there, and why k3s does not run.

`found` is everywhere what the module `k3s_here` finds on a host, as the fact `k3s_found` has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from .cluster import API_PORT, Object
from .ours import K3S_ETC, K3S_OF_ANOTHER, K3S_SERVER, K3S_UNIT, SYSTEMD

Hosts = Mapping[str, Object]  # hostvars

LAST_LINES = 8  # of the journal are shown

# --- The cluster that a host founds or joins


def membership(servers: Sequence[str], host: str, kind: str, hosts: Hosts) -> dict[str, Any]:
    """What the hosts of the inventory are to each other.

    - members: the servers that are known to have the cluster; unknown: those of which nothing is known;
    - joins: whether this host joins a cluster. A server that was set up anew joins the others: it founds no second one;
    - first: the server that it joins; itself where it joins none;
    - host, kind and servers: as they are given.
    """
    known = {server: hosts[server]["k3s_found"] for server in servers if "k3s_found" in hosts[server]}
    members = [server for server, found in known.items() if found["initialized"]]
    has_it = bool(hosts[host].get("k3s_found", {}).get("initialized"))
    joins = not (kind == "server" and (has_it or (not members and host == servers[0])))
    others = [member for member in members if member != host]
    return {
        "members": members,
        "unknown": [server for server in servers if server not in known],
        "joins": joins,
        "first": [*others, *members, *servers][0] if joins else host,
        "host": host,
        "kind": kind,
        "servers": servers,
    }


def server_url(found: Object, peers: Iterable[str], first: str) -> str:
    """By which server the host joins; "" where it joins none.

    `peers` has the addresses of the other servers, `first` that of the one to join. A node stays with the server that
    it has joined by while that is one of the cluster: its configuration does not change with the order in which servers
    come and go. k3s reads this option only until the node has joined.
    """
    joined = str(_mapping(found["config"]).get("server", ""))
    if joined in map(_url, peers):
        return joined
    return _url(first) if first else ""


def _url(address: str) -> str:
    return f"https://{address}:{API_PORT}"


def _mapping(value: object) -> Object:
    """What is in a file that should hold a mapping; nothing where it holds something else."""
    return value if isinstance(value, Mapping) else {}


def host_refusals(cluster: Object, version: str, hosts: Hosts, check_mode: bool) -> list[str]:
    """Why the host cannot be what the inventory says, a sentence each. `cluster` is what `membership` returns."""
    host, kind, members, first = (cluster[name] for name in ("host", "kind", "members", "first"))
    found = hosts[host]["k3s_found"]
    other_unit = K3S_UNIT["agent" if kind == "server" else "server"]
    refusals = []
    if found["foreign"]:
        refusals.append(f"{host} runs {K3S_OF_ANOTHER}")
    if _unit_file(other_unit) in found["files"]:
        refusals.append(
            f"{host} runs {other_unit} and the inventory makes it {'a server' if kind == 'server' else 'an agent'}: "
            f"put it back into its group, or remove it first with playbooks/remove_node.yml -e node={host}."
        )
    if _unit_file(K3S_UNIT[kind]) in found["files"] and found["version"] not in ("", version):
        refusals.append(
            f"{host} runs k3s {found['version']} and k3s_version is {version}: run playbooks/upgrade.yml, which takes "
            "one node at a time, or set k3s_version back."
        )
    if kind == "agent" and not members and not check_mode:
        refusals.append(
            f"No server has a cluster that {host} could join: run playbooks/cluster.yml for the servers too."
        )
    if kind == "server" and cluster["joins"] and members and _takes_no_servers(cluster, hosts):
        refusals.append(
            f"{first} keeps its data where no other server can share it: list it before {host} in the group servers, "
            "then it changes to etcd first."
        )
    return refusals


def _takes_no_servers(cluster: Object, hosts: Hosts) -> bool:
    """Whether the first server has its data without etcd. One that is listed before the host was moved to it by now."""
    first, order = cluster["first"], cluster["servers"].index
    config = _mapping(hosts[first]["k3s_found"]["config"])
    alone = bool(config) and "server" not in config and not config.get("cluster-init")
    return alone and bool(order(first) > order(cluster["host"]))


def _unit_file(unit: str) -> str:
    return f"{SYSTEMD}/{unit}.service"


# --- Configuration


def interface(facts: Object, address: str) -> str:
    """The interface that has the node's address; "" where it is that of the default route, or there is none."""
    found = [fact for fact in facts.values() if isinstance(fact, Mapping) and "device" in fact]
    devices = [str(fact["device"]) for fact in found if _mapping(fact.get("ipv4")).get("address") == address]
    default = facts["default_ipv4"].get("interface", "")
    return devices[0] if devices and devices[0] != default else ""


def without_unset(options: Object) -> dict[str, Any]:
    """Options of k3s without those that are false or empty."""
    return {name: value for name, value in options.items() if value}


def no_proxy(asked: str, networks: Iterable[str], default: Object, cluster: Iterable[str], hosts: Hosts) -> str:
    """What never goes through a proxy: what was asked for, this host, its network, the cluster's networks and hosts.

    `default` is the fact of the same name, `cluster` has the cluster's hosts.
    """
    entries = [entry.strip() for entry in asked.split(",") if entry.strip()]
    entries += ["localhost", "127.0.0.0/8", *networks, ".svc", ".cluster.local"]
    entries.append(f"{default['network']}/{default['prefix']}")
    entries += [hosts[host]["ansible_host"] for host in cluster if "ansible_host" in hosts[host]]
    return ",".join(dict.fromkeys(entries))


def files_to_write(files: Mapping[str, Mapping[str, str]], found: Object) -> list[str]:
    """Of files, given with `mode` and `content` by path, those that the host has otherwise or not at all."""
    return [
        path
        for path, file in files.items()
        if not _has(found, path, file["mode"], sha256(file["content"].encode()).hexdigest())
    ]


def tokens_to_take(kind: str, joins: bool, found: Object, giver: Object) -> list[dict[str, str]]:
    """The tokens that the host takes from a server, `from` its directory `to` the host's, where it has others or none.

    An agent takes that of agents; a server that joins takes both; one that has its cluster takes back its own that was
    lost. `giver` is what was found on that server; of one that was not asked, nothing is known.
    """
    if kind == "agent":
        tokens = [{"from": "agent-token", "to": "token"}]
    else:
        tokens = [{"from": name, "to": name} for name in ("token", "agent-token")]
        if not joins:
            lost = [token for token in tokens if f"{K3S_ETC}/{token['to']}" not in found["files"]]
            tokens = lost if found["initialized"] else []
    sums = giver.get("sums", {})
    return [
        token
        for token in tokens
        if not _has(found, f"{K3S_ETC}/{token['to']}", "0600", sums.get(f"{K3S_SERVER}/{token['from']}", "unknown"))
    ]


def _has(found: Object, path: str, mode: str, checksum: str) -> bool:
    return bool(found["modes"].get(path) == mode and found["sums"].get(path) == checksum)


def not_read_yet(found: Object, unit: str) -> list[str]:
    """The files of k3s's configuration that are newer than its start; none where it does not run.

    systemd keeps a link for each unit that runs, made when it started.
    """
    read = rf"{K3S_ETC}/(config|registries)\.yaml|{K3S_ETC}/config\.yaml\.d/.*\.ya?ml|{_unit_file(unit)}(\.env)?"
    started = found["files"].get(f"/run/systemd/units/invocation:{unit}.service", 0)
    newer = [path for path, changed in found["files"].items() if changed > started]
    return [path for path in newer if re.fullmatch(read, path)] if started else []


# --- What k3s says


def explanation(complaint: str, journal: str, failures: Iterable[Mapping[str, str]]) -> str:
    """The complaint, what to do about it where the journal has a known reason, and the journal's last lines.

    `failures` have a pattern (`said`) and what to `do`; the first that the journal has counts. Where k3s is started
    again and again, the lines to read are those before its last end. Modules of the kernel may be built in.
    """
    before_end = re.search(r"(?s)^.*(?=\n[^\n]*Main process exited)", journal)
    text = before_end[0] if before_end and before_end[0] else journal
    lines = [line for line in text.splitlines() if not line.startswith("modprobe: ")]
    known = (
        f"{failure['do']}; then run this again. "
        for failure in failures
        if any(re.search(failure["said"], line, re.IGNORECASE) for line in lines)
    )
    return f"{complaint}. {next(known, '')}Its last lines: {' | '.join(lines[-LAST_LINES:])}"


def server_to_ask(answering: Sequence[str], servers: Sequence[str], hosts: Hosts, kubeconfig: str) -> str:
    """The server that a kubeconfig names, if it answers; else the first that answers, or the first of all."""
    used = [name for name in answering if f"server: {_url(hosts[name].get('ansible_host', name))}" in kubeconfig]
    return [*used, *answering, *servers][0]
