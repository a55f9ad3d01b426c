"""The table of nftables that says who reaches courseload's own ports and pods on a host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

TABLE = ("inet", "courseload")

HEAD = """\
# Who may reach courseload's own ports and pods on this host; other tables decide about everything else. Ansible managed
table inet courseload
delete table inet courseload
table inet courseload {
"""

PORTS = """\
  chain ports {
    # Before addresses are translated, so that the ports of containers are covered as well.
    type filter hook prerouting priority mangle; policy accept;
    iif lo accept
    ct state established,related accept
"""

LOOPBACK = """\
  chain loopback {
    # The kernel drops these itself, except for an interface with route_localnet: loopback ports are for this host.
    type filter hook prerouting priority mangle; policy accept;
    iif lo accept
    ip daddr 127.0.0.0/8 drop
  }
"""

PODS = """\
  chain pods {
    # What is published is asked for at an address of this host, and translated to that of a pod before it comes here.
    # So what others send to a pod otherwise bypasses that. Only what this host routes comes here with a pods' bridge to
    # leave by: frames that another bridge passes on do not, whatever their addresses are.
    type filter hook forward priority mangle; policy accept;
    ct state established,related accept
    ct status dnat accept
"""

GATEWAY = """\
  chain gateway {
    # This host's own address on the pods' network is for the pods.
    type filter hook input priority mangle; policy accept;
    iif lo accept
"""


def ports_here(
    ports: Iterable[Mapping[str, Any]], groups: Sequence[str], sources: Mapping[str, Iterable[str]]
) -> list[dict[str, Any]]:
    """Of the ports in `__host_firewall_ports`, those of a host in these groups, with the addresses that may reach each.

    `sources` has the addresses behind each word in `from`; an address that is not known is empty, and left out.
    """
    return [
        {
            "name": port["name"],
            "port": str(port["port"]),
            "protocol": port["protocol"],
            "sources": list(dict.fromkeys(address for word in port["from"] for address in sources[word] if address)),
        }
        for port in ports
        if set(port["at"]) & set(groups)
    ]


def rules(ports: Sequence[Mapping[str, Any]] | None, networks: Sequence[tuple[str, str]]) -> str:
    """The file that nft reads.

    `ports` are those of `ports_here`; None closes none. `networks` are the pods', each the name of its bridge and a
    subnet.
    """
    return HEAD + (_chain_of_ports(ports) if ports is not None else "") + _chains_of_pods(networks) + "}\n"


def _chain_of_ports(ports: Iterable[Mapping[str, Any]]) -> str:
    lines = []
    for port in ports:
        selector = f"{port['protocol']} dport {port['port']}"
        lines += ["", f"    # {port['name']}"]
        lines += [f"    {_family(each)} saddr {each} {selector} accept" for each in port["sources"] if "/" in each]
        for family in ("ip", "ip6"):
            hosts = [each for each in port["sources"] if "/" not in each and _family(each) == family]
            if hosts:
                lines.append(f"    {family} saddr {{ {', '.join(hosts)} }} {selector} accept")
        lines.append(f"    {selector} drop")
    return PORTS + "".join(f"{line}\n" for line in lines) + "  }\n"


def _chains_of_pods(networks: Sequence[tuple[str, str]]) -> str:
    if not networks:
        return ""
    bridges = dict.fromkeys(bridge for bridge, _ in networks)
    from_pods = "".join(f'    iifname "{bridge}" accept\n' for bridge in bridges)
    to_pods = "".join(f'    oifname "{bridge}" drop\n' for bridge in bridges)
    subnets = "".join(f"    {_family(subnet)} daddr {subnet} drop\n" for _, subnet in networks)
    return f"{LOOPBACK}{PODS}{from_pods}{to_pods}  }}\n{GATEWAY}{from_pods}{subnets}  }}\n"


def _family(address: str) -> str:
    return "ip6" if ":" in address else "ip"
