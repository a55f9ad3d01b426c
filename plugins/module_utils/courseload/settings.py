"""What people set: whether the settings, and the groups of an inventory, are possible. Nothing here contacts a host."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import Any

Settings = Mapping[str, Any]
Check = Callable[[Any], object]  # whether a value is possible

_BYTE = "([1-9]?[0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
_OTHER_PORTS = (5557, 8089, 9090, 9100)  # of Locust and Prometheus


def _is(pattern: str) -> Check:
    return lambda value: re.fullmatch(pattern, str(value)) is not None


def _among(*values: str) -> Check:
    return lambda value: value in values


def _or_empty(check: Check) -> Check:
    return lambda value: value == "" or check(value)


def _port(first: int = 1, last: int = 65535, other_than: Iterable[int] = ()) -> Check:
    whole = _is(r"[1-9][0-9]{0,4}")
    return lambda value: whole(value) and first <= int(value) <= last and int(value) not in other_than


def _network(value: Any) -> IPv4Network | None:
    """An IPv4 network like 10.0.0.0/8; None for anything else."""
    try:
        return IPv4Network(value) if _is(r"[0-9.]+/[0-9]+")(value) else None
    except ValueError:
        return None


def _is_each_a_network(value: Any) -> bool:
    """Whether it is a list of addresses and networks, of IPv4 or IPv6."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return False
    try:
        return all(ip_network(str(each)) for each in value)
    except ValueError:
        return False


def _is_each(pattern: str, value: Any) -> bool:
    """Whether it is a list of texts of this form."""
    return isinstance(value, Sequence) and not isinstance(value, str) and all(map(_is(pattern), value))


def is_truth(value: Any) -> bool:
    """Whether it is yes or no, as Ansible takes it."""
    return str(value).lower() in ("true", "false", "yes", "no")


def _is_tls(value: Any) -> bool:
    """Whether it is yes or no, or a certificate with its key, in files that there are."""
    if not isinstance(value, Mapping):
        return is_truth(value)
    paths = [Path(str(file)) for file in value.values()]
    return set(value) == {"certificate", "key"} and all(path.is_absolute() and path.is_file() for path in paths)


def _weights(value: Any) -> bool:
    if not isinstance(value, Mapping) or not set(value) <= {"relay", "direct"}:
        return False
    weights = [str(weight) for weight in value.values()]
    return all(map(_is(r"[0-9]{1,6}"), weights)) and sum(map(int, weights)) > 0


_OF_ALL: Mapping[str, tuple[Check, str]] = {
    "platform": (
        _among("pods", "k3s"),
        "pods or k3s for all hosts of the inventory (see inventory/cluster.example.yml)",
    ),
    "routes": (
        _weights,
        "weights for relay and direct, whole numbers that are not all 0, like {relay: 90, direct: 10}",
    ),
    "ingress_port": (_port(), "a port from 1 to 65535"),
    "ingress_address": (_is(rf"{_BYTE}(\.{_BYTE}){{3}}"), "an IPv4 address of the host, or 0.0.0.0 for all of them"),
    "ingress_tls": (
        _is_tls,
        "true, false, or {certificate: FILE, key: FILE} two absolute paths of PEM files on this machine",
    ),
    "ingress_names": (
        lambda value: _is_each(r"[A-Za-z0-9*][A-Za-z0-9.:-]*", value),
        "a list of names and addresses, like [notes.example.org, 192.0.2.7]",
    ),
    "ingress_token": (is_truth, "true or false"),
    "reader_port": (_port(), "a port from 1 to 65535"),
    "prometheus_port": (_port(), "a port from 1 to 65535"),
    "prometheus_retention": (_is(r"[1-9][0-9]*[hdwy]"), "a time like 12h, 15d or 1y"),
    "prometheus_retention_size": (_is(r"[1-9][0-9]*[MGT]B"), "a size like 500MB or 2GB"),
    "prometheus_memory": (_is(r"[1-9][0-9]*[MG]i"), "a size like 512Mi or 1Gi"),
    "grafana_port": (_port(), "a port from 1 to 65535"),
    "grafana_memory": (_is(r"[1-9][0-9]*[MG]i"), "a size like 512Mi or 1Gi"),
}
_URL = _or_empty(_is(r"https?://[^\s/]+(/\S*)?"))
_OF_A_CLUSTER: Mapping[str, tuple[Check, str]] = {
    "cluster_name": (
        _is(r"[A-Za-z0-9][A-Za-z0-9._-]*"),
        "letters, digits, dots and dashes, since it names a file",
    ),
    "k3s_version": (_is(r"v1\.[0-9]+\.[0-9]+(-rc[0-9]+)?\+k3s[0-9]+"), "a release of k3s, like v1.34.4+k3s1"),
    "ingress_node_port": (_port(30000, 32767), "a port from 30000 to 32767"),
    "cluster_pod_network": (_network, "an IPv4 network, like 10.42.0.0/16"),
    "cluster_service_network": (_network, "an IPv4 network, like 10.43.0.0/16"),
    "bundle_dir": (
        _or_empty(lambda value: Path(value, "bundle.yml").is_file()),
        "a folder on this machine that playbooks/bundle.yml has made (with its bundle.yml), or empty",
    ),
    "mesh": (_among("linkerd", "none"), "linkerd or none"),
    "linkerd_version": (_is(r"[A-Za-z0-9][A-Za-z0-9._-]*"), "the tag of a release, like edge-26.10.1"),
    "linkerd_dir": (
        _or_empty(lambda value: Path(value).expanduser().is_dir()),
        "a folder on this machine, or empty",
    ),
    "registry_mirror": (_URL, "a URL, like http://10.0.0.5:5000, or empty"),
    "http_proxy": (_URL, "a URL, like http://10.0.0.5:3128, or empty"),
    "firewall_allowed": (_is_each_a_network, "a list of addresses and networks, like [192.0.2.7, 10.1.0.0/16]"),
}


