"""What a control machine keeps beside its inventory, as the hosts have it noted: so that another makes no second set.

The note names files and has nothing secret in it: pins, when newer packages were asked for, and from which addresses
the machine came.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from ipaddress import ip_address, ip_network
from typing import Any

from .pins import where

FEW = 3  # pins that a sentence names


@dataclass(frozen=True)
class Kept:
    """What a control machine keeps, and who it is."""

    machine: str = ""
    pins_file: str = ""
    pins: Mapping[str, str] = field(default_factory=dict)
    refreshed_file: str = ""
    refreshed: str = ""  # when newer packages were asked for, in UTC; empty where nobody did
    addresses: list[str] = field(default_factory=list)  # from which the servers of a cluster see it come


def here(described: Mapping[str, Any]) -> dict[str, Any]:
    """What this machine keeps, to be noted."""
    return {"machine": socket.gethostname(), **described}


def noted(text: str) -> dict[str, Any]:
    """What was noted; nothing where there is no note, or none of ours."""
    try:
        found = json.loads(text)
        return asdict(Kept(**{entry.name: found[entry.name] for entry in fields(Kept)}))
    except (KeyError, TypeError, ValueError):
        return asdict(Kept())


def refusals(
    mine: Mapping[str, Any], theirs: Mapping[str, Any], known: Mapping[str, str], used: Iterable[str], refresh: bool
) -> list[str]:
    """A sentence for what would be made a second time: pins of what is `used` and not `known`, and images."""
    ours, noted = Kept(**mine), Kept(**theirs)
    lacking = {name: noted.pins[name] for name in used if name in noted.pins and name not in known}
    return [
        *([_pins(lacking, ours, noted)] if lacking else []),
        *([_refreshed(ours, noted)] if noted.refreshed > ours.refreshed and not refresh else []),
    ]


def _pins(lacking: Mapping[str, str], ours: Kept, noted: Kept) -> str:
    names = ", ".join([*sorted(lacking)[:FEW], *(["..."] if len(lacking) > FEW else [])])
    lines = "".join(f"\n{name}: {digest}" for name, digest in sorted(lacking.items()))
    return (
        f"{ours.pins_file} has no pin for {names}, and {noted.machine}, from where this system was set up, has. Pinned "
        f"anew, it might be something else. Bring {noted.pins_file} from there, or have these lines in "
        f"{ours.pins_file}:{lines}"
    )


def _refreshed(ours: Kept, noted: Kept) -> str:
    what = f"says {ours.refreshed}" if ours.refreshed else "is not here"
    return (
        f"The images are those of {noted.refreshed}, when {noted.machine} asked for newer packages, and "
        f"{ours.refreshed_file} {what}: all would be built again, and replaced. Bring {noted.refreshed_file} from "
        f"there, or have this line in it: {noted.refreshed}. With -e refresh=true they are built again on purpose."
    )


def remarks(mine: Mapping[str, Any], theirs: Mapping[str, Any], allowed: Iterable[str]) -> list[str]:
    """A sentence for what is otherwise than on the machine before, and may be meant so."""
    ours, noted = Kept(**mine), Kept(**theirs)
    if ours.machine == noted.machine:
        return []
    differing = [
        f"{name} is pinned as {ours.pins[name]} in {where(name, ours.pins_file)}, and was as {digest} on "
        f"{noted.machine}, from where site.yml was run last: find out which is right."
        for name, digest in sorted(noted.pins.items())
        if ours.pins.get(name, digest) != digest
    ]
    networks = [ip_network(network) for network in allowed]
    shut_out = [
        address
        for address in noted.addresses
        if address not in ours.addresses and not any(ip_address(address) in network for network in networks)
    ]
    if not ours.addresses or not shut_out:
        return differing
    return [
        *differing,
        f"site.yml lets this machine ({', '.join(ours.addresses)}) in to the Kubernetes API, and {noted.machine} "
        f"({', '.join(shut_out)}) no longer: name both in firewall_allowed, where both are to reach it.",
    ]