def checked(platform: str) -> list[str]:
    """The names of the settings that are checked."""
    return [*_OF_ALL, *_OF_A_CLUSTER, "prometheus_write_port"] if platform == "k3s" else [*_OF_ALL]


def refusals(values: Settings) -> list[str]:
    """A sentence for each of these settings that is not possible."""
    found = [
        _sentence(name, must, values[name])
        for name, (good, must) in [*_OF_ALL.items(), *_OF_A_CLUSTER.items()]
        if name in values and not good(values[name])
    ]
    if values["platform"] != "k3s":
        return found
    others = [int(values[name]) for name in ("reader_port", "prometheus_port", "grafana_port") if _port()(values[name])]
    if not _port(1024, 65535, [*_OTHER_PORTS, *others])(values["prometheus_write_port"]):
        must = "a port from 1024 to 65535 of its own, and not one of those that Prometheus, the reader or Locust have"
        found.append(_sentence("prometheus_write_port", must, values["prometheus_write_port"]))
    pods, services = (values[f"cluster_{kind}_network"] for kind in ("pod", "service"))
    if (a := _network(pods)) and (b := _network(services)) and a.overlaps(b):
        found.append(
            f"cluster_pod_network {pods} and cluster_service_network {services} overlap: choose two that do not."
        )
    return found


def _sentence(name: str, must: str, value: Any) -> str:
    # A URL may have a password in it.
    shown = re.sub("//[^@/]*@", "//***@", json.dumps(value, default=str))
    return f"{name} must be {must}, not {shown}."


def inventory_refusals(groups: Mapping[str, Sequence[str]], shared: Sequence[str]) -> list[str]:
    """Why a cluster cannot be made of the groups of an inventory; `shared` is what `shared_addresses` gives of them."""
    servers, agents, ops, load = (groups.get(name, []) for name in ("servers", "agents", "ops", "load"))
    refusals = []
    if len(servers) % 2 == 0:
        why = f"{len(servers)} servers, and their etcd needs a majority" if servers else "no servers"
        refusals.append(
            f"The inventory has {why}: put one host into its group servers, or three (five, …) so that one may fail."
        )
    if len(ops) != 1:
        refusals.append(
            f"The inventory has {len(ops) or 'no'} hosts in its group ops: put one there, for what runs beside the "
            "cluster (the load test's master, and the builds if there is no group build)."
        )
    if not load:
        refusals.append("The inventory has no host to send load from: put at least one into its group load.")
    if twice := [host for host in servers if host in agents]:
        refusals.append(
            f"{' and '.join(twice)} cannot be both: leave it in servers (which run workloads as well) or in agents, "
            "and remove it from the other group."
        )
    if disturbing := [host for host in dict.fromkeys([*servers, *agents]) if host in [*ops, *load]]:
        refusals.append(
            f"{' and '.join(disturbing)} cannot be a node and in ops or load: what sends and collects the load would "
            "take from what is measured, so give it a host beside the cluster (or use the default inventory, where one "
            "machine has everything)."
        )
    if shared:
        refusals.append(
            f"{', and '.join(shared)} have the same address in the inventory: give each host its own ansible_host, or "
            "keep only one of the names."
        )
    return refusals
